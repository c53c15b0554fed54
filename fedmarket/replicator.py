"""Asking a job's trainers for replicas, round after round, as the job's terms say: its owner at work, or anybody."""

from __future__ import annotations

import time
from collections.abc import Callable

from market.chain.output_consensus import OutputConsensus
from market.chain.records import JobState
from market.chain.transactions import TransactionSender
from market.following import follow
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from market.replicas import JobReplicas, ReplicaOpener, try_to_open

BESIDE_S = 5.0
"""How often somebody who does something else meanwhile looks for intervals that are due."""


class ReplicaSession:
    """Opens the pool of a job's replicas, and a task for every interval that is due. The chain says which there are."""

    def __init__(
        self,
        job: PublishedJob,
        consensus: OutputConsensus,
        sender: TransactionSender,
        *,
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to ask.

        Args:
            job: the job.
            consensus: the contract that tasks are opened in.
            sender: of the account that pays the shares; it cannot be a replica.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the job's terms ask for no replicas.
        """
        replicas = JobReplicas(consensus, job.id, job.document.spec)
        self.job, self.replicas, self.sender, self.poll_s = job, replicas, sender, poll_s
        self._told, self._looked_at = "", float("-inf")
        self._report = report
        self._opener = ReplicaOpener(replicas, job.store, sender, report)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Ask for replicas until every interval has its task, or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
        """
        self.sender.recover()
        follow(self.job, self.advance, lambda: should_stop() or self.is_done, self._report, self.poll_s, over=())

    def tend(self) -> None:
        """Open what is due, if it was not looked for just now: to be called again and again by who does other things.

        Raises:
            ChainUnreachable, ChainTimeout, TransactionLost: as any look at the chain and any sending.
        """
        if time.monotonic() - self._looked_at >= BESIDE_S:
            self._looked_at = time.monotonic()
            self.advance(*self.job.now())

    @property
    def is_done(self) -> bool:
        """Whether every interval has its task, or can have none any more: a closed job has no rounds to come."""
        state, phase = self.job.now()
        due = [number for number in self._due if phase is not Phase.CLOSED or number <= state.round]
        return self.replicas.pool is not None and len(self.replicas.tasks()) >= len(due)

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Open what is due now; returns whether there was anything."""
        return try_to_open(self._opener, state.round, self._tell)

    @property
    def _due(self) -> range:
        return self.replicas.section.rounds_due(self.replicas.spec.rounds)

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._report(line)
