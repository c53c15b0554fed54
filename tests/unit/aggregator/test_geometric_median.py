"""The geometric median: the smallest sum of distances, whatever just less than half of the updates are."""

from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import geometric_median as module
from aggregator.geometric_median import geometric_median

DIMENSION = 60


def products(vectors: np.ndarray) -> list[list[int]]:
    return [[int(entry) for entry in row] for row in vectors @ vectors.T]


def point(vectors: np.ndarray, steps: int) -> np.ndarray:
    """The point that the shares make up, in floating point."""
    shares = geometric_median(products(vectors), steps)
    return np.array(shares.parts) / shares.whole @ vectors


def sum_of_distances(vectors: np.ndarray, at: np.ndarray) -> float:
    return float(np.linalg.norm(vectors - at, axis=1).sum())


def reference(vectors: np.ndarray) -> np.ndarray:
    """Weiszfeld's iteration in floating point, until it has long settled."""
    at = vectors.mean(axis=0)
    for _ in range(5_000):
        nearness = 1 / np.maximum(np.linalg.norm(vectors - at, axis=1), 1e-9)
        at = nearness @ vectors / nearness.sum()
    return at


def updates(rows: int, outliers: int, distance: float, seed: int = 1) -> np.ndarray:
    """Honest updates around a common direction, and outliers at one place so many honest norms away."""
    source = np.random.default_rng(seed)
    common = source.normal(0, 300, DIMENSION)
    vectors = common + source.normal(0, 300, (rows, DIMENSION))
    away = source.normal(0, 1, DIMENSION)
    vectors[rows - outliers :] = away * (distance * np.linalg.norm(common) / np.linalg.norm(away))
    return np.rint(vectors).astype(np.int64)


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("rows", "outliers"), [(3, 0), (8, 0), (16, 0), (16, 5), (16, 7), (33, 16), (64, 31)])
def test_the_sum_of_distances_is_the_smallest_up_to_a_thousandth_after_two_steps(rows: int, outliers: int) -> None:
    vectors = updates(rows, outliers, 50)
    least = sum_of_distances(vectors, reference(vectors))
    assert sum_of_distances(vectors, point(vectors, 2)) <= 1.001 * least
    assert sum_of_distances(vectors, point(vectors, 32)) <= 1.000_001 * least


@given(seed=st.integers(0, 2**32), rows=st.integers(3, 12), share=st.floats(0, 0.49), far=st.sampled_from([1, 9, 1e3]))
def test_no_step_adds_to_the_sum_of_distances(seed: int, rows: int, share: float, far: float) -> None:
    vectors = updates(rows, int(rows * share), far, seed)
    sums = [sum_of_distances(vectors, point(vectors, steps)) for steps in range(1, 5)]
    assert all(later <= earlier * (1 + 1e-8) for earlier, later in pairwise(sums))


@pytest.mark.parametrize("distance", [10, 1_000, 30_000])
@pytest.mark.parametrize("steps", [1, 2, 5, 32])
@pytest.mark.parametrize(("rows", "outliers"), [(16, 7), (51, 25), (64, 31)])
def test_forty_nine_percent_far_outliers_move_it_boundedly(rows: int, outliers: int, steps: int, distance: int) -> None:
    vectors = updates(rows, outliers, distance)
    norms = np.linalg.norm(vectors, axis=1)
    near, honest = rows - outliers, norms[: rows - outliers]
    bound = 2 * (honest.sum() + rows * honest.max()) / (near - outliers)
    assert np.linalg.norm(point(vectors, steps)) <= bound
    assert outliers / rows * norms.max() > distance * honest.max() / 10, "their mean is not bounded so"


def test_distance_of_the_outliers_makes_no_difference() -> None:
    """From 1,000 honest norms to 30,000: the point moves by less than a hundredth of one."""
    near, far = (point(updates(16, 7, distance), 8) for distance in (1_000, 30_000))
    assert np.linalg.norm(near - far) < 0.01 * np.linalg.norm(near)


def test_a_majority_of_copies_takes_it_over() -> None:
    vectors = updates(16, 9, 1_000)
    assert np.linalg.norm(point(vectors, 32) - vectors[15]) < 0.01 * np.linalg.norm(vectors[15])


def test_an_update_of_zeros_does_not_hold_it_at_the_start() -> None:
    vectors = updates(8, 1, 0)
    assert not vectors[7].any()
    settled = reference(vectors)
    assert np.linalg.norm(point(vectors, 2) - settled) < 0.02 * np.linalg.norm(settled)


@pytest.mark.parametrize("steps", [1, 3, 32])
def test_equal_updates_have_equal_shares(steps: int) -> None:
    for vectors in (np.zeros((5, 3), np.int64), np.full((5, 3), 32_767)):
        shares = geometric_median(products(vectors), steps)
        assert len(set(shares.parts)) == 1
        assert shares.whole == sum(shares.parts) > (1 << 32) - 5
