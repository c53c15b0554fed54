"""Trainers: what the honest do in every phase, and the points at which a conduct differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from fedmarket.bench.mechanism.agent import Agent
from fedmarket.bench.mechanism.disputing import justly
from fedmarket.bench.mechanism.opening import Opening, committed
from fedmarket.bench.mechanism.settings import TRAINING_WEI
from fedmarket.bench.mechanism.task import Floats
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from market.protocol.seal import seal
from market.protocol.update import UPDATE_LIMIT
from zk.commitment import Blinders

Craft = Callable[["Trainer", int], Floats | None]
"""Makes an update for the identity of this number, in counts; None commits nothing."""


def train(trainer: Trainer, identity: int) -> Floats | None:
    """Train honestly, once for all identities."""
    return trainer.trained()


def nothing(trainer: Trainer) -> None:
    """Do nothing more than is due."""


class Takes(IntEnum):
    """When whoever waits takes a seat whose trainer does not come any more."""

    FIRST = 0
    """In the very block that makes it idle."""
    FAIRLY = 1
    """When chance lets it come before the others who wait."""
    NEVER = 2


@dataclass(frozen=True)
class TrainerConduct:
    """How a trainer plays.

    Attributes:
        craft: what it hands in.
        identities: how many seats it wants.
        behind: how many of these come when everybody else has enrolled.
        reveals: whether it opens its seals.
        uploads: whether the bytes can be had.
        joins_in: the round before which it enrols.
        enrols: how it takes its seats; None: one for every identity.
        takes: when it takes idle seats, while it waits.
        before: what else it does at the beginning of every attempt.
        contests: what it disputes before attestors; returns whether a dispute is open now.
    """

    craft: Craft = train
    identities: int = 1
    behind: int = 0
    reveals: bool = True
    uploads: bool = True
    joins_in: int = 0
    enrols: Callable[[Trainer], None] | None = None
    takes: Takes = Takes.FAIRLY
    before: Callable[[Trainer], None] = nothing
    contests: Callable[[Trainer], bool] = justly


@dataclass
class Trainer(Agent):
    """Holds data, and hands in updates from as many accounts as it plays.

    Attributes:
        person: whose data these are.
        conduct: how it plays.
        opened: the running attempt's openings, by account.
        memory: whatever a conduct keeps.
    """

    person: int = 0
    conduct: TrainerConduct = TrainerConduct()
    opened: dict[str, Opening] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    _trainings: dict[tuple[int, int], Floats] = field(default_factory=dict)

    def join(self) -> None:
        """Enrol, unless this is to be later."""
        if self.conduct.joins_in == 0:
            self.enrol(self.conduct.identities - self.conduct.behind)

    def join_behind(self) -> None:
        """Enrol whoever comes after everybody else."""
        self.enrol(self.conduct.behind)

    def enrol(self, identities: int) -> None:
        """Take a seat for so many identities, or wait for one."""
        if self.conduct.enrols:
            self.conduct.enrols(self)
            return
        for _ in range(identities):
            self.tries(self.open_account(), self.board.market.enrol(self.board.job, self.board.terms))

    def act(self, phase: Phase) -> None:
        """Commit and reveal."""
        if phase is Phase.COMMIT:
            self.opened.clear()
            if self.conduct.joins_in and not self.accounts and self.board.state.round >= self.conduct.joins_in:
                self.enrol(self.conduct.identities)
                self.board.look()
            self.conduct.before(self)
            self.commit()
        elif phase is Phase.REVEAL and self.conduct.reveals:
            self._reveal()

    def commit(self) -> None:
        """Make and seal what identities hand in that have not yet, and may."""
        for identity, account in enumerate(self.accounts[-self.conduct.identities :]):
            seat = self.board.seat(account)
            if seat is None or account in self.opened or not self._is_called(seat):
                continue
            update = self.conduct.craft(self, identity)
            if update is not None:
                self.seal(account, update)

    def _is_called(self, seat: Seat) -> bool:
        """Whether a cohort, where there is one, has room for a seat: for half of the phase for its own alone."""
        board, cohort = self.board, self.board.terms.entry.cohort
        if not cohort:
            return True
        state = board.market.state(board.job)
        is_late = board.ground.devnet.timestamp() >= board.half_s
        has_room = state.committed.bit_count() < cohort
        return has_room and (is_late or board.market.in_cohort(board.job, seat, state.attempt))

    def contest(self) -> bool:
        """Dispute what its conduct says."""
        return self.conduct.contests(self)

    def collect(self) -> None:
        """Claim every credit, and take the stake back."""
        board = self.board
        for account in self.accounts:
            seat = board.seat(account)
            for credit in board.history.credits(account, seat):
                self.tries(account, board.market.claim(board.job, credit.attempt, credit.pays, credit.undo, account))
            self.tries(account, board.market.withdraw_stake(board.job, account))
        self.take_dispute_bonds()

    def trained(self, repeat: int = 0, effort: float = 1.0, cost: float = 1.0) -> Floats | None:
        """Train on one's data, once for each `repeat`; None where there is no model to train from.

        Args:
            repeat: which of several trainings.
            effort: what the signal is multiplied by.
            cost: share of an honest training's.
        """
        board, state = self.board, self.board.state
        key = (state.attempt, repeat)
        if key not in self._trainings:
            model = self.model
            if model is None:
                return None
            self.work_wei += int(cost * TRAINING_WEI)
            args = (self.person, model, state.round, state.attempt, repeat, effort)
            self._trainings[key] = board.task.training(*args)
        return self._trainings[key]

    def latest_training(self) -> Floats | None:
        """The last update that was trained, whatever the attempt."""
        return self._trainings[max(self._trainings)] if self._trainings else None

    def seal(self, account: str, update: Floats) -> None:
        """Commit to an update from an account."""
        board = self.board
        counts = np.clip(np.rint(update), -UPDATE_LIMIT, UPDATE_LIMIT).astype(np.int16)
        opening = committed(board, counts, Blinders.fresh(board.layout))
        digest = seal(board.place, account, opening.row.commitment, opening.content, opening.salt)
        if self.tries(account, board.market.commit(board.job, board.state.attempt, digest)):
            self.opened[account] = opening

    def _reveal(self) -> None:
        board, attempt = self.board, self.board.state.attempt
        for account, opening in self.opened.items():
            values = (opening.row.commitment, opening.content, opening.salt)
            self.send(account, board.market.reveal(board.job, attempt, account, *values))
            seat = board.seat(account)
            if self.conduct.uploads and seat is not None:
                board.updates[attempt, seat] = opening.row
