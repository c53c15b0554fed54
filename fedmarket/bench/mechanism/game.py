"""One job from its opening to the last claim: the referee moves time, calls everybody, and keeps the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from fedmarket.bench.mechanism.agent import Agent, League
from fedmarket.bench.mechanism.aggregator import Aggregator
from fedmarket.bench.mechanism.board import Board
from fedmarket.bench.mechanism.court import Attestor, hear, take_receipts
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.owner import Owner
from fedmarket.bench.mechanism.seating import draw, take_over
from fedmarket.bench.mechanism.settings import DIMENSION, GAS_PRICE_WEI, MODEL_WEI, ROOT, ROUNDS, Setting
from fedmarket.bench.mechanism.strategy import PEOPLE, Strategy
from fedmarket.bench.mechanism.task import task_of
from fedmarket.bench.mechanism.trainer import Trainer
from market.chain.events import (
    AttemptExpired,
    AttemptUndone,
    DisputeOpened,
    DisputeResolved,
    JobOpened,
    RoundSettled,
    RoundSkipped,
    SeatTaken,
)
from market.protocol import integer_model
from market.protocol.errors import ChainError
from market.protocol.identifiers import Digest
from market.protocol.integer_model import WEIGHT_BITS
from market.protocol.rounds import Phase
from zk.commitment import Blinders, Layout, commit

OWNER, AGGREGATOR, TRAINER, ATTESTOR = "owner", "aggregator", "trainer", "attestor"
CONTESTABLE = (Phase.ENROLMENT, Phase.COMMIT, Phase.FINISHED)
"""When what was settled last has not vested."""


@dataclass(frozen=True)
class Account:
    """What one party's game came to.

    Attributes:
        money_wei: what came in less what went in.
        gas: that its transactions used.
        work_wei: what its trainings, or its proofs, cost it.
        league: whether it deviates.
    """

    money_wei: int
    gas: int
    work_wei: int
    league: bool

    @property
    def profit_wei(self) -> int:
        """Money less gas and work."""
        return self.money_wei - self.gas * GAS_PRICE_WEI - self.work_wei


@dataclass(frozen=True)
class Result:
    """What one game came to.

    Attributes:
        accounts: every party's, by its name.
        quality: of the last model that the owner has, 0 to 1.
        burned_wei: what nobody got.
        settled, expired, skipped: how many attempts ended like that; what was undone later was settled.
        paid_rounds: how many settlements paid somebody, undone ones among them.
        disputes: how many were opened.
        undone: how many settlements were undone by one.
        frozen_s: for how long the job stood still by disputes.
        league_seats: how many seats the league had when enrolment ended.
        taken_over: how many times a seat was taken from who had it, in the draw or later.
    """

    accounts: Mapping[str, Account]
    quality: float
    burned_wei: int
    settled: int
    expired: int
    skipped: int
    paid_rounds: int
    disputes: int = 0
    undone: int = 0
    frozen_s: int = 0
    league_seats: int = 0
    taken_over: int = 0

    @property
    def model_wei(self) -> int:
        """What the last model is worth to the owner."""
        return int(self.quality * ROUNDS * MODEL_WEI)

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Result:
        """Read what `to_json` wrote."""
        accounts = {name: Account(**values) for name, values in fields["accounts"].items()}
        return cls(**{**fields, "accounts": accounts})


@dataclass
class Cast:
    """The agents of one game.

    Attributes:
        owner: who opened the job.
        aggregators: in the order in which they bond.
        trainers: the league's first, then the others.
        attestors: who answer disputes, where anything can be disputed.
        league: who plays together.
    """

    owner: Owner
    aggregators: Sequence[Aggregator]
    trainers: Sequence[Trainer]
    attestors: Sequence[Attestor] = ()
    league: League = field(default_factory=League)

    @property
    def all(self) -> list[Agent]:
        """Everybody, in the order in which they act."""
        return [self.owner, *self.trainers, *self.aggregators, *self.attestors]

    @property
    def passer_by(self) -> Agent:
        """Who ends what time has ended: whoever acts last is the least involved."""
        return self.trainers[-1]


def play(ground: Ground, setting: Setting, strategy: Strategy, seed: int) -> Result:
    """Play one job to its end and its last claim.

    Raises:
        ChainError: the books do not balance.
    """
    ground.clear()
    board, owner = open_board(ground, setting, seed)
    cast = _cast(board, owner, strategy)
    league_seats = _seat(board, cast, strategy.grinds)
    while (phase := _due(board, cast)) not in (Phase.FINISHED, Phase.CLOSED):
        _advance(board, cast, phase)
    _finish(board, cast)
    return _books(board, cast, strategy, league_seats)


def open_board(ground: Ground, setting: Setting, seed: int) -> tuple[Board, str]:
    """Open a job of this kind. Returns its board, and its owner's account."""
    terms = setting.terms(ground.devnet.timestamp())
    model, layout = np.zeros(DIMENSION, np.int64), Layout(DIMENSION, terms.chunks)
    digest = Digest(sha256(integer_model.to_bytes(model)).digest())
    commitment = commit(ground.srs, layout, model, Blinders.zero(layout))
    account = ground.account(f"{OWNER}/0")
    call = ground.market.open_job(terms, Digest(ROOT), digest, commitment, ground.srs.id)
    ground.send(account, call)
    [opened] = ground.market.events(kinds=[JobOpened])
    return Board(ground, task_of(seed, DIMENSION), terms, opened.job, {digest: model}), account


def _cast(board: Board, owner_account: str, strategy: Strategy) -> Cast:
    league = League()
    owner = Owner(OWNER, board, accounts=[owner_account], conduct=strategy.owner)
    if strategy.owner_plays:
        owner.league = league
    trainers = []
    for person in range(PEOPLE):
        conduct = strategy.conduct_of(person)
        deviates = person in strategy.people
        trainers.append(
            Trainer(f"{TRAINER}-{person}", board, league if deviates else League(), person=person, conduct=conduct)
        )
    for extra, conduct in enumerate(strategy.owner_identities):
        name = f"{OWNER}'s-{extra}"
        trainers.append(Trainer(name, board, league, person=PEOPLE + extra, conduct=conduct))
    trainers.sort(key=lambda trainer: trainer.league is not league)
    league.trainers = [trainer for trainer in trainers if trainer.league is league]
    aggregators = [
        Aggregator(
            f"{AGGREGATOR}-{place}", board, league if place in strategy.aggregators_play else League(), conduct=c
        )
        for place, c in enumerate(strategy.aggregators)
    ]
    attestors = [
        Attestor(f"{ATTESTOR}-{place}", board, conduct=conduct, place=place)
        for place, conduct in enumerate(strategy.attestors[: len(board.terms.disputes.attestors)])
    ]
    return Cast(owner, aggregators, trainers, attestors, league)


def _seat(board: Board, cast: Cast, grinds: int) -> int:
    """Let everybody join, and draw the seats where they are drawn. Returns how many the league has then."""
    for agent in cast.all:
        agent.join()
    for trainer in cast.trainers:
        trainer.join_behind()
    accounts = {account for trainer in cast.league.trainers for account in trainer.accounts}
    board.look()
    draw(board, cast.trainers, cast.passer_by, accounts, grinds)
    return len(cast.league.seats(board))


def _due(board: Board, cast: Cast) -> Phase:
    """What comes next. Disputes come first, the trainers' before the owner's."""
    phase = board.look()
    if not cast.attestors or phase not in CONTESTABLE:
        return phase
    return board.look() if any(agent.contest() for agent in (*cast.trainers, cast.owner)) else phase


def _advance(board: Board, cast: Cast, phase: Phase) -> None:
    """Let everybody act in a phase, and time pass to the next one where they do not end it."""
    job, number = board.job, board.state.attempt
    if phase is Phase.AWAITING_AGGREGATOR:
        board.ground.devnet.advance_to(board.history.deadline_s)
    elif phase is Phase.STARVED:
        _end(cast, board.market.skip_round(job, number))
    elif phase is Phase.OVERDUE:
        _end(cast, board.market.expire_round(job, number))
    elif phase is Phase.DISPUTED:
        hear(board, cast.attestors, cast.passer_by)
    else:
        if phase is Phase.SETTLE:
            take_receipts(board)
        if phase is Phase.COMMIT:
            take_over(board, cast.trainers)
        for agent in cast.all:
            agent.act(phase)
        if phase is Phase.COMMIT and board.terms.entry.cohort:
            _fill(board, cast.trainers)
        if phase is not Phase.SETTLE or board.market.phase(job) is phase:
            board.ground.devnet.advance_to(_ends_at(board, phase))


def _fill(board: Board, trainers: Sequence[Trainer]) -> None:
    """Let those whom the cohort does not call take the places that its seats left, once half of the phase is over."""
    board.ground.devnet.advance_to(board.half_s)
    for trainer in trainers:
        trainer.commit()


def _end(cast: Cast, call: Any) -> None:
    agent = cast.passer_by
    agent.send(agent.accounts[0], call)


def _ends_at(board: Board, phase: Phase) -> int:
    """When a phase of the running attempt ends, as a block timestamp."""
    schedule = board.terms.schedule(board.state.attempt_start_s)
    ends: Mapping[Phase, int] = {
        Phase.ENROLMENT: schedule.start_s,
        Phase.COMMIT: schedule.commit_end_s,
        Phase.REVEAL: schedule.reveal_end_s,
        Phase.EXAM: schedule.exam_end_s,
        Phase.SETTLE: schedule.settle_end_s,
    }
    return ends[phase]


def _finish(board: Board, cast: Cast) -> None:
    # Exams are shown once the last settlement is final.
    board.ground.devnet.advance(board.terms.vesting_period_s)
    board.look()
    for agent in cast.all:
        agent.act(Phase.FINISHED)
    while _due(board, cast) is Phase.DISPUTED:
        hear(board, cast.attestors, cast.passer_by)
    attempts: list[Callable[[], int]] = [
        lambda: board.ground.devnet.advance(board.terms.vesting_period_s),
        lambda: board.ground.devnet.advance(board.terms.commit_period_s),
        lambda: board.ground.devnet.advance_to(board.history.deadline_s + board.terms.commit_period_s),
    ]
    for wait in attempts:
        wait()
        if cast.owner.close():
            break
    board.look()
    for agent in cast.all:
        agent.collect()


def _books(board: Board, cast: Cast, strategy: Strategy, league_seats: int) -> Result:
    accounts: dict[str, Account] = {}
    for agent in cast.all:
        money_wei = sum(board.ground.earned_wei(account) for account in agent.accounts)
        gas = sum(board.ground.purses[account].gas for account in agent.accounts)
        in_league = strategy.plays(agent.name)
        accounts[agent.name] = Account(money_wei, gas, agent.work_wei, in_league)
    ledger = board.market.ledger(board.job)
    missing_wei = sum(account.money_wei for account in accounts.values()) + ledger.burned_wei + ledger.locked_wei
    if missing_wei or not ledger.is_balanced:
        raise ChainError(f"the books do not balance: {missing_wei} wei too many, and the ledger is {ledger}")
    settled = [event for event in board.events if isinstance(event, RoundSettled)]
    known = {**board.models, **cast.owner.league.models}
    model = next(known[made.digest] for made in reversed(board.history.versions()) if made.digest in known)
    quality = board.task.quality(model / 2.0**WEIGHT_BITS, ROUNDS - 1)
    return Result(
        accounts,
        quality,
        ledger.burned_wei,
        len(settled),
        sum(isinstance(event, AttemptExpired) for event in board.events),
        sum(isinstance(event, RoundSkipped) for event in board.events),
        sum(event.paid for event in settled),
        sum(isinstance(event, DisputeOpened) for event in board.events),
        sum(isinstance(event, AttemptUndone) for event in board.events),
        _frozen_s(board),
        league_seats,
        sum(isinstance(event, SeatTaken) for event in board.events),
    )


def _frozen_s(board: Board) -> int:
    """How long disputes lasted, to the second."""
    resolved = board.history.of(DisputeResolved)
    return max((event.deadline_s for event in resolved), default=board.terms.deadline_s) - board.terms.deadline_s
