"""In how many bits digests differ: pairwise, all with all, and in bulk by faiss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData

_ROWS_AT_ONCE = 1 << 20
"""Distances, of which a matrix is made at a time: their words stay in the cache."""


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


def words(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return both as words of 64 bits, (n, words) and (m, words), zeros being appended where bytes are missing.

    Raises:
        InvalidData: not uint8, or not of as many bytes.
    """
    _check_batches(a, b)
    return _words(a), _words(b)


def _words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    missing = -digests.shape[1] % 8
    padded = np.pad(digests, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(digests)
    return padded.view(np.uint64)


def _check(digests: Any, name: str) -> None:
    if not isinstance(digests, np.ndarray) or digests.dtype != np.uint8 or digests.ndim not in (1, 2):
        what = f"{digests.dtype} {digests.shape}" if isinstance(digests, np.ndarray) else type(digests).__name__
        raise InvalidData(f"digests {name} are {what}, expected uint8 (n, bytes)")


def _check_batches(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    for digests, name in ((a, "a"), (b, "b")):
        _check(digests, name)
        if digests.ndim != 2:
            raise InvalidData(f"digests {name} have the shape {digests.shape}, expected (n, bytes)")
    if a.shape[1] != b.shape[1] or not a.shape[1]:
        raise InvalidData(f"digests have {a.shape[1]} and {b.shape[1]} bytes, expected as many")
