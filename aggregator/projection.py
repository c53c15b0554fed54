"""What is left of the updates, and of an exam's r, once everything public is projected out of them.

Whatever anyone could send without data (an earlier aggregate, the model itself) lies in the span of the public rows and
has no residual. `docs/rules.md`, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from market.protocol.gram_matrix import EXAM, PUBLIC_ROWS, GramMatrix

DEPENDENT_SHIFT: Final = 24
"""A public row of which at most 2^-24 of its square is new is taken for dependent on those before; so is r."""

UPDATE_LIMIT: Final = 1 << 48
PUBLIC_LIMIT: Final = 1 << 79
EXAM_LIMIT: Final = 1 << 64
"""Entries of the factor are cut here, beyond what real vectors have: no invented matrix can overflow the contract."""


@dataclass(frozen=True)
class Column:
    """One column of the Cholesky factor: every row's inner product with the k-th orthonormal public direction, Q16.

    Attributes:
        updates: of every update
        public: of every public row, r the last of them where the matrix has it
    """

    updates: tuple[int, ...]
    public: tuple[int, ...]


@dataclass(frozen=True)
class ExamRow:
    """What is left of r, the direction that the round's exam asks for.

    Attributes:
        square: R_rr, above zero
        products: R_ir of every update
    """

    square: int
    products: tuple[int, ...]


def residual_matrix(gram: GramMatrix) -> list[list[int]]:
    """Return R, n x n: R_ij = G_ij - (Σ_k L_ik·L_jk >> 32), its diagonal never below zero.

    >>> replay = GramMatrix([[4, 0], [0, 9]], [[8, 0, 0, 0, 0], [0] * 5], [[16, 0, 0, 0, 0]] + [[0] * 5] * 4)
    >>> residual_matrix(replay)  # the first update is half the first public row: nothing of it is left
    [[0, 0], [0, 9]]
    """
    columns = _factorise(gram)
    residual = [[0] * gram.rows for _ in range(gram.rows)]
    for i in range(gram.rows):
        for j in range(i, gram.rows):
            explained = sum(column.updates[i] * column.updates[j] for column in columns) >> 32
            residual[i][j] = residual[j][i] = gram.updates[i][j] - explained
        residual[i][i] = max(0, residual[i][i])
    return residual


def exam_row(gram: GramMatrix) -> ExamRow | None:
    """Return R_rr = G_rr - (Σ_k L_rk² >> 32) and R_ir = G_ir - (Σ_k L_ik·L_rk >> 32); None where no exam counts.

    An exam of which at most 2^-24 is left asks for nothing that is not public, and counts for none.

    >>> asked = [[0] * 6 for _ in range(5)] + [[0, 0, 0, 0, 0, 9]]
    >>> exam_row(GramMatrix([[4]], [[0, 0, 0, 0, 0, -6]], asked))
    ExamRow(square=9, products=(-6,))
    """
    if not gram.examined:
        return None
    columns = _factorise(gram)
    own = [column.public[EXAM] for column in columns]
    square = gram.public[EXAM][EXAM]
    left = square - (sum(x * x for x in own) >> 32)
    if left <= square >> DEPENDENT_SHIFT:
        return None
    explained = [sum(c.updates[i] * x for c, x in zip(columns, own, strict=True)) >> 32 for i in range(gram.rows)]
    return ExamRow(left, tuple(row[EXAM] - part for row, part in zip(gram.mixed, explained, strict=True)))


def _factorise(gram: GramMatrix) -> list[Column]:
    """Cholesky factorisation of the five public rows, row by row; zero and dependent ones are skipped."""
    kept: list[Column] = []
    for k in range(PUBLIC_ROWS):
        square = gram.public[k][k]
        new = square - (sum(column.public[k] ** 2 for column in kept) >> 32)
        if new > square >> DEPENDENT_SHIFT:
            kept.append(_column(gram, k, isqrt(new << 32), kept))
    return kept


def _column(gram: GramMatrix, k: int, pivot: int, kept: Sequence[Column]) -> Column:
    """L_xk = ((A_xk << 32) - Σ_m L_xm·L_km) / L_kk for every row x, towards zero and clamped."""

    def entry(product: int, before: Sequence[int], limit: int) -> int:
        numerator = (product << 32) - sum(a * column.public[k] for a, column in zip(before, kept, strict=True))
        magnitude = min(abs(numerator) // pivot, limit)
        return magnitude if numerator >= 0 else -magnitude

    def public_entry(x: int) -> int:
        return entry(gram.public[x][k], [c.public[x] for c in kept], EXAM_LIMIT if x == EXAM else PUBLIC_LIMIT)

    return Column(
        tuple(entry(gram.mixed[i][k], [c.updates[i] for c in kept], UPDATE_LIMIT) for i in range(gram.rows)),
        tuple(public_entry(x) for x in range(len(gram.public))),
    )
