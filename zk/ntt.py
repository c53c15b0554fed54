"""Autocorrelation of vectors of scalars by number-theoretic transforms.

A transform of N = 2^k values is their polynomial's values at the powers of a primitive N-th root of unity ω
(J. W. Cooley, J. W. Tukey, Mathematics of Computation 19 (1965), 297-301, over the scalars' field, whose r - 1 is a
multiple of 2^28). Going forward, values come out with their index's bits reversed; going back, they go in so. What lies
between is pointwise, so that nothing is ever reordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from zk.cores import kernel, on_all_cores, ranges
from zk.errors import InvalidVector
from zk.field import R_ONE, Limbs, R, Words, load, r_add, r_element, r_mul, r_sub, single, store

MAX_LOG_SIZE = 28
"""The largest transform has 2^28 values."""

_GENERATOR = 5
_WRAPPED = 1024
"""So many of the longest lags may wrap round and are computed one by one, where that halves the transform."""

_BLOCK = 1 << 12
"""Values that are transformed together: 128 KiB, which a core keeps at hand."""

_GRAIN = 1 << 11


def autocorrelation(chunks: Iterable[Words], length: int) -> Words:
    """Return S of Σ_j a_j(X)·a_j(1/X) = v + X·S(X) + S(1/X)/X: S_m = Σ_j Σ_x a_j,x · a_j,x+m+1.

    The transform of a_j(X)·a_j(1/X) is the product of a_j's values at ω^k and ω^-k. It is the same at k and -k, and for
    such values the way back is the way forward, divided by N.

    Args:
        chunks: the coefficients of each a_j, uint64 (length, 4) in Montgomery form; read once, one after the other
        length: of every chunk

    Returns:
        The length - 1 coefficients of S, uint64 (length - 1, 4) in Montgomery form.

    Raises:
        InvalidVector: a chunk of another shape, or more coefficients than the largest transform takes.
    """
    size = _transform_size(length)
    first_wrapped = size // 2 + 1
    longest = np.zeros((max(0, length - first_wrapped), 4), np.uint64)  # lags first_wrapped .. length - 1
    total: Words | None = None
    for chunk in chunks:
        spectrum = _power_spectrum(_checked(chunk, length), size)
        _spread(_add_lags, (longest, chunk, first_wrapped), len(longest), 16)
        if total is None:
            total = spectrum
        else:
            _spread(_add, (total, spectrum), size)
    if total is None:
        return np.zeros((max(0, length - 1), 4), np.uint64)
    _transform_back(total)
    return _unwrap(total, longest, length)


def _spread(task: Callable[..., None], arguments: tuple[object, ...], size: int, grain: int = _GRAIN) -> None:
    """Run a kernel that takes a range last over 0 … size, on all cores."""
    on_all_cores(lambda span: task(*arguments, *span), ranges(size, grain))


def _checked(chunk: Words, length: int) -> Words:
    if chunk.shape != (length, 4) or chunk.dtype != np.uint64:
        raise InvalidVector(f"a chunk is {chunk.dtype}{list(chunk.shape)}, expected uint64[{length}, 4]")
    return chunk


def _transform_size(length: int) -> int:
    """The smallest power of two in which at most a few lags wrap round, and none twice."""
    size = 1 << (max(length, 2 * (length - 1 - _WRAPPED), 2) - 1).bit_length()
    if size > 1 << MAX_LOG_SIZE:
        raise InvalidVector(f"{length} coefficients need a transform of {size} values, at most 2^{MAX_LOG_SIZE} exist")
    return size


def _power_spectrum(chunk: Words, size: int) -> Words:
    """The values of a(X)·a(1/X) at the powers of ω, with their indices' bits reversed."""
    values = np.zeros((size, 4), np.uint64)
    values[: len(chunk)] = chunk
    roots = _roots(size)
    half = size // 2
    while half >= _BLOCK:  # whole stages, until blocks are small
        _spread(_stage_forward, (values, roots, half), size // 2)
        half //= 2
    block = 2 * half
    _spread(_blocks_forward, (values, roots, block), size // block, 1)
    product = np.empty_like(values)
    _spread(_multiply_by_mirrored, (product, values), size)
    return product


def _transform_back(values: Words) -> None:
    """From bit-reversed values that are the same at k and -k to N times the coefficients, in their place."""
    size = len(values)
    roots = _roots(size)
    block = min(size, _BLOCK)
    _spread(_blocks_back, (values, roots, block), size // block, 1)
    half = block
    while half < size:
        _spread(_stage_back, (values, roots, half), size // 2)
        half *= 2


def _unwrap(cyclic: Words, longest: Words, length: int) -> Words:
    """Take from the cyclic sums what wrapped round: lag m of N also counts lag N - m."""
    size = len(cyclic)
    lags = np.empty((length - 1, 4), np.uint64)
    direct = min(length - 1, size // 2)
    scale = r_element(pow(size, -1, R))
    _spread(_scale, (lags, cyclic, scale), direct)
    if direct == size // 2:  # lag N/2 met itself
        _scale(lags, cyclic, r_element(pow(2 * size, -1, R)), direct - 1, direct)
    lags[direct:] = longest
    _subtract_mirrored(lags, longest, size)
    return lags


@lru_cache(maxsize=2)
def _roots(size: int) -> Words:
    """For every h = N/2, N/4 … 1 the first h powers of a primitive 2h-th root, from row h on: uint64 (N, 4)."""
    roots = np.zeros((size, 4), np.uint64)
    half = size // 2
    _write_powers(roots, half, size, r_element(pow(_GENERATOR, (R - 1) // size, R)))
    while half > 1:
        roots[half // 2 : half] = roots[half : 2 * half : 2]
        half //= 2
    return roots


@kernel
def _write_powers(powers: Words, start: int, stop: int, base: Words) -> None:
    power, factor = R_ONE, single(base)
    for row in range(start, stop):
        store(powers, row, power)
        power = r_mul(power, factor)


@kernel
def _forward(values: Words, low: int, high: int, root: Limbs) -> None:
    """The butterfly u + v, (u - v)·root."""
    u, v = load(values, low), load(values, high)
    store(values, low, r_add(u, v))
    store(values, high, r_mul(r_sub(u, v), root))


@kernel
def _back(values: Words, low: int, high: int, root: Limbs) -> None:
    """The butterfly u + v·root, u - v·root."""
    u, v = load(values, low), r_mul(load(values, high), root)
    store(values, low, r_add(u, v))
    store(values, high, r_sub(u, v))


@kernel
def _stage_forward(values: Words, roots: Words, half: int, start: int, stop: int) -> None:
    """Butterflies start … stop of the stage whose partners are `half` apart."""
    for index in range(start, stop):
        j = index & (half - 1)
        low = 2 * (index - j) + j
        _forward(values, low, low + half, load(roots, half + j))


@kernel
def _stage_back(values: Words, roots: Words, half: int, start: int, stop: int) -> None:
    for index in range(start, stop):
        j = index & (half - 1)
        low = 2 * (index - j) + j
        _back(values, low, low + half, load(roots, half + j))


@kernel
def _blocks_forward(values: Words, roots: Words, block: int, first: int, last: int) -> None:
    """All the stages of some blocks, one block after the other."""
    for start in range(first * block, last * block, block):
        half = block // 2
        while half >= 1:
            for low in range(start, start + block, 2 * half):
                for j in range(half):
                    _forward(values, low + j, low + j + half, load(roots, half + j))
            half //= 2


@kernel
def _blocks_back(values: Words, roots: Words, block: int, first: int, last: int) -> None:
    for start in range(first * block, last * block, block):
        half = 1
        while half < block:
            for low in range(start, start + block, 2 * half):
                for j in range(half):
                    _back(values, low + j, low + j + half, load(roots, half + j))
            half *= 2


@kernel
def _multiply_by_mirrored(product: Words, values: Words, start: int, stop: int) -> None:
    """Where index i holds the value at ω^k, i ^ (2^⌊log₂ i⌋ - 1) holds the one at ω^-k."""
    top = 1
    for row in range(start, stop):
        while 2 * top <= row:
            top *= 2
        mirrored = row ^ (top - 1) if row > 0 else 0
        store(product, row, r_mul(load(values, row), load(values, mirrored)))


@kernel
def _add(sums: Words, summands: Words, start: int, stop: int) -> None:
    for row in range(start, stop):
        store(sums, row, r_add(load(sums, row), load(summands, row)))


@kernel
def _add_lags(lags: Words, chunk: Words, first_lag: int, start: int, stop: int) -> None:
    """Add to rows start … stop the sums over x of a_x · a_(x + first_lag + row)."""
    for row in range(start, stop):
        total, lag = load(lags, row), first_lag + row
        for x in range(chunk.shape[0] - lag):
            total = r_add(total, r_mul(load(chunk, x), load(chunk, x + lag)))
        store(lags, row, total)


@kernel
def _scale(lags: Words, cyclic: Words, scale: Words, start: int, stop: int) -> None:
    """Rows start … stop of the lags, lag row + 1 each, times a scale."""
    factor = single(scale)
    for row in range(start, stop):
        store(lags, row, r_mul(load(cyclic, row + 1), factor))


@kernel
def _subtract_mirrored(lags: Words, longest: Words, size: int) -> None:
    """Lags m > N/2, which are known, out of the sums at N - m."""
    for index in range(longest.shape[0]):
        row = size - (size // 2 + 1 + index) - 1
        store(lags, row, r_sub(load(lags, row), load(longest, index)))
