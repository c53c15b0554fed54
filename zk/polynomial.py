"""Polynomials over the scalars, as the prover uses them: arrays of coefficients, the constant first.

An array is uint64 of shape (n, 4), Montgomery form, as in `zk.field`. Everything but the division runs on all cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zk.cores import kernel, on_all_cores, ranges
from zk.field import (
    ZERO,
    R,
    Words,
    limbs_of,
    load,
    r_add,
    r_element,
    r_integer,
    r_mul,
    r_neg,
    r_plain,
    r_sub,
    single,
    store,
)

Integers = NDArray[np.int16] | NDArray[np.int64]

_GRAIN = 1 << 12
_BLOCK = 1 << 14
"""Coordinates of all rows that are read at a time: 128 KiB a row."""


def linear_combination(scalars: Sequence[int], rows: Sequence[Integers]) -> Words:
    """Σ_i s_i · row_i for integer rows of one length; memory maps are read a block at a time.

    Args:
        scalars: one a row
        rows: int16 or int64 of shape (n,)
    """
    length = len(rows[0])
    total = np.zeros((length, 4), np.uint64)
    # r_mul divides by 2^256: with s·2^512 for s, its product with a plain integer comes out in Montgomery form.
    factors = [r_element(scalar << 256) for scalar in scalars]

    def add(piece: tuple[int, int]) -> None:
        for start in range(*piece, _BLOCK):
            stop = min(start + _BLOCK, piece[1])
            for factor, row in zip(factors, rows, strict=True):
                _add_multiple(total[start:stop], factor, np.array(row[start:stop], np.int64))

    on_all_cores(add, ranges(length, _GRAIN))
    return total


def coefficients(values: Sequence[int]) -> Words:
    """The array of a few coefficients given as integers."""
    return limbs_of((value << 256) % R for value in values)


def plain(polynomial: Words) -> Words:
    """The coefficients as integers in 0..r-1: uint64 of shape (n, 4)."""
    out = np.empty_like(polynomial)
    on_all_cores(
        lambda piece: _to_plain(out[slice(*piece)], polynomial[slice(*piece)]), ranges(len(polynomial), _GRAIN)
    )
    return out


def add_multiple(total: Words, scalar: int, polynomial: Words) -> None:
    """Add s·a(X) to the polynomial `total`, in place; it must be at least as long."""
    factor = r_element(scalar)
    on_all_cores(
        lambda piece: _add_product(total[slice(*piece)], factor, polynomial[slice(*piece)]),
        ranges(len(polynomial), _GRAIN),
    )


def squared_norm(polynomial: Words) -> int:
    """⟨a, a⟩ = Σ_x a_x², in 0..r-1."""

    def share(piece: tuple[int, int]) -> int:
        value = np.empty(4, np.uint64)
        _sum_squares(value, polynomial[slice(*piece)])
        return r_integer(value)

    return sum(on_all_cores(share, ranges(len(polynomial), _GRAIN))) % R


def evaluate(polynomial: Words, x: int) -> int:
    """a(x), in 0..r-1: every core takes a run of coefficients and its power of x."""
    point = r_element(x)

    def share(piece: tuple[int, int]) -> int:
        value = np.empty(4, np.uint64)
        _horner(value, polynomial[slice(*piece)], point)
        return r_integer(value) * pow(x, piece[0], R)

    return sum(on_all_cores(share, ranges(len(polynomial), _GRAIN))) % R


def divide_at_pair(polynomial: Words, z: int) -> Words:
    """The quotient of a(X) by (X − z)(X − 1/z) = X² − (z + 1/z)·X + 1.

    q_k = a_(k+2) + (z + 1/z)·q_(k+1) − q_(k+2), from the highest coefficient down. The remainder is not computed.
    """
    quotient = np.empty((max(len(polynomial) - 2, 0), 4), np.uint64)
    _divide(quotient, polynomial, r_element(z + pow(z, -1, R)))
    return quotient


@kernel
def _add_multiple(total: Words, factor: Words, values: NDArray[np.int64]) -> None:
    scalar = single(factor)
    for x in range(len(values)):
        size = np.uint64(abs(values[x]))
        product = r_mul(scalar, (size, np.uint64(0), np.uint64(0), np.uint64(0)))
        if values[x] < 0:
            product = r_neg(product)
        store(total, x, r_add(load(total, x), product))


@kernel
def _to_plain(out: Words, polynomial: Words) -> None:
    for x in range(len(polynomial)):
        store(out, x, r_plain(load(polynomial, x)))


@kernel
def _add_product(total: Words, factor: Words, polynomial: Words) -> None:
    scalar = single(factor)
    for x in range(len(polynomial)):
        store(total, x, r_add(load(total, x), r_mul(load(polynomial, x), scalar)))


@kernel
def _sum_squares(value: Words, polynomial: Words) -> None:
    result = ZERO
    for x in range(len(polynomial)):
        result = r_add(result, r_mul(load(polynomial, x), load(polynomial, x)))
    value[0], value[1], value[2], value[3] = result


@kernel
def _horner(value: Words, polynomial: Words, point: Words) -> None:
    x, result = single(point), ZERO
    for k in range(len(polynomial) - 1, -1, -1):
        result = r_add(r_mul(result, x), load(polynomial, k))
    value[0], value[1], value[2], value[3] = result


@kernel
def _divide(quotient: Words, polynomial: Words, middle: Words) -> None:
    factor, last, before = single(middle), ZERO, ZERO
    for k in range(len(quotient) - 1, -1, -1):
        coefficient = r_sub(r_add(load(polynomial, k + 2), r_mul(last, factor)), before)
        store(quotient, k, coefficient)
        before = last
        last = coefficient
