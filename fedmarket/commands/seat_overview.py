"""A job's seats beyond who sits there: the draw, who waits for one, and which are for others to take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from market.chain.events import Event, SeatLost, SeatTaken, TrainerEnrolled, TrainerWaits, WaitEnded
from market.chain.job_market import JobMarket
from market.chain.records import JobState, SeatDraw, Waiting
from market.protocol.identifiers import JobId, Seat
from market.protocol.seat_draw import MAX_TICKETS, drawn_number
from market.protocol.terms import JobTerms


@dataclass(frozen=True)
class WaitLine:
    """Somebody who waits for a seat.

    Attributes:
        address: the account.
        stake_wei: what it put down.
        tickets: how many numbers it has in the draw; zero where there is none, or it came too late for it.
        number: the lowest of them, from 0 to 1; None before the seats are drawn.
    """

    address: str
    stake_wei: int
    tickets: int
    number: float | None


@dataclass(frozen=True)
class SeatOverview:
    """What a job's seats are about.

    Attributes:
        draw: of the seats; None in a job that draws none.
        idle: seats that somebody who waits may take, in a commit phase.
        waiting: who waits, in the order of their coming.
    """

    draw: SeatDraw | None
    idle: tuple[Seat, ...]
    waiting: tuple[WaitLine, ...]

    @classmethod
    def read(
        cls, market: JobMarket, job: JobId, terms: JobTerms, state: JobState, events: Iterable[Event]
    ) -> SeatOverview:
        """Read it as of the gateway's block: a request a seat, and one for each who waits for the draw.

        Args:
            market: the gateway, at one block.
            job: the job's number.
            terms: its terms.
            state: its state in that block.
            events: what happened up to that block.
        """
        draw = market.draw(job) if terms.entry.draw_period_s else None
        waits = ((trainer, market.waiting(job, trainer)) for trainer in who_waits(events))
        waiting = [_wait_line(terms, draw, trainer, wait) for trainer, wait in waits]
        return cls(draw, idle_seats(market, job, state), tuple(waiting))


def who_waits(events: Iterable[Event]) -> Mapping[str, TrainerWaits | SeatLost]:
    """How everybody who waits for a seat came to wait, by account, in that order."""
    waiting: dict[str, TrainerWaits | SeatLost] = {}
    for event in events:
        if isinstance(event, TrainerWaits) or (isinstance(event, SeatLost) and event.stake_wei):
            waiting[event.trainer] = event
        elif isinstance(event, SeatTaken | WaitEnded | TrainerEnrolled):
            waiting.pop(event.trainer, None)
    return waiting


def idle_seats(market: JobMarket, job: JobId, state: JobState) -> tuple[Seat, ...]:
    """The seats that did not commit in two attempts in a row, or in one that starved."""
    if state.closed:
        return ()
    absent = (Seat(seat) for seat in range(state.seats_taken) if not state.committed >> seat & 1)
    return tuple(seat for seat in absent if market.is_idle(job, seat))


def _wait_line(terms: JobTerms, draw: SeatDraw | None, trainer: str, wait: Waiting) -> WaitLine:
    has_part = draw is not None and not wait.is_late
    tickets = min(wait.stake_wei // terms.trainer_stake_wei, MAX_TICKETS) if has_part else 0
    number = None
    if draw is not None and draw.is_decided and tickets:
        number = drawn_number(draw.seed, trainer, tickets) / (1 << 256)
    return WaitLine(trainer, wait.stake_wei, tickets, number)
