"""The exam of one attempt as a person sees it: where it stands, each seat's mark and record, and who failed and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedmarket.connection import Network
from market.chain.events import RoundProven
from market.job_history import Attempt, JobHistory
from market.protocol.errors import ChainError, InvalidGram
from market.protocol.identifiers import JobId, Seat
from market.protocol.rule_terms import ONE_Q16, RuleKind
from market.protocol.terms import JobTerms


@dataclass(frozen=True)
class ExamLine:
    """One attempt's exam.

    Attributes:
        state: "none", "committed", "opened", "missed", or "left out" with the reason.
        deposit_wei: what was taken from the owner for it.
        line: what is chance in a mark; the first exam asks for more than that, later a record twice. None where
            the exam did not count, or its matrix was not to be had.
        marks: semi-partial cosines with r, by seat.
        records: what the exams of each seat came to with this one.
        failed: why, by seat, for those that the exam rejects.
    """

    state: str
    deposit_wei: int = 0
    line: float | None = None
    marks: Mapping[Seat, float] = field(default_factory=dict)
    records: Mapping[Seat, float] = field(default_factory=dict)
    failed: Mapping[Seat, str] = field(default_factory=dict)


def exam_lines(network: Network, job: JobId, terms: JobTerms, history: JobHistory, block: int) -> dict[int, ExamLine]:
    """The exam of every attempt, by its number; empty for a job without one.

    Each examined round's matrix is in its transaction's input: where a node has it no more, the marks are left out.
    """
    if not terms.exam.is_set:
        return {}
    matrices: dict[int, bytes] = {}
    if any(attempt.examined and attempt.settled for attempt in history.attempts.values()):
        try:
            found = network.market.events(job, history.opened.block_number, block, [RoundProven])
            matrices = {event.attempt: event.gram for event in found if isinstance(event, RoundProven)}
        except ChainError:
            matrices = {}
    return {
        number: exam_line(terms, attempt, matrices.get(number), history.records_q16(before=number))
        for number, attempt in history.attempts.items()
    }


def exam_line(terms: JobTerms, attempt: Attempt, gram: bytes | None, records_q16: Sequence[int]) -> ExamLine:
    """One attempt's exam.

    Args:
        terms: the job's.
        attempt: the attempt.
        gram: its packed matrix; None where it is not to be had.
        records_q16: what the exams before came to, by seat.
    """
    deposit_wei = attempt.exam_missed.deposit_wei if attempt.exam_missed else 0
    if gram is None or not attempt.examined:
        return ExamLine(_state(attempt), deposit_wei, records=_records(attempt))
    # Imported here: the compiler behind it takes seconds to load, and a job without an exam does without it.
    from aggregator.exam import exam_results
    from market.protocol.gram_matrix import GramMatrix

    rows = attempt.rows
    try:
        matrix = GramMatrix.unpack(gram, len(rows), examined=True)
        results = exam_results(terms.rules, matrix, [records_q16[seat] for seat in rows])
    except InvalidGram:
        results = None
    if results is None:
        return ExamLine("opened, asks for nothing that is not public", deposit_wei)
    rejects = any(rule.kind is RuleKind.EXAM for rule in terms.rules.rules)
    failed = {seat: results.reason(row) for row, seat in enumerate(rows) if rejects and not results.passed[row]}
    marks, records = (dict(zip(rows, values, strict=True)) for values in (results.marks, results.records))
    return ExamLine("opened", deposit_wei, results.line, marks, records, failed)


def _records(attempt: Attempt) -> dict[Seat, float]:
    """What an event says of them, where there is one."""
    taken = attempt.exam_taken.records_q16 if attempt.exam_taken else ()
    return {seat: record_q16 / ONE_Q16 for seat, record_q16 in zip(attempt.rows, taken, strict=False)}


def _state(attempt: Attempt) -> str:
    if attempt.exam_excluded:
        return f"left out: {attempt.exam_excluded.reason.name.lower()}"
    if attempt.exam_missed:
        return "missed"
    if attempt.exam_opened:
        return "opened"
    return "committed" if attempt.exam_committed else "none"
