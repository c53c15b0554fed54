"""Amounts, accounts and states in words: what templates cannot say by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from market.protocol.moments import duration, moment
from market.protocol.money import money as money
from market.protocol.rounds import FROZEN_S
from market.protocol.terms import NATIVE
from market.views import Attempt, Job

ETHER = 10**18
SHORT_DIGITS = 4
"""Significant digits of an amount in a narrow column; its title has all of them."""

PHASE_NAMES: Mapping[str, str] = {
    "awaiting_aggregator": "Awaiting an aggregator",
    "enrolment": "Enrolment",
    "commit": "Commit",
    "reveal": "Reveal",
    "exam": "Exam",
    "settle": "Settle",
    "starved": "Starved",
    "overdue": "Overdue",
    "disputed": "Disputed",
    "finished": "Finished",
    "closed": "Closed",
}

PHASE_TONES: Mapping[str, str] = {
    **dict.fromkeys(("enrolment", "commit", "reveal", "exam", "settle"), "live"),
    **dict.fromkeys(("starved", "overdue", "disputed"), "alert"),
    **dict.fromkeys(("awaiting_aggregator", "finished", "closed"), "still"),
}

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "running": ("▸", "is running"),
    "settled": ("✓", "was settled"),
    "skipped": ("–", "was skipped for want of commits"),
    "expired": ("!", "was not settled in time and expired"),
    "undone": ("↶", "was settled and then undone by a dispute"),
    "cancelled": ("×", "was cancelled when the one before it was undone"),
}
"""A sign and the words for how an attempt ended."""

FACTS: Mapping[str, str] = {
    "model": "the published model can be fetched and opens its commitment",
    "exclusion": "the excluded update was rightly left out",
    "exam": "the exam is the one that was committed to, and delivered",
}

VERDICTS: Mapping[str | None, str] = {
    None: "open",
    "holds": "the fact holds: the disputer loses the bond",
    "fails": "the fact fails: the settlement is undone",
    "unanswered": "no quorum answered in time",
}


def money_title(amount_wei: int, token: str = NATIVE) -> str:
    """The same in the smallest unit, and of which token."""
    return f"{amount_wei:,} wei" if token == NATIVE else f"{amount_wei:,} of the smallest unit of token {token}"


def money_short(amount_wei: int, token: str = NATIVE) -> str:
    """An amount in four significant digits, without its unit: for columns whose title names it."""
    value = amount_wei / ETHER if token == NATIVE else amount_wei
    digits = f"{value:.{SHORT_DIGITS}g}"
    return digits if value >= 10**SHORT_DIGITS else f"{Decimal(digits):f}"


def unit(token: str = NATIVE) -> str:
    """What amounts of a token are counted in."""
    return "ETH" if token == NATIVE else "units"


def short(address: str) -> str:
    """An address or a hash, abbreviated to what tells two apart."""
    return f"{address[:6]}…{address[-4:]}"


def vesting(vests_s: int | None, now_s: int) -> str:
    """When what an attempt credited can be claimed."""
    if vests_s is None:
        return "–"
    if vests_s >= FROZEN_S:
        return "frozen while disputed"
    return "vested" if vests_s <= now_s else f"vests in {duration(vests_s - now_s)}"


@dataclass(frozen=True)
class Step:
    """One phase of an attempt, on its line of time.

    Attributes:
        name: the phase's.
        from_s: when it begins.
        until_s: when it ends.
        state: past, now or ahead.
    """

    name: str
    from_s: int
    until_s: int
    state: str


def steps(attempt: Attempt, now_s: int, enrolled_from_s: int) -> list[Step]:
    """The phases of an attempt, in order; one that takes no time is left out."""
    schedule = attempt.schedule
    ends = (
        ("Enrolment", schedule.starts_s),
        ("Commit", schedule.commit_ends_s),
        ("Reveal", schedule.reveal_ends_s),
        ("Exam", schedule.exam_ends_s),
        ("Settle", schedule.settle_ends_s),
    )
    made, from_s = [], min(enrolled_from_s, schedule.starts_s)
    for name, until_s in ends:
        if until_s > from_s:
            state = "past" if until_s <= now_s else "now" if from_s <= now_s else "ahead"
            made.append(Step(name, from_s, until_s, state))
        from_s = until_s
    return made


def what_next(job: Job) -> str:
    """What has to happen next in a job, and who does it, in one sentence."""
    minimum = int(job.terms["minimum_commits"])
    current = job.current
    committed = current.committed if current else 0
    revealed = current.revealed if current else 0
    until = f" until {moment(job.phase_ends_s)}" if job.phase_ends_s is not None else ""
    sentences = {
        "awaiting_aggregator": "Nothing runs until an aggregator bonds for this job.",
        "enrolment": f"Trainers take seats{until}, when round {job.round} begins: {_of_seats(job)} so far.",
        "commit": f"Trainers train and seal their updates{until}: {committed} have, and {minimum} are needed.",
        "reveal": f"Trainers open their seals{until}: {revealed} of {committed} have.",
        "exam": _of_exam(current.exam if current else None, until),
        "settle": f"The aggregator proves and settles round {job.round}{until}; then credits vest.",
        "starved": f"Only {committed} of at least {minimum} committed: anybody may skip this round.",
        "overdue": "The aggregator is late: anybody may expire the attempt, which costs the aggregator its bond.",
        "disputed": "Time stands still while the job's attestors answer a dispute of fact.",
        "finished": "No round can start any more: anybody may close the job, and everybody takes what is theirs.",
        "closed": "The job is closed; what was credited and not claimed stays claimable.",
    }
    return sentences[job.phase]


def _of_exam(state: str | None, until: str) -> str:
    if state == "opened":
        return f"The owner has opened the exam; the aggregator settles after this phase, which lasts{until}."
    return f"The owner opens the exam{until}; without it the round falls back, and costs the owner a deposit."


def _of_seats(job: Job) -> str:
    return f"{job.seats_taken} of {job.seats} are taken"


def term_rows(terms: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """All terms by name, those of a part under the part's name."""
    rows: list[tuple[str, str]] = []
    for name, value in terms.items():
        if isinstance(value, Mapping):
            rows += term_rows(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for place, entry in enumerate(value):
                rows += term_rows(entry, f"{prefix}{name}[{place}].")
        else:
            rows.append((prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
