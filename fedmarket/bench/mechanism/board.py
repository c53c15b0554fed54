"""What everybody sees of a game: the chain's events, the models' bytes, and what lies in the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from aggregator.proving import CommittedModel
from aggregator.round import ModelVersion
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.task import Floats, Task
from market.chain.events import (
    DisputeOpened,
    DisputeResolved,
    Event,
    SeatLost,
    SeatTaken,
    TrainerEnrolled,
    TrainerWaits,
    WaitEnded,
)
from market.chain.job_market import JobMarket
from market.chain.records import Fact, JobState, Verdict
from market.job_history import Attempt, JobHistory
from market.model_opening import model_blinders
from market.protocol.identifiers import Digest, JobId, Seat
from market.protocol.integer_model import WEIGHT_BITS
from market.protocol.rounds import Phase
from market.protocol.seal import SealContext
from market.protocol.terms import JobTerms
from zk.commitment import Blinders, Layout
from zk.gram_proof import CommittedRow
from zk.srs import Srs

Integers = NDArray[np.int64]
Asked = tuple[int, Fact, Seat]
"""What a dispute is about: attempt, fact and seat."""


@dataclass
class Board:
    """One game's public side. `look` brings it up to date with the chain.

    Attributes:
        ground: the chain.
        task: what is learned.
        terms: the job's.
        job: its number.
        models: the published models' integers, by digest; what is withheld is missing.
        updates: what was put into the storage, by attempt and seat.
        exams: r with what opens it, as it was sealed to the aggregator, by attempt.
        shown: the attempts of which attestors had r as it was sealed, in time.
        references: every r that was opened, by attempt: whoever sees the publication computes what it should be.
        receipts: whose updates attestors had when the aggregator's time began, by attempt.
        just: attempt, fact and seat of what somebody honest disputed.
        waiting: who waits for a seat with how much, as of the last look, first come first.
    """

    ground: Ground
    task: Task
    terms: JobTerms
    job: JobId
    models: dict[Digest, Integers]
    updates: dict[tuple[int, Seat], CommittedRow] = field(default_factory=dict)
    exams: dict[int, CommittedRow] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)
    references: dict[int, Integers] = field(default_factory=dict)
    receipts: dict[int, set[Seat]] = field(default_factory=dict)
    just: set[Asked] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    _next_block: int = 0
    _seats: dict[str, Seat] = field(default_factory=dict)

    @property
    def market(self) -> JobMarket:
        """The contract."""
        return self.ground.market

    @property
    def srs(self) -> Srs:
        """What commitments are made with."""
        return self.ground.srs

    @cached_property
    def layout(self) -> Layout:
        """How vectors lie in their commitments."""
        return Layout(self.terms.rules.dimension, self.terms.chunks)

    def look(self) -> Phase:
        """Read what is new on the chain, and return the job's phase."""
        last = self.market.chain.block_number()
        if last >= self._next_block:
            self.events += self.market.events(self.job, self._next_block, last)
            self._next_block = last + 1
        self.history = JobHistory(self.events)
        self._seats, self.waiting = _seated(self.history), _waiting(self.history)
        self.state: JobState = self.market.state(self.job)
        return self.market.phase(self.job)

    # ------------------------------------------------------------------ the running attempt

    @property
    def attempt(self) -> Attempt:
        """What has happened in the running attempt."""
        return self.history.attempt(self.state.attempt)

    @property
    def place(self) -> SealContext:
        """What binds the running attempt's seals."""
        return self.market.seal_context(self.job, self.state.round, self.state.attempt)

    @property
    def half_s(self) -> int:
        """When the second half of the running attempt's commit phase begins."""
        last = self.state.attempt - 1
        vests_s = self.market.outcome(self.job, last).vests_at_s if self.state.attempt else 0
        return self.terms.half_s(self.state.attempt_start_s, vests_s)

    def model(self, secret: Mapping[Digest, Integers] = MappingProxyType({})) -> Floats | None:
        """The model to train from, in counts; None where its bytes are not published, nor among the reader's own."""
        return self._in_counts(self.state.model, secret)

    def seat(self, account: str) -> Seat | None:
        """An account's seat, as of the last look."""
        return self._seats.get(account)

    # ------------------------------------------------------------------ disputes

    @property
    def latest(self) -> Attempt | None:
        """The settlement that was the last so far."""
        settled = self.history.settlements()
        return settled[-1] if settled else None

    @property
    def is_futile(self) -> bool:
        """Whether somebody honest disputed and lost a bond by it: nobody honest does again in this job."""
        ended = zip(self.history.of(DisputeOpened), self.history.of(DisputeResolved), strict=False)
        return any(
            (opened.attempt, opened.fact, opened.seat) in self.just and resolved.verdict is not Verdict.FAILS
            for opened, resolved in ended
        )

    def honest_reference(self, attempt: Attempt) -> Integers | None:
        """The r that an attempt's slice leads to; None where its model cannot be had."""
        version = self.history.versions(attempt.number)[-1]
        model = self._in_counts(version.digest)
        if model is None:
            return None
        return np.rint(self.task.reference(model, attempt.started.round, attempt.number)).astype(np.int64)

    def is_false(self, attempt: Attempt) -> bool:
        """Whether an attempt's r is not what its slice leads to."""
        opened = self.references.get(attempt.number)
        honest = self.honest_reference(attempt)
        return opened is not None and honest is not None and not np.array_equal(opened, honest)

    def is_withheld(self, attempt: Attempt) -> bool:
        """Whether an exam was left out that attestors never had as the aggregator could have read it."""
        return attempt.exam_excluded is not None and attempt.number not in self.shown

    # ------------------------------------------------------------------ models

    def aggregate(self, back: int = 1) -> Floats | None:
        """What some round added to the model, in counts, the last one by default; None where there is none."""
        versions = [self._in_counts(version.digest) for version in self.history.versions()]
        if len(versions) <= back:
            return None
        new, old = versions[-back], versions[-back - 1]
        return None if new is None or old is None else new - old

    def committed_models(self, secret: Mapping[Digest, Integers]) -> list[CommittedModel] | None:
        """Every model of the job with what opens it; None where the reader lacks one: no round can be proven then."""
        versions, known = self.history.versions(), {**self.models, **secret}
        if any(version.digest not in known for version in versions):
            return None
        return [
            CommittedModel(
                ModelVersion(known[version.digest], version.shift),
                version.commitment,
                model_blinders(self.layout, versions[: place + 1]),
                version.aggregate,
                Blinders.parse(self.layout, version.blinders),
            )
            for place, version in enumerate(versions)
        ]

    def _in_counts(self, digest: Digest, secret: Mapping[Digest, Integers] = MappingProxyType({})) -> Floats | None:
        model = self.models.get(digest, secret.get(digest))
        return None if model is None else model / 2.0**WEIGHT_BITS


def _seated(history: JobHistory) -> dict[str, Seat]:
    """Who sits where: a seat that was handed on is its last trainer's."""
    sitting = (event for event in history.events if isinstance(event, TrainerEnrolled | SeatTaken))
    taken = {event.seat: event.trainer for event in sitting}
    return {trainer: seat for seat, trainer in taken.items()}


def _waiting(history: JobHistory) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in history.events:
        if isinstance(event, TrainerWaits | SeatLost):
            found[event.trainer] = event.stake_wei
        elif isinstance(event, SeatTaken | WaitEnded):
            found.pop(event.trainer, None)
    return {trainer: stake_wei for trainer, stake_wei in found.items() if stake_wei}
