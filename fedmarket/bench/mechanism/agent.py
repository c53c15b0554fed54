"""What all players share: accounts of their own, the board, and the league that they belong to.

The referee calls every agent in every phase. An agent acts by calls to the real contract, and reads the board. Whatever
it decides is a field of its conduct; a conduct with nothing set is an honest one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmarket.bench.mechanism.board import Board, Integers
from fedmarket.bench.mechanism.task import Floats
from market.chain.calls import PreparedCall
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase

if TYPE_CHECKING:
    from fedmarket.bench.mechanism.trainer import Trainer


@dataclass
class League:
    """Who plays together, and what they tell one another.

    Attributes:
        trainers: its trainers, the owner's identities among them.
        reference: the running attempt's r, where the owner tells.
        models: those that its aggregator made and keeps from everybody else.
    """

    trainers: list[Trainer] = field(default_factory=list)
    reference: Floats | None = None
    models: dict[Digest, Integers] = field(default_factory=dict)

    def seats(self, board: Board) -> set[Seat]:
        """Its members' seats."""
        found = (board.seat(account) for trainer in self.trainers for account in trainer.accounts)
        return {seat for seat in found if seat is not None}


@dataclass
class Agent:
    """One player: a name, the accounts that are its own, and what its work has cost it so far.

    Attributes:
        name: in the books.
        board: what everybody sees.
        league: who it plays with; of itself alone where it is honest.
    """

    name: str
    board: Board
    league: League = field(default_factory=League)
    accounts: list[str] = field(default_factory=list)
    work_wei: int = 0

    @property
    def model(self) -> Floats | None:
        """The model to start from, in counts; None where its bytes are kept from this agent."""
        return self.board.model(self.league.models)

    def open_account(self) -> str:
        """One more account."""
        account = self.board.ground.account(f"{self.name}/{len(self.accounts)}")
        self.accounts.append(account)
        return account

    def send(self, account: str, call: PreparedCall) -> None:
        """Make a call. Raises ContractRevert where the contract refuses."""
        self.board.ground.send(account, call)

    def tries(self, account: str, call: PreparedCall) -> bool:
        """Make a call if the contract takes it."""
        try:
            self.send(account, call)
        except ContractRevert:
            return False
        return True

    def join(self) -> None:
        """Before the first attempt."""

    def act(self, phase: Phase) -> None:
        """Do what is due in this phase."""

    def contest(self) -> bool:
        """Dispute something before attestors; returns whether a dispute is open now."""
        return False

    def collect(self) -> None:
        """Take one's money after the close."""

    def take_dispute_bonds(self) -> None:
        """Take back the bonds of disputes that one won."""
        market, job = self.board.market, self.board.job
        for account in self.accounts:
            if self.board.terms.disputes.attestors and market.dispute_bond_wei(job, account):
                self.tries(account, market.withdraw_dispute_bond(job, account))


def always(agent: Agent) -> bool:
    """In every attempt."""
    return True


def never(agent: Agent) -> bool:
    """In no attempt."""
    return False


def in_first_round(agent: Agent) -> bool:
    """In the first round only."""
    return agent.board.state.round == 0
