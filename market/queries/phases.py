"""Which phase a job is in at a moment: `Rounds.phase` of the contract, from rows."""

from __future__ import annotations

from market.db.tables import AttemptRow, JobRow
from market.protocol.rounds import Phase, Schedule
from market.protocol.terms import JobTerms


def phase_of(job: JobRow, terms: JobTerms, committed: int, now_s: int) -> tuple[Phase, int | None]:
    """A job's phase, and when it ends; None where it ends by what somebody does.

    Args:
        job: its row.
        terms: its terms.
        committed: how many committed in the attempt that runs.
        now_s: the moment, a block timestamp.
    """
    if job.closed_s is not None:
        return Phase.CLOSED, None
    if job.disputed:
        return Phase.DISPUTED, None
    if job.attempt_start_s is None:
        return (Phase.FINISHED if is_finished(job, terms, now_s) else Phase.AWAITING_AGGREGATOR), None
    schedule = terms.schedule(job.attempt_start_s)
    phase = schedule.phase(now_s, committed >= terms.minimum_commits)
    return phase, end_of(phase, schedule)


def is_finished(job: JobRow, terms: JobTerms, now_s: int) -> bool:
    """Whether no attempt can start any more: the rounds are over, or too little time is left."""
    next_start_s = max(now_s, job.enrol_until_s)
    return job.round >= job.rounds or next_start_s + terms.attempt_period_s > job.deadline_s


def end_of(phase: Phase, schedule: Schedule) -> int | None:
    """When a phase ends by itself."""
    ends = {
        Phase.ENROLMENT: schedule.start_s,
        Phase.COMMIT: schedule.commit_end_s,
        Phase.REVEAL: schedule.reveal_end_s,
        Phase.EXAM: schedule.exam_end_s,
        Phase.SETTLE: schedule.settle_end_s,
    }
    return ends.get(phase)


def schedule_of(terms: JobTerms, attempt: AttemptRow) -> Schedule:
    """When an attempt's phases end."""
    return terms.schedule(attempt.starts_s)
