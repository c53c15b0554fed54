"""What came of a trainer's updates: whether each was accepted, how its exam went, and what it earned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from market.chain.packed import unpack_pays
from market.job_history import Attempt
from market.protocol.identifiers import Seat
from market.protocol.moments import moment
from market.protocol.money import money
from market.protocol.rounds import FROZEN_S
from market.protocol.rule_terms import ONE_Q16
from market.published_job import PublishedJob

ONE_Q32: Final = 1 << 32

REMEMBERED: Final = 2
"""How many attempts can still come to another end: a dispute undoes a settlement, and what runs after it."""


class Outcomes:
    """Tells what came of each attempt in which a trainer revealed, once it is over, and again if it is undone."""

    def __init__(self, job: PublishedJob, report: Callable[[str], None]) -> None:
        self._job, self._report = job, report
        self._seats: dict[int, Seat] = {}
        self._told: dict[int, str] = {}
        self._looked_at = -1

    def revealed(self, attempt: int, seat: Seat) -> None:
        """Wait for what comes of this attempt."""
        self._seats[attempt] = seat

    def look(self, present: int) -> None:
        """Tell what is new, where another attempt is the present one.

        Raises:
            ChainUnreachable: the node does not answer.
        """
        if present == self._looked_at or not self._seats:
            return
        history = self._job.history()
        self._looked_at = present
        for number, seat in list(self._seats.items()):
            attempt = history.attempts.get(number)
            line = None if attempt is None else outcome(attempt, seat, self._job.terms.token)
            if attempt is not None and line is not None and line != self._told.get(number):
                self._told[number] = line
                self._report(f"round {attempt.started.round}: {line}")
            if number < present - REMEMBERED:
                del self._seats[number]
                self._told.pop(number, None)


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
        return "what was settled is undone by a dispute, and the round runs again"
    if attempt.cancelled:
        return "cancelled, for the round before it was undone"
    if attempt.expired:
        return "not settled in time, and the round runs again"
    if not attempt.settled:
        return None
    if seat in attempt.exclusions:
        return f"the update was left out as {attempt.exclusions[seat].reason.name.lower()}"
    if not attempt.settled.accepted:
        return "the update was not accepted, and nobody's was: the model stays"
    if seat not in attempt.settled.accepted:
        return "the update was not accepted by the job's rules"
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
        return "it earns nothing" if end else ""
    from_then = "once the dispute is over" if attempt.vests_at_s == FROZEN_S else f"from {moment(attempt.vests_at_s)}"
    return f"{money(amount_wei, token)} to be claimed {from_then}"
