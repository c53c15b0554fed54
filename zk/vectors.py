"""Vectors of scalars, and polynomials with such coefficients: what a prover does to a million of them.

A vector is a contiguous uint64 array of shape (n, 4) of Montgomery elements (see `zk.field`), coefficients of low
degree first. Every function works on all cores and reads each operand once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from zk.cores import kernel, on_all_cores, ranges
from zk.errors import InvalidVector
from zk.field import (
    R_LIFT,
    ZERO,
    R,
    Words,
    constant,
    load,
    r_add,
    r_element,
    r_integer,
    r_mul,
    r_plain,
    r_sub,
    single,
    store,
)

Values = NDArray[np.int16] | NDArray[np.int32] | NDArray[np.int64]

VALUE_TYPES = tuple(map(np.dtype, (np.int16, np.int32, np.int64)))

MAX_ROWS = 96
"""Rows that `combine` takes at most: what its sums of products have room for."""

FACTOR_BITS = 128
VALUE_LIMIT = 1 << 47
"""Values of 64 bits are smaller than this in magnitude."""

_GRAIN = 1 << 12
_BLOCK = 1 << 14
_PART_BITS = 24
_BIAS_BITS = 62
_BIAS = np.uint64(1 << _BIAS_BITS)
_ALL_BIASES = sum(1 << (_BIAS_BITS + 32 * place) for place in range(4))
_PART_WEIGHT = r_element(1 << _PART_BITS)
_LIFTED_BIAS = constant((_ALL_BIASES << 256) % R)


def zeros(size: int) -> Words:
    """Return a vector of zeros."""
    return np.zeros((size, 4), np.uint64)


def to_montgomery(plain: Words) -> Words:
    """Return plain integers below 2^256, shape (n, 4), as a vector."""
    result = np.empty((len(plain), 4), np.uint64)
    on_all_cores(lambda part: _lift(plain, part[0], part[1], result), ranges(len(plain), _GRAIN))
    return result


def from_montgomery(vector: Words, out: Words | None = None) -> Words:
    """Return a vector's elements as plain integers in 0..r-1, shape (n, 4), written to `out` if given, even itself."""
    result = np.empty((len(vector), 4), np.uint64) if out is None else out
    on_all_cores(lambda part: _lower(vector, part[0], part[1], result), ranges(len(vector), _GRAIN))
    return result


def powers(base: int, size: int) -> Words:
    """Return base^0, base^1, …, base^(size - 1) as a vector."""
    result = np.empty((size, 4), np.uint64)

    def fill(part: tuple[int, int]) -> None:
        _powers(r_element(pow(base, part[0], R)), r_element(base), part[0], part[1], result)

    on_all_cores(fill, ranges(size, _GRAIN))
    return result


def evaluate(polynomial: Words, point: int) -> int:
    """Return the polynomial's value at a point, in 0..r-1 (Horner's rule, on every core a part)."""
    parts = list(ranges(len(polynomial), _GRAIN))
    element = r_element(point)

    def value(part: tuple[int, int]) -> int:
        result = np.empty(4, np.uint64)
        _horner(polynomial, part[0], part[1], element, result)
        return r_integer(result)

    values = on_all_cores(value, parts)
    return sum(value * pow(point, part[0], R) for value, part in zip(values, parts, strict=True)) % R


def add_multiple(into: Words, vector: Words, factor: int) -> None:
    """Add factor·vector to the first elements of `into`, which is at least as long."""
    if len(into) < len(vector):
        raise InvalidVector(f"a vector of {len(vector)} elements does not fit into {len(into)}")
    element = r_element(factor)
    on_all_cores(lambda part: _add_multiple(into, vector, part[0], part[1], element), ranges(len(vector), _GRAIN))


def divide(polynomial: Words, middle: int) -> Words:
    """Return the quotient of a polynomial by X² - middle·X + 1; what remains is dropped."""
    quotient = np.empty((max(len(polynomial) - 2, 0), 4), np.uint64)
    _divide(polynomial, r_element(middle), quotient)
    return quotient


def combine(rows: Sequence[Values], factors: Sequence[int], out: Words | None = None) -> Words:
    """Return Σ factor_i·row_i as a vector.

    The sums are taken in 64 bits, for each 32-bit word of the factors apart, and only they are brought into the field:
    the cost of a row is reading it.

    Args:
        rows: at most 96 of one length n, int16, int32 or int64 (smaller than 2^47 in magnitude; not checked). May be
            read-only memory maps.
        factors: one for each row, in 0..2^128-1.
        out: where to write, of at least n elements; the others are left alone.

    Raises:
        InvalidVector: rows of several lengths or types, or too many; not one factor for each, or one out of range.
    """
    size = _common_length(rows, factors)
    result = np.empty((size, 4), np.uint64) if out is None else out
    if len(result) < size:
        raise InvalidVector(f"a vector of {size} elements does not fit into {len(result)}")
    plain = [cast("Values", np.asarray(row)) for row in rows]
    words = [np.array([(factor >> 32 * place) & 0xFFFFFFFF for place in range(4)], np.int64) for factor in factors]

    def fill(part: tuple[int, int]) -> None:
        for start in range(part[0], part[1], _BLOCK):
            _combine_block(plain, words, start, min(start + _BLOCK, part[1]), result)

    on_all_cores(fill, ranges(size, _BLOCK))
    return result


def _common_length(rows: Sequence[Values], factors: Sequence[int]) -> int:
    """Check what `combine` is given, and return the rows' length."""
    if len(rows) != len(factors) or not 0 < len(rows) <= MAX_ROWS:
        raise InvalidVector(f"{len(rows)} rows and {len(factors)} factors: expected one for each, 1 to {MAX_ROWS}")
    size = len(rows[0])
    for index, row in enumerate(rows):
        if len(row) != size:
            raise InvalidVector(f"row {index} has {len(row)} entries, and row 0 has {size}")
        if row.dtype not in VALUE_TYPES:
            raise InvalidVector(f"row {index}: values are int16, int32 or int64, not {row.dtype}")
    for index, factor in enumerate(factors):
        if not 0 <= factor < 1 << FACTOR_BITS:
            raise InvalidVector(f"factor {index} = {factor} is not below 2^{FACTOR_BITS}")
    return size


def _combine_block(rows: list[Values], words: list[NDArray[np.int64]], start: int, stop: int, out: Words) -> None:
    """Combine start..stop of the rows; those of 32 or 64 bits in two parts, low and high."""
    low = np.zeros((4, stop - start), np.int64)
    high: NDArray[np.int64] | None = None
    for row, factor in zip(rows, words, strict=True):
        entries = row[start:stop]
        if entries.dtype == np.int16:
            _accumulate(entries, factor, low)
        else:
            high = np.zeros_like(low) if high is None else high
            _accumulate_parts(entries, factor, low, high)
    _finish(low, start, out)
    if high is not None:
        upper = np.empty((stop - start, 4), np.uint64)
        _finish(high, 0, upper)
        _add_multiple(out[start:stop], upper, 0, stop - start, _PART_WEIGHT)


@kernel
def _lift(plain: Words, start: int, stop: int, out: Words) -> None:
    for row in range(start, stop):
        store(out, row, r_mul(R_LIFT, load(plain, row)))


@kernel
def _lower(vector: Words, start: int, stop: int, out: Words) -> None:
    for row in range(start, stop):
        store(out, row, r_plain(load(vector, row)))


@kernel
def _powers(first: Words, base: Words, start: int, stop: int, out: Words) -> None:
    power, factor = single(first), single(base)
    for row in range(start, stop):
        store(out, row, power)
        power = r_mul(power, factor)


@kernel
def _horner(polynomial: Words, start: int, stop: int, point: Words, result: Words) -> None:
    value, factor = ZERO, single(point)
    for row in range(stop - 1, start - 1, -1):
        value = r_add(r_mul(value, factor), load(polynomial, row))
    for word in range(4):
        result[word] = value[word]


@kernel
def _add_multiple(into: Words, vector: Words, start: int, stop: int, factor: Words) -> None:
    multiplier = single(factor)
    for row in range(start, stop):
        store(into, row, r_add(load(into, row), r_mul(load(vector, row), multiplier)))


@kernel
def _divide(polynomial: Words, middle: Words, quotient: Words) -> None:
    factor = single(middle)
    above, last = ZERO, ZERO
    for row in range(len(quotient) - 1, -1, -1):
        value = r_sub(r_add(load(polynomial, row + 2), r_mul(last, factor)), above)
        store(quotient, row, value)
        above, last = last, value


@kernel
def _accumulate(values: Values, factor: NDArray[np.int64], sums: NDArray[np.int64]) -> None:
    """Add each value times each word of the factor to the word's sums."""
    for place in range(4):
        word, own = factor[place], sums[place]
        for index in range(len(values)):
            own[index] += word * np.int64(values[index])


@kernel
def _accumulate_parts(
    values: Values, factor: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> None:
    """The same for 47-bit values, whose 24 low bits and whose other bits are summed apart."""
    for place in range(4):
        word, lower, upper = factor[place], low[place], high[place]
        for index in range(len(values)):
            value = np.int64(values[index])
            lower[index] += word * (value & ((1 << _PART_BITS) - 1))
            upper[index] += word * (value >> _PART_BITS)


@kernel
def _finish(sums: NDArray[np.int64], start: int, out: Words) -> None:
    """Join the four words' sums, each above -2^62 and below 2^63, to one scalar in Montgomery form."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for index in range(sums.shape[1]):
        # A bias makes every word's sum positive; what all biases are together is subtracted at the end.
        first = np.uint64(sums[0, index]) + _BIAS
        second = np.uint64(sums[1, index]) + _BIAS + (first >> half)
        third = np.uint64(sums[2, index]) + _BIAS + (second >> half)
        fourth = np.uint64(sums[3, index]) + _BIAS + (third >> half)
        element = (
            (first & mask) | ((second & mask) << half),
            (third & mask) | (fourth << half),
            fourth >> half,
            np.uint64(0),
        )
        store(out, start + index, r_sub(r_mul(R_LIFT, element), _LIFTED_BIAS))
