import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.gram import gram_matrix
from aggregator.replicas import compare_replicas, cosine_of, deviating, expected_bits
from market.protocol.gram_matrix import PUBLIC_ROWS, GramMatrix
from market.protocol.identifiers import Seat

DIMENSION = 4096
NO_PUBLIC_ROWS = (None,) * PUBLIC_ROWS


def matrix_of(*updates: np.ndarray) -> GramMatrix:
    return gram_matrix(list(updates), NO_PUBLIC_ROWS)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3000, 3000, DIMENSION).astype(np.int16)


def near(update: np.ndarray, share: float, seed: int) -> np.ndarray:
    return (update + share * drawn(seed)).astype(np.int16)


def test_the_cosine_is_that_of_the_updates() -> None:
    first, second = drawn(0), near(drawn(0), 0.5, 1)
    exact = first.astype(float) @ second / (np.linalg.norm(first.astype(float)) * np.linalg.norm(second.astype(float)))
    assert cosine_of(matrix_of(first, second).updates, 0, 1) == pytest.approx(exact, rel=1e-12)


def test_expected_bits_are_those_that_random_hyperplanes_part() -> None:
    first, second = drawn(0), near(drawn(0), 0.5, 1)
    [pair] = compare_replicas(matrix_of(first, second), [Seat(0), Seat(1)], [Seat(0), Seat(1)])
    planes = np.random.default_rng(2).standard_normal((20_000, DIMENSION), dtype=np.float32)
    parted = np.mean((planes @ first > 0) != (planes @ second > 0)) * 256
    assert pair.bits == pytest.approx(parted, abs=2)


@given(st.floats(-1, 1))
def test_expected_bits_fall_from_all_to_none_as_the_cosine_grows(cosine: float) -> None:
    assert 0 <= expected_bits(cosine) <= 256
    assert expected_bits(cosine) == pytest.approx(256 - expected_bits(-cosine))


def test_an_update_of_zero_is_like_none() -> None:
    [pair] = compare_replicas(
        matrix_of(drawn(0), np.zeros(DIMENSION, np.int16)), [Seat(4), Seat(7)], [Seat(7), Seat(4)]
    )
    assert pair.seats == (4, 7)
    assert (pair.cosine, pair.bits) == (0, 128)


def test_the_largest_updates_do_not_leave_the_range_of_floats() -> None:
    huge = 1 << 2000
    assert cosine_of([[huge, -huge], [-huge, huge]], 0, 1) == -1
    assert math.isclose(expected_bits(-1), 256)


def test_who_differs_from_most_deviates_and_seats_without_a_row_are_left_out() -> None:
    honest = drawn(0)
    updates = [honest, drawn(9), near(honest, 0.02, 2), near(honest, 0.02, 3)]
    rows = [Seat(0), Seat(2), Seat(5), Seat(6)]
    pairs = compare_replicas(matrix_of(*updates), rows, [Seat(0), Seat(2), Seat(5), Seat(6), Seat(7)])
    assert len(pairs) == 6
    assert deviating(pairs, 16) == [2]


def test_of_two_that_differ_both_are_named() -> None:
    pairs = compare_replicas(matrix_of(drawn(0), drawn(1)), [Seat(0), Seat(1)], [Seat(0), Seat(1)])
    assert deviating(pairs, 16) == [0, 1]
