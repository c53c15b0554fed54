"""A small job on a real chain, played a phase at a time by the roles' own code; and ways to be killed on the way."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregator.worker import AggregatorWorker
from fedmarket import powers_of_tau
from fedmarket.devnet import Devnet
from fedmarket.exam_folder import ExamFolder
from fedmarket.owner import PreparedJob, initial_model, publish
from market.announced import JobDirectory
from market.chain import artefacts
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.directory import Directory
from market.chain.erc20 import Erc20
from market.chain.events import Event, JobOpened, RoundSettled, UpdateCommitted
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, JobState, Ledger
from market.chain.transactions import Finality, Receipt, TransactionSender
from market.job_history import Attempt
from market.protocol.errors import ChainTimeout
from market.protocol.identifiers import Digest, JobId, Seat
from market.protocol.job_spec import JobSpec, ModelSection, parse_spec
from market.protocol.package_spec import EXPORTED
from market.protocol.rounds import Phase
from market.protocol.terms import NATIVE, JobTerms
from market.protocol.update import StoredUpdate
from market.published_job import PublishedJob
from market.sealed_update import sealed_update_cid
from market.sealing import Opening, SealingKey, UpdateSeal
from market.storage import Cid, ContentStore, EmbeddedStore
from trainer_client.attempt_folder import AttemptFolder, SealedUpdate
from trainer_client.crafting import Craft, RoundTask
from trainer_client.data import Dataset
from trainer_client.exported.packing import PackageFolder
from trainer_client.session import TrainerSession
from zk.commitment import Layout
from zk.srs import Srs

SCALE_EXPONENT = 14
REWARD_WEI = 10**15
FEE_WEI = 10**13
STAKE_WEI = 10**16
COMPENSATION_WEI = 10**12
MUCH_WEI = 10**20
HANDED_IN_AGAIN_S = 0.5
BALANCE_WEI = 1_000 * 10**18

ON_ANVIL = pytest.mark.parametrize("shared_devnet", ["anvil"], indirect=True, scope="session")
"""For what is about the roles' own code, or needs blocks at an exact second: Ganache adds nothing but minutes."""

SEALING_KEY = b"\x09" + bytes(31)
"""Announced where nothing is ever sealed to it."""

SRS_POINTS = 4_084
"""More than the longest of the tests' vectors needs."""

Counts = NDArray[np.int16]
E = TypeVar("E", bound=Event)


@cache
def srs_folder() -> Path:
    """Where the tests' powers of tau are."""
    folder = Path(mkdtemp(prefix="fedmarket-srs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def development_srs() -> Srs:
    """The tests' powers of tau, made once a session."""
    return powers_of_tau.development_srs(srs_folder(), SRS_POINTS)


def spec(features: int, **changes: Any) -> JobSpec:
    """A logistic regression of three classes: d = 3·(features + 1)."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "model": {"architecture": "logistic_regression", "arguments": {"features": features, "classes": 3}},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.5},
        "update": {"scale_exponent": SCALE_EXPONENT},
        # With so few parameters three standard deviations of chance are most of the way to one.
        "rules": {"significance": 1.0},
        "rounds": 3,
        "seats": 8,
        "periods": {
            "enrol_s": 600,
            "commit_s": 300,
            "reveal_s": 300,
            "settle_s": 300,
            "vesting_s": 100,
            "deadline_s": 9_000,
            "confirmations": 1,
            "block_time_s": 1,
        },
        "money": {
            "round_reward": REWARD_WEI,
            "aggregator_fee": FEE_WEI,
            "trainer_stake": STAKE_WEI,
            "aggregator_bond": STAKE_WEI,
            "compensation": COMPENSATION_WEI,
        },
    }
    for name, value in changes.items():
        fields[name] = {**fields.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_spec(fields)


def names(count: int) -> list[str]:
    """Names of trainers, by seat."""
    return [f"trainer {seat}" for seat in range(count)]


def constant(counts: NDArray[Any]) -> Craft:
    """Hand in these counts, which may have fractions, in every round."""
    return lambda task: (counts * 2.0**-SCALE_EXPONENT).astype(np.float32)


def agreeing(own_seed: int) -> Craft:
    """An update that agrees with those of all other seeds, and differs in every attempt."""

    def craft(task: RoundTask) -> NDArray[np.float32]:
        d = task.job_model.manifest.dimension
        common = np.random.default_rng(task.attempt).integers(-900, 900, d)
        own = np.random.default_rng([1 + own_seed, task.attempt]).integers(-400, 400, d)
        return constant(common + own)(task)

    return craft


def samples(seed: int, features: int = 4, count: int = 24) -> Dataset:
    """Three classes that a linear model can tell apart."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    inputs = random.normal(0, 0.3, (count, features)) + np.eye(3, features)[labels]
    return Dataset(inputs.astype(np.float32), labels.astype(np.int64))


class Killed(Exception):
    """The process ended here."""


class Process(TransactionSender):
    """An actor's sender on a chain that goes on: a block follows every transaction, so that it is soon believed.

    Attributes:
        devnet: the chain; None where it stands still.
        killed_before, killed_after: the act, if any, at which the actor's process is killed.
    """

    devnet: Devnet | None = None
    killed_before: str | None = None
    killed_after: str | None = None

    def send(
        self, key: str, call: PreparedCall, finality: Finality | None = None, timeout_s: float | None = None
    ) -> Receipt:
        act = key.split("/")[0]
        if act == self.killed_before:
            raise Killed(f"before {key}")
        receipt = super().send(key, call, finality, timeout_s)
        if act == self.killed_after:
            raise Killed(f"after {key}")
        return receipt

    def wait(self, key: str, finality: Finality | None = None, timeout_s: float | None = None) -> Receipt:
        if self.devnet is None:
            return super().wait(key, finality, timeout_s)
        self.devnet.mine()
        try:
            return super().wait(key, finality, HANDED_IN_AGAIN_S)
        except ChainTimeout:  # a reorganisation had dropped it: it is in the latest block only now
            self.devnet.mine()
            return super().wait(key, finality, timeout_s)


class Processes:
    """Actors by name, each with an account, a journal and a process."""

    devnet: Devnet
    actors: Any

    def actor(self, name: str) -> Process:
        """An actor's account, funded and with a journal."""
        if name not in self.actors.senders:
            self.devnet.fund(self.actors.account(name).address, BALANCE_WEI)
            self.restart(name)
        sender: Process = self.actors.senders[name]
        return sender

    def restart(self, name: str, killed_before: str | None = None, killed_after: str | None = None) -> Process:
        """Give the actor a new process, on the same journal; it may be killed at an act."""
        if name in self.actors.senders:
            self.actors.senders[name].close()
        chain, account = Chain.connect(self.devnet.url, self.devnet.chain_id), self.actors.account(name)
        sender = Process(chain, account, self.actors.folder / name, self.actors.policy)
        sender.devnet, sender.killed_before, sender.killed_after = self.devnet, killed_before, killed_after
        self.actors.senders[name] = sender
        return sender


@dataclass
class Marketplace(Processes):
    """One job with its actors. Work folders, caches and journals are each actor's own; storage is shared.

    Attributes:
        stores: of the actors that have one of their own.
        package: of the model that the owner brings, if any.
    """

    devnet: Devnet
    market: JobMarket
    actors: Any
    folder: Path
    features: int = 4
    token: str = NATIVE
    told: dict[str, list[str]] = field(default_factory=dict)
    crafts: dict[str, Craft] = field(default_factory=dict)
    directory: str = ""
    stores: dict[str, ContentStore] = field(default_factory=dict)
    package: PackageFolder | None = None

    # ------------------------------------------------------------------ setting up

    def post(self, **changes: Any) -> Marketplace:
        """Publish and open the job."""
        parsed = spec(self.features, **changes)
        if self.package is not None:
            section = ModelSection(architecture=EXPORTED).of_package(self.package.arguments)
            parsed = parsed.model_copy(update={"model": section})
        exam = self.cut_exam(parsed)
        model = self.first_model(parsed, exam)
        self.prepared = publish(parsed, model, self.store, self.srs, exam, package=self.package)
        self.document_cid, self.model_cid = self.prepared.document_cid, self.prepared.model_cid
        self.terms: JobTerms = self.prepared.terms(self.devnet.timestamp())
        self.pay_in("owner")
        receipt = self.send("owner", "open", self.opening_call(self.prepared))
        [opened] = [event for event in self.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
        self.id: JobId = opened.job
        return self

    def cut_exam(self, parsed: JobSpec) -> ExamFolder | None:
        """The exam that the job is opened with; none here."""
        return None

    def first_model(self, parsed: JobSpec, exam: ExamFolder | None) -> NDArray[np.int64]:
        """The model that the job is opened with; as it is drawn here."""
        return initial_model(parsed, None, package=self.package)

    @property
    def layout(self) -> Layout:
        """How the job's vectors lie in their commitments."""
        return Layout(self.terms.rules.dimension, self.terms.chunks)

    def opening_call(self, prepared: PreparedJob) -> PreparedCall:
        """The call that opens a job on these terms."""
        digests = (Digest(prepared.document_cid.digest), Digest(prepared.model_cid.digest))
        return self.market.open_job(self.terms, *digests, prepared.commitment, prepared.srs_id)

    def join(self, trainers: int, aggregators: Iterable[str] = ("alice",)) -> Marketplace:
        """Let trainers enrol, who from then on agree unless told otherwise, and aggregators bond."""
        self.trainers = names(trainers)
        for seat, name in enumerate(self.trainers):
            self.enrol(name)
            self.crafts[name] = agreeing(seat)
        for name in aggregators:
            self.pay_in(name)
            self.worker(name).bond()
        return self

    def enrol(self, name: str) -> None:
        """Take a seat, or put a stake back."""
        self.pay_in(name)
        self.send(name, f"enrol {self.state.attempt}", self.market.enrol(self.id, self.terms))

    def pay_in(self, name: str) -> None:
        """Give an actor tokens that the contract may take, where the job is paid in some."""
        if self.token != NATIVE and not self.actor(name).knows("approve"):
            coin = Erc20(self.market.chain, self.token)
            self.send("mint", f"give {name}", coin.transfer(self.actor(name).address, MUCH_WEI))
            self.send(name, "approve", coin.approve(self.market.address, MUCH_WEI))

    # ------------------------------------------------------------------ the actors

    @property
    def srs(self) -> Srs:
        """The market's powers of tau."""
        return development_srs()

    @property
    def store(self) -> EmbeddedStore:
        """The storage that everybody shares."""
        return EmbeddedStore(self.folder / "store")

    def view(self, name: str) -> PublishedJob:
        """The job as an actor reads it, over its own connection and cache."""
        market = JobMarket(self.actor(name).chain, self.market.address)
        store = self.stores.get(name, self.store)
        return PublishedJob(market, store, self.id, self.work_folder(name) / "cache")

    def people(self, name: str) -> JobDirectory:
        """Whoever announced something, as an actor reads it."""
        if not self.directory:
            code = bytes.fromhex(artefacts.load("Directory").bytecode)
            call = PreparedCall(None, code, label="deploy Directory")
            self.directory = str(self.send("deployer of the directory", "deploy", call).contract)
        chain, address = self.actor(name).chain, self.actor(name).address
        market = JobMarket(chain, self.market.address)
        return JobDirectory(market, Directory(chain, self.directory), self.id, address)

    def work_folder(self, name: str) -> Path:
        """Where an actor keeps what is its own."""
        return self.folder / "work" / name

    def session(self, name: str, dataset: Dataset | None = None, **settings: Any) -> TrainerSession:
        """A trainer's session as a new process starts it."""
        settings = {"craft": self.crafts[name], "report": self.listen(name), "poll_s": 0.01, **settings}
        return TrainerSession(
            self.view(name),
            dataset or samples(self.seat(name), self.features),
            self.actor(name),
            self.work_folder(name),
            self.srs,
            **settings,
        )

    def worker(self, name: str) -> AggregatorWorker:
        """An aggregator's worker as a new process starts it."""
        return AggregatorWorker(self.view(name), self.actor(name), self.srs, report=self.listen(name), poll_s=0.01)

    def of(self, attempt: Attempt, update: UpdateSeal) -> Opening:
        """What the aggregators open in an audit that all of them make together."""
        [name] = [name for name, it in self.actors.senders.items() if it.address == attempt.started.aggregator]
        chain_id = self.market.chain.chain_id
        return SealingKey.of_account(self.actor(name).account, chain_id, self.market.address, self.id)

    def listen(self, name: str) -> Callable[[str], None]:
        """Keep what an actor reports."""
        return self.told.setdefault(name, []).append

    def kill(self, name: str, before: str | None = None, after: str | None = None) -> None:
        """Let a trainer do what is due in a process that is killed at an act."""
        self.restart(name, before, after)
        with pytest.raises(Killed):
            self.session(name).advance(*self.now())

    def send(self, name: str, key: str, call: PreparedCall) -> Receipt:
        """Send a transaction outside the roles' own code."""
        receipt: Receipt = self.actor(name).send(key, call)
        return receipt

    # ------------------------------------------------------------------ playing

    def advance(self, moment: str, offset_s: int = 0) -> None:
        """Let time pass until a moment of the running attempt's schedule."""
        schedule = self.terms.schedule(self.state.attempt_start_s)
        self.devnet.advance_to(getattr(schedule, moment) + offset_s)

    def commit(self, trainers: Iterable[str] | None = None) -> None:
        """Go to the commit phase and let new sessions act."""
        self.advance("start_s")
        self.act(trainers)

    def reveal(self, trainers: Iterable[str] | None = None) -> None:
        """Go to the reveal phase and let new sessions act."""
        self.advance("commit_end_s")
        self.act(trainers)

    def act(self, trainers: Iterable[str] | None = None) -> None:
        """Let new sessions do what is due."""
        for name in self.trainers if trainers is None else trainers:
            self.session(name).advance(*self.now())

    def settle(self, name: str = "alice") -> bool:
        """Go to the settle phase and let a new worker act; returns whether it did."""
        if self.phase is not Phase.SETTLE:
            self.advance("exam_end_s")
        return self.worker(name).advance(*self.now())

    def settle_otherwise(
        self,
        without: Seat | None = None,
        name: str = "alice",
        reason: ExclusionReason = ExclusionReason.UNAVAILABLE,
    ) -> None:
        """Settle in a transaction that the worker's journal knows nothing of: after a reorganisation, for example."""
        self.advance("exam_end_s")
        worker, state = self.worker(name), self.state
        history = worker.job.history()
        material = worker._gather(history, state.attempt)
        assert material is not None
        if without is not None:
            del material.collected.updates[without]
            material.collected.exclusions[without] = reason
        settlement = worker._settlement(state, history, material, worker._decide(material))
        self.send(name, "settle otherwise", self.market.settle_round(self.id, state.attempt, settlement))

    def expire(self) -> None:
        """Let the settle phase pass, and end the attempt as a passer-by."""
        self.advance("settle_end_s")
        attempt = self.state.attempt
        self.send("passer-by", f"expire {attempt}", self.market.expire_round(self.id, attempt))

    def play_round(self, trainers: Iterable[str] | None = None) -> Attempt:
        """One round from commit to settlement; returns what happened in it."""
        acting = list(self.trainers if trainers is None else trainers)
        attempt = self.state.attempt
        self.commit(acting)
        self.reveal(acting)
        assert self.settle()
        return self.attempt(attempt)

    # ------------------------------------------------------------------ looking

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        return self.market.state(self.id)

    def now(self) -> tuple[JobState, Phase]:
        """State and phase, as the roles' own loops read them."""
        return self.state, self.phase

    @property
    def phase(self) -> Phase:
        """The job's phase."""
        return self.market.phase(self.id)

    @property
    def ledger(self) -> Ledger:
        """Where the job's money is."""
        return self.market.ledger(self.id)

    def seat(self, name: str) -> Seat:
        """A trainer's seat."""
        seat = self.market.seat(self.id, self.actor(name).address)
        assert seat is not None
        return seat

    def mask(self, *trainers: str) -> int:
        """The bit mask of some trainers' seats."""
        return sum(1 << self.seat(name) for name in trainers)

    def attempt(self, number: int) -> Attempt:
        """What happened in an attempt."""
        return self.view("onlooker").history().attempt(number)

    def attempt_folder(self, name: str, attempt: int | None = None) -> AttemptFolder:
        """What a trainer keeps of an attempt, by default the running one."""
        state = self.state
        number = state.attempt if attempt is None else attempt
        return AttemptFolder(self.work_folder(name), self.market.seal_context(self.id, state.round, number))

    def opening(self, name: str, attempt: int | None = None) -> SealedUpdate:
        """What opens a trainer's seal."""
        sealed = self.attempt_folder(name, attempt).sealed()
        assert sealed is not None
        return sealed

    def counts(self, name: str, attempt: int) -> Counts:
        """The update that a trainer made in an attempt."""
        return self.stored(name, attempt).counts

    def stored(self, name: str, attempt: int) -> StoredUpdate:
        """That update with its blinders, as it is stored."""
        return self.attempt_folder(name, attempt).update(self.terms.rules.dimension, self.terms.chunks)

    def reveal_call(self, name: str, attempt: int, **instead: Any) -> PreparedCall:
        """The call that opens a trainer's seal, with other values in place of the true ones."""
        opening = replace(self.opening(name, attempt), **instead)
        values = (opening.commitment, opening.content, opening.salt)
        return self.market.reveal(self.id, attempt, self.actor(name).address, *values)

    def update_cid(self, name: str) -> Cid:
        """Under which name that update is stored, sealed."""
        return sealed_update_cid(self.opening(name).content, self.terms.rules.dimension, self.terms.chunks)

    def sealed_blob(self, name: str) -> bytes:
        """That update as it is stored, from the trainer's own store."""
        return EmbeddedStore(self.work_folder(name) / "sealed").read(self.update_cid(name), 1 << 18)

    def commits_of(self, name: str) -> list[UpdateCommitted]:
        """Every commit that a trainer ever sent."""
        return [event for event in self._events(UpdateCommitted) if event.seat == self.seat(name)]

    def settlements(self) -> list[RoundSettled]:
        """Every settlement of the job."""
        return self._events(RoundSettled)

    def _events(self, kind: type[E]) -> list[E]:
        return [event for event in self.market.events(self.id, kinds=[kind]) if isinstance(event, kind)]

    def check_books(self) -> None:
        """Every wei that came in is accounted for, and the contract holds what it owes."""
        assert self.ledger.is_balanced
        owed_wei = self.market.owed_wei(self.token)
        if self.token == NATIVE:
            assert self.devnet.balance_wei(self.market.address) == owed_wei
        else:
            assert Erc20(self.market.chain, self.token).balance(self.market.address) == owed_wei
