"""What the interface of the consensus contract says, read literally: every set of seats in turn, and integers alone.

It shares nothing with `market.protocol.consensus`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

ACCEPTED, VOID, NO_MAJORITY = 1, 2, 3
Digests = Sequence[int] | None
"""A seat's digests as numbers; none of them where it says that the request is void; None where it is silent."""


@dataclass(frozen=True)
class Verdict:
    """What the contract says of a panel; masks have a bit a seat."""

    outcome: int
    clique: int
    spared: int
    medoid: int
    accepted_samples: int


@dataclass(frozen=True)
class Rules:
    """What the oracle goes by."""

    seats: int
    samples: int
    tolerance: int
    slack: int


def verdict(rules: Rules, reveals: Sequence[Digests], canaries: Mapping[int, int]) -> Verdict:
    """The verdict about a panel."""
    counting = [
        s for s, c in canaries.items() if 2 * sum(_meets(r, s, c, rules.tolerance) for r in reveals) > rules.seats
    ]
    best = _best(rules, reveals, counting)
    if 2 * len(best) <= rules.seats:
        counting = []  # canaries undo no majority
        best = _best(rules, reveals, counting)
    if 2 * len(best) <= rules.seats:
        return Verdict(NO_MAJORITY, 0, 0, 0, 0)
    clique = sum(1 << seat for seat in best)
    medoid = min(best, key=lambda seat: (sum(_distance(reveals[seat], reveals[other]) for other in best), seat))
    centre = reveals[medoid]
    assert centre is not None
    others = [seat for seat, reveal in enumerate(reveals) if seat not in best and reveal is not None]
    if not centre:
        return Verdict(VOID, clique, sum(1 << seat for seat in others if reveals[seat]), medoid, 0)
    spared = [s for s in others if any(_agree(rules, (), reveals[s], reveals[m]) for m in best)]
    accepted = 0
    for sample in range(rules.samples):
        near = sum((reveals[m][sample] ^ centre[sample]).bit_count() <= rules.tolerance for m in best)  # type: ignore[index]
        accepted |= (2 * near > rules.seats) << sample
    return Verdict(ACCEPTED, clique, sum(1 << seat for seat in spared), medoid, accepted)


def _best(rules: Rules, reveals: Sequence[Digests], counting: Sequence[int]) -> tuple[int, ...]:
    present = [seat for seat, reveal in enumerate(reveals) if reveal is not None]
    pairs = {(a, b): _agree(rules, counting, reveals[a], reveals[b]) for a, b in combinations(present, 2)}
    for size in range(len(present), 0, -1):
        found = [
            (
                sum(_distance(reveals[a], reveals[b]) for a, b in combinations(seats, 2)),
                sum(1 << s for s in seats),
                seats,
            )
            for seats in combinations(present, size)
            if all(pairs[pair] for pair in combinations(seats, 2))
        ]
        if found:
            return min(found)[2]
    return ()


def _agree(rules: Rules, counting: Sequence[int], left: Digests, right: Digests) -> bool:
    assert left is not None
    assert right is not None
    if not left or not right:
        return not left and not right
    beyond = [s for s in range(rules.samples) if (left[s] ^ right[s]).bit_count() > rules.tolerance]
    return len(beyond) <= rules.samples * rules.slack // 1000 and not any(s in counting for s in beyond)


def _meets(reveal: Digests, sample: int, canary: int, tolerance: int) -> bool:
    return bool(reveal) and (reveal[sample] ^ canary).bit_count() <= tolerance


def _distance(left: Digests, right: Digests) -> int:
    if not left or not right:
        return 0
    return sum((a ^ b).bit_count() for a, b in zip(left, right, strict=True))
