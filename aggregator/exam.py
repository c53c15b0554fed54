"""How every update did in the round's exam, for people: the rule itself is `aggregator.rules.exam`."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from aggregator.gram import GramMatrix
from aggregator.projection import ExamRow, exam_row, residual_matrix
from aggregator.rules import Evidence, chance_q64, passes_exam
from market.protocol.rule_terms import RuleTerms


@dataclass(frozen=True)
class ExamResults:
    """What the exam says of each update of a round, by the row of the matrix.

    Attributes:
        cosines: semi-partial cosine with r, ⟨q⊥, r⊥⟩ / (‖q‖·‖r⊥‖), -1 to 1; zero for an update that is zero
        line: what it has to exceed, max(z/√d, floor)
        passed: whether it does, exactly as the contract finds
    """

    cosines: tuple[float, ...]
    line: float
    passed: tuple[bool, ...]

    def sentence(self, row: int) -> str:
        """Say what an update's mark is and what it is held against.

        >>> ExamResults((0.02, -0.3), 0.015, (True, False)).sentence(1)
        'cosine -0.3000 with the exam, must exceed 0.0150: failed'
        """
        verdict = "passed" if self.passed[row] else "failed"
        return f"cosine {self.cosines[row]:.4f} with the exam, must exceed {self.line:.4f}: {verdict}"


def exam_results(terms: RuleTerms, gram: GramMatrix) -> ExamResults | None:
    """Mark a round's updates.

    Args:
        terms: the job's rule terms
        gram: the round's matrix, as `verify` passed it

    Returns:
        None where no exam counts: the matrix has no r, or nothing of r is left beside the public rows

    >>> asked = [[0] * 6 for _ in range(5)] + [[0, 0, 0, 0, 0, 16]]
    >>> matrix = GramMatrix([[4, 0], [0, 4]], [[0, 0, 0, 0, 0, 8], [0, 0, 0, 0, 0, -4]], asked)
    >>> exam_results(RuleTerms(dimension=900), matrix)
    ExamResults(cosines=(1.0, -0.5), line=0.1, passed=(True, False))
    """
    asked = exam_row(gram)
    if asked is None:
        return None
    evidence = Evidence(gram.updates, residual_matrix(gram), chance_q64(terms), 0, asked)
    return ExamResults(
        cosines=tuple(_cosine(gram, asked, i) for i in range(gram.rows)),
        line=sqrt(evidence.chance_q64 / 2**64),
        passed=tuple(passes_exam(evidence, asked, i) for i in range(gram.rows)),
    )


def _cosine(gram: GramMatrix, asked: ExamRow, i: int) -> float:
    square = gram.updates[i][i]
    return asked.products[i] / sqrt(square) / sqrt(asked.square) if square else 0.0
