"""Plays the demo: starts the chain, deploys, posts the job, lets everybody act at once, pays out, closes.

Every actor is a thread with a connection, an account and a journal of its own, as if it were alone on its machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from aggregator.worker import AggregatorWorker, Progress
from fedmarket.attestor import AttestorSession
from fedmarket.demo.behaviours import CRAFTS, Copier
from fedmarket.demo.clock import Clock, Everybody
from fedmarket.demo.scenario import Behaviour, Scenario, trainer_seed
from fedmarket.demo.troupe import Troupe
from fedmarket.devnet import DEVELOPMENT_POWERS_OF_TAU, Devnet
from fedmarket.exam_folder import ExamFolder
from fedmarket.examiner import ExamSession
from fedmarket.owner import initial_model, publish, training_norm
from market.announced import JobDirectory
from market.chain.connection import Chain
from market.chain.deployment import Deployment, deploy
from market.chain.events import JobOpened
from market.chain.job_market import JobMarket
from market.chain.records import JobState
from market.chain.transactions import SendPolicy, TransactionSender
from market.protocol.dispute_spec import DisputesSection
from market.protocol.errors import ChainError, ContractRevert
from market.protocol.identifiers import Digest, JobId
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from market.storage import EmbeddedStore
from trainer_client.claims import claim, claimable
from trainer_client.enrolment import check_before_staking
from trainer_client.exam import slice_bytes
from trainer_client.session import TrainerSession
from zk.srs import Srs

FUNDS_WEI = 100 * 10**18
POLL_S = 0.1

ATTESTORS = ("attestor 0", "attestor 1", "attestor 2")
ATTESTORS_POLL_S = 0.5
ANSWER_S = 300


@dataclass(eq=False)
class Stopwatch:
    """Measures the aggregator's proofs.

    Attributes:
        laps_s: seconds of each, in order.
    """

    laps_s: list[float] = field(default_factory=list)
    _began_s: float = 0.0

    def watch(self, progress: Progress) -> None:
        """Is told what the aggregator does."""
        if progress.what != "proving":
            return
        if progress.done == 0:
            self._began_s = time.monotonic()
        else:
            self.laps_s.append(time.monotonic() - self._began_s)


@dataclass(frozen=True, eq=False)
class Player:
    """One actor: its name, its account's sender, and its own view of the job and of those in it."""

    name: str
    sender: TransactionSender
    job: PublishedJob
    people: JobDirectory


@dataclass(frozen=True, eq=False)
class Cast:
    """Everybody in the demo's job, and the contracts that it is on."""

    deployment: Deployment
    owner: Player
    aggregator: Player
    attestors: tuple[Player, ...]
    trainers: tuple[tuple[Behaviour, Player], ...]


@dataclass(eq=False)
class Play:
    """One performance.

    Attributes:
        scenario: what is played.
        devnet: the chain.
        srs: the insecure one that it is deployed with.
        folder: where storage, journals and work folders are.
        report: is told what happens, a line at a time.
        proving: measures how long the aggregator proves.
        troupe: the actors' threads.
    """

    scenario: Scenario
    devnet: Devnet
    srs: Srs
    folder: Path
    report: Callable[[str], None] = lambda line: None
    proving: Stopwatch = field(default_factory=Stopwatch)
    troupe: Troupe = field(default_factory=Troupe)

    @contextmanager
    def job(self) -> Iterator[Cast]:
        """Deploy, post the job and enrol everybody; accounts and journals are closed at the end."""
        with ExitStack() as journals:
            deployment = deploy(self.sender("deployer", journals), DEVELOPMENT_POWERS_OF_TAU)
            owner_sender = self.sender("owner", journals)
            attestors = {name: self.sender(name, journals) for name in ATTESTORS}
            job = self._post(deployment, owner_sender, [sender.address for sender in attestors.values()])
            owner = self._player("owner", owner_sender, deployment, job)
            aggregator = self._player("aggregator", self.sender("aggregator", journals), deployment, job)
            trainers = []
            for index, behaviour in enumerate(self.scenario.cast):
                name = f"trainer {index}"
                player = self._player(name, self.sender(name, journals), deployment, job)
                check_before_staking(player.job, self.srs)
                player.sender.send(f"enrol/{job}", player.job.market.enrol(job, player.job.terms))
                trainers.append((behaviour, player))
            watchers = tuple(self._player(name, sender, deployment, job) for name, sender in attestors.items())
            yield Cast(deployment, owner, aggregator, watchers, tuple(trainers))

    def rounds(self, cast: Cast, watch: Callable[[JobState, Phase], None]) -> None:
        """Let everybody act until all rounds are over.

        Args:
            cast: who.
            watch: is shown the job's state and phase again and again.

        Raises:
            FedmarketError: whatever stopped one of them.
        """
        stop, over = threading.Event(), threading.Event()
        sessions = [self._session(index, *entry) for index, entry in enumerate(cast.trainers)]
        examiner = self._examiner(cast.owner) if self.scenario.slices else None
        acts: list[Callable[[], None]] = [partial(session.run, stop.is_set) for session in sessions]
        if examiner is not None:
            acts.append(partial(examiner.run, stop.is_set))
        acts.append(partial(self._aggregate, self._worker(cast.aggregator), stop))
        with self._ticking(self._view(cast.owner), sessions, examiner, stop):
            watching = [partial(self._attestor(player).run, over.is_set) for player in cast.attestors]
            watchers = [self.troupe.start(act, stop) for act in watching]
            actors = [self.troupe.start(act, stop) for act in acts]
            try:
                self._watch(self._view(cast.owner), watch, stop)
                # Actors see for themselves that the rounds are over; the last confirmations still need the clock.
                for actor in actors:
                    actor.join()
            finally:
                stop.set()
                over.set()
                for actor in [*actors, *watchers]:
                    actor.join()
        self.troupe.check()

    def settle_up(self, cast: Cast) -> None:
        """Wait for the last credits to vest, claim them all, close the job, and hand back stakes, bond and rest."""
        history = cast.owner.job.history()
        last_vesting_s = max((attempt.vests_at_s for attempt in history.settlements()), default=0)
        self.devnet.advance_to(last_vesting_s)
        job, owner = cast.owner.job.id, cast.owner
        self._close(owner)
        for _, trainer in cast.trainers:
            self._cash_in(trainer)
        self._cash_in_fees(cast.aggregator)
        if owner.job.market.ledger(job).refundable_wei:
            owner.sender.send(f"refund/{job}", owner.job.market.refund(job, owner.sender.address))

    def _close(self, owner: Player) -> None:
        """Close the job, as soon as what is published cannot be disputed any more."""
        job, lifetime = owner.job.id, owner.job.history().packed_lifetime()
        try:
            owner.sender.send(f"close/{job}", owner.job.market.close_job(job, lifetime))
        except ContractRevert as refusal:
            if refusal.name != "NotCloseable":
                raise
            self.devnet.advance_to(int(refusal.arguments["from"]))
            owner.sender.send(f"close/{job}", owner.job.market.close_job(job, lifetime))

    # ------------------------------------------------------------------ setting the stage

    def sender(self, name: str, journals: ExitStack) -> TransactionSender:
        """A funded account that has just been made, with a journal that closes with the others."""
        account: LocalAccount = Account.create()
        self.devnet.fund(account.address, FUNDS_WEI)
        chain = Chain.connect(self.devnet.url, self.devnet.chain_id)
        journal = self.folder / "journals" / name.replace(" ", "-")
        return journals.enter_context(TransactionSender(chain, account, journal, SendPolicy(poll_s=POLL_S)))

    def _player(self, name: str, sender: TransactionSender, deployment: Deployment, job: JobId) -> Player:
        folder = self.folder / "work" / name.replace(" ", "-")
        market = deployment.connect(sender.chain)
        people = JobDirectory(market, deployment.directory_on(sender.chain), job, sender.address)
        return Player(name, sender, PublishedJob(market, self.store, job, folder / "cache"), people)

    def _post(self, deployment: Deployment, owner: TransactionSender, attestors: Iterable[str]) -> JobId:
        market = deployment.connect(owner.chain)
        disputes = DisputesSection(attestors=tuple(attestors), answer_s=ANSWER_S)
        spec = self.scenario.spec.model_copy(update={"disputes": disputes})
        model, exam = initial_model(spec, self.scenario.warm), None
        if self.scenario.slices:
            spec = spec.with_norm(training_norm(spec, model, self.scenario.slices[-1]))
            exam = ExamFolder.create(self._exam_path, [slice_bytes(samples) for samples in self.scenario.slices])
        prepared = publish(spec, model, self.store, self.srs, exam)
        call = market.open_job(
            prepared.terms(owner.chain.timestamp()),
            Digest(prepared.document_cid.digest),
            Digest(prepared.model_cid.digest),
            prepared.commitment,
            prepared.srs_id,
        )
        receipt = owner.send("open", call)
        for event in market.events_in(receipt.logs):
            if isinstance(event, JobOpened):
                return event.job
        raise ChainError("the transaction that opens the job shows no opening")

    @property
    def store(self) -> EmbeddedStore:
        """The storage that everybody shares."""
        return EmbeddedStore(self.folder / "store")

    @property
    def _exam_path(self) -> Path:
        return self.folder / "work" / "owner" / "exam"

    # ------------------------------------------------------------------ acting

    def _session(self, index: int, behaviour: Behaviour, player: Player) -> TrainerSession:
        kind = Copier if behaviour is Behaviour.COPIER else TrainerSession
        return kind(
            player.job,
            self.scenario.parts[index],
            player.sender,
            self.folder / "work" / player.name.replace(" ", "-"),
            self.srs,
            seed=trainer_seed(self.scenario.seed, index),
            craft=CRAFTS[behaviour],
            report=self.line(f"{player.name} ({behaviour})"),
            poll_s=POLL_S,
        )

    def _examiner(self, player: Player) -> ExamSession:
        exam, report = ExamFolder.open(self._exam_path), self.line(f"{player.name} (examiner)")
        return ExamSession(player.job, exam, player.sender, self.srs, report=report, poll_s=POLL_S)

    def _attestor(self, player: Player) -> AttestorSession:
        folder = self.folder / "work" / player.name.replace(" ", "-")
        parts = (player.job, player.people, player.sender, folder, self.srs)
        return AttestorSession(*parts, report=self.line(player.name), poll_s=ATTESTORS_POLL_S)

    def _worker(self, player: Player) -> AggregatorWorker:
        report = self.line(player.name)
        return AggregatorWorker(
            player.job, player.sender, self.srs, report=report, progress=self.proving.watch, poll_s=POLL_S
        )

    @contextmanager
    def _ticking(
        self, job: PublishedJob, sessions: list[TrainerSession], examiner: ExamSession | None, stop: threading.Event
    ) -> Iterator[None]:
        """Let the clock run for as long as the actors do."""
        over = threading.Event()
        clock = Clock(self.devnet, job.market, job.id, everybody(job, sessions, examiner))
        ticking = self.troupe.start(partial(clock.run, over), stop)
        try:
            yield
        finally:
            over.set()
            ticking.join()

    def _aggregate(self, worker: AggregatorWorker, stop: threading.Event) -> None:
        worker.bond()
        worker.run(stop.is_set)

    def _view(self, player: Player) -> PublishedJob:
        """The job over a connection of its own, for whoever looks at it beside the player."""
        market = JobMarket(Chain.connect(self.devnet.url, self.devnet.chain_id), player.job.market.address)
        return PublishedJob(market, self.store, player.job.id, self.folder / "work" / "cache")

    def _watch(self, job: PublishedJob, watch: Callable[[JobState, Phase], None], stop: threading.Event) -> None:
        while not stop.wait(POLL_S):
            state, phase = job.now()
            watch(state, phase)
            if phase is Phase.FINISHED:
                return

    def line(self, name: str) -> Callable[[str], None]:
        """What an actor of this name reports by."""
        return lambda line: self.report(f"{name}: {line}")

    # ------------------------------------------------------------------ settling up

    def _cash_in(self, trainer: Player) -> None:
        for credit in claimable(trainer.job, trainer.sender.address):
            claim(trainer.job, trainer.sender, credit)
        seat = trainer.job.market.seat(trainer.job.id, trainer.sender.address)
        if seat is not None and trainer.job.market.state(trainer.job.id).staked >> seat & 1:
            call = trainer.job.market.withdraw_stake(trainer.job.id, trainer.sender.address)
            trainer.sender.send(f"unstake/{trainer.job.id}", call)

    def _cash_in_fees(self, aggregator: Player) -> None:
        job, to = aggregator.job, aggregator.sender.address
        for attempt in job.history().settlements():
            call = job.market.claim_fee(job.id, attempt.number, to)
            aggregator.sender.send(f"fee/{job.id}/{attempt.number}", call)
        aggregator.sender.send(f"unbond/{job.id}", job.market.withdraw_bond(job.id, to))


def everybody(job: PublishedJob, sessions: list[TrainerSession], examiner: ExamSession | None) -> Everybody:
    """What the clock waits for: everyone who will act in a phase, and the copier's try."""
    copiers = [session for session in sessions if isinstance(session, Copier)]
    ordinary = [session for session in sessions if not isinstance(session, Copier)]

    def committed(state: JobState) -> bool:
        betting = [copier for copier in copiers if state.attempt in copier.BETS]
        sealed = examiner is None or examiner.is_done(state, job.market.exam(job.id, state.attempt).seal)
        return sealed and all(session.is_done(state, state.committed) for session in [*ordinary, *betting])

    def revealed(state: JobState) -> bool:
        hands_in = all(session.is_done(state, state.revealed) for session in ordinary)
        return hands_in and all(copier.tried(state) for copier in copiers)

    def examined(state: JobState) -> bool:
        return examiner is None or examiner.is_done(state, job.market.exam(job.id, state.attempt).opened)

    return Everybody(lambda state: state.seats_taken == len(sessions), committed, revealed, examined)
