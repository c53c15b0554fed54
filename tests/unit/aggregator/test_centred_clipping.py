"""Centred clipping: no update moves the aggregate further from the last one than the radius allows."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import centred_clipping as module
from aggregator.centred_clipping import CENTRE_LIMIT, Centre, centre, centred_clipping
from aggregator.shares import ONE_Q32

DIMENSION = 40


def products(vectors: np.ndarray) -> list[list[int]]:
    return [[int(entry) for entry in row] for row in vectors @ vectors.T]


def around(vectors: np.ndarray, at: np.ndarray) -> Centre:
    return Centre(int(at @ at), tuple(int(x) for x in vectors @ at))


def clipped(vectors: np.ndarray, at: np.ndarray, radius: int, steps: int) -> np.ndarray:
    """The rows' parts, as fractions."""
    return np.array(centred_clipping(products(vectors), around(vectors, at), radius << 32, steps).parts) / ONE_Q32


def published(vectors: np.ndarray, at: np.ndarray, radius: float, steps: int) -> np.ndarray:
    """v_L of the paper, in floating point."""
    for _ in range(steps):
        away = vectors - at
        shrunk = np.minimum(1, radius / np.maximum(np.linalg.norm(away, axis=1), 1e-12))
        at = at + (away * shrunk[:, None]).mean(axis=0)
    return at


@st.composite
def rounds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Updates, some far off, a centre, and a radius."""
    source = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = source.integers(-300, 301, (draw(st.integers(3, 12)), DIMENSION))
    vectors[0] *= draw(st.sampled_from([0, 1, 100]))
    at = draw(st.sampled_from([0, 1, 10])) * source.integers(-100, 101, DIMENSION)
    return vectors, at, draw(st.sampled_from([1, 100, 1_000, 3_000, 100_000]))


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0


@given(case=rounds(), steps=st.integers(1, 8))
def test_the_point_is_the_papers(case: tuple[np.ndarray, np.ndarray, int], steps: int) -> None:
    vectors, at, radius = case
    parts = clipped(vectors, at, radius, steps)
    ours = parts @ vectors + (1 - parts.sum()) * at
    assert np.allclose(ours, published(vectors, at, radius, steps), atol=1e-3, rtol=1e-6)


@given(case=rounds())
def test_no_update_moves_the_centre_by_more_than_radius_over_n(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    vectors, at, radius = case
    parts = clipped(vectors, at, radius, 1)
    influences = parts * np.linalg.norm(vectors - at, axis=1)
    assert influences.max() <= radius / len(vectors) * (1 + 1e-9)


@given(case=rounds(), steps=st.integers(1, 8))
def test_more_steps_let_each_update_in_by_one_more_radius_over_n(
    case: tuple[np.ndarray, np.ndarray, int], steps: int
) -> None:
    vectors, at, radius = case
    moved = published(vectors, at, radius, steps) - at
    parts = clipped(vectors, at, radius, steps)
    assert np.linalg.norm(moved) <= steps * radius * (1 + 1e-9)
    assert parts.sum() <= 1


def test_a_far_outlier_has_the_influence_of_one_at_the_radius() -> None:
    source = np.random.default_rng(2)
    vectors = source.integers(-100, 101, (9, DIMENSION))
    vectors[8] = 32_767
    parts = clipped(vectors, np.zeros(DIMENSION, np.int64), 500, 1)
    assert np.linalg.norm(parts[8] * vectors[8]) <= 500 / 9
    assert parts[8] < parts[:8].min() / 50


def test_a_majority_at_the_radius_drags_the_centre_step_by_step() -> None:
    """Beyond half the updates nothing is promised: together they move it by most of the radius a step."""
    vectors = np.zeros((9, DIMENSION), np.int64)
    vectors[4:] = 30_000
    moved = [np.linalg.norm(clipped(vectors, np.zeros(DIMENSION, np.int64), 500, s) @ vectors) for s in (1, 8)]
    assert moved[0] == pytest.approx(5 / 9 * 500, rel=1e-3)
    assert moved[1] > 2.5 * moved[0]


def test_a_radius_beyond_every_update_gives_the_mean() -> None:
    vectors = np.random.default_rng(4).integers(-100, 101, (7, DIMENSION))
    for steps in (1, 8):
        assert centred_clipping(products(vectors), Centre(0, (0,) * 7), 10**6 << 32, steps).parts == (ONE_Q32 // 7,) * 7


def test_the_centre_is_the_last_aggregate_per_unit_of_the_servers_rate() -> None:
    """p = Σ w_i·q_i with weights that sum to the rate: divided by it, p is as long as an update."""
    update, rate = np.array([300, -400]), 1 << 17
    aggregate = update * rate
    assert centre(int(aggregate @ aggregate), [int(update @ aggregate)], rate) == Centre(250_000, (250_000,))


def test_no_matrix_makes_the_centre_longer_than_a_true_one() -> None:
    assert centre(1 << 96, [1 << 78, -(1 << 78)], 1) == Centre(CENTRE_LIMIT, (CENTRE_LIMIT, -CENTRE_LIMIT))
