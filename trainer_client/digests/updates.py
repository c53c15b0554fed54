"""SimHash of parameter updates, from the whole numbers that are committed to and paid for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests.bits import Digests, bounded
from trainer_client.digests.hyperplanes import projections
from trainer_client.digests.simhash import LARGEST_SEED, rows_of, sides


def update_digests(outputs: Any, seed: int = 0) -> Digests:
    """SimHash of updates of int16 counts (Charikar 2002): exact, as they are not scaled.

    The law, and what it is invariant to, are those of `simhash.simhash_digests`: the angle between two updates, not
    their lengths. Replicas of the same training agree as far as their updates point the same way; a replica that sends
    its update twice as long, or a tenth as long, agrees too: clipping and contribution see lengths, this does not.

    An update of zeros has no direction: its digest is 1, and is about 128 bits from any other's.

    Args:
        outputs: int16 (n, d), d at most 2^30; a memory-mapped file is read 4,096 columns at a time.
        seed: of the planes, 0..2^64 - 1.

    Returns:
        uint8 (n, 32), the same on every machine.

    Raises:
        InvalidData: another shape, or entries of another type.
    """
    bounded("seed", seed, 0, LARGEST_SEED)
    updates = rows_of(outputs)
    if updates.dtype != np.int16:
        raise InvalidData(f"updates have entries of type {updates.dtype}, expected counts of int16")

    def entries(first: int, last: int) -> NDArray[np.int64]:
        return updates[:, first:last].astype(np.int64)

    return sides(projections(len(updates), updates.shape[1], seed, entries))
