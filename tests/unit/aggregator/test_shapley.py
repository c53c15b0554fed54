from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.shapley import ONE_Q32, shapley_q32

Vector = list[Fraction]
Table = list[list[int]]


def dot(a: Sequence[Fraction | int], b: Sequence[Fraction | int]) -> Fraction:
    return sum((Fraction(x) * y for x, y in zip(a, b, strict=True)), Fraction())


def by_all_coalitions(updates: Table, asked: list[int], weights: list[int]) -> list[Fraction] | None:
    """Every member's mean gain |t|² - |t - X|² over all orders of joining; None where nothing is asked of their sum."""
    everybody = range(len(updates))

    def sum_of(members: Sequence[int]) -> Vector:
        return [sum((Fraction(weights[i] * updates[i][x]) for i in members), Fraction()) for x in range(len(asked))]

    whole = sum_of(everybody)
    if dot(whole, asked) <= 0:
        return None
    target = [dot(whole, whole) / dot(whole, asked) * x for x in asked]

    def worth(members: Sequence[int]) -> Fraction:
        left = [t - x for t, x in zip(target, sum_of(members), strict=True)]
        return dot(target, target) - dot(left, left)

    values = []
    for i in everybody:
        others = [j for j in everybody if j != i]
        value = Fraction()
        for size in range(len(updates)):
            orders = factorial(size) * factorial(len(others) - size)
            gains = (worth([*before, i]) - worth(before) for before in combinations(others, size))
            value += Fraction(orders, factorial(len(updates))) * sum(gains, Fraction())
        values.append(value)
    assert sum(values) == worth(everybody) == dot(whole, whole)
    return values


def products(updates: Table, asked: list[int]) -> tuple[Table, list[int]]:
    return [[int(dot(a, b)) for b in updates] for a in updates], [int(dot(a, asked)) for a in updates]


@st.composite
def games(draw: st.DrawFn) -> tuple[Table, list[int], list[int]]:
    length, members = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    coordinates = st.lists(st.integers(-9, 9), min_size=length, max_size=length)
    updates = draw(st.lists(coordinates, min_size=members, max_size=members))
    return updates, draw(coordinates), draw(st.lists(st.integers(0, 1 << 18), min_size=members, max_size=members))


@given(games())
def test_scores_are_the_shapley_values_over_all_coalitions(game: tuple[Table, list[int], list[int]]) -> None:
    updates, asked, weights = game
    values = by_all_coalitions(updates, asked, weights)
    scores = shapley_q32(*products(updates, asked), range(len(updates)), weights)
    if values is None:
        assert scores == [0] * len(updates)
        return
    total = sum(values)
    assert scores == [min(ONE_Q32, max(0, value * ONE_Q32 // total)) for value in values]


def test_rows_left_out_take_no_part() -> None:
    source = np.random.default_rng(1)
    updates = (source.integers(-9, 9, (5, 6)) + 4).tolist()
    asked = [3, 2, 4, 1, 5, 2]
    residual, along = products(updates, asked)
    kept = [0, 2, 3]
    alone = shapley_q32(*products([updates[i] for i in kept], asked), range(3), [5, 7, 3])
    assert shapley_q32(residual, along, kept, [5, 7, 3]) == alone


def test_whoever_pulls_away_from_the_exam_earns_nothing_and_the_others_more_than_all() -> None:
    asked = [1, 0]
    scores = shapley_q32(*products([[10, 1], [10, -1], [-5, 0]], asked), range(3), [1, 1, 1])
    assert scores[2] == 0
    assert sum(scores) > ONE_Q32


@pytest.mark.parametrize("copies", [2, 4])
def test_copies_that_share_a_weight_earn_what_the_one_would(copies: int) -> None:
    updates, asked = [[8, 1, 0], [7, 0, 2], [9, -2, 1]], [1, 0, 0]
    alone = shapley_q32(*products(updates, asked), range(3), [12, 12, 12])
    shared = shapley_q32(
        *products([updates[0]] * copies + updates[1:], asked), range(copies + 2), [12 // copies] * copies + [12, 12]
    )
    assert abs(sum(shared[:copies]) - alone[0]) <= copies


def test_a_sum_of_negative_square_that_no_vectors_have_earns_nothing_even_where_it_points_away() -> None:
    assert shapley_q32([[-4, 0], [0, -4]], [-2, -2], range(2), [1, 1]) == [0, 0]
