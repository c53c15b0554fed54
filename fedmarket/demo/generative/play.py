"""Plays the generative demo: trains by a job, opens a pool and a task, lets verifiers and cheats act, settles, audits.

Every verifier is a thread with a connection, an account, a journal and a storage of its own, as if it were alone on its
machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from aggregator.audit import AuditReport, audit_job
from fedmarket.demo.generative.behaviours import Copier, LazyServices
from fedmarket.demo.generative.clock import REVEALED, TaskClock
from fedmarket.demo.generative.measuring import measure_tolerance, with_tolerance
from fedmarket.demo.generative.scenario import (
    DIGEST,
    EXAMPLE,
    SHARE_WEI,
    STAKE_WEI,
    STEPS,
    GenerativeScenario,
    Part,
    VerifierPart,
)
from fedmarket.demo.play import POLL_S, Cast, Play
from market.chain.connection import Chain
from market.chain.consensus_events import ConsensusEvent, PoolOpened, TaskOpened
from market.chain.consensus_records import NONE_32, PanelState, PoolTerms, TaskState, TaskTerms
from market.chain.output_consensus import OutputConsensus
from market.chain.records import JobState
from market.chain.transactions import Receipt, TransactionSender
from market.protocol.errors import ChainError
from market.protocol.generation import (
    DecodingSection,
    JobModel,
    LimitsSection,
    ModelSource,
    RequestDocument,
    ServiceDocument,
)
from market.protocol.identifiers import Digest, PoolId, TaskId, Wei
from market.protocol.rounds import Phase
from market.protocol.terms import NATIVE
from market.published_job import PublishedJob
from market.storage import Cid
from market.task_audit import TaskReport, audit_task
from trainer_client.calibration.calibration import Calibration
from trainer_client.calibration.measuring import Progress
from trainer_client.calibration.samples import Part as Half
from trainer_client.digests import DIGESTS
from trainer_client.verifier.services import Services
from trainer_client.verifier.session import VerifierSession

E = TypeVar("E", bound=ConsensusEvent)

PERIODS_S = {"seat_period_s": 600, "commit_period_s": 1800, "reveal_period_s": 600, "appeal_period_s": 600}
"""Long, so that a slow machine misses none: the clock skips what is left once everybody has acted."""


@dataclass(frozen=True, eq=False)
class Verifier:
    """One verifier: what it does, its account, and its session."""

    part: VerifierPart
    sender: TransactionSender
    session: VerifierSession | Copier


@dataclass(frozen=True, eq=False)
class Task:
    """The demo's task and who answers it.

    Attributes:
        cast: of the job that made the model.
        consensus: the contract, over the owner's connection.
        service, request: content ids of the documents.
        pool, id: numbers of the pool and of the task.
        verifiers: everybody with a stake in the pool.
        training_audit: the verdict on the job.
        calibration: what the pool's tolerance was chosen by.
    """

    cast: Cast
    consensus: OutputConsensus
    service: Cid
    request: Cid
    pool: PoolId
    id: TaskId
    verifiers: tuple[Verifier, ...]
    training_audit: AuditReport
    calibration: Calibration

    def audit(self) -> TaskReport:
        """Replay the task from its events."""
        return audit_task(self.consensus, self.id)


@dataclass(eq=False)
class GenerativePlay:
    """One performance.

    Attributes:
        scenario: what is played.
        play: the job's play: its chain, folder and troupe are this one's, too.
        seconds: how long each part took.
    """

    scenario: GenerativeScenario
    play: Play
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def task(
        self,
        watch_job: Callable[[JobState, Phase], None],
        watch_task: Callable[[TaskState, PanelState], None],
        watch_measuring: Callable[[Half], Progress],
    ) -> Iterator[Task]:
        """Train, open the task, and play it to its end; accounts and journals are closed afterwards.

        Args:
            watch_job: is shown the job's state and phase again and again.
            watch_task: is shown the task's.
            watch_measuring: for each part of the calibration, gives what is told how far it is.
        """
        with ExitStack() as stack:
            with self._timed("training"):
                cast = stack.enter_context(self.play.job())
                self.play.rounds(cast, watch_job)
                self.play.settle_up(cast)
            with self._timed("audit of the job"):
                report = self._audit_job(cast)
            with self._timed("calibration"):
                service = self._service(cast.owner.job)
                folder = self.play.folder / "calibration"
                found = measure_tolerance(self.scenario, service, cast.owner.job, folder, watch_measuring)
            with self._timed("verifying"):
                task = self._open(cast, report, found, stack)
                self._perform(task, watch_task)
            yield task

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = time.monotonic() - begun

    def _audit_job(self, cast: Cast) -> AuditReport:
        job = cast.owner.job
        return audit_job(job.market, job.store, job.id, self.play.srs, self.play.folder / "audit")

    # ------------------------------------------------------------------ setting the stage

    def _open(self, cast: Cast, report: AuditReport, found: Calibration, stack: ExitStack) -> Task:
        """The owner opens pool and task; in between everybody stakes."""
        owner = cast.owner.sender
        consensus = cast.deployment.consensus_on(owner.chain)
        measured = self.play.store.add_bytes(found.to_bytes())
        document = with_tolerance(self._service(cast.owner.job), found, measured)
        service = self.play.store.add_bytes(document.to_bytes())
        call = consensus.open_pool(pool_terms(document, service))
        pool = _opened(owner.send("pool", call), PoolOpened, consensus).pool
        senders = [(part, self.play.sender(part.name, stack)) for part in self.scenario.verifiers]
        for _, sender in senders:
            sender.send(f"stake/{pool}", consensus.stake(pool, 1, STAKE_WEI))
        prompts = RequestDocument(prompts=self.scenario.prompts, decoding={"steps": STEPS})
        request = self.play.store.add_bytes(prompts.to_bytes())
        call = consensus.open_task(self._task_terms(pool, request))
        task = _opened(owner.send("task", call), TaskOpened, consensus).task
        verifiers = tuple(Verifier(part, sender, self._session(cast, task, part, sender)) for part, sender in senders)
        return Task(cast, consensus, service, request, pool, task, verifiers, report, found)

    def _service(self, job: PublishedJob) -> ServiceDocument:
        """The document, whose tolerance is yet to be measured."""
        spec = job.document.spec
        return ServiceDocument(
            name="handwritten digits",
            model=ModelSource(
                architecture=spec.model.architecture,
                arguments=spec.model.arguments,
                seed=spec.model.seed,
                scale_exponent=spec.update.scale_exponent,
                parameters=JobModel(job=job.id),
            ),
            generator=EXAMPLE,
            digest=DIGEST,
            tolerance_bits=0,
            limits=LimitsSection(samples=len(self.scenario.prompts), classes=spec.model.arguments["classes"]),
            decoding=DecodingSection(allowed={"steps": [STEPS]}),
        )

    def _task_terms(self, pool: PoolId, request: Cid) -> TaskTerms:
        return TaskTerms(
            pool=pool,
            request=Digest(request.digest),
            seed=self.scenario.task_seed,
            samples=len(self.scenario.prompts),
            verifiers=len(self.scenario.verifiers),
            share_wei=SHARE_WEI,
            worker=NATIVE,
            worker_reward_wei=Wei(0),
            claim=NONE_32,
            canaries=NONE_32,
            **PERIODS_S,
        )

    def _session(
        self, cast: Cast, task: TaskId, part: VerifierPart, sender: TransactionSender
    ) -> VerifierSession | Copier:
        consensus, report = cast.deployment.consensus_on(sender.chain), self.play.line(part.name)
        if part.part is Part.COPIER:
            return Copier(consensus, sender, task, report, POLL_S)
        folder = self.play.folder / "work" / part.name.replace(" ", "-")
        services = self._services(cast, part, sender, folder)
        return VerifierSession(
            consensus, sender, services, self.play.store, folder, part.execution, report=report, poll_s=POLL_S
        )

    def _services(self, cast: Cast, part: VerifierPart, sender: TransactionSender, folder: Path) -> Services:
        market = cast.deployment.connect(sender.chain)

        def open_job(number: int) -> PublishedJob:
            return PublishedJob(market, self.play.store, type(cast.owner.job.id)(number), folder / "cache")

        kind = LazyServices if part.part is Part.LAZY else Services
        services = kind(self.play.store, folder / "cache", open_job, lambda job: self.play.srs)
        if isinstance(services, LazyServices):
            job = cast.owner.job
            services.model = job.model(job.history().opened.initial_model)
        return services

    # ------------------------------------------------------------------ acting

    def _perform(self, task: Task, watch: Callable[[TaskState, PanelState], None]) -> None:
        """Let everybody act until the task is finished, and withdraw what they are owed."""
        stop, devnet = threading.Event(), self.play.devnet
        market = OutputConsensus(Chain.connect(devnet.url, devnet.chain_id), task.consensus.address)
        clock = TaskClock(devnet, market, task.id, partial(_have_revealed, task), watch)
        troupe = self.play.troupe
        acting = [troupe.start(partial(verifier.session.run, stop.is_set), stop) for verifier in task.verifiers]
        ticking = troupe.start(partial(clock.run, stop), stop)
        for thread in (ticking, *acting):
            thread.join()
        troupe.check()
        for verifier in task.verifiers:
            if task.consensus.credits_wei(verifier.sender.address):
                call = task.consensus.withdraw(verifier.sender.address)
                verifier.sender.send(f"withdraw/{task.id}", call)


def _opened(receipt: Receipt, kind: type[E], consensus: OutputConsensus) -> E:
    for event in consensus.events_in(receipt.logs):
        if isinstance(event, kind):
            return event
    raise ChainError(f"the transaction shows no {kind.__name__}")


def pool_terms(document: ServiceDocument, service: Cid) -> PoolTerms:
    """The terms of the demo's pool.

    Args:
        document: the service's.
        service: content id under which that is stored.
    """
    return PoolTerms(
        service=Digest(service.digest),
        digest_kind=DIGESTS[document.digest.kind].code,
        tolerance_bits=document.tolerance_bits,
        slack_permille=document.slack_permille,
        max_samples=256,
        unit_wei=STAKE_WEI,
    )


def _have_revealed(task: Task, panel: PanelState) -> bool:
    """Whether all who run a model have revealed, and the copier has had its try."""
    copiers = {v.sender.address: v.session for v in task.verifiers if isinstance(v.session, Copier)}
    waiting = [seat for seat in panel.seats if seat.verifier not in copiers and seat.state not in REVEALED]
    sitting = {seat.verifier for seat in panel.seats}
    return not waiting and all(copier.tried for address, copier in copiers.items() if address in sitting)
