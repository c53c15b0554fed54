"""On which side of 256 random hyperplanes a vector lies, computed in whole numbers: the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer_client.digests.bits import BITS, BYTES
from zk.cores import kernel, on_all_cores, ranges

PLANES_DOMAIN = "fedmarket/hyperplanes/1"

BLOCK = 1 << 12
"""Dimensions whose planes are drawn at once."""

MAGNITUDE_BITS = 32
"""Entries are at most 2^32 in magnitude."""

LARGEST_DIMENSION = 1 << 30
"""All sums then stay within 2^62, which int64 holds."""

Entries = Callable[[int, int], NDArray[np.int64]]
"""From the first place and the one after the last to the samples' entries there, int64 (n, places)."""


def planes(seed: int, block: int) -> NDArray[np.uint64]:
    """Draw the planes of dimensions 4096·block and on: a bit each, uint64 (4096, 4).

    SHAKE-256 of the domain, the seed and the block's number gives 32 bytes a dimension; plane j has +1 where bit j of
    these is set, counted from the most significant, and -1 elsewhere. So an entry depends on the seed and its place
    alone, and not on how many dimensions there are.
    """
    drawn = hashlib.shake_256(f"{PLANES_DOMAIN}:{seed}:{block}".encode()).digest(BLOCK * BYTES)
    return np.frombuffer(drawn, dtype=">u8").astype(np.uint64).reshape(BLOCK, BYTES // 8)


def projections(samples: int, dimension: int, seed: int, entries: Entries) -> NDArray[np.int64]:
    """Sum the entries of each sample with the signs of each plane, exactly, on all cores.

    Args:
        samples: n.
        dimension: d, at most `LARGEST_DIMENSION`.
        seed: of the planes.
        entries: gives whole numbers of at most 2^32 in magnitude. Asked for a block at a time, so nothing larger is
            held; in any order, which sums of whole numbers do not show.

    Returns:
        int64 (n, 256).
    """

    def signed_sums(blocks: tuple[int, int]) -> NDArray[np.int64]:
        positive = np.zeros((samples, BITS), dtype=np.int64)
        all_entries = np.zeros((samples, 1), dtype=np.int64)
        for first in range(blocks[0] * BLOCK, min(blocks[1] * BLOCK, dimension), BLOCK):
            part = np.ascontiguousarray(entries(first, min(first + BLOCK, dimension)))
            _add_positive(part, planes(seed, first // BLOCK), positive)
            all_entries += part.sum(axis=1, keepdims=True)
        # Entries with +1, less those with -1.
        return 2 * positive - all_entries

    sums = np.zeros((samples, BITS), dtype=np.int64)
    for some in on_all_cores(signed_sums, ranges(-(-dimension // BLOCK), 1)):
        sums += some
    return sums


@kernel
def _add_positive(entries: NDArray[np.int64], signs: NDArray[np.uint64], sums: NDArray[np.int64]) -> None:
    """Add each sample's entries to the sums of the planes that have +1 there."""
    for sample in range(entries.shape[0]):
        own = sums[sample]
        for place in range(entries.shape[1]):
            entry = entries[sample, place]
            for word in range(4):
                bits = np.int64(signs[place, word])
                for bit in range(64):
                    own[64 * word + bit] += entry & -((bits >> np.int64(63 - bit)) & np.int64(1))
