from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from aggregator.gram import gram_matrix
from aggregator.projection import residual_matrix
from market.protocol.gram_matrix import PUBLIC_ROWS, GramMatrix


def exact_residuals(updates: list[np.ndarray], public: list[np.ndarray]) -> list[list[Fraction]]:
    """Gram-Schmidt in fractions."""
    basis: list[list[Fraction]] = []

    def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
        return sum((x * y for x, y in zip(a, b, strict=True)), Fraction())

    def rejected(vector: np.ndarray) -> list[Fraction]:
        left = [Fraction(int(x)) for x in vector]
        for b in basis:
            share = dot(left, b) / dot(b, b)
            left = [x - share * y for x, y in zip(left, b, strict=True)]
        return left

    for row in public:
        left = rejected(row)
        if any(left):
            basis.append(left)
    residuals = [rejected(row) for row in updates]
    return [[dot(a, b) for b in residuals] for a in residuals]


@pytest.mark.parametrize("seed", range(10))
def test_residuals_are_those_of_exact_projection(seed: int) -> None:
    source = np.random.default_rng(seed)
    updates = [source.integers(-1_000, 1_000, 12, dtype=np.int16) for _ in range(5)]
    public = [source.integers(-(2**24), 2**24, 12) for _ in range(PUBLIC_ROWS)]
    gram = gram_matrix(updates, public)
    exact = exact_residuals(updates, public)
    for i, row in enumerate(residual_matrix(gram)):
        for j, residual in enumerate(row):
            scale = max(gram.updates[i][i], gram.updates[j][j])
            assert abs(residual - exact[i][j]) <= max(4, scale / 2**20)


@pytest.mark.parametrize("k", range(PUBLIC_ROWS))
def test_nothing_is_left_of_a_replay(k: int) -> None:
    source = np.random.default_rng(k)
    public = [source.integers(-900, 900, 40) for _ in range(PUBLIC_ROWS)]
    replay = (-3 * public[k]).astype(np.int16)
    fresh = source.integers(-900, 900, 40, dtype=np.int16)
    gram = gram_matrix([replay, fresh], public)
    residual = residual_matrix(gram)
    assert max(residual[0][0], abs(residual[0][1])) <= gram.updates[0][0] >> 20
    assert residual[1][1] > gram.updates[1][1] >> 1


def test_nothing_is_left_of_a_mixture_of_public_rows() -> None:
    source = np.random.default_rng(0)
    public = [source.integers(-900, 900, 40) for _ in range(PUBLIC_ROWS)]
    mixture = (2 * public[0] - 5 * public[1] + public[4]).astype(np.int16)
    gram = gram_matrix([mixture], public)
    assert residual_matrix(gram)[0][0] <= gram.updates[0][0] >> 20


def test_dependent_and_absent_public_rows_change_nothing() -> None:
    source = np.random.default_rng(0)
    updates = [source.integers(-900, 900, 40, dtype=np.int16) for _ in range(3)]
    row, other = source.integers(-(2**20), 2**20, (2, 40))
    alone = residual_matrix(gram_matrix(updates, [row, None, None, other, None]))
    assert residual_matrix(gram_matrix(updates, [row, 2 * row, np.zeros(40, np.int64), other, row + other])) == alone


def test_without_public_rows_everything_is_left() -> None:
    source = np.random.default_rng(0)
    gram = gram_matrix([source.integers(-9, 9, 5, dtype=np.int16) for _ in range(3)], [None] * PUBLIC_ROWS)
    assert residual_matrix(gram) == gram.updates


def test_a_matrix_of_no_vectors_is_clamped() -> None:
    """Two public rows nearly the same, and an update that is all of the first and none of the second."""
    big, small = 1 << 90, 1 << 60
    public = [[big, big - (big >> 20), 0, 0, 0], [big - (big >> 20), big, 0, 0, 0], [0] * 5, [0] * 5, [0] * 5]
    gram = GramMatrix([[small]], [[-(1 << 75), 1 << 75, 0, 0, 0]], public)
    gram.verify(1 << 30)
    assert residual_matrix(gram) == [[0]]
