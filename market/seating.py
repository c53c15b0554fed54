"""Who sits where with which stake, and who waits since when: a job's comings and goings, replayed."""

from __future__ import annotations

from dataclasses import dataclass, field

from market.chain.events import (
    AttemptExpired,
    AttemptStarted,
    AttemptUndone,
    DisputeOpened,
    DisputeResolved,
    Event,
    RoundSettled,
    RoundSkipped,
    SeatLost,
    SeatTaken,
    StakesForfeited,
    StakeWithdrawn,
    TrainerEnrolled,
    TrainerWaits,
    WaitEnded,
)
from market.protocol.identifiers import Seat
from market.protocol.rounds import FROZEN_S
from market.protocol.terms import JobTerms


@dataclass
class Sitting:
    """A trainer's time in a seat.

    Attributes:
        trainer: whose.
        since: the first attempt whose pay is its own.
        waited_since_s: when it came to the job.
        stake_wei: in place.
        first: the first attempt that it has the time for.
        yields: whether, until that is over, the seat is for whoever has waited longer.
        until: the first attempt whose pay is somebody else's; None where it still has the seat.
    """

    trainer: str
    since: int
    waited_since_s: int
    stake_wei: int
    first: int
    yields: bool
    until: int | None = None


@dataclass(frozen=True)
class Waiting:
    """A stake that waits for a seat, and since when."""

    stake_wei: int
    since_s: int


@dataclass
class Seating:
    """The seats of one job, as of the last event that was taken in.

    Attributes:
        terms: the job's, as it was opened.
        seats: everybody who ever had a seat, in order.
        waiting: who waits now.
        attempt: that runs, or is next.
        round: of that attempt.
        start_s: of the attempt that runs; 0 where none does.
    """

    terms: JobTerms
    seats: dict[Seat, list[Sitting]] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    attempt: int = 0
    round: int = 0
    start_s: int = 0
    _last_started: int = -1
    _vests_s: int = 0
    _frozen: bool = False
    _deadline_s: int = 0

    def __post_init__(self) -> None:
        self._deadline_s = self.terms.deadline_s

    def take(self, event: Event, at_s: int) -> None:
        """Take in the next event, of a block with this timestamp."""
        match event:
            case TrainerEnrolled():
                self._enrol(event, at_s)
            case TrainerWaits():
                self.waiting[event.trainer] = Waiting(event.stake_wei, at_s)
            case WaitEnded():
                self.waiting.pop(event.trainer, None)
            case SeatLost():
                self._lose(event, at_s)
            case SeatTaken():
                waited = self.waiting.pop(event.trainer)
                self._give(event.seat, event.trainer, Waiting(event.stake_wei, waited.since_s), at_s)
            case StakeWithdrawn():
                self.seats[event.seat][-1].stake_wei = 0
            case StakesForfeited():
                for seat in event.seats:
                    self.seats[seat][-1].stake_wei = 0
            case _:
                self._tick(event, at_s)

    def _tick(self, event: Event, at_s: int) -> None:
        """What moves the job's clock."""
        match event:
            case AttemptStarted():
                self._last_started = event.attempt
                self.attempt, self.round, self.start_s = event.attempt, event.round, event.starts_at_s
            case RoundSettled():
                self._conclude(event.attempt, event.round + 1, event.vests_at_s)
            case RoundSkipped():
                self._conclude(event.attempt, event.round + 1, 0)
            case AttemptExpired():
                self._conclude(event.attempt, event.round, at_s)
            case DisputeOpened():
                self._frozen = True
                self._vests_s = FROZEN_S if self._vests_s > at_s else self._vests_s
            case DisputeResolved():
                self._frozen, self._deadline_s = False, event.deadline_s
                self.start_s, self._vests_s = event.starts_at_s, event.vests_at_s or self._vests_s
            case AttemptUndone():
                waited = self._last_started > event.attempt
                self._conclude(self._last_started, event.round, 0 if waited else at_s)

    def _conclude(self, attempt: int, next_round: int, vests_s: int) -> None:
        self.attempt, self.round, self.start_s, self._vests_s = attempt + 1, next_round, 0, vests_s

    def _enrol(self, event: TrainerEnrolled, at_s: int) -> None:
        had = self.seats.get(event.seat)
        if had and had[-1].trainer == event.trainer:
            had[-1].stake_wei = event.stake_wei  # put back: it never left
        else:
            self._give(event.seat, event.trainer, Waiting(event.stake_wei, at_s), at_s)

    def _give(self, seat: Seat, trainer: str, entry: Waiting, at_s: int) -> None:
        had = self.seats.setdefault(seat, [])
        if had and had[-1].until is None:
            had[-1].until = self.attempt
        first = self.attempt if self._is_in_time(at_s) else self.attempt + 1
        yields = at_s >= self.terms.enrol_until_s  # before, the draw decides, or who came first
        had.append(Sitting(trainer, self.attempt, entry.since_s, entry.stake_wei, first, yields))

    def _lose(self, event: SeatLost, at_s: int) -> None:
        """Whoever did not come is the last to have a seat again; others go on waiting where they were."""
        sitting = self.seats[event.seat][-1]
        drawn = at_s < self.terms.enrol_until_s
        has_just_come = sitting.yields and sitting.first == self.attempt
        if event.stake_wei:
            since_s = sitting.waited_since_s if drawn or has_just_come else at_s
            self.waiting[event.trainer] = Waiting(event.stake_wei, since_s)
        sitting.stake_wei, sitting.until = 0, self.attempt

    def _is_in_time(self, at_s: int) -> bool:
        """Whether somebody who sits down now has the time to train in the attempt that runs, or is next."""
        if self._frozen:
            return False
        if not self.start_s:
            return not self._is_finished(at_s)
        return at_s < self.start_s or at_s < self.terms.half_s(self.start_s, self._vests_s)

    def _is_finished(self, at_s: int) -> bool:
        next_s = max(at_s, self.terms.enrol_until_s)
        return self.round >= self.terms.rounds or next_s + self.terms.attempt_period_s > self._deadline_s
