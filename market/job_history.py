"""A job's events, sorted into attempts: pure, so that worker, client, audit and page read the same story."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from market.chain.events import (
    AttemptExpired,
    AttemptStarted,
    Event,
    ExamCommitted,
    ExamExcluded,
    ExamMissed,
    ExamOpened,
    ExamPublished,
    ExamTaken,
    JobClosed,
    JobOpened,
    ModelCommitted,
    RoundProven,
    RoundSettled,
    RoundSkipped,
    UpdateCommitted,
    UpdateExcluded,
    UpdateRevealed,
)
from market.chain.packed import pack_lifetime, pack_records, unpack_pays
from market.protocol.errors import ChainError
from market.protocol.identifiers import Digest, Seat, Wei
from market.protocol.provenance import POINT_BYTES
from market.protocol.update import CHUNK_BLINDER_BYTES

E = TypeVar("E", bound=Event)

MAX_LIFETIME_Q32 = (1 << 64) - 1
"""A lifetime score stays here rather than overflow, as in the contract."""


@dataclass(frozen=True)
class Credit:
    """What one seat can claim of one ended attempt, or of the close.

    Attributes:
        attempt: the number under which it is claimed.
        amount_wei: above zero.
        vests_at_s: block timestamp from which it can be claimed.
        pays: the packed pay array that the claim brings along.
    """

    attempt: int
    amount_wei: Wei
    vests_at_s: int
    pays: bytes


@dataclass(frozen=True)
class Version:
    """One model of the job's history.

    Attributes:
        digest: its content digest.
        round: the round that made it; None for the initial model.
        attempt: the attempt whose settlement made it; None for the initial model.
        shift: e of that round; 0 for the initial model.
        commitment: C(M) as the chain holds it, 64 bytes a chunk.
        aggregate: C(p) of the aggregate that led here, as the chain summed it; infinity for the initial model.
        blinders: of that aggregate, as the settlement published them, 192 bytes a chunk; zeros for the initial model.
    """

    digest: Digest
    round: int | None
    attempt: int | None
    shift: int
    commitment: bytes
    aggregate: bytes
    blinders: bytes

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "the initial model" if self.round is None else f"the model of round {self.round}"


@dataclass
class Attempt:
    """Everything that happened in one attempt. It ended as `settled`, `expired` or `skipped`, or has not ended yet."""

    started: AttemptStarted
    commits: dict[Seat, UpdateCommitted] = field(default_factory=dict)
    reveals: dict[Seat, UpdateRevealed] = field(default_factory=dict)
    exclusions: dict[Seat, UpdateExcluded] = field(default_factory=dict)
    exam_committed: ExamCommitted | None = None
    exam_opened: ExamOpened | None = None
    exam_excluded: ExamExcluded | None = None
    exam_missed: ExamMissed | None = None
    exam_taken: ExamTaken | None = None
    proven: RoundProven | None = None
    model: ModelCommitted | None = None
    settled: RoundSettled | None = None
    expired: AttemptExpired | None = None
    skipped: RoundSkipped | None = None

    @property
    def number(self) -> int:
        """The attempt's number within the job."""
        return self.started.attempt

    @property
    def rows(self) -> list[Seat]:
        """The seats behind the rows of the Gram matrix: revealed and not excluded, ascending."""
        return [seat for seat in sorted(self.reveals) if seat not in self.exclusions]

    @property
    def examined(self) -> bool:
        """Whether its exam was opened and not left out: the matrix has r as its last row then."""
        return self.exam_opened is not None and self.exam_excluded is None


class JobHistory:
    """One job's events so far, in the order of the chain."""

    def __init__(self, events: Sequence[Event]) -> None:
        """Sort them.

        Raises:
            ChainError: the opening is missing, or an event belongs to an attempt that was never started.
        """
        self.events = tuple(events)
        openings = list(self.of(JobOpened))
        if len(openings) != 1:
            raise ChainError(f"expected one opening among the job's events, found {len(openings)}")
        self.opened = openings[0]
        self.attempts: dict[int, Attempt] = {e.attempt: Attempt(e) for e in self.of(AttemptStarted)}
        for event in self.events:
            self._place(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        """The events of one kind, in order."""
        return (event for event in self.events if isinstance(event, kind))

    @property
    def closed(self) -> JobClosed | None:
        """How the job ended, if it did."""
        return next(self.of(JobClosed), None)

    @property
    def published(self) -> ExamPublished | None:
        """Where the owner showed what the exams were, if it did."""
        return next(self.of(ExamPublished), None)

    def attempt(self, number: int) -> Attempt:
        """One attempt.

        Raises:
            ChainError: no such attempt was started.
        """
        try:
            return self.attempts[number]
        except KeyError as error:
            raise ChainError(f"the job has no attempt {number}; there are {len(self.attempts)}") from error

    def settlements(self, before: int | None = None) -> list[Attempt]:
        """The settled attempts in order; only those before an attempt's number, where one is given."""
        return [
            attempt
            for number, attempt in sorted(self.attempts.items())
            if attempt.settled and (before is None or number < before)
        ]

    def versions(self, before: int | None = None) -> list[Version]:
        """The job's distinct models, initial one first; only those made before an attempt, where one is given.

        Raises:
            ChainError: a settlement lacks the event that has its model's commitment.
        """
        made = [self._made(attempt) for attempt in self.settlements(before)]
        return [self._initial(), *(version for version in made if version)]

    def lifetime_q32(self, before: int | None = None) -> list[int]:
        """Every seat's scores, summed over the settlements (before an attempt) as the contract does."""
        totals = [0] * self.opened.terms.seats
        for attempt in self.settlements(before):
            if attempt.settled:
                for seat, score in zip(attempt.rows, attempt.settled.scores_q32, strict=True):
                    totals[seat] = min(totals[seat] + score, MAX_LIFETIME_Q32)
        return totals

    def packed_lifetime(self, before: int | None = None) -> bytes:
        """The lifetime scores as the contract's calls bring them along."""
        return pack_lifetime(self.lifetime_q32(before))

    def records_q16(self, before: int | None = None) -> tuple[int, ...]:
        """What every seat's exams came to (before an attempt), signed Q16; one that did not count changes nothing.

        Raises:
            ChainError: an exam's records are not one a row of its round.
        """
        records = [self._no_records]
        records += [after for number, after in self._records if before is None or number < before]
        return records[-1]

    def packed_records(self, before: int | None = None) -> bytes:
        """The records as a settlement brings them along. Arguments and errors as `records_q16`."""
        return pack_records(self.records_q16(before))

    def credits(self, seat: Seat) -> list[Credit]:
        """All that a seat ever earned, claimed or not, in order."""
        credits = [Credit(e.attempt, unpack_pays(e.pays)[seat], e.vests_at_s, e.pays) for e in self.of(RoundSettled)]
        credits += [Credit(e.attempt, unpack_pays(e.pays)[seat], e.vests_at_s, e.pays) for e in self.of(AttemptExpired)]
        # What the close distributes can be claimed at once.
        credits += [Credit(e.attempt, unpack_pays(e.pays)[seat], 0, e.pays) for e in self.of(JobClosed)]
        return sorted((credit for credit in credits if credit.amount_wei), key=lambda credit: credit.attempt)

    @property
    def _no_records(self) -> tuple[int, ...]:
        return (0,) * self.opened.terms.seats

    @cached_property
    def _records(self) -> list[tuple[int, tuple[int, ...]]]:
        """Every seat's record after each exam that counted, with its attempt's number, in order."""
        records, found = list(self._no_records), []
        for number, attempt in sorted(self.attempts.items()):
            if attempt.exam_taken is None:
                continue
            taken = attempt.exam_taken.records_q16
            if len(taken) != len(attempt.rows):
                raise ChainError(f"attempt {number} has {len(taken)} records of its exam for {len(attempt.rows)} rows")
            for seat, record in zip(attempt.rows, taken, strict=True):
                records[seat] = record
            found.append((number, tuple(records)))
        return found

    def _initial(self) -> Version:
        opened, chunks = self.opened, self.opened.terms.chunks
        infinity, zeros = bytes(POINT_BYTES * chunks), bytes(CHUNK_BLINDER_BYTES * chunks)
        return Version(opened.initial_model, None, None, 0, opened.initial_commitment, infinity, zeros)

    def _made(self, attempt: Attempt) -> Version | None:
        """The model that a settlement made; None where nobody was accepted."""
        settled, model = attempt.settled, attempt.model
        if settled is None or not settled.accepted:
            return None
        if model is None:
            raise ChainError(f"attempt {attempt.number} made a model, but no event has its commitment")
        made_in = (settled.round, attempt.number, attempt.started.shift)
        return Version(settled.model, *made_in, model.model, model.aggregate, model.blinders)

    def _place(self, event: Event) -> None:
        match event:
            case UpdateCommitted():
                self.attempt(event.attempt).commits[event.seat] = event
            case UpdateRevealed():
                self.attempt(event.attempt).reveals[event.seat] = event
            case UpdateExcluded():
                self.attempt(event.attempt).exclusions[event.seat] = event
            case ExamCommitted():
                self.attempt(event.attempt).exam_committed = event
            case ExamOpened():
                self.attempt(event.attempt).exam_opened = event
            case ExamExcluded():
                self.attempt(event.attempt).exam_excluded = event
            case ExamMissed():
                self.attempt(event.attempt).exam_missed = event
            case ExamTaken():
                self.attempt(event.attempt).exam_taken = event
            case RoundProven():
                self.attempt(event.attempt).proven = event
            case ModelCommitted():
                self.attempt(event.attempt).model = event
            case RoundSettled():
                self.attempt(event.attempt).settled = event
            case AttemptExpired():
                self.attempt(event.attempt).expired = event
            case RoundSkipped():
                self.attempt(event.attempt).skipped = event
