from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import bn128

from zk import curve
from zk.errors import InvalidPoint
from zk.field import P, R, limbs_of

Affine = tuple[bn128.FQ, bn128.FQ] | None

SCALARS = st.sampled_from([0, 1, 2, 3, R - 1, R, R + 1, -1, (1 << 256) - 1, 1 << 253]) | st.integers(0, R - 1)
NEAR = st.integers(0, 12)
"""Small multiples of the generator: equal, opposite and neutral points meet often."""


def _oracle(point: curve.Points) -> Affine:
    data = curve.point_bytes(point)
    x, y = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
    return (bn128.FQ(x), bn128.FQ(y)) if x or y else None


def _multiple(scalar: int) -> curve.Points:
    return curve.multiply(curve.generator(), scalar)


@settings(max_examples=20, deadline=None)
@given(SCALARS)
def test_multiples_are_those_of_the_independent_implementation(scalar: int) -> None:
    assert _oracle(_multiple(scalar)) == bn128.multiply(bn128.G1, scalar % R)


@settings(max_examples=60, deadline=None)
@given(NEAR, NEAR, st.booleans())
def test_sums_are_right_for_equal_opposite_and_neutral_points(left: int, right: int, opposite: bool) -> None:
    other = curve.negate(_multiple(right)) if opposite else _multiple(right)
    expected = bn128.multiply(bn128.G1, (left - right if opposite else left + right) % R)
    assert _oracle(curve.add(_multiple(left), other)) == expected
    assert _oracle(curve.double(other)) == _oracle(_multiple(-2 * right if opposite else 2 * right))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NEAR, SCALARS), max_size=6))
def test_a_sum_of_multiples_is_the_multiple_of_the_sum(terms: list[tuple[int, int]]) -> None:
    points = np.array([_multiple(base) for base, _ in terms], np.uint64).reshape(-1, 8)
    expected = _multiple(sum(base * scalar for base, scalar in terms))
    assert np.array_equal(curve.multiply_sum(points, [scalar for _, scalar in terms]), expected)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1023, 1024, 1025, 3000])
def test_a_total_is_right_for_every_length(count: int) -> None:
    multiples = np.arange(count) % 7
    points = np.array([_multiple(k) for k in range(7)])[multiples]
    assert np.array_equal(curve.total(points), _multiple(int(multiples.sum())))


def test_adding_leaves_its_arguments_alone() -> None:
    points = np.array([_multiple(k) for k in (3, 3, 4)])
    before = points.copy()
    curve.total(points)
    curve.add(points[0], points[1])
    curve.negate(points[0])
    assert np.array_equal(points, before)


def test_segments_are_summed_apart() -> None:
    lengths = [0, 1, 5, 0, 2, 1500, 0]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    work = np.array([_multiple(k) for k in range(1, 4)])[np.arange(starts[-1]) % 3]
    weights = np.arange(starts[-1]) % 3 + 1
    curve.add_segments(work, starts)
    for start, stop in itertools.pairwise(starts):
        if start < stop:
            assert np.array_equal(work[start], _multiple(int(weights[start:stop].sum())))


def test_many_multiples_of_the_generator_at_once() -> None:
    scalars = [0, 1, 255, 256, 257, R - 1, R, R + 5, (1 << 256) - 1] + [pow(3, k, R) for k in range(2000)]
    points = curve.generator_multiples(limbs_of(scalars))
    for index in (*range(12), 1024, 2008):
        assert np.array_equal(points[index], _multiple(scalars[index]))
    curve.check_points(points, infinity_allowed=True)


@settings(max_examples=20, deadline=None)
@given(st.lists(SCALARS, max_size=4))
def test_bytes_and_points_are_the_same(scalars: list[int]) -> None:
    points = np.array([_multiple(scalar) for scalar in scalars], np.uint64).reshape(-1, 8)
    data = curve.point_bytes(points)
    assert len(data) == 64 * len(scalars)
    assert np.array_equal(curve.parse_points(data), points)


def _bytes(x: int, y: int) -> bytes:
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def test_a_point_is_parsed_only_when_reduced_and_on_the_curve() -> None:
    assert curve.is_infinity(curve.parse_point(bytes(64)))
    assert np.array_equal(curve.parse_point(_bytes(1, 2)), curve.generator())
    with pytest.raises(InvalidPoint, match=r"coordinate x = .* is not below"):
        curve.parse_point(_bytes(P + 1, 2))
    with pytest.raises(InvalidPoint, match=r"coordinate y = .* is not below"):
        curve.parse_point(_bytes(1, P + 2))
    with pytest.raises(InvalidPoint, match="coordinate x"):
        curve.parse_point(_bytes(P, P))
    for x, y in ((1, 3), (0, 1), (1, 0), (2, 1)):
        with pytest.raises(InvalidPoint, match="not on the curve"):
            curve.parse_point(_bytes(x, y))
    with pytest.raises(InvalidPoint, match="64 bytes, not 63"):
        curve.parse_point(bytes(63))


def test_points_are_refused_with_their_index() -> None:
    with pytest.raises(InvalidPoint, match=r"^point 1: .*not on the curve"):
        curve.parse_points(_bytes(1, 2) + _bytes(1, 3))
    with pytest.raises(InvalidPoint, match="65 bytes are no whole number"):
        curve.parse_points(bytes(65))


@pytest.mark.parametrize("word", range(8))
def test_a_changed_word_of_any_point_is_found(word: int) -> None:
    points = np.tile(_multiple(5), (9000, 1))
    curve.check_points(points)
    points[8765, word] ^= np.uint64(1)
    points[8999, word] ^= np.uint64(1)
    with pytest.raises(InvalidPoint, match=r"^point 8765 is not a reduced point"):
        curve.check_points(points)


def test_an_unreduced_coordinate_of_an_array_is_found() -> None:
    points = np.tile(_multiple(5), (3, 1))
    for column in (0, 4):
        lifted = points.copy()
        value = int.from_bytes(points[2, column : column + 4].tobytes(), "little") + P
        lifted[2, column : column + 4] = limbs_of([value])[0]
        with pytest.raises(InvalidPoint, match=r"^point 2 "):
            curve.check_points(lifted)


def test_infinity_in_an_array_is_found_where_not_allowed() -> None:
    points = np.array([_multiple(1), _multiple(0)])
    curve.check_points(points, infinity_allowed=True)
    with pytest.raises(InvalidPoint, match=r"^point 1 is infinity"):
        curve.check_points(points)


def test_a_read_only_array_will_do() -> None:
    points = np.array([_multiple(1), _multiple(2)])
    points.flags.writeable = False
    curve.check_points(points)
    assert np.array_equal(curve.total(points), _multiple(3))
    assert np.array_equal(curve.multiply_sum(points, [5, 6]), _multiple(17))
