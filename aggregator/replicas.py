"""Two trainers who say that they trained alike, compared by what a round's proven matrix has of their updates.

The matrix has their exact inner products, so their angle is known to anybody, whatever happened to the updates. Of two
vectors at an angle θ, a random hyperplane parts θ/π: so many bits of a SimHash differ (Charikar 2002,
doi:10.1145/509907.509965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from market.protocol.gram_matrix import GramMatrix, Integers
from market.protocol.identifiers import Seat

DIGEST_BITS: Final = 256
"""Of a SimHash."""


@dataclass(frozen=True)
class ReplicaPair:
    """How alike two seats' updates of a round are.

    Attributes:
        seats: which two.
        cosine: of their updates, -1 to 1; 0 where one of them is zero.
        bits: how many of their SimHashes' 256 bits are expected to differ.
    """

    seats: tuple[Seat, Seat]
    cosine: float
    bits: float


def cosine_of(updates: Integers, i: int, j: int) -> float:
    """The cosine of two rows of exact inner products, -1 to 1; 0 where a row is zero."""
    squares = updates[i][i] * updates[j][j]
    if not squares:
        return 0.0
    # Integers of any size are divided with one rounding: products of squares may exceed a float's range.
    size = min(1.0, math.sqrt(updates[i][j] ** 2 / squares))
    return -size if updates[i][j] < 0 else size


def expected_bits(cosine: float) -> float:
    """How many of 256 bits two SimHashes are expected to differ by, 0 to 256."""
    return DIGEST_BITS * math.acos(cosine) / math.pi


def compare_replicas(matrix: GramMatrix, rows: Sequence[Seat], seats: Sequence[Seat]) -> list[ReplicaPair]:
    """Every pair of the seats that a round's matrix has a row of.

    Args:
        matrix: the round's.
        rows: the seats behind its rows, in their order.
        seats: of those who say that they trained alike.
    """
    places = {seat: row for row, seat in enumerate(rows) if seat in set(seats)}
    pairs = []
    for first, second in combinations(sorted(places), 2):
        cosine = cosine_of(matrix.updates, places[first], places[second])
        pairs.append(ReplicaPair((first, second), cosine, expected_bits(cosine)))
    return pairs


def deviating(pairs: Sequence[ReplicaPair], tolerance_bits: int) -> list[Seat]:
    """The seats that agree with fewer than half of the others they are compared with, ascending.

    Where only two are compared and they differ, nobody can tell which of them deviates: both are named.
    """
    seats = sorted({seat for pair in pairs for seat in pair.seats})
    found = []
    for seat in seats:
        agrees = [pair.bits <= tolerance_bits for pair in pairs if seat in pair.seats]
        if 2 * sum(agrees) < len(agrees):
            found.append(seat)
    return found
