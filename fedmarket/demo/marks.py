"""What the demo's exams said, round by round, computed again from what the chain keeps of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.exam import ExamResults, exam_results
from market.job_history import Attempt, JobHistory
from market.protocol.gram_matrix import GramMatrix


@dataclass(frozen=True)
class ExamMark:
    """How one trainer's update did in one round's exam.

    Attributes:
        mark: semi-partial cosine with what the exam asks for, -1 to 1.
        record: what the exams of the trainer's seat come to, this one included.
        passed: whether mark and record do.
        reason: the same as a sentence.
    """

    mark: float
    record: float
    passed: bool
    reason: str


@dataclass(frozen=True)
class ExamResult:
    """One round's exam.

    Attributes:
        line: what is chance in a mark; the first exam asks for more than that, later a record twice.
        marks: of every trainer that handed something in, by address.
    """

    line: float
    marks: Mapping[str, ExamMark]


def exam_of(history: JobHistory, attempt: Attempt) -> ExamResult | None:
    """Mark a settled round as the contract did; None where no exam counted."""
    if not attempt.examined or attempt.proven is None:
        return None
    rows = attempt.rows
    before = history.records_q16(before=attempt.number)
    matrix = GramMatrix.unpack(attempt.proven.gram, len(rows), examined=True)
    results = exam_results(history.opened.terms.rules, matrix, [before[seat] for seat in rows])
    if results is None:
        return None
    marks = {attempt.reveals[seat].trainer: _mark(results, row) for row, seat in enumerate(rows)}
    return ExamResult(results.line, marks)


def _mark(results: ExamResults, row: int) -> ExamMark:
    return ExamMark(results.marks[row], results.records[row], results.passed[row], results.sentence(row))
