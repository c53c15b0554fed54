"""Owners: what the honest do in every phase, and the points at which a conduct differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedmarket.bench.mechanism.agent import Agent, always, never
from fedmarket.bench.mechanism.disputing import justly
from fedmarket.bench.mechanism.opening import Opening, committed
from fedmarket.bench.mechanism.task import Floats
from market.protocol.identifiers import Digest
from market.protocol.rounds import Phase
from market.protocol.seal import seal
from zk.commitment import Blinders

Reference = Callable[["Owner"], Floats | None]


def examine(owner: Owner) -> Floats | None:
    """Ask for what the slice asks for."""
    model, state = owner.model, owner.board.state
    return None if model is None else owner.board.task.reference(model, state.round, state.attempt)


@dataclass(frozen=True)
class OwnerConduct:
    """How an owner plays.

    Attributes:
        reference: makes r; None commits to none.
        opens: whether it opens C_r in the running attempt.
        delivers: whether the aggregator gets r of the running attempt; else it is kept back, or garbage comes.
        shows: whether attestors get r as it was sealed, where the aggregator does not.
        publishes: whether the exams are shown at the end.
        tells: whether its league gets r before the commits.
    """

    reference: Reference = examine
    opens: Callable[[Owner], bool] = always
    delivers: Callable[[Owner], bool] = always
    shows: Callable[[Owner], bool] = never
    publishes: bool = True
    tells: bool = False


@dataclass
class Owner(Agent):
    """Opens the job, sets and opens exams, closes.

    Attributes:
        conduct: how it plays.
        opening: the running attempt's exam.
    """

    conduct: OwnerConduct = OwnerConduct()
    opening: Opening | None = None

    def act(self, phase: Phase) -> None:
        """Commit to the exam, open it, publish all of them."""
        if not self.board.state.has_exam:
            return
        if phase is Phase.COMMIT:
            self._commit()
        elif phase is Phase.EXAM and self.opening and self.conduct.opens(self):
            self._open(self.opening)
        elif phase is Phase.FINISHED and self.conduct.publishes:
            self.tries(self.accounts[0], self.board.market.publish_exam(self.board.job, Digest(bytes(31) + b"\x01")))

    def close(self) -> bool:
        """Close the job, where it can be closed."""
        board = self.board
        return self.tries(self.accounts[0], board.market.close_job(board.job, board.history.packed_lifetime()))

    def contest(self) -> bool:
        """Dispute what it cannot fetch."""
        return justly(self)

    def collect(self) -> None:
        """Take what is left."""
        self.take_dispute_bonds()
        self.tries(self.accounts[0], self.board.market.refund(self.board.job, self.accounts[0]))

    def _commit(self) -> None:
        board = self.board
        reference = self.conduct.reference(self)
        self.opening = None
        self.league.reference = reference if self.conduct.tells else None
        if reference is None:
            return
        values = np.rint(reference).astype(np.int64)
        opening = committed(board, values, Blinders.zero(board.layout))
        digest = seal(board.place, self.accounts[0], opening.row.commitment, opening.content, opening.salt)
        if self.tries(self.accounts[0], board.market.commit_exam(board.job, board.state.attempt, digest)):
            self.opening = opening

    def _open(self, opening: Opening) -> None:
        board, attempt = self.board, self.board.state.attempt
        values = (opening.content, opening.row.commitment, opening.salt)
        self.send(self.accounts[0], board.market.open_exam(board.job, attempt, *values))
        board.references[attempt] = np.asarray(opening.row.values, np.int64)
        if self.conduct.delivers(self):
            board.exams[attempt] = opening.row
        if self.conduct.delivers(self) or self.conduct.shows(self):
            board.shown.add(attempt)
