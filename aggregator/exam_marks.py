"""How the updates of a round did in its exam, for people to read: cosines, and the line that they had to be above.

The contract decides by integers (`aggregator/rules.py`); these are the same quantities as floating-point numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from aggregator.gram import GramMatrix
from aggregator.projection import exam_row
from aggregator.rules import chance_q64
from market.protocol.rule_terms import RuleTerms


@dataclass(frozen=True)
class ExamMarks:
    """A round's marks.

    Attributes:
        cosines: of every row with r, once everything public is projected out; 0.0 for an update of zeros.
        line: what a cosine has to exceed: the larger of chance and the job's floor.
    """

    cosines: tuple[float, ...]
    line: float

    def failed(self, row: int) -> bool:
        """Whether a row is not above the line."""
        return self.cosines[row] <= self.line


def exam_marks(terms: RuleTerms, gram: GramMatrix) -> ExamMarks | None:
    """The marks of a round's rows; None where it had no exam, or one that asked for nothing that is not public.

    Args:
        terms: the job's rules.
        gram: the round's matrix.

    >>> asked = [[0] * 6 for _ in range(5)] + [[0, 0, 0, 0, 0, 9]]
    >>> exam_marks(RuleTerms(dimension=900), GramMatrix([[4]], [[0, 0, 0, 0, 0, -6]], asked))
    ExamMarks(cosines=(-1.0,), line=0.1)
    """
    asked = exam_row(gram)
    if asked is None:
        return None
    squares = [gram.updates[row][row] * asked.square for row in range(gram.rows)]
    cosines = [p / sqrt(square) if square else 0.0 for p, square in zip(asked.products, squares, strict=True)]
    return ExamMarks(tuple(cosines), sqrt(chance_q64(terms) / 2**64))
