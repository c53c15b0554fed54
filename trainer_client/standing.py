"""Where a trainer without a seat stands: what waits for one, its part in the draw, and the seat that it had before."""

from __future__ import annotations

from dataclasses import dataclass

from market.chain.events import SeatLost, SeatTaken, TrainerWaits
from market.chain.job_market import JobMarket
from market.chain.records import SeatDraw
from market.protocol.identifiers import JobId, Wei
from market.protocol.moments import duration
from market.protocol.seat_draw import MAX_TICKETS, drawn_number
from market.protocol.terms import JobTerms

IDLE = "one that misses two attempts in a row, or one that starves"
"""Which seats are for others to take."""


@dataclass(frozen=True)
class Standing:
    """What the chain has of a trainer without a seat, as of one block.

    Attributes:
        trainer: the account.
        now_s: the block's timestamp.
        stake_wei: what waits for a seat; zero where nothing does.
        since_s: from when on, where somebody waits: of several the first has the next seat.
        is_late: whether it came once the draw had begun, and has no part in it.
        lost: how it lost the seat that it had last; None where it had none since it began to wait.
        lost_at_s: when.
        sat: how many times it has been given a seat after waiting for one.
        draw: of the job's seats.
    """

    trainer: str
    now_s: int
    stake_wei: Wei
    since_s: int
    is_late: bool
    lost: SeatLost | None
    lost_at_s: int
    sat: int
    draw: SeatDraw

    @classmethod
    def read(cls, market: JobMarket, job: JobId, terms: JobTerms, trainer: str, block: int) -> Standing:
        """Read it as of a block. Nobody else's comings and goings are looked at."""
        view = market.at(block)
        events = view.comings_and_goings(job, trainer)
        began = next((event for event in reversed(events) if isinstance(event, TrainerWaits | SeatLost)), None)
        began_s = 0 if began is None else int(view.chain.block(began.block_number)["timestamp"])
        waiting, lost = view.waiting(job, trainer), began if isinstance(began, SeatLost) else None
        return cls(
            trainer=trainer,
            now_s=int(view.chain.block(block)["timestamp"]),
            stake_wei=waiting.stake_wei,
            since_s=waiting.since_s,
            is_late=waiting.is_late,
            lost=lost,
            lost_at_s=began_s,
            sat=sum(isinstance(event, SeatTaken) for event in events),
            draw=view.draw(job),
        )

    def tickets(self, terms: JobTerms) -> int:
        """How many numbers it has in the draw."""
        return min(self.stake_wei // terms.trainer_stake_wei, MAX_TICKETS)

    def number(self, terms: JobTerms) -> float | None:
        """The lowest of its numbers, from 0 to 1; None before the seats are drawn, and where it has no part in that."""
        if not self.draw.is_decided or self.is_late or not self.tickets(terms):
            return None
        return drawn_number(self.draw.seed, self.trainer, self.tickets(terms)) / (1 << 256)

    def is_drawing(self, terms: JobTerms) -> bool:
        """Whether it is time to draw, for a trainer that has part in it."""
        in_time = terms.draw_from_s <= self.now_s < terms.enrol_until_s
        return bool(terms.entry.draw_period_s and self.stake_wei) and not self.is_late and in_time

    def loss(self, terms: JobTerms) -> str | None:
        """How it lost its seat, and what that means; None where it did not."""
        if self.lost is None:
            return None
        stake = "its stake waits for another" if self.stake_wei else "it had no stake there: enrol again to wait"
        if terms.entry.draw_period_s and self.lost_at_s < terms.enrol_until_s:
            return f"seat {self.lost.seat} was lost in the draw: {stake}"
        if self.stake_wei and self.since_s < self.lost_at_s:
            return f"seat {self.lost.seat} went to one who had waited longer: {stake}, with the turn that it had"
        stays = "what was earned stays this account's to claim"
        return f"seat {self.lost.seat} was lost for not committing: {stake}; {stays}"

    def stage(self, terms: JobTerms) -> tuple[object, ...]:
        """What its outlook depends on but for the time that is left."""
        times = (self.now_s >= terms.draw_from_s, self.now_s >= terms.enrol_until_s)
        return self.stake_wei, self.is_late, self.draw, *times

    def outlook(self, terms: JobTerms) -> str:
        """What it waits for."""
        full = f"all {terms.seats} seats are taken"
        number, tickets = self.number(terms), _count(self.tickets(terms), "ticket")
        if not self.stake_wei:
            return "neither a seat nor a stake that waits for one: enrol again"
        if number is not None:
            return f"drew {number:.4f} with {tickets}, and every seat has a lower number: waiting for {IDLE}"
        if not terms.entry.draw_period_s or self.is_late or self.now_s >= terms.enrol_until_s:
            return f"{full}{self._missed(terms)}: waiting for {IDLE}"
        if self.now_s < terms.draw_from_s:
            return f"{full}; the draw is in {duration(terms.draw_from_s - self.now_s)}, with {tickets} for this stake"
        decided = f"block {self.draw.block} decides" if self.draw.block else "the block that decides is not fixed yet"
        return f"{full}; they are being drawn, with {tickets} for this stake: {decided}"

    def _missed(self, terms: JobTerms) -> str:
        """Why it has no part in a draw that there is."""
        if not terms.entry.draw_period_s or self.lost is not None:
            return ""
        if self.is_late:
            return ", and it came too late for the draw"
        return "" if self.draw.is_decided else ", and nobody had them drawn in time"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
