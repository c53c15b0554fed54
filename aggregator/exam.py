"""How every update did in the round's exam, for people: the rule itself is `aggregator.rules.exam`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from aggregator.projection import ExamRow, exam_row, residual_matrix
from aggregator.rules import Evidence, chance_q64, passes_exam, record_q16
from market.protocol.gram_matrix import GramMatrix
from market.protocol.rule_terms import ONE_Q16, RuleTerms


@dataclass(frozen=True)
class ExamResults:
    """What the exam says of each update of a round, by the row of the matrix.

    Attributes:
        marks: semi-partial cosine with r, ⟨q⊥, r⊥⟩ / (‖q‖·‖r⊥‖), -1 to 1; zero for an update that is zero
        records: what the exams of its seat come to, this one included
        line: what is chance in a mark, max(z/√d, floor): in the first exam a mark has to exceed that, later a record
            twice that, and no mark must be below it on the other side
        passed: whether both hold, exactly as the contract finds
        first: whether there was nothing on any seat's record
    """

    marks: tuple[float, ...]
    records: tuple[float, ...]
    line: float
    passed: tuple[bool, ...]
    first: bool

    def sentence(self, row: int) -> str:
        """Say how an update did, and why it failed if it did.

        >>> ExamResults((0.02, -0.3), (0.02, 0.5), 0.015, (True, False), False).sentence(1)
        'failed the exam: its mark of -0.3000 is below -0.0150'
        >>> ExamResults((0.01,), (0.01,), 0.015, (False,), True).sentence(0)
        'failed the exam: its mark is 0.0100, and must exceed 0.0150'
        >>> ExamResults((0.02,), (-0.4,), 0.015, (False,), False).sentence(0)
        'failed the exam: a mark of 0.0200 makes its record -0.4000, which must exceed 0.0300'
        """
        if self.passed[row]:
            return f"passed the exam: mark {self.marks[row]:.4f}, record {self.records[row]:.4f}"
        return f"failed the exam: {self.reason(row)}"

    def reason(self, row: int) -> str:
        """Say why an update failed.

        >>> ExamResults((0.02, -0.3), (0.02, 0.5), 0.015, (True, False), False).reason(1)
        'its mark of -0.3000 is below -0.0150'
        """
        mark, record, line = self.marks[row], self.records[row], self.line
        if record > (line if self.first else 2 * line):
            return f"its mark of {mark:.4f} is below -{line:.4f}"
        if self.first:
            return f"its mark is {mark:.4f}, and must exceed {line:.4f}"
        return f"a mark of {mark:.4f} makes its record {record:.4f}, which must exceed {2 * line:.4f}"


def exam_results(terms: RuleTerms, gram: GramMatrix, records_q16: Sequence[int] = ()) -> ExamResults | None:
    """Mark a round's updates.

    Args:
        terms: the job's rule terms
        gram: the round's matrix, as `verify` passed it
        records_q16: as `decide` takes them

    Returns:
        None where no exam counts: the matrix has no r, or nothing of r is left beside the public rows

    >>> asked = [[0] * 6 for _ in range(5)] + [[0, 0, 0, 0, 0, 16]]
    >>> matrix = GramMatrix([[4, 0], [0, 4]], [[0, 0, 0, 0, 0, 8], [0, 0, 0, 0, 0, -4]], asked)
    >>> exam_results(RuleTerms(dimension=900), matrix)
    ExamResults(marks=(1.0, -0.5), records=(1.0, -0.5), line=0.1, passed=(True, False), first=True)
    """
    asked = exam_row(gram)
    if asked is None:
        return None
    evidence = Evidence(gram.updates, residual_matrix(gram), chance_q64(terms), 0, asked, records_q16)
    return ExamResults(
        marks=tuple(_cosine(gram, asked, i) for i in range(gram.rows)),
        records=tuple(record_q16(evidence, asked, i) / ONE_Q16 for i in range(gram.rows)),
        line=sqrt(evidence.chance_q64 / 2**64),
        passed=tuple(passes_exam(evidence, asked, i) for i in range(gram.rows)),
        first=not any(records_q16),
    )


def _cosine(gram: GramMatrix, asked: ExamRow, i: int) -> float:
    square = gram.updates[i][i]
    return asked.products[i] / sqrt(square) / sqrt(asked.square) if square else 0.0
