"""Autocorrelations by the number-theoretic transform: the fast Fourier transform over BN254's scalars.

Forwards by decimation in frequency, which leaves the spectrum in bit-reversed order; back by decimation in time, which
takes it so: nothing is ever reordered. An autocorrelation's spectrum is symmetric, so the way back needs no inverse
roots either.

J. Cooley, J. Tukey, An algorithm for the machine calculation of complex Fourier series, Mathematics of Computation 19
(1965), 297-301; W. Gentleman, G. Sande, Fast Fourier transforms: for fun and profit, AFIPS 1966.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from zk.cores import kernel, on_all_cores, ranges
from zk.errors import InvalidVector
from zk.field import R, Words, load, r_add, r_element, r_mul, r_sub, single, store
from zk.vectors import powers, zeros

_Stage = Callable[[Words, Words, int, int, int], None]

MAX_SIZE = 1 << 28
"""The scalars have roots of unity of this order, and of no higher power of two."""

_GRAIN = 1 << 12
_BLOCK = 1 << 14
"""Elements that are transformed in one go, inside a core's cache."""

_MAX_WRAPPED = 1 << 9
"""Lags that may be computed term by term rather than with a transform of twice the size."""


def autocorrelation(vector: Words) -> Words:
    """Return Σ_x a_x·a_(x+m+1) for m = 0..n-2, shape (n - 1, 4), of a vector of n elements in Montgomery form."""
    sums = Autocorrelation(len(vector))
    sums.add(vector)
    return sums.coefficients()


class Autocorrelation:
    """The sum of the autocorrelations of several vectors, for one transform each and one back.

    The transform is cyclic, of a power of two N. Where a vector is longer than N/2 by a few elements only (as a
    million entries with their blinders are), its few lags from N/2 on, which have few terms, are computed directly and
    subtracted from those that they wrap around to: that halves N.

    Args:
        length: n, the longest vector's length.

    Raises:
        InvalidVector: longer than the roots of unity reach.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._size = _transform_size(length)
        if self._size > MAX_SIZE:
            raise InvalidVector(f"a vector of {length} elements needs a transform longer than {MAX_SIZE}")
        self._spectrum: Words | None = None
        self._wrapped = zeros(max(length - self._size // 2, 0))

    def add(self, vector: Words) -> None:
        """Add a vector's autocorrelation.

        Raises:
            InvalidVector: longer than was said.
        """
        if len(vector) > self._length:
            raise InvalidVector(f"a vector of {len(vector)} elements, where at most {self._length} were to come")
        work = zeros(self._size)
        work[: len(vector)] = vector
        transform(work)
        size = len(work)
        on_all_cores(lambda part: _square(work, part[0], part[1]), ranges(size // 2, _GRAIN))
        _add_lags(np.ascontiguousarray(vector), self._size // 2, self._wrapped)
        if self._spectrum is None:
            self._spectrum = work
        else:
            sums = self._spectrum
            on_all_cores(lambda part: _add(sums, work, part[0], part[1]), ranges(size, _GRAIN))

    def coefficients(self) -> Words:
        """Return the sums for the lags 1..n-1, shape (n - 1, 4); this ends the object's use."""
        result = zeros(max(self._length - 1, 0))
        cyclic, self._spectrum = self._spectrum, None
        if cyclic is None:
            return result
        transform_back(cyclic)
        scale = r_element(pow(self._size, -1, R))
        on_all_cores(lambda part: _scale_lags(cyclic, scale, part[0], part[1], result), ranges(len(result), _GRAIN))
        _unwrap(result, self._wrapped, self._size // 2)
        return result


def transform(vector: Words) -> None:
    """Replace a vector, whose length N is a power of two, by its values at the N-th roots of unity.

    The value at root^k lands at the index that has k's bits in reverse.
    """
    size, block = len(vector), min(len(vector), _BLOCK)
    if size < 2:
        return
    roots, short = _roots(size), _short_roots(size)
    distance = size // 2
    while distance >= block:
        _on_stage(_spread_stage, vector, roots, distance)
        distance //= 2
    on_all_cores(lambda part: _spread_blocks(vector, short, block, part[0], part[1]), ranges(size // block, 1))


def transform_back(spectrum: Words) -> None:
    """Replace a spectrum in bit-reversed order by N·a_(-x mod N) at index x, a being what `transform` was given."""
    size, block = len(spectrum), min(len(spectrum), _BLOCK)
    if size < 2:
        return
    roots, short = _roots(size), _short_roots(size)
    on_all_cores(lambda part: _gather_blocks(spectrum, short, block, part[0], part[1]), ranges(size // block, 1))
    distance = block
    while distance < size:
        _on_stage(_gather_stage, spectrum, roots, distance)
        distance *= 2


def _transform_size(length: int) -> int:
    """Return the least power of two for which at most a few lags of a vector of this length wrap around."""
    size = 2
    while length > size // 2 + min(_MAX_WRAPPED, size // 8):
        size *= 2
    return size


@lru_cache(maxsize=2)
def _roots(size: int) -> Words:
    """Return root^0 … root^(size/2 - 1) for a root of unity of order `size`."""
    roots = powers(pow(5, (R - 1) // size, R), size // 2)
    roots.flags.writeable = False
    return roots


@lru_cache(maxsize=2)
def _short_roots(size: int) -> Words:
    """Return the roots for each distance d inside a block, at rows d to 2d - 1: close together, unlike in `_roots`."""
    roots = _roots(size)
    short = zeros(min(size, _BLOCK))
    distance = 1
    while distance < len(short):
        short[distance : 2 * distance] = roots[:: size // (2 * distance)]
        distance *= 2
    short.flags.writeable = False
    return short


def _on_stage(stage: _Stage, vector: Words, roots: Words, distance: int) -> None:
    """Run one stage, all pairs at a distance, on all cores."""
    on_all_cores(
        lambda part: stage(vector, roots, distance, part[0], part[1]),
        ranges(len(vector) // 2, _GRAIN),
    )


@kernel
def _spread_stage(vector: Words, roots: Words, distance: int, start: int, stop: int) -> None:
    """Turn (u, v) into (u + v, (u - v)·root) for the pairs start..stop at a distance."""
    stride = len(roots) // distance
    for pair in range(start, stop):
        at = pair & (distance - 1)
        low = 2 * pair - at
        u, v = load(vector, low), load(vector, low + distance)
        store(vector, low, r_add(u, v))
        store(vector, low + distance, r_mul(r_sub(u, v), load(roots, at * stride)))


@kernel
def _gather_stage(vector: Words, roots: Words, distance: int, start: int, stop: int) -> None:
    """Turn (u, v) into (u + v·root, u - v·root) for the pairs start..stop at a distance."""
    stride = len(roots) // distance
    for pair in range(start, stop):
        at = pair & (distance - 1)
        low = 2 * pair - at
        u, v = load(vector, low), r_mul(load(vector, low + distance), load(roots, at * stride))
        store(vector, low, r_add(u, v))
        store(vector, low + distance, r_sub(u, v))


@kernel
def _spread_blocks(vector: Words, short: Words, block: int, first: int, last: int) -> None:
    """Run the stages that stay inside a block, for the blocks first..last."""
    for start in range(first * block, last * block, block):
        distance = block // 2
        while distance > 0:
            for low in range(start, start + block, 2 * distance):
                for at in range(distance):
                    u, v = load(vector, low + at), load(vector, low + at + distance)
                    store(vector, low + at, r_add(u, v))
                    store(vector, low + at + distance, r_mul(r_sub(u, v), load(short, distance + at)))
            distance //= 2


@kernel
def _gather_blocks(vector: Words, short: Words, block: int, first: int, last: int) -> None:
    """Run the stages of the way back that stay inside a block, for the blocks first..last."""
    for start in range(first * block, last * block, block):
        distance = 1
        while distance < block:
            for low in range(start, start + block, 2 * distance):
                for at in range(distance):
                    u = load(vector, low + at)
                    v = r_mul(load(vector, low + at + distance), load(short, distance + at))
                    store(vector, low + at, r_add(u, v))
                    store(vector, low + at + distance, r_sub(u, v))
            distance *= 2


@kernel
def _square(spectrum: Words, start: int, stop: int) -> None:
    """Multiply the values at root^k and root^-k, and put the product at both.

    In bit-reversed order the index of -k has all bits below k's highest flipped. Each pair is met once: at its even
    index, 2·start to 2·stop. 0 and 1 are their own partners.
    """
    for index in range(2 * start, 2 * stop, 2):
        if index == 0:
            store(spectrum, 0, r_mul(load(spectrum, 0), load(spectrum, 0)))
            store(spectrum, 1, r_mul(load(spectrum, 1), load(spectrum, 1)))
            continue
        highest = 1
        while 2 * highest <= index:
            highest *= 2
        partner = index ^ (highest - 1)
        product = r_mul(load(spectrum, index), load(spectrum, partner))
        store(spectrum, index, product)
        store(spectrum, partner, product)


@kernel
def _add(into: Words, vector: Words, start: int, stop: int) -> None:
    for row in range(start, stop):
        store(into, row, r_add(load(into, row), load(vector, row)))


@kernel
def _add_lags(vector: Words, first: int, sums: Words) -> None:
    """Add Σ_x a_x·a_(x+lag), term by term, for the lags from `first` on."""
    for index in range(len(sums)):
        total = load(sums, index)
        for row in range(len(vector) - first - index):
            total = r_add(total, r_mul(load(vector, row), load(vector, row + first + index)))
        store(sums, index, total)


@kernel
def _scale_lags(cyclic: Words, scale: Words, start: int, stop: int, out: Words) -> None:
    factor = single(scale)
    for row in range(start, stop):
        store(out, row, r_mul(load(cyclic, row + 1), factor))


@kernel
def _unwrap(out: Words, wrapped: Words, half: int) -> None:
    """Put the lags from `half` on in their places, and take them from those that they wrapped around to."""
    for index in range(len(wrapped)):
        lag = half + index
        if 0 < lag <= len(out):
            store(out, lag - 1, load(wrapped, index))
        if index > 0:
            mirrored = half - index - 1
            store(out, mirrored, r_sub(load(out, mirrored), load(wrapped, index)))
