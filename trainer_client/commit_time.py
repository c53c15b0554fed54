"""When a trainer's commit is due: how long a training may go on in an attempt."""

from __future__ import annotations

from functools import partial
from typing import Final

from market.chain.records import JobState
from market.published_job import PublishedJob
from trainer_client.crafting import Alarm
from trainer_client.late_update import left_to_train_s

SAFETY: Final = 0.2
"""Share of the commit phase that is kept free for sending the commit: training stops before it."""


class CommitTime:
    """A job's commit phases, of which a cohort's seats have the first half for themselves."""

    def __init__(self, job: PublishedJob) -> None:
        """Look at nothing yet."""
        self._job = job

    def half_s(self, state: JobState) -> int:
        """When what the cohort's seats leave is for all."""
        last = state.attempt - 1
        vests_s = self._job.market.outcome(self._job.id, last).vests_at_s if state.attempt else 0
        return self._job.terms.half_s(state.attempt_start_s, vests_s)

    def latest_s(self, state: JobState) -> int:
        """From when on the rest of an attempt's time is needed for the commit."""
        start_s, now_s = state.attempt_start_s, self._job.market.chain.timestamp()
        latest_s = start_s + int(self._job.terms.commit_period_s * (1 - SAFETY))
        if self._job.terms.entry.cohort:
            first_s = start_s + int((self.half_s(state) - start_s) * (1 - SAFETY))
            latest_s = first_s if now_s < first_s else latest_s  # too late for the first half is in time for the second
        return latest_s

    def alarm(self, state: JobState) -> Alarm:
        """Says when the training of an update of this attempt has to end."""
        return Alarm(partial(self._left_s, self.latest_s(state)))

    def late_alarm(self, round_number: int) -> Alarm:
        """Says when a training from a round's model has to end that later rounds take, too."""
        job = self._job
        last = min(round_number + job.terms.maximum_age, job.terms.rounds - 1)

        def left_s() -> float:
            state = job.market.state(job.id)
            return left_to_train_s(state, last, lambda: self._left_s(self.latest_s(state)))

        phase_s = job.terms.commit_period_s / (2 if job.terms.entry.cohort else 1)
        return Alarm(left_s, least_s=phase_s * (1 - SAFETY))

    def _left_s(self, latest_s: int) -> int:
        return latest_s - self._job.market.chain.timestamp()
