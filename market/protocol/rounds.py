"""When things may be done: a round's phases, by block timestamp, half-open and without overlap."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Phase(IntEnum):
    """What may be done to a job now; the same numbers as in the contract."""

    AWAITING_AGGREGATOR = 0
    ENROLMENT = 1
    COMMIT = 2
    REVEAL = 3
    EXAM = 4
    SETTLE = 5
    STARVED = 6
    OVERDUE = 7
    DISPUTED = 8
    FINISHED = 9
    CLOSED = 10


@dataclass(frozen=True)
class Schedule:
    """The moments of one attempt, as block timestamps in seconds.

    Commit is [start_s, commit_end_s), reveal [commit_end_s, reveal_end_s), exam [reveal_end_s, exam_end_s), settle
    [exam_end_s, settle_end_s). Without an exam its phase is empty.
    """

    start_s: int
    commit_end_s: int
    reveal_end_s: int
    exam_end_s: int
    settle_end_s: int

    @classmethod
    def of_attempt(cls, start_s: int, commit_s: int, reveal_s: int, exam_s: int, settle_s: int) -> Schedule:
        """Lay the four periods end to end from the attempt's start."""
        commit_end_s = start_s + commit_s
        reveal_end_s = commit_end_s + reveal_s
        exam_end_s = reveal_end_s + exam_s
        return cls(start_s, commit_end_s, reveal_end_s, exam_end_s, exam_end_s + settle_s)

    def phase(self, timestamp_s: int, enough_commits: bool) -> Phase:
        """The phase that a block with this timestamp is in."""
        if timestamp_s < self.start_s:
            return Phase.ENROLMENT
        if timestamp_s < self.commit_end_s:
            return Phase.COMMIT
        if not enough_commits:
            return Phase.STARVED
        if timestamp_s < self.reveal_end_s:
            return Phase.REVEAL
        if timestamp_s < self.exam_end_s:
            return Phase.EXAM
        return Phase.SETTLE if timestamp_s < self.settle_end_s else Phase.OVERDUE


FROZEN_S = (1 << 40) - 1
"""A moment that does not come: when credits vest while the job is disputed, as in the contract."""

FULL_STEP_Q16 = 1 << 16
"""The first round's step: one, with 16 fractional bits."""


def shift_of_step(initial_shift: int, step_q16: int) -> int:
    """Return e: one count of a round with this step is worth 2^e base counts. It falls by one as the step halves."""
    return max(0, initial_shift - (16 - (step_q16.bit_length() - 1)))
