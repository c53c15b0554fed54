"""What the marketplace's contract keeps and takes, as frozen Python values; field for field as in `IJobMarket.sol`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from market.protocol.identifiers import Digest, Seat, Wei, seats_in


class ExclusionReason(IntEnum):
    """Why the aggregator left an update or an opened exam out; the same numbers as in the contract."""

    NONE = 0
    UNAVAILABLE = 1
    UNREADABLE = 2
    MISMATCH = 3


@dataclass(frozen=True)
class Ledger:
    """Where the money of one job is, in wei of its token. Always deposited = paid + refunded + burned + locked."""

    deposited_wei: Wei
    paid_wei: Wei
    refunded_wei: Wei
    burned_wei: Wei
    budget_wei: Wei
    carry_wei: Wei
    credits_wei: Wei
    stakes_wei: Wei
    bonds_wei: Wei
    refundable_wei: Wei
    exams_wei: Wei

    @property
    def locked_wei(self) -> Wei:
        """What the contract still holds for somebody."""
        rounds = (self.budget_wei, self.carry_wei, self.credits_wei)
        return Wei(sum((*rounds, self.stakes_wei, self.bonds_wei, self.refundable_wei, self.exams_wei)))

    @property
    def is_balanced(self) -> bool:
        """Whether every wei that came in is accounted for."""
        return self.deposited_wei == self.paid_wei + self.refunded_wei + self.burned_wei + self.locked_wei

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Ledger:
        """Parse what the contract returned."""
        return cls(*map(Wei, values))


@dataclass(frozen=True)
class JobState:
    """Where a job stands.

    Attributes:
        owner: who opened it.
        round: number of the current or next attempt's round, from zero.
        attempt: number of the current or next attempt, from zero, never reused within the job.
        attempt_start_s: block timestamp at which its commit phase begins; zero where no attempt runs.
        closed: whether it is over.
        committed: bit mask of the seats that committed in this attempt.
        revealed: bit mask of the seats that revealed in this attempt.
        staked: bit mask of the seats whose stake is in place.
        seats_taken: how many seats have a trainer.
        had_minimum: whether this round had its minimum of commits in some attempt.
        step_q16: this round's step, with 16 fractional bits.
        has_exam: whether its rounds are examined.
        exam_published: whether its owner has shown what the exams were.
        reveal_chain: rolling hash of this attempt's reveals.
        model: content digest of the current model.
        lifetime_hash: keccak256 of the packed lifetime scores; zero while all are zero.
        public_rows: keccak256 of the public rows' commitments.
        records_hash: keccak256 of every seat's packed record of the exams; zero in a job without an exam.
    """

    owner: str
    round: int
    attempt: int
    attempt_start_s: int
    closed: bool
    committed: int
    revealed: int
    staked: int
    seats_taken: int
    had_minimum: bool
    step_q16: int
    has_exam: bool
    exam_published: bool
    reveal_chain: bytes
    model: Digest
    lifetime_hash: bytes
    public_rows: bytes
    records_hash: bytes

    @property
    def revealed_seats(self) -> list[Seat]:
        """The seats that revealed in this attempt, ascending."""
        return seats_in(self.revealed)

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> JobState:
        """Parse what the contract returned."""
        return cls(*values)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        pay_hash: 24 bytes of the packed pay array's keccak256; zero where the attempt paid nobody.
        aggregator: whose fee it was; the zero address where none is due.
        vests_at_s: block timestamp from which credits can be claimed.
        fee_claimed: whether the fee was.
        claimed: bit mask of the seats that claimed.
    """

    pay_hash: bytes
    aggregator: str
    vests_at_s: int
    fee_claimed: bool
    claimed: int

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Outcome:
        """Parse what the contract returned."""
        return cls(*values)


@dataclass(frozen=True)
class Exam:
    """What the contract keeps of one attempt's exam.

    Attributes:
        seal: zeros where it was not committed.
        opened: keccak256 of the commitment of r; zeros where it was not opened.
    """

    seal: bytes
    opened: bytes


@dataclass(frozen=True)
class RoundProof:
    """What proves a Gram matrix on the chain. Points have 64 bytes, scalars 32; one point or six scalars a chunk.

    Attributes:
        order: the revealed seats in the order of their reveals.
        commitments: what they revealed, in that order, excluded ones too.
        public_rows: the commitments of the last three aggregates (latest first), the current and the initial model.
        exam: the commitment of r where the exam counts, else empty.
        mask: the commitment of the aggregator's own row of blinders.
        sums: A, the rows' sum under the challenges, then D, the updates' sum under the weights.
        blinders: those of D.
        argument: S, W and the evaluations.
    """

    order: tuple[Seat, ...] = ()
    commitments: bytes = b""
    public_rows: bytes = b""
    exam: bytes = b""
    mask: bytes = b""
    sums: bytes = b""
    blinders: bytes = b""
    argument: bytes = b""

    def to_abi(self) -> tuple[bytes, bytes, bytes, bytes, bytes, tuple[bytes, bytes, bytes]]:
        """The last fields of the settlement, in the contract's order."""
        argued = (self.sums, self.blinders, self.argument)
        return bytes(self.order), self.commitments, self.public_rows, self.exam, self.mask, argued


NO_PROOF = RoundProof()
"""For a round of which every update is excluded: there is nothing to prove."""


@dataclass(frozen=True)
class Settlement:
    """What an aggregator hands in.

    Attributes:
        exclusions: the revealed seats left out, each with its reason.
        gram: the packed Gram matrix; its rows are the revealed seats that are not excluded, ascending.
        model: content digest of the new model, or of the current one where no new model is made.
        lifetime: the packed lifetime scores so far.
        proof: that the matrix is the one of what was revealed.
        exam_reason: why an exam that was opened is left out; NONE where it counts, and where none was opened.
        records: every seat's packed record of the exams so far, where this one counts, else empty.
    """

    exclusions: Mapping[Seat, ExclusionReason]
    gram: bytes
    model: Digest
    lifetime: bytes
    proof: RoundProof = NO_PROOF
    exam_reason: ExclusionReason = ExclusionReason.NONE
    records: bytes = b""

    def to_abi(self) -> tuple[Any, ...]:
        """The struct as nested tuples, in the contract's order."""
        seats = sorted(self.exclusions)
        reasons = bytes(self.exclusions[seat] for seat in seats)
        excluded = sum(1 << seat for seat in seats)
        left_out = (excluded, reasons, int(self.exam_reason))
        return *left_out, self.gram, self.model, self.lifetime, self.records, *self.proof.to_abi()
