"""One account's attesting in many jobs at once: a thread each, so that one job's trouble is no other's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from market.chain.job_market import JobMarket
from market.protocol.errors import FedmarketError, InvalidInput
from market.protocol.identifiers import JobId
from market.protocol.rounds import Phase

LOOK_S = 2.0
"""How often jobs are looked for that opened since."""

RETRY_S = 15.0
"""How long a job is left alone that could not be followed."""

PATIENCE_S = 10.0
"""How long a service that ends waits for a job that is in the middle of something; nothing is lost by leaving it."""


Following = Callable[[Callable[[], bool]], None]
"""Follows one job until it is closed, or what it is given says that it should stop."""


class NamedJobs:
    """The jobs whose terms name an account among their attestors."""

    def __init__(self, market: JobMarket, account: str) -> None:
        """Look for nothing yet."""
        self._market, self._account, self._looked_at = market, account, 0

    def look(self) -> list[JobId]:
        """Those that opened since the last look, and are not closed.

        Raises:
            ChainError: the node does not answer, or not as one chain.
        """
        found = []
        for number in range(self._looked_at, self._market.job_count()):
            job = JobId(number)
            named = self._account in self._market.terms(job).disputes.attestors
            if named and self._market.phase(job) is not Phase.CLOSED:
                found.append(job)
            self._looked_at = number + 1
        return found


class AttestorService:
    """Follows jobs until they are closed. Stop and start it at any time.

    A job that cannot be followed now (its document is not in storage, its node is away) is told of and tried again.
    """

    def __init__(
        self,
        open_job: Callable[[JobId], Following],
        report: Callable[[str], None],
        *,
        meanwhile: Callable[[], None] = lambda: None,
        look_s: float = LOOK_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """Follow nothing yet.

        Args:
            open_job: prepares to attest in a job.
            report: is told which job cannot be followed, and why.
            meanwhile: is called at every look for what is to be done beside the jobs.
            look_s: how often is looked for jobs that opened, and whether all are closed.
            retry_s: when a job that could not be followed is tried again.
        """
        self._open, self._report, self._meanwhile = open_job, report, meanwhile
        self._look_s, self._retry_s = look_s, retry_s
        self._stopping = threading.Event()
        self._threads: dict[JobId, threading.Thread] = {}
        self._told: dict[str, str] = {}
        self.closed: set[JobId] = set()
        self.broken: set[JobId] = set()

    def follow(self, jobs: Collection[JobId], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Attest in these jobs until all are closed.

        Raises:
            InvalidInput: the account is no attestor of one of them.
            FedmarketError: there is only one, and it cannot be followed now.
            RuntimeError: a job's thread ended by a defect, which it showed.
        """
        opened = {job: self._open_at_once(job, len(jobs) == 1) for job in jobs}
        for job, following in opened.items():
            self._start(job, following)
        self._wait(lambda: should_stop() or not any(thread.is_alive() for thread in self._threads.values()))
        if broken := sorted(job for job in self.broken if not self._threads[job].is_alive()):
            raise RuntimeError(f"jobs {broken} were not followed to their end")

    def follow_all(
        self, look: Callable[[], Collection[JobId]], should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Attest in the jobs that `look` finds, now and later, until `should_stop` says so."""

        def is_over() -> bool:
            with self._telling("looking for jobs"):
                for job in look():
                    self._start(job, None)
            return should_stop()

        self._wait(is_over)

    def _open_at_once(self, job: JobId, alone: bool) -> Following | None:
        """A person's mistake ends the command; what is only away is waited for, where there is anything else to do."""
        try:
            return self._open(job)
        except FedmarketError as trouble:
            if alone or isinstance(trouble, InvalidInput):
                raise
            return None

    def _start(self, job: JobId, following: Following | None) -> None:
        if job not in self._threads:
            # A daemon: a process that is told to end does, and what was cut short is done again by the next one.
            thread = threading.Thread(target=self._attest, args=(job, following), name=f"job {job}", daemon=True)
            self._threads[job] = thread
            thread.start()

    def _attest(self, job: JobId, following: Following | None) -> None:
        self.broken.add(job)  # until it is seen to have ended as it should
        while not self._stopping.is_set():
            is_over = False
            with self._telling(f"job {job}"):
                following = following or self._open(job)
                following(self._stopping.is_set)
                is_over = True
            if is_over and not self._stopping.is_set():
                self.closed.add(job)
            if is_over:
                break
            following = None
            self._stopping.wait(self._retry_s)
        self.broken.discard(job)

    def _wait(self, is_over: Callable[[], bool]) -> None:
        try:
            while not is_over():
                with self._telling("beside the jobs"):
                    self._meanwhile()
                self._stopping.wait(self._look_s)
        finally:
            self._stopping.set()
            for thread in self._threads.values():
                thread.join(PATIENCE_S)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Tell of trouble once, and go on."""
        try:
            yield
        except FedmarketError as trouble:
            line = f"{what}: {trouble}; tried again"
            if self._told.get(what) != line:
                self._told[what] = line
                self._report(line)
