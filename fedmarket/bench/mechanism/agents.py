"""Owner, trainers and aggregators: what the honest do in every phase, and the points at which a conduct differs.

The referee calls every agent in every phase. An agent acts by calls to the real contract from accounts of its own, and
reads the board. Whatever it decides is a field of its conduct; a conduct with nothing set is an honest one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from aggregator.proving import CommittedModel, proof_context, prove_round
from aggregator.round import RoundResult, run_round
from aggregator.worker.rounds import round_proof
from fedmarket.bench.mechanism.board import Board, Integers
from fedmarket.bench.mechanism.settings import PROVING_WEI, TRAINING_WEI
from fedmarket.bench.mechanism.task import Floats
from market.chain.calls import PreparedCall
from market.chain.packed import pack_records
from market.chain.records import NO_PROOF, ExclusionReason, Settlement
from market.protocol import integer_model
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from market.protocol.seal import new_salt, seal
from market.protocol.update import UPDATE_LIMIT
from zk.commitment import Blinders, commit
from zk.gram_proof import CommittedRow

SEALING_KEY = b"\x09" + bytes(31)
"""Announced by every aggregator: what is sealed to it is handed over by way of the board."""


@dataclass
class Opening:
    """What opens one seal."""

    row: CommittedRow
    content: Digest
    salt: bytes


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

    def collect(self) -> None:
        """Take one's money after the close."""


# ---------------------------------------------------------------------- trainers

Craft = Callable[["Trainer", int], Floats | None]
"""Makes an update for the identity of this number, in counts; None commits nothing."""


def train(trainer: Trainer, identity: int) -> Floats | None:
    """Train honestly, once for all identities."""
    return trainer.trained()


def nothing(trainer: Trainer) -> None:
    """Do nothing more than is due."""


@dataclass(frozen=True)
class TrainerConduct:
    """How a trainer plays.

    Attributes:
        craft: what it hands in.
        identities: how many seats it takes.
        reveals: whether it opens its seals.
        uploads: whether the bytes can be had.
        joins_in: the round before which it enrols.
        enrols: how it takes its seats; None: one for every identity.
        before: what else it does at the beginning of every attempt.
    """

    craft: Craft = train
    identities: int = 1
    reveals: bool = True
    uploads: bool = True
    joins_in: int = 0
    enrols: Callable[[Trainer], None] | None = None
    before: Callable[[Trainer], None] = nothing


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
        if self.conduct.joins_in == 0:
            self.enrol()

    def enrol(self) -> None:
        """Take a seat for every identity, where there is one."""
        if self.conduct.enrols:
            self.conduct.enrols(self)
            return
        for _ in range(self.conduct.identities):
            self.tries(self.open_account(), self.board.market.enrol(self.board.job, self.board.terms))

    def act(self, phase: Phase) -> None:
        if phase is Phase.COMMIT:
            self.opened.clear()
            if self.conduct.joins_in and not self.accounts and self.board.state.round >= self.conduct.joins_in:
                self.enrol()
            self.conduct.before(self)
            self._commit()
        elif phase is Phase.REVEAL and self.conduct.reveals:
            self._reveal()

    def collect(self) -> None:
        board = self.board
        for account in self.accounts:
            seat = board.seat(account)
            for credit in [] if seat is None else board.history.credits(seat):
                self.tries(account, board.market.claim(board.job, credit.attempt, credit.pays, account))
            self.tries(account, board.market.withdraw_stake(board.job, account))

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

    def _commit(self) -> None:
        for identity, account in enumerate(self.accounts[-self.conduct.identities :]):
            update = self.conduct.craft(self, identity)
            if update is not None:
                self.seal(account, update)

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


def committed(board: Board, values: np.ndarray, blinders: Blinders) -> Opening:
    """A vector under a commitment, with a salt for its seal."""
    commitment = commit(board.srs, board.layout, values, blinders)
    content = Digest(sha256(values.tobytes() + blinders.to_bytes()).digest())
    return Opening(CommittedRow(values, blinders, commitment), content, new_salt())


# ---------------------------------------------------------------------- the owner

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
        opens: whether it opens C_r.
        delivers: whether the aggregator gets r.
        publishes: whether the exams are shown at the end.
        tells: whether its league gets r before the commits.
    """

    reference: Reference = examine
    opens: bool = True
    delivers: bool = True
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
        if not self.board.state.has_exam:
            return
        if phase is Phase.COMMIT:
            self._commit()
        elif phase is Phase.EXAM and self.conduct.opens and self.opening:
            self._open(self.opening)
        elif phase is Phase.FINISHED and self.conduct.publishes:
            self.tries(self.accounts[0], self.board.market.publish_exam(self.board.job, Digest(bytes(31) + b"\x01")))

    def close(self) -> bool:
        """Close the job, where it can be closed."""
        board = self.board
        return self.tries(self.accounts[0], board.market.close_job(board.job, board.history.packed_lifetime()))

    def collect(self) -> None:
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
        if self.conduct.delivers:
            board.exams[attempt] = opening.row


# ---------------------------------------------------------------------- aggregators


def nobody(aggregator: Aggregator) -> set[Seat]:
    """Exclude nobody whose update can be had."""
    return set()


def always(aggregator: Aggregator) -> bool:
    """Whatever the round."""
    return True


@dataclass(frozen=True)
class AggregatorConduct:
    """How an aggregator plays.

    Attributes:
        settles: whether it settles the running attempt.
        excludes: whom it leaves out of those whose updates can be had.
        examines: whether it takes an exam that was opened into the round.
        publishes: whether everybody can have the new model's bytes, not its league alone.
        stays: whether it keeps its bond in place while it is a successor.
    """

    settles: Callable[[Aggregator], bool] = always
    excludes: Callable[[Aggregator], set[Seat]] = nobody
    examines: bool = True
    publishes: bool = True
    stays: bool = True


@dataclass
class Aggregator(Agent):
    """Bonds, decides, proves, settles; as a successor it ends what was not settled.

    Attributes:
        conduct: how it plays.
    """

    conduct: AggregatorConduct = AggregatorConduct()

    def join(self) -> None:
        account = self.open_account()
        self.tries(account, self.board.market.bond(self.board.job, self.board.terms, SEALING_KEY))

    def act(self, phase: Phase) -> None:
        if phase is Phase.COMMIT and not self.conduct.stays and not self.is_active:
            self.tries(self.accounts[0], self.board.market.withdraw_bond(self.board.job, self.accounts[0]))
        if phase is Phase.SETTLE and self.is_active and self.conduct.settles(self):
            self._settle()

    def collect(self) -> None:
        board, account = self.board, self.accounts[0]
        for attempt in board.history.settlements():
            if attempt.settled and attempt.settled.aggregator == account:
                self.tries(account, board.market.claim_fee(board.job, attempt.number, account))
        self.tries(account, board.market.withdraw_bond(board.job, account))

    @property
    def is_active(self) -> bool:
        """Whether the running attempt is its own to settle."""
        return self.board.market.aggregators(self.board.job)[:1] == self.accounts

    # ------------------------------------------------------------------ a settlement

    def _settle(self) -> None:
        board = self.board
        attempt, number = board.attempt, board.state.attempt
        had = {seat: row for seat in attempt.reveals if (row := board.updates.get((number, seat)))}
        left_out = (set(attempt.reveals) - set(had)) | (self.conduct.excludes(self) & set(attempt.reveals))
        rows = {seat: row for seat, row in sorted(had.items()) if seat not in left_out}
        exam = board.exams.get(number) if self.conduct.examines else None
        models = board.committed_models(self.league.models)
        if models is None:
            return
        settlement = Settlement(
            exclusions=dict.fromkeys(left_out, ExclusionReason.UNAVAILABLE),
            gram=b"",
            model=board.state.model,
            lifetime=board.history.packed_lifetime(),
            exam_reason=ExclusionReason.UNAVAILABLE if attempt.exam_opened and exam is None else ExclusionReason.NONE,
        )
        if rows:
            settlement = self._proven(settlement, rows, exam, models)
        self.send(self.accounts[0], board.market.settle_round(board.job, number, settlement))

    def _proven(
        self,
        settlement: Settlement,
        rows: dict[Seat, CommittedRow],
        exam: CommittedRow | None,
        models: Sequence[CommittedModel],
    ) -> Settlement:
        board, attempt = self.board, self.board.attempt
        self.work_wei += PROVING_WEI
        records = board.history.records_q16()
        result = run_round(
            board.terms.rules,
            [np.asarray(row.values, np.int16) for row in rows.values()],
            [model.version for model in models],
            attempt.started.shift,
            attempt.started.step_q16,
            None if exam is None else np.asarray(exam.values, np.int64),
            [records[seat] for seat in rows] if exam else (),
        )
        context = proof_context(board.place, attempt.reveals, settlement.exclusions)
        proven = prove_round(board.srs, board.layout, context, result, list(rows.values()), models, exam=exam)
        return replace(
            settlement,
            gram=result.gram.pack(),
            model=self._published(result),
            proof=round_proof(attempt, proven) if rows else NO_PROOF,
            records=b"" if exam is None else pack_records(records),
        )

    def _published(self, result: RoundResult) -> Digest:
        if result.model is None:
            return self.board.state.model
        digest = Digest(sha256(integer_model.to_bytes(result.model)).digest())
        shown = self.board.models if self.conduct.publishes else self.league.models
        shown[digest] = result.model
        return digest
