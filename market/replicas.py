"""A job's replicated intervals on the chain: its pool and tasks, how they are opened, and what the replicas found.

Nothing is kept: the job's number and document say what pool and tasks look like, and the chain which of them there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from market.chain.consensus_events import OutputsRevealed, Penalised, PoolOpened
from market.chain.consensus_records import (
    APPEAL_PANEL,
    NONE_32,
    PanelState,
    PenaltyReason,
    PoolTerms,
    TaskPhase,
    TaskTerms,
)
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import TransactionSender
from market.protocol.consensus import Outcome
from market.protocol.errors import ContractRevert, InvalidInput, StorageError
from market.protocol.identifiers import Digest, JobId, PoolId, TaskId
from market.protocol.job_spec import JobSpec
from market.protocol.replication import DIGEST_CODE, replication_request, replication_seed, replication_service
from market.protocol.replication_spec import ReplicationSection
from market.protocol.terms import NATIVE
from market.storage import Cid, ContentStore


@dataclass(frozen=True)
class ReplicaFinding:
    """What came of one replica of an interval.

    Attributes:
        address: whose it is.
        verdict: agrees, spared, deviates or silent; waits before there is one.
        bits: by how many its digests differ from the accepted ones, at most; None where there is nothing to compare.
    """

    address: str
    verdict: str
    bits: int | None

    @property
    def is_found_out(self) -> bool:
        """Whether it lost its stake."""
        return self.verdict in ("deviates", "silent")


@dataclass(frozen=True)
class IntervalFinding:
    """What the replicas of one round came to.

    Attributes:
        round: with whose model the interval begins.
        task: its task's number; None where none was opened.
        phase: what may be done to the task now; None without one.
        outcome: what the task came to, or will if nobody appeals.
        replicas: in the order of seats.
        outputs: content digest of the accepted updates; None where none were accepted.
    """

    round: int
    task: TaskId | None = None
    phase: TaskPhase | None = None
    outcome: Outcome = Outcome.UNDECIDED
    replicas: tuple[ReplicaFinding, ...] = ()
    outputs: Digest | None = None

    @property
    def found_out(self) -> tuple[ReplicaFinding, ...]:
        """The replicas that deviate or stayed silent."""
        return tuple(replica for replica in self.replicas if replica.is_found_out)

    def sentence(self) -> str:
        """The finding in one line."""
        if self.task is None:
            return "no task was opened"
        agree = sum(replica.verdict == "agrees" for replica in self.replicas)
        told = {
            Outcome.UNDECIDED: f"task {self.task} is not decided yet",
            Outcome.ACCEPTED: f"task {self.task}: {agree} of {len(self.replicas)} replicas agree",
            Outcome.VOID: f"task {self.task}: a majority could not do what was asked for",
            Outcome.NO_MAJORITY: f"task {self.task}: no majority agrees",
        }[self.outcome]
        named = [f"{replica.address} {_why(replica)}" for replica in self.found_out]
        return "; ".join([told, *named])


class JobReplicas:
    """The replicated intervals of one job."""

    def __init__(self, consensus: OutputConsensus, job: JobId, spec: JobSpec) -> None:
        """Bind them to a job.

        Args:
            consensus: the contract.
            job: the job's number.
            spec: the job's.

        Raises:
            InvalidInput: the job's terms ask for no replicas.
        """
        if spec.replication is None:
            raise InvalidInput(f"the terms of job {job} ask for no replicas: its spec has no section `replication`")
        self.consensus, self.job, self.spec = consensus, job, spec
        self.section: ReplicationSection = spec.replication
        self.service = replication_service(job, spec, self.section).to_bytes()
        self._found: PoolId | None = None

    @property
    def pool_terms(self) -> PoolTerms:
        """What the job's pool was opened with."""
        section = self.section
        return PoolTerms(
            service=_digest(self.service),
            digest_kind=DIGEST_CODE,
            tolerance_bits=section.tolerance_bits,
            slack_permille=0,
            max_samples=len(section.shards),
            unit_wei=section.stake_wei,
        )

    @property
    def pool(self) -> PoolId | None:
        """The job's pool, the oldest where there are several; None before it was opened."""
        if self._found is None:
            opened = self.consensus.all_events([PoolOpened])
            terms = self.pool_terms
            found = (event for event in opened if isinstance(event, PoolOpened) and event.terms == terms)
            self._found = next((event.pool for event in found), None)
        return self._found

    def task_terms(self, pool: PoolId, round_number: int) -> TaskTerms:
        """What a round's task was opened with."""
        section = self.section
        return TaskTerms(
            pool=pool,
            request=_digest(self.request(round_number)),
            seed=replication_seed(section, round_number),
            samples=len(section.shards),
            verifiers=section.replicas,
            share_wei=section.share,
            worker=NATIVE,
            worker_reward_wei=type(section.share)(0),
            claim=NONE_32,
            canaries=NONE_32,
            seat_period_s=section.seat_s,
            commit_period_s=section.commit_s,
            reveal_period_s=section.reveal_s,
            appeal_period_s=section.appeal_s,
        )

    def request(self, round_number: int) -> bytes:
        """A round's request, as it is stored."""
        return replication_request(self.section, round_number).to_bytes()

    def tasks(self) -> Mapping[int, TaskId]:
        """The tasks by round, the oldest where there are several: whoever opens a second one pays for it."""
        pool = self.pool
        if pool is None:
            return {}
        opened = [(event.terms, event.task) for event in self.consensus.tasks_of(pool)]
        due = self.section.rounds_due(self.spec.rounds)
        wanted = {number: self.task_terms(pool, number) for number in due}
        found = ((number, task) for number, terms in wanted.items() for seen, task in opened if seen == terms)
        tasks: dict[int, TaskId] = {}
        for number, task in found:
            tasks.setdefault(number, task)
        return tasks

    def findings(self, round_number: int) -> Iterator[IntervalFinding]:
        """What the replicas found, of every interval up to a round."""
        tasks = self.tasks()
        for number in self.section.rounds_due(self.spec.rounds):
            if number <= round_number:
                yield IntervalFinding(number) if number not in tasks else self._finding(number, tasks[number])

    def _finding(self, number: int, task: TaskId) -> IntervalFinding:
        state = self.consensus.state(task)
        # The job's replicas are those that were appealed about, not those that an appeal asked.
        index = state.standing if state.panel == APPEAL_PANEL else state.panel
        panel = self.consensus.panel(task, index)
        told = _Told.of_task(self.consensus, task, index)
        replicas = tuple(told.finding(panel, seat) for seat in range(len(panel.seats)))
        accepted = state.outcome is Outcome.ACCEPTED
        outputs = state.outputs if accepted else None
        return IntervalFinding(number, task, state.phase, state.outcome, replicas, outputs)


class ReplicaOpener:
    """Opens a job's pool, and the task of each interval once its round has begun."""

    def __init__(
        self,
        replicas: JobReplicas,
        store: ContentStore,
        sender: TransactionSender,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Prepare to open.

        Args:
            replicas: the job's.
            store: where the documents go.
            sender: of the account that pays the shares.
            report: is told what happens, a line at a time.
        """
        self.replicas, self._store, self._sender, self._report = replicas, store, sender, report
        self._told = ""

    def check_shards(self) -> None:
        """See that all shards are in the store.

        Raises:
            StorageError: naming the first that is not.
        """
        for shard in self.replicas.section.shards:
            self._store.verify(Cid.parse(shard))

    def advance(self, round_number: int) -> bool:
        """Open what is due once a round has begun; returns whether there was anything.

        Raises:
            ContractRevert, StorageError: what keeps it from being opened.
        """
        pool = self.replicas.pool
        if pool is None:
            self._open_pool()
            return True
        tasks = self.replicas.tasks()
        due = [number for number in self._due if number <= round_number and number not in tasks]
        if not due or not self._has_replicas(pool):
            return False
        self._open_task(pool, due[0])
        return True

    @cached_property
    def _due(self) -> range:
        return self.replicas.section.rounds_due(self.replicas.spec.rounds)

    def _has_replicas(self, pool: PoolId) -> bool:
        staked, wanted = self.replicas.consensus.members(pool), self.replicas.section.replicas
        if staked < wanted:
            self._tell(
                f"{staked} of {wanted} replicas have staked in pool {pool}: `fedmarket verifier stake {pool} --units 1`"
            )
        return staked >= wanted

    def _open_pool(self) -> None:
        self.check_shards()
        replicas = self.replicas
        cid = self._store.add_bytes(replicas.service)
        self._store.pin(cid, f"job {replicas.job} replicas")
        self._sender.send(f"replicas/{replicas.job}/pool", replicas.consensus.open_pool(replicas.pool_terms))
        self._report(f"pool {replicas.pool} is open to the replicas of job {replicas.job}")

    def _open_task(self, pool: PoolId, number: int) -> None:
        replicas = self.replicas
        cid = self._store.add_bytes(replicas.request(number))
        self._store.pin(cid, f"job {replicas.job} replicas")
        call = replicas.consensus.open_task(replicas.task_terms(pool, number))
        self._sender.send(f"replicas/{replicas.job}/{number}", call)
        self._report(f"round {number}: task {replicas.tasks().get(number)} asks {replicas.section.replicas} replicas")

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._report(line)


def try_to_open(opener: ReplicaOpener, round_number: int, report: Callable[[str], None]) -> bool:
    """Open what is due; what keeps it from being opened is told, and keeps nothing else.

    Returns:
        Whether anything was opened.
    """
    try:
        return opener.advance(round_number)
    except (ContractRevert, StorageError) as problem:
        report(f"no replicas were asked for: {problem}")
        return False


@dataclass(frozen=True)
class _Told:
    """What the events say of a panel."""

    revealed: Mapping[str, OutputsRevealed]
    penalised: Mapping[str, Penalised]

    @classmethod
    def of_task(cls, consensus: OutputConsensus, task: TaskId, panel: int) -> _Told:
        events = consensus.events(task)
        revealed = (event for event in events if isinstance(event, OutputsRevealed) and event.panel == panel)
        penalised = (event for event in events if isinstance(event, Penalised) and event.panel == panel)
        return cls(
            {event.verifier: event for event in revealed},
            {event.verifier: event for event in penalised},
        )

    def finding(self, panel: PanelState, seat: int) -> ReplicaFinding:
        address = panel.seats[seat].verifier
        return ReplicaFinding(address, self._verdict(panel, seat), self._bits(panel, address))

    def _verdict(self, panel: PanelState, seat: int) -> str:
        punished = self.penalised.get(panel.seats[seat].verifier)
        if panel.paid >> seat & 1:
            return "agrees"
        if panel.spared >> seat & 1:
            return "spared"
        if punished is None:
            return "waits"
        return "silent" if punished.reason is PenaltyReason.SILENT else "deviates"

    def _bits(self, panel: PanelState, address: str) -> int | None:
        medoid = self.revealed.get(panel.seats[panel.medoid].verifier) if panel.clique else None
        own = self.revealed.get(address)
        if medoid is None or own is None or len(own.digests) != len(medoid.digests) or not own.digests:
            return None
        return max(_apart(*pair) for pair in zip(own.digests, medoid.digests, strict=True))


def _apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _why(replica: ReplicaFinding) -> str:
    if replica.verdict == "silent":
        return "did not show what it sealed"
    return f"deviates by {replica.bits} bits" if replica.bits is not None else "deviates"


def _digest(document: bytes) -> Digest:
    return Digest(sha256(document).digest())
