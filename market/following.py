"""Following a job for as long as it runs: what every role that acts on a chain has in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from market.chain.records import JobState
from market.protocol.errors import ChainTimeout, ChainUnreachable, NodeRefused, TransactionLost
from market.protocol.rounds import Phase
from market.published_job import PublishedJob


def follow(
    job: PublishedJob,
    advance: Callable[[JobState, Phase], bool],
    should_stop: Callable[[], bool],
    report: Callable[[str], None],
    poll_s: float,
    over: Collection[Phase] = (Phase.FINISHED, Phase.CLOSED),
) -> None:
    """Let a role act until the job's rounds are over.

    A node that is away or refuses, a confirmation that is late and a transaction that was lost are told once and waited
    out: what is at stake is lost to whoever leaves. The journal knows what was sent, the chain what is due.

    Args:
        job: the job.
        advance: does what is due in this state and phase, and says whether there was anything.
        should_stop: asked before every look at the chain.
        report: is told what is waited for, a line at a time.
        poll_s: pause where nothing was due.
        over: the phases in which the role has nothing to do any more, once nothing can be undone.
    """
    told = ""
    while True:
        try:
            if should_stop():
                return
            state, phase = job.now()
            if phase in over and not _may_go_on(job, state, phase):
                return
            if not advance(state, phase):
                time.sleep(poll_s)
        except (ChainTimeout, ChainUnreachable, NodeRefused, TransactionLost) as problem:
            if str(problem) != told:
                told = str(problem)
                report(told)
            time.sleep(poll_s)


def _may_go_on(job: PublishedJob, state: JobState, phase: Phase) -> bool:
    """Whether a dispute can still undo the last settlement of a job whose rounds are over, and let one start again."""
    if phase is not Phase.FINISHED or not job.terms.disputes.attestors or not state.attempt:
        return False
    return job.market.outcome(job.id, state.attempt - 1).vests_at_s > job.market.chain.timestamp()
