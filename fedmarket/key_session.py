"""Handing out the key of a job with sealed models, for as long as somebody may come: its owner at work, or a deputy."""

from __future__ import annotations

from collections.abc import Callable, Collection

from market.chain.records import JobState
from market.chain.transactions import TransactionSender
from market.following import follow
from market.model_access import KeyGrants, ModelAccess
from market.protocol.errors import InvalidInput
from market.protocol.rounds import Phase
from market.published_job import PublishedJob


class KeySession:
    """Hands the key to whoever takes part in one job. It keeps nothing: the chain says who has been given it."""

    def __init__(
        self,
        job: PublishedJob,
        sender: TransactionSender,
        *,
        named: Collection[str] = (),
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Take the key.

        Args:
            job: the job.
            sender: of an account that has the key: the owner, who makes it, or whoever was given it.
            named: who is given it without a part in the job, once it has asked.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the job's models are open.
            ModelsSealed: the account has no key.
        """
        if not job.models.are_sealed:
            raise InvalidInput(f"the models of job {job.id} are open to everybody: there is no key to hand out")
        ModelAccess(job, sender.account).require()
        self.job, self.sender, self.report, self.poll_s = job, sender, report, poll_s
        self._grants = KeyGrants(job, sender, named)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Hand the key out until the job's rounds are over or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
        """
        self.sender.recover()
        follow(self.job, self.advance, should_stop, self.report, self.poll_s)

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Hand the key to who has come; returns whether anybody had."""
        given = self._grants.look()
        if given:
            self.report(f"gave the key of the job's models to {', '.join(given)}")
        return bool(given)
