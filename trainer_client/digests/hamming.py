"""In how many bits digests differ: one by one, all with all, and how often in how many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from zk.cores import kernel, on_all_cores, ranges

_ROWS_AT_ONCE = 1 << 20
"""Distances, of which a matrix is made at a time: their words stay in the cache."""

_COLUMNS_AT_ONCE = 1 << 11
_COUNTERS = 8
"""Histograms side by side: a counter that was just written is not at once to be read again."""


def hamming(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the bits in which digests differ, one by one, or one with each.

    Args:
        a: uint8 (n, bytes), or (bytes,).
        b: as many, or one of the two a single digest.

    Returns:
        int64 (n,), or a number for two single digests.

    Raises:
        InvalidData: not uint8, or shapes that do not go together.
    """
    _check(a, "a")
    _check(b, "b")
    if a.shape[-1] != b.shape[-1] or (a.ndim == b.ndim == 2 and len(a) != len(b)):
        raise InvalidData(f"digests have the shapes {a.shape} and {b.shape}, expected as many of as many bytes")
    distances: NDArray[np.int64] = np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64)
    return distances


def hamming_matrix(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Count the bits in which each digest of a differs from each of b.

    Args:
        a: uint8 (n, bytes), at most 8,191 bytes.
        b: uint8 (m, bytes).

    Returns:
        uint16 (n, m).

    Raises:
        InvalidData: not uint8, or not of as many bytes.
    """
    left, right = words(a, b)
    distances = np.empty((len(left), len(right)), dtype=np.uint16)
    step = max(1, _ROWS_AT_ONCE // max(1, len(right)))
    for first in range(0, len(left), step):
        rows = distances[first : first + step]
        rows[...] = 0
        for word in range(left.shape[1]):
            rows += np.bitwise_count(left[first : first + step, None, word] ^ right[None, :, word])
    return distances


def hamming_histogram(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the pairs, one of a and one of b, that differ in 0, 1, 2, … bits; on all cores, in constant memory.

    Of a batch with itself every pair comes twice, and each digest with itself: `(histogram - n·[0]) / 2` are the pairs.

    Args:
        a: uint8 (n, bytes).
        b: uint8 (m, bytes).

    Returns:
        int64 (8·bytes + 1,), of sum n·m.

    Raises:
        InvalidData: not uint8, or not of as many bytes.
    """
    left, right = words(a, b)
    columns = np.ascontiguousarray(right.T)

    def count(rows: tuple[int, int]) -> NDArray[np.int64]:
        counts = np.zeros((_COUNTERS, 64 * left.shape[1] + 1), dtype=np.int64)
        _count_distances(left[rows[0] : rows[1]], columns, counts)
        summed: NDArray[np.int64] = counts.sum(axis=0)
        return summed

    total = np.zeros(64 * left.shape[1] + 1, dtype=np.int64)
    for counts in on_all_cores(count, ranges(len(left), 1)):
        total += counts
    return total[: 8 * a.shape[1] + 1]


def count_within(a: NDArray[np.uint8], b: NDArray[np.uint8], radius: int) -> int:
    """Count the pairs, one of a and one of b, that differ in at most so many bits; on all cores, in constant memory.

    Args:
        a: uint8 (n, bytes).
        b: uint8 (m, bytes).
        radius: bits.

    Raises:
        InvalidData: not uint8, not of as many bytes, or a radius that digests of this size cannot have.
    """
    left, right = words(a, b)
    check_radius(radius, a)
    columns, limit = np.ascontiguousarray(right.T), np.uint64(radius)
    kernels = {1: _within_of_one_word, 4: _within_of_four_words}
    within = kernels.get(left.shape[1], _within)
    return sum(on_all_cores(lambda rows: int(within(left[rows[0] : rows[1]], columns, limit)), ranges(len(left), 1)))


def words(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return both as words of 64 bits, (n, words) and (m, words), zeros being appended where bytes are missing.

    Raises:
        InvalidData: not uint8, or not of as many bytes.
    """
    check_batches(a, b)
    return _words(a), _words(b)


def _words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    missing = -digests.shape[1] % 8
    padded = np.pad(digests, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(digests)
    return padded.view(np.uint64)


def _check(digests: Any, name: str) -> None:
    if not isinstance(digests, np.ndarray) or digests.dtype != np.uint8 or digests.ndim not in (1, 2):
        what = f"{digests.dtype} {digests.shape}" if isinstance(digests, np.ndarray) else type(digests).__name__
        raise InvalidData(f"digests {name} are {what}, expected uint8 (n, bytes)")


def check_radius(radius: int, digests: NDArray[np.uint8]) -> None:
    """Refuse a distance that digests of this size cannot have.

    Raises:
        InvalidData: it is below 0, or above the number of their bits.
    """
    if not 0 <= radius <= 8 * digests.shape[1]:
        raise InvalidData(f"the radius is {radius}, expected 0..{8 * digests.shape[1]} bits")


def check_batches(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    """Refuse what are no batches of digests of one size.

    Raises:
        InvalidData: not uint8, or not of as many bytes.
    """
    for digests, name in ((a, "a"), (b, "b")):
        _check(digests, name)
        if digests.ndim != 2:
            raise InvalidData(f"digests {name} have the shape {digests.shape}, expected (n, bytes)")
    if a.shape[1] != b.shape[1] or not a.shape[1]:
        raise InvalidData(f"digests have {a.shape[1]} and {b.shape[1]} bytes, expected as many")


def _bits_set() -> Callable[[np.uint64], np.uint64]:
    """The number of bits set in a word, inside kernels: the processor's own instruction for it."""

    def typed(typing_context: Any, word: Any) -> Any:
        return types.uint64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])

    return cast("Callable[[np.uint64], np.uint64]", intrinsic(typed))


_population = _bits_set()


@kernel
def _write_distances(digest: NDArray[np.uint64], columns: NDArray[np.uint64], distances: NDArray[np.uint16]) -> None:
    """Write the distances of one digest from columns of words: four words at a time, which 256 bits are."""
    words_of = len(digest)
    fours = words_of - words_of % 4
    for place in range(columns.shape[1]):
        distances[place] = 0
    for word in range(0, fours, 4):
        first, second, third, fourth = digest[word], digest[word + 1], digest[word + 2], digest[word + 3]
        for place in range(columns.shape[1]):
            distances[place] += (
                _population(first ^ columns[word, place])
                + _population(second ^ columns[word + 1, place])
                + _population(third ^ columns[word + 2, place])
                + _population(fourth ^ columns[word + 3, place])
            )
    for word in range(fours, words_of):
        single = digest[word]
        for place in range(columns.shape[1]):
            distances[place] += _population(single ^ columns[word, place])


@kernel
def _count_distances(left: NDArray[np.uint64], columns: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
    """Count the distances of rows of words, (n, words), from columns of words, (words, m)."""
    distances = np.empty(_COLUMNS_AT_ONCE, dtype=np.uint16)
    for first in range(0, columns.shape[1], _COLUMNS_AT_ONCE):
        size = min(_COLUMNS_AT_ONCE, columns.shape[1] - first)
        for row in range(left.shape[0]):
            _write_distances(left[row], columns[:, first : first + size], distances)
            whole = size - size % _COUNTERS
            for place in range(0, whole, _COUNTERS):
                for counter in range(_COUNTERS):
                    counts[counter, distances[place + counter]] += 1
            for place in range(whole, size):
                counts[0, distances[place]] += 1


@kernel
def _within_of_one_word(left: NDArray[np.uint64], columns: NDArray[np.uint64], radius: np.uint64) -> np.int64:
    """Count the pairs of rows and columns within a radius."""
    total = np.int64(0)
    for row in range(left.shape[0]):
        word = left[row, 0]
        for place in range(columns.shape[1]):
            total += np.int64(_population(word ^ columns[0, place]) <= radius)
    return total


@kernel
def _within_of_four_words(left: NDArray[np.uint64], columns: NDArray[np.uint64], radius: np.uint64) -> np.int64:
    """Count the pairs of rows and columns within a radius: 256 bits."""
    total = np.int64(0)
    for row in range(left.shape[0]):
        first, second, third, fourth = left[row, 0], left[row, 1], left[row, 2], left[row, 3]
        for place in range(columns.shape[1]):
            distance = (
                _population(first ^ columns[0, place])
                + _population(second ^ columns[1, place])
                + _population(third ^ columns[2, place])
                + _population(fourth ^ columns[3, place])
            )
            total += np.int64(distance <= radius)
    return total


@kernel
def _within(left: NDArray[np.uint64], columns: NDArray[np.uint64], radius: np.uint64) -> np.int64:
    """Count the pairs of rows and columns within a radius: any number of words."""
    distances = np.empty(columns.shape[1], dtype=np.uint16)
    total = np.int64(0)
    for row in range(left.shape[0]):
        _write_distances(left[row], columns, distances)
        for place in range(columns.shape[1]):
            total += np.int64(distances[place] <= radius)
    return total
