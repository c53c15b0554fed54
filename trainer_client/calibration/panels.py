"""What a panel of k verifiers decides of one sample, and how often it errs: as the contract settles it.

Honest machines do not err independently: a sample that is close to the edge of one bit after another parts all of
them. So the error of a majority is counted over whole panels, drawn sample by sample from what the machines computed;
what independence would make of the pairs' error stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import CannotCalibrate, InvalidData
from trainer_client.calibration.distances import distances
from trainer_client.calibration.rates import Rate
from trainer_client.calibration.samples import Measured

PANELS = (3, 5, 7)
"""How many verifiers a task may ask for."""

DRAWS = 8
"""Panels drawn for each sample."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What panels decided.

    Attributes:
        majority: whether more than half agree, every two of them: bool (n,).
        medoid: the seat whose digest is accepted, 0 where there is no majority: int64 (n,).
        clique: bit i iff seat i is in the majority: int64 (n,).
    """

    majority: NDArray[np.bool_]
    medoid: NDArray[np.int64]
    clique: NDArray[np.int64]


def settle(bits: NDArray[np.int64], tolerance: int) -> Verdicts:
    """Decide panels, a sample each: the largest set within the tolerance, then the closest, then the lowest mask.

    Args:
        bits: distances between the seats: int64 (n, k, k).
        tolerance: bits.
    """
    panels, seats = bits.shape[:2]
    clique, least = np.zeros(panels, dtype=np.int64), np.full(panels, np.iinfo(np.int64).max)
    for members in _majorities(seats):
        inner = bits[:, members][:, :, members]
        total = inner.sum(axis=(1, 2))
        # Larger sets come first, and of one size the lower masks.
        smaller = np.bitwise_count(clique) > len(members)
        better = (inner <= tolerance).all(axis=(1, 2)) & (total < least) & ~smaller
        clique[better], least[better] = sum(1 << seat for seat in members), total[better]
    inside = (clique[:, None] >> np.arange(seats)) & 1
    away = np.where(inside == 1, (bits * inside[:, None, :]).sum(axis=2), np.iinfo(np.int64).max)
    return Verdicts(clique > 0, np.where(clique > 0, away.argmin(axis=1), 0), clique)


@cache
def _majorities(seats: int) -> tuple[list[int], ...]:
    masks = [mask for mask in range(1 << seats) if 2 * mask.bit_count() > seats]
    masks.sort(key=lambda mask: (-mask.bit_count(), mask))
    return tuple([seat for seat in range(seats) if mask >> seat & 1] for mask in masks)


@dataclass(frozen=True, eq=False)
class Draw:
    """Panels of honest machines and, beside each, one more honest machine that claims the output.

    Attributes:
        bits: distances between the seats: int64 (n, draws, k, k).
        claim: the claim's distances to the seats: int64 (n, draws, k).
        machines: which machine sits where; the last one claims: int64 (n, draws, k + 1).
    """

    bits: NDArray[np.int64]
    claim: NDArray[np.int64]
    machines: NDArray[np.int64]

    def first(self) -> Draw:
        """One panel a sample: these are independent of one another."""
        return Draw(self.bits[:, :1], self.claim[:, :1], self.machines[:, :1])


def draw_panels(measured: Measured, seats: int, seed: int, draws: int = DRAWS) -> Draw:
    """Draw whole panels for each sample: different machines as far as there are enough, else each again by turns.

    Raises:
        InvalidData: the panel is none that a task may ask for.
        CannotCalibrate: one machine only.
    """
    if seats not in PANELS:
        raise InvalidData(f"a panel of {seats}: expected one of {', '.join(map(str, PANELS))}")
    count = len(measured.machines)
    check_machines(count)
    random = np.random.default_rng(seed)
    repeats = -(-(seats + 1) // count)
    pool = np.tile(np.arange(count), repeats)
    order = random.random((len(measured), draws, len(pool))).argsort(axis=2)[:, :, : seats + 1]
    machines = pool[order]
    digests = measured.digests[machines, np.arange(len(measured))[:, None, None]]
    seated = digests[:, :, :seats]
    bits = distances(seated[:, :, :, None], seated[:, :, None])
    return Draw(bits, distances(digests[:, :, seats:], seated), machines)


def check_machines(count: int) -> None:
    """Whoever measures one machine learns nothing of how honest ones differ.

    Raises:
        CannotCalibrate: there are fewer than two.
    """
    if count < 2:
        raise CannotCalibrate(
            f"{count} way of running the model: expected two or more, of other precision, batches, threads or kernels"
        )


@dataclass(frozen=True)
class HonestErrors:
    """What goes wrong where everybody is honest.

    Attributes:
        undecided: panels without a majority.
        refused: honest claims that their panel did not accept, undecided ones among them.
        left_out: honest seats outside the majority, of all seats.
    """

    undecided: Rate
    refused: Rate
    left_out: Rate

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {name: getattr(self, name).to_json() for name in ("undecided", "refused", "left_out")}


def honest_errors(draw: Draw, tolerance: int) -> HonestErrors:
    """Decide every panel drawn, and the claim beside it."""
    seats = draw.bits.shape[-1]
    bits, claim = draw.bits.reshape(-1, seats, seats), draw.claim.reshape(-1, seats)
    verdicts = settle(bits, tolerance)
    accepted = verdicts.majority & (claim[np.arange(len(claim)), verdicts.medoid] <= tolerance)
    inside = int(np.bitwise_count(verdicts.clique).sum())
    return HonestErrors(
        undecided=Rate(int((~verdicts.majority).sum()), len(bits)),
        refused=Rate(int((~accepted).sum()), len(bits)),
        left_out=Rate(len(bits) * seats - inside, len(bits) * seats),
    )


def accepted_digests(measured: Measured, draw: Draw, tolerance: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The medoid of each sample's first panel, uint8 (n, 32), and whether it has a majority, bool (n,)."""
    one = draw.first()
    verdicts = settle(one.bits[:, 0], tolerance)
    places = np.arange(len(measured))
    return measured.digests[one.machines[places, 0, verdicts.medoid], places], verdicts.majority


def independent_undecided(apart: float, seats: int) -> float:
    """The chance that a panel has no majority, if every two seats were apart with this chance, independently.

    For three it is the cube. In general it is that of a random graph (Gilbert 1959, doi:10.1214/aoms/1177706098)
    without a clique of more than half.

    Args:
        apart: chance that two honest digests of one sample are beyond the tolerance.
        seats: k.
    """
    pairs = comb(seats, 2)
    without = _graphs_without_majority(seats)
    return float(sum(count * (1 - apart) ** edges * apart ** (pairs - edges) for edges, count in enumerate(without)))


@cache
def _graphs_without_majority(seats: int) -> tuple[int, ...]:
    """Of all graphs on the seats, those without a clique of more than half, by their number of edges."""
    edges = list(combinations(range(seats), 2))
    cliques = [
        sum(1 << edges.index(pair) for pair in combinations(members, 2))
        for members in combinations(range(seats), seats // 2 + 1)
    ]
    found = np.zeros(len(edges) + 1, dtype=np.int64)
    for graphs in _spans(1 << len(edges)):
        without = np.ones(len(graphs), dtype=np.bool_)
        for clique in cliques:
            without &= (graphs & clique) != clique
        found += np.bincount(np.bitwise_count(graphs[without]), minlength=len(found))
    return tuple(int(count) for count in found)


def _spans(total: int, step: int = 1 << 18) -> Iterator[NDArray[np.int64]]:
    for start in range(0, total, step):
        yield np.arange(start, min(start + step, total), dtype=np.int64)
