"""What came of a trainer's updates: whether each was accepted, how its exam went, and what it earned."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from market.chain.packed import unpack_pays
from market.chain.records import JobState
from market.job_history import Attempt
from market.protocol.errors import ChainError
from market.protocol.identifiers import Seat
from market.protocol.moments import moment
from market.protocol.money import money
from market.protocol.rounds import FROZEN_S, Phase
from market.protocol.rule_terms import ONE_Q16, ONE_Q32
from market.published_job import PublishedJob

REMEMBERED: Final = 2
"""How many attempts back an end may still change: a dispute undoes the last settlement."""

RETRY_S: Final = 30.0
"""Between two readings of events that a node refused, or did not have yet."""

LAST_READINGS: Final = 3
"""Of a job that is over: a node may have its events a moment after its state."""


class Outcomes:
    """Tells what came of each attempt in which a trainer revealed, once it is over, and again if it is undone.

    These are words: a node that has no events to give is asked again later, and nothing fails by it.
    """

    def __init__(self, job: PublishedJob, report: Callable[[str], None]) -> None:
        self._job, self._report = job, report
        self._seats: dict[int, Seat] = {}
        self._told: dict[int, str] = {}
        self._looked_at: tuple[int, int, bool] | None = None
        self._not_before = float("-inf")

    def revealed(self, attempt: int, seat: Seat) -> None:
        """Wait for what comes of this attempt."""
        self._seats[attempt] = seat

    def look(self, state: JobState, phase: Phase) -> None:
        """Tell what is new: events are read once an attempt, and once when a dispute begins and ends."""
        # Of the last round that is undone neither the attempt nor the phase need change: the round does.
        stage = (state.attempt, state.round, phase is Phase.DISPUTED)
        is_over = any(attempt < state.attempt for attempt in self._seats)
        if is_over and stage != self._looked_at and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + RETRY_S
            if self._tell(state.attempt):
                self._looked_at, self._not_before = stage, float("-inf")

    def conclude(self, pause_s: float) -> None:
        """Tell what is left to tell when the trainer leaves."""
        for _ in range(LAST_READINGS):
            with suppress(ChainError):
                if self._tell(self._job.market.state(self._job.id).attempt):
                    return
            time.sleep(pause_s)

    def _tell(self, present: int) -> bool:
        """Returns whether the end is known of every attempt before the present one."""
        ended = sorted(number for number in self._seats if number < present)
        attempts: dict[int, Attempt] = {}
        if ended:
            with suppress(ChainError):
                attempts = self._job.history().attempts
        known = True
        for number in ended:
            attempt = attempts.get(number)
            line = attempt and outcome(attempt, self._seats[number], self._job.terms.token)
            known = known and bool(line)
            if attempt and line and line != self._told.get(number):
                self._told[number] = line
                self._report(f"round {attempt.started.round}: {line}")
            if number < present - REMEMBERED:
                del self._seats[number]
                self._told.pop(number, None)
        return known


def outcome(attempt: Attempt, seat: Seat, token: str) -> str | None:
    """What an attempt brought to a seat that revealed in it; None as long as it is not over.

    Args:
        attempt: with all that happened in it so far.
        seat: that the trainer had in it.
        token: of the job.
    """
    verdict = _verdict(attempt, seat)
    return verdict and "; ".join(filter(None, (verdict, _record(attempt, seat), _earned(attempt, seat, token))))


def _verdict(attempt: Attempt, seat: Seat) -> str | None:
    if attempt.undone:
        return "what was settled is undone by a dispute"
    if attempt.expired:
        return "the aggregator did not settle it in time"
    if not attempt.settled:
        return None
    if seat in attempt.exclusions:
        return f"the update was left out as {attempt.exclusions[seat].reason.name.lower()}"
    if not attempt.settled.accepted:
        return "the update was not accepted, and nobody's was: the model stays"
    if seat not in attempt.settled.accepted:
        return "the update was not accepted by the job's rules"
    if not attempt.settled.paid:
        return "the update was accepted, in a round that pays nobody"
    score = attempt.settled.scores_q32[attempt.rows.index(seat)] / ONE_Q32
    return f"the update was accepted, with a score of {score:.4f}"


def _record(attempt: Attempt, seat: Seat) -> str:
    if not (attempt.settled and attempt.exam_taken and seat in attempt.rows):
        return ""
    return f"its record of exams is {attempt.exam_taken.records_q16[attempt.rows.index(seat)] / ONE_Q16:+.3f}"


def _earned(attempt: Attempt, seat: Seat, token: str) -> str:
    end = attempt.settled or attempt.expired or attempt.undone
    amount_wei = unpack_pays(end.pays)[seat] if end else 0
    if not amount_wei:
        return "nothing is earned"
    if attempt.vests_at_s == FROZEN_S:
        return f"{money(amount_wei, token)} to be claimed once a dispute is over, if it stands"
    return f"{money(amount_wei, token)} to be claimed from {moment(attempt.vests_at_s)}"
