"""Whether each dispute ended as its attestors answered. What they answered is their word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, differing, judge
from market.chain.events import DisputeAnswered, DisputeOpened, DisputeResolved
from market.chain.records import Fact, Verdict
from market.job_history import Attempt


@dataclass
class Course:
    """One dispute from its opening on."""

    opened: DisputeOpened
    answers: list[DisputeAnswered] = field(default_factory=list)
    resolved: DisputeResolved | None = None

    @property
    def named(self) -> str:
        """The fact, as a report calls it."""
        seat = f" of seat {self.opened.seat}" if self.opened.fact is Fact.EXCLUSION else ""
        return f"{self.opened.fact.name.lower()}{seat}"


def courses(record: ChainRecord) -> list[Course]:
    """Every dispute of a job, in order; there is never more than one at a time."""
    found: list[Course] = []
    for event in record.history.events:
        if isinstance(event, DisputeOpened):
            found.append(Course(event))
        elif isinstance(event, DisputeAnswered) and found:
            found[-1].answers.append(event)
        elif isinstance(event, DisputeResolved) and found:
            found[-1].resolved = event
    return found


def check_disputes(record: ChainRecord, attempt: Attempt) -> Iterator[Check]:
    """Each dispute of an attempt ended as a quorum of the job's attestors answered, each counted once."""
    for course in courses(record):
        if course.opened.attempt == attempt.number:
            yield _check(record, course)


def _check(record: ChainRecord, course: Course) -> Check:
    resolved = course.resolved
    verdict = resolved.verdict.name.lower() if resolved else "not answered yet"
    agreeing = _agreeing(course.answers, resolved)
    detail = f"{course.named}, disputed by {course.opened.by}: {verdict}"
    if agreeing:
        detail += f", by the word of {len(agreeing)} attestors"
    return judge("dispute", record.subject(course.opened.attempt), _problems(record, course, agreeing), detail)


def _agreeing(answers: Sequence[DisputeAnswered], resolved: DisputeResolved | None) -> list[str]:
    if resolved is None or resolved.verdict is Verdict.UNANSWERED:
        return []
    return [answer.attestor for answer in answers if answer.holds is (resolved.verdict is Verdict.HOLDS)]


def _problems(record: ChainRecord, course: Course, agreeing: Sequence[str]) -> Iterator[str]:
    terms, opened, resolved = record.terms.disputes, course.opened, course.resolved
    yield from differing("until when it could be answered", opened.answer_until_s, _until_s(record, opened))
    if opened.bond_wei < terms.bond_wei:
        yield f"it cost {opened.bond_wei} wei, the terms ask {terms.bond_wei}"
    answered = [answer.attestor for answer in course.answers]
    for attestor in sorted({*answered} - {*terms.attestors}):
        yield f"{attestor} answered, and is none of the job's {len(terms.attestors)} attestors"
    if len({*answered}) < len(answered):
        yield "an attestor was counted twice"
    if any(record.time_s(answer) >= opened.answer_until_s for answer in course.answers):
        yield f"an answer was counted after {opened.answer_until_s}"
    if resolved is None:
        return
    if resolved.verdict is Verdict.UNANSWERED:
        if record.time_s(resolved) < opened.answer_until_s:
            yield f"it was given up at {record.time_s(resolved)}, before {opened.answer_until_s}"
    elif len(agreeing) < terms.quorum:
        yield f"{len(agreeing)} attestors agreed, expected at least {terms.quorum}"
    burned_wei = 0 if resolved.verdict is Verdict.FAILS else opened.bond_wei
    yield from differing("what it burned in wei", resolved.burned_wei, burned_wei)


def _until_s(record: ChainRecord, opened: DisputeOpened) -> int:
    return record.time_s(opened) + record.terms.disputes.answer_period_s
