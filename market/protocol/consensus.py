"""Which outputs a panel of verifiers accepts, and whom it pays, spares and penalises: a pure function of its reveals.

`contracts/src/OutputConsensus.sol` decides the same, bit for bit.

Two batches of digests agree where at most a stated share of their samples is beyond the tolerance. The largest set of
batches that all agree with one another wins if it is a majority of the panel, and its medoid is the accepted output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market.protocol.errors import InvalidData, InvalidTerms

DIGEST_BYTES = 32
MAX_SAMPLES = 256
MAX_SEATS = 15
MAX_TOLERANCE_BITS = 127
MAX_SLACK_PERMILLE = 249
MAX_CANARIES = 16
LEAST_VERIFIERS = 3
MOST_VERIFIERS = 7
"""Of a first panel; an appeal has one more than twice as many."""

Batch = NDArray[np.uint8]
"""One verifier's digests, uint8 (samples, 32)."""


class Void(Enum):
    """The answer that a request cannot be done: it is missing, malformed, or beyond the service's limits."""

    VOID = "void"


VOID = Void.VOID

Reveal = Batch | Void | None
"""What one seat revealed: its digests, that nothing can be done, or nothing at all."""


class Outcome(IntEnum):
    """What a panel, or a task in the end, comes to; the same numbers as in the contract."""

    UNDECIDED = 0
    ACCEPTED = 1
    VOID = 2
    NO_MAJORITY = 3


@dataclass(frozen=True)
class ConsensusTerms:
    """What a decision depends on beside the reveals.

    Attributes:
        verifiers: seats of the panel.
        samples: digests of a batch.
        tolerance_bits: two digests of a sample agree where at most so many bits differ.
        slack_permille: which share of a batch's samples may be beyond the tolerance, rounded down to whole samples.

    Raises:
        InvalidTerms: one is out of range.
    """

    verifiers: int
    samples: int
    tolerance_bits: int
    slack_permille: int

    def __post_init__(self) -> None:
        _require("verifiers", self.verifiers, 1, MAX_SEATS)
        _require("samples", self.samples, 1, MAX_SAMPLES)
        _require("tolerance_bits", self.tolerance_bits, 0, MAX_TOLERANCE_BITS)
        _require("slack_permille", self.slack_permille, 0, MAX_SLACK_PERMILLE)

    @property
    def allowed(self) -> int:
        """How many samples may be beyond the tolerance between batches that agree."""
        return self.samples * self.slack_permille // 1000

    def is_majority(self, count: int) -> bool:
        """Whether so many are more than half of the panel: of its seats, whether or not they revealed."""
        return 2 * count > self.verifiers


@dataclass(frozen=True)
class Decision:
    """What a panel's reveals come to. Clique, spared and penalised seats are disjoint, and together all that are taken.

    Attributes:
        outcome: accepted, void, or no majority.
        clique: the seats that are paid, ascending; none without a majority.
        spared: seats that are neither paid nor penalised.
        penalised: seats that lose their unit.
        medoid: the seat of the clique that is nearest to all of it; None without a majority.
        accepted_samples: bit s is set where the clique agrees about sample s by itself.
        canaries_that_count: samples whose canary a majority of the panel confirms, ascending; none where they would
            leave no majority that agrees.
        largest: the largest set of seats that agree, ascending, majority or not.
    """

    outcome: Outcome
    clique: tuple[int, ...]
    spared: tuple[int, ...]
    penalised: tuple[int, ...]
    medoid: int | None
    accepted_samples: int
    canaries_that_count: tuple[int, ...]
    largest: tuple[int, ...]


@dataclass(frozen=True)
class Judgement:
    """How an appeal's majority judges the seats of the panel before it.

    Attributes:
        paid: seats that agree with the appeal's medoid, ascending.
        spared: other seats that agree with some member of its clique, or would without canaries.
        penalised: all others, silent ones among them.
    """

    paid: tuple[int, ...]
    spared: tuple[int, ...]
    penalised: tuple[int, ...]


def decide(terms: ConsensusTerms, reveals: Sequence[Reveal], canaries: Mapping[int, bytes] | None = None) -> Decision:
    """Decide about a panel.

    Args:
        terms: its terms.
        reveals: what each seat revealed, in the order of the seats. Fewer than the seats are of a panel that did not
            fill up: it has not sat, decides nothing, and penalises nobody.
        canaries: digests that the task's owner committed to beforehand, by sample.

    Raises:
        InvalidTerms: there are more reveals than seats.
        InvalidData: digests of another shape, or a canary of no sample.
    """
    return Panel(terms, reveals, canaries or {}).decision


def judge(appeal: Panel, original: Sequence[Reveal]) -> Judgement:
    """Judge the seats of the panel before an appeal by the appeal's majority.

    Where the appeal says that nothing can be done, who said so before is paid, and who gave digests is spared.

    Raises:
        InvalidTerms: the appeal has no majority.
        InvalidData: digests of another shape.
    """
    decision = appeal.decision
    if decision.medoid is None:
        raise InvalidTerms("an appeal without a majority judges nobody: expected one with")
    checked = [appeal.checked(reveal) for reveal in original]
    medoid = appeal.reveals[decision.medoid]
    paid = tuple(seat for seat, reveal in enumerate(checked) if appeal.agree(reveal, medoid))
    members = [appeal.reveals[seat] for seat in decision.clique]
    spared = tuple(
        seat
        for seat, reveal in enumerate(checked)
        if seat not in paid and reveal is not None and _is_spared(appeal, reveal, members)
    )
    rest = tuple(seat for seat in range(len(checked)) if seat not in paid and seat not in spared)
    return Judgement(paid, spared, rest)


def hamming(left: ArrayLike, right: ArrayLike) -> NDArray[np.int64]:
    """Bits that differ, sample by sample, of digests as uint8 (..., 32)."""
    differing = np.bitwise_xor(np.asarray(left, np.uint8), np.asarray(right, np.uint8))
    return np.asarray(np.bitwise_count(differing).sum(axis=-1, dtype=np.int64))


def batch_of(digests: Sequence[bytes]) -> Batch:
    """Digests as one array, uint8 (n, 32).

    Raises:
        InvalidData: one has another length than 32 bytes.
    """
    for sample, digest in enumerate(digests):
        if len(digest) != DIGEST_BYTES:
            raise InvalidData(f"digest of sample {sample} has {len(digest)} bytes, expected {DIGEST_BYTES}")
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), DIGEST_BYTES)


def digests_of(batch: Batch) -> tuple[bytes, ...]:
    """The digests of an array uint8 (n, 32), as bytes.

    Raises:
        InvalidData: it has another shape or another type.
    """
    if batch.ndim != 2 or batch.shape[1] != DIGEST_BYTES or batch.dtype != np.uint8:
        raise InvalidData(f"digests {batch.dtype} {batch.shape}: expected uint8 (samples, {DIGEST_BYTES})")
    return tuple(row.tobytes() for row in batch)


class Panel:
    """The reveals of one panel, and all that is computed of them."""

    def __init__(self, terms: ConsensusTerms, reveals: Sequence[Reveal], canaries: Mapping[int, bytes]) -> None:
        """See that the reveals and canaries fit the terms.

        Raises:
            InvalidTerms: there are more reveals than seats.
            InvalidData: digests of another shape, or a canary of no sample.
        """
        if len(reveals) > terms.verifiers:
            raise InvalidTerms(f"a panel of {terms.verifiers} seats has {len(reveals)} reveals")
        self.terms = terms
        self.reveals = [self.checked(reveal) for reveal in reveals]
        self.canaries = {sample: self._canary(sample, digest) for sample, digest in sorted(canaries.items())}

    def checked(self, reveal: Reveal) -> Reveal:
        """A reveal whose digests have the terms' shape, and none of which is zero.

        Raises:
            InvalidData: they have another shape, or one is zero.
        """
        if not isinstance(reveal, np.ndarray):
            return reveal
        if reveal.shape != (self.terms.samples, DIGEST_BYTES) or reveal.dtype != np.uint8:
            raise InvalidData(
                f"digests {reveal.dtype} {reveal.shape}: expected uint8 ({self.terms.samples}, {DIGEST_BYTES})"
            )
        if not reveal.any(axis=1).all():
            raise InvalidData(f"digest of sample {int(np.argmin(reveal.any(axis=1)))} is zero: no digest is")
        return reveal

    def _canary(self, sample: int, digest: bytes) -> Batch:
        if not 0 <= sample < self.terms.samples:
            raise InvalidData(f"a canary of sample {sample}: expected one below {self.terms.samples}")
        return batch_of([digest]).reshape(DIGEST_BYTES)

    @cached_property
    def confirmed(self) -> tuple[int, ...]:
        """Samples whose canary a majority of the panel confirms: a false one, which nobody has, is not."""
        batches = [reveal for reveal in self.reveals if isinstance(reveal, np.ndarray)]
        return tuple(
            sample
            for sample, canary in self.canaries.items()
            if self.terms.is_majority(
                sum(int(hamming(batch[sample], canary)) <= self.terms.tolerance_bits for batch in batches)
            )
        )

    @cached_property
    def counting(self) -> tuple[int, ...]:
        """Samples at which no slack is left: those that are confirmed, unless they leave no majority; then none.

        Every honest batch may use its slack at a sample of its own: an owner with true canaries there could else part
        them all, and have its reward back with everybody's outputs.
        """
        if not self.confirmed:
            return ()
        best = self._largest(self._agreement(self.confirmed))
        return self.confirmed if self.terms.is_majority(len(best)) else ()

    def agree(self, left: Reveal, right: Reveal) -> bool:
        """Whether two reveals agree. Void agrees with void alone, and silence with nothing."""
        return self._agree(left, right, self.counting)

    def is_near(self, left: Reveal, right: Reveal) -> bool:
        """Whether two reveals would agree if no canary counted."""
        return self._agree(left, right, ())

    def _agree(self, left: Reveal, right: Reveal, strict: Sequence[int]) -> bool:
        if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray):
            return left is VOID and right is VOID
        beyond = hamming(left, right) > self.terms.tolerance_bits
        return int(beyond.sum()) <= self.terms.allowed and not beyond[list(strict)].any()

    @cached_property
    def agreement(self) -> NDArray[np.bool_]:
        """Which seats agree, bool (seats, seats); nobody silent agrees, not even with itself."""
        return self._agreement(self.counting)

    def _agreement(self, strict: Sequence[int]) -> NDArray[np.bool_]:
        count = len(self.reveals)
        table = np.zeros((count, count), np.bool_)
        for i in range(count):
            for j in range(i, count):
                table[i, j] = table[j, i] = self._agree(self.reveals[i], self.reveals[j], strict)
        return table

    @cached_property
    def distances(self) -> NDArray[np.int64]:
        """Bits that differ between seats over all samples, int64 (seats, seats); 0 where either has no digests."""
        count = len(self.reveals)
        table = np.zeros((count, count), np.int64)
        for i, left in enumerate(self.reveals):
            for j, right in enumerate(self.reveals[:i]):
                if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
                    table[i, j] = table[j, i] = hamming(left, right).sum()
        return table

    @cached_property
    def largest(self) -> tuple[int, ...]:
        """The largest set of seats that all agree; of equals that of least total distance, then of the lowest mask."""
        return self._largest(self.agreement)

    def _largest(self, agreement: NDArray[np.bool_]) -> tuple[int, ...]:
        sizes, distances = _sets(agreement, self.distances)
        best = np.flatnonzero(sizes == sizes.max())
        best = best[distances[best] == distances[best].min()]
        return _seats(int(best[0]))

    @cached_property
    def decision(self) -> Decision:
        """What the reveals come to."""
        seats = set(range(len(self.reveals)))
        has_sat = len(seats) == self.terms.verifiers
        silent = {seat for seat in seats if has_sat and self.reveals[seat] is None}
        clique = self.largest
        if not has_sat or not self.terms.is_majority(len(clique)):
            rest = (_sorted(seats - silent), _sorted(silent))
            return Decision(Outcome.NO_MAJORITY, (), *rest, None, 0, self.counting, clique)
        members = [self.reveals[seat] for seat in clique]
        outside = seats - silent - set(clique)
        spared = {seat for seat in outside if _is_spared(self, self.reveals[seat], members)}
        medoid = min(clique, key=lambda seat: (int(self.distances[seat, list(clique)].sum()), seat))
        outcome = Outcome.VOID if self.reveals[medoid] is VOID else Outcome.ACCEPTED
        penalised = _sorted(seats - set(clique) - spared)
        accepted = self._accepted(clique, medoid)
        return Decision(outcome, clique, _sorted(spared), penalised, medoid, accepted, self.counting, clique)

    def _accepted(self, clique: Sequence[int], medoid: int) -> int:
        """Bit s where members within the tolerance of the medoid at sample s are a majority of the panel."""
        centre = self.reveals[medoid]
        if not isinstance(centre, np.ndarray):
            return 0
        members = [reveal for reveal in (self.reveals[seat] for seat in clique) if isinstance(reveal, np.ndarray)]
        near = sum((hamming(member, centre) <= self.terms.tolerance_bits).astype(np.int64) for member in members)
        return sum(1 << sample for sample, count in enumerate(np.asarray(near)) if self.terms.is_majority(int(count)))


def _is_spared(panel: Panel, reveal: Reveal, members: Sequence[Reveal]) -> bool:
    """Whether somebody outside a clique keeps its unit: it is near a member, or gave digests where void won.

    Canaries cost a share and no unit: an honest batch may use its slack where the owner, who chose them, knew it would.
    """
    if members[0] is VOID:
        return isinstance(reveal, np.ndarray)
    return any(panel.is_near(reveal, member) for member in members)


def _sets(agreement: NDArray[np.bool_], distances: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every set of seats, by its mask: how many they are, or -1 where they do not all agree; the total distance."""
    sizes, totals = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for seat in range(len(agreement)):
        joined, farther = np.array([agreement[seat, seat]]), np.zeros(1, np.int64)
        for other in range(seat):
            joined = np.concatenate([joined, joined & agreement[seat, other]])
            farther = np.concatenate([farther, farther + distances[seat, other]])
        sizes = np.concatenate([sizes, np.where(joined & (sizes >= 0), sizes + 1, -1)])
        totals = np.concatenate([totals, totals + farther])
    return sizes, totals


def _seats(mask: int) -> tuple[int, ...]:
    return tuple(seat for seat in range(mask.bit_length()) if mask >> seat & 1)


def _sorted(seats: set[int]) -> tuple[int, ...]:
    return tuple(sorted(seats))


def _require(term: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidTerms(f"{term} is {value}, expected {least} to {most}")
