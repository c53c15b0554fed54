"""How a trainer comes to a seat: asks for the draw, takes what it drew, or a seat whose trainer comes no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from market.chain.calls import PreparedCall
from market.chain.job_market import JobMarket
from market.chain.records import JobState, SeatDraw
from market.chain.transactions import Finality, TransactionSender
from market.job_history import JobHistory
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from trainer_client.standing import Standing

OPEN: Final = (Phase.AWAITING_AGGREGATOR, Phase.ENROLMENT, Phase.COMMIT)
"""The phases in which an idle seat can be taken."""

OVERTAKEN: Final = (
    *("AlreadyDrawn", "DrawTooEarly", "NoDraw", "SeatsFull", "SeatNotIdle", "NotWaiting", "WrongPhase", "NotVested"),
    *("LifetimeMismatch", "RecordsMismatch"),
)
"""What the contract says to who comes second, or once the phase has ended: the next look tells what is due."""

ONE_BLOCK: Final = Finality(blocks=1)
"""What came of a transaction is read from the chain again at every look: nothing else waits for it."""


class Seating:
    """One trainer's seat in one job, and the way to it.

    It keeps nothing but what it has said: chain and journal tell a new process what is due.

    Attributes:
        seat: that this trainer had when it was last looked for; None where it had none.
    """

    def __init__(self, job: PublishedJob, sender: TransactionSender, report: Callable[[str], None]) -> None:
        """Look for the seat.

        Raises:
            InvalidInput: there is neither one nor a stake that waits for one.
        """
        self.job, self.sender, self.report = job, sender, report
        self.seat = job.market.seat(job.id, sender.address)
        if self.seat is None and not job.market.waiting(job.id, sender.address).stake_wei:
            raise InvalidInput(f"{sender.address} has no seat in job {job.id}: enrol first")
        self._looked_at = -1
        self._said: dict[str, object] = {}
        self._drawn = False
        self._idle: tuple[Seat, ...] = ()
        self._idle_in = -1
        """The attempt that `_idle` was found in: within one, seats only cease to be for this trainer to take."""

    def look(self) -> Seat | None:
        """The seat that this trainer has now. A new one is told."""
        seat = self.job.market.seat(self.job.id, self.sender.address)
        if seat is not None and seat != self.seat:
            self._said.clear()
            self.report(f"seat {seat} of job {self.job.id} is taken")
        self.seat = seat
        return seat

    def advance(self) -> bool:
        """Do what is due to get a seat, once a block; returns whether there was anything."""
        block = self.job.market.chain.block_number()
        if block == self._looked_at:
            return False
        self._looked_at = block
        standing = Standing.read(self.job.market, self.job.id, self.job.terms, self.sender.address, block)
        try:
            return self._act(self.job.market.at(block), standing)
        except ContractRevert as refusal:
            if refusal.name not in OVERTAKEN:
                self._say("refusal", str(refusal))
            return False

    def draw_cohorts(self, state: JobState) -> bool:
        """Have the cohorts drawn of a job that has some: seats take turns at asking, a block each.

        Returns whether this one did.
        """
        cohort, terms, market = self.job.terms.entry.cohort, self.job.terms, self.job.market
        if not cohort or state.seats_taken <= cohort or self._drawn:
            return False
        block = market.chain.block_number()
        if block == self._looked_at or block % state.seats_taken != self.seat:
            return False
        self._looked_at = block
        draw = market.at(block).draw(self.job.id)
        self._drawn = draw.is_decided
        if int(market.chain.block(block)["timestamp"]) < terms.draw_from_s or not self._can_draw(draw):
            return False
        try:
            return self._draw(draw)
        except ContractRevert as refusal:
            if refusal.name not in OVERTAKEN:
                raise
            return False

    # ------------------------------------------------------------------ what is due

    def _act(self, view: JobMarket, standing: Standing) -> bool:
        pending = next(self._pending(), None)
        if pending is not None:  # of a process before this one: it stands
            self.sender.wait(pending, ONE_BLOCK)
            return True
        if standing.is_drawing(self.job.terms) and self._can_draw(standing.draw):
            return self._draw(standing.draw)
        call = self._way_to_sit(view, standing) if standing.stake_wei else None
        if call is not None:
            self.sender.send(f"sit/{self.job.id}/{standing.sat}", call, ONE_BLOCK)
            return True
        self._say("loss", standing.loss(self.job.terms))
        self._say("outlook", standing.outlook(self.job.terms), standing.stage(self.job.terms))
        return False

    def _pending(self) -> Iterator[str]:
        ours = (f"draw/{self.job.id}/", f"sit/{self.job.id}/")
        return (key for key in self.sender.unresolved() if key.startswith(ours))

    def _can_draw(self, draw: SeatDraw) -> bool:
        return not draw.is_decided and (draw.block == 0 or self._looked_at >= draw.block)

    def _draw(self, draw: SeatDraw) -> bool:
        """Have the block fixed that decides, or its hash taken; a block that is out of reach is replaced by that."""
        self.sender.send(f"draw/{self.job.id}/{draw.block}", self.job.market.draw_seats(self.job.id), ONE_BLOCK)
        return True

    def _way_to_sit(self, view: JobMarket, standing: Standing) -> PreparedCall | None:
        """The call that gets a seat; None where there is none to be had."""
        call = self.job.market.take_seat(self.job.id)
        if view.refusal(call, self.sender.address) is None:
            return call
        idle = self._idle_seats(view, standing.now_s)
        if not idle:
            return None
        history = self.job.history()
        seat = min(idle, key=lambda seat: (_came_last(history, seat), self._lot(seat)))
        records = history.packed_records() if self.job.terms.exam.is_set else b""
        return self.job.market.take_idle_seat(self.job.id, seat, history.packed_lifetime(), records)

    def _lot(self, seat: Seat) -> bytes:
        """A number of this trainer's and the seat's: not all who wait ask for the same one first."""
        return sha256(f"{self.sender.address}/{self.job.id}/{self._idle_in}/{seat}".encode()).digest()

    def _idle_seats(self, view: JobMarket, now_s: int) -> tuple[Seat, ...]:
        """The seats to be had now of trainers that come no more, or of who took such a seat and had waited less."""
        state = view.state(self.job.id)
        if view.phase(self.job.id) not in OPEN:
            return ()
        if state.attempt and view.outcome(self.job.id, state.attempt - 1).vests_at_s > now_s:
            return ()
        seats = self._idle if state.attempt == self._idle_in else map(Seat, range(state.seats_taken))
        self._idle = tuple(seat for seat in seats if view.yields_to(self.job.id, seat, self.sender.address))
        self._idle_in = state.attempt
        return self._idle

    def _say(self, about: str, line: str | None, means: object = None) -> None:
        """Say what has changed, once: of a line with a countdown in it, what else it means."""
        if line is not None and self._said.get(about) != (means or line):
            self._said[about] = means or line
            self.report(line)


def _came_last(history: JobHistory, seat: Seat) -> int:
    """The last attempt in which a seat's trainer committed, or sat down; -1 where it never did."""
    committed = (number for number, attempt in history.attempts.items() if seat in attempt.commits)
    return max([-1, *committed, *(loss.attempt for loss in history.losses if loss.seat == seat)])
