from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zk import vectors
from zk.errors import InvalidVector
from zk.field import R, Words, integers, limbs_of

SCALARS = st.sampled_from([0, 1, 2, R - 1, R - 2, (1 << 253) - 1]) | st.integers(0, R - 1)
LONG = 20_000
"""More than a block, and no power of two: the last part of every split is short."""

LAST = (1 << 47) - 1


def _vector(values: list[int]) -> Words:
    return vectors.to_montgomery(limbs_of(values).reshape(-1, 4))


def _integers(vector: Words) -> list[int]:
    return integers(vectors.from_montgomery(vector))


def _long(seed: int) -> list[int]:
    drawn = random.Random(seed)
    return [drawn.randrange(R) for _ in range(LONG)]


@settings(deadline=None)
@given(st.lists(SCALARS | st.integers(R, (1 << 256) - 1), max_size=6))
def test_plain_integers_are_reduced_on_the_way_into_the_field(values: list[int]) -> None:
    assert _integers(_vector(values)) == [value % R for value in values]


def test_a_vector_can_be_lowered_in_place() -> None:
    vector = _vector([5, R - 1])
    assert vectors.from_montgomery(vector, out=vector) is vector
    assert integers(vector) == [5, R - 1]


@pytest.mark.parametrize("base", [0, 1, 2, R - 1, 3**200])
@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_powers_begin_with_one(base: int, size: int) -> None:
    assert _integers(vectors.powers(base, size)) == [pow(base, exponent, R) for exponent in range(size)]


def test_powers_go_on_from_part_to_part() -> None:
    got = _integers(vectors.powers(7**90, LONG))
    assert all(got[at] == pow(7**90, at, R) for at in (*range(0, LONG, 997), LONG - 1))


@settings(deadline=None)
@given(st.lists(SCALARS, max_size=8), SCALARS)
def test_a_polynomial_is_evaluated(polynomial: list[int], point: int) -> None:
    expected = sum(value * pow(point, degree, R) for degree, value in enumerate(polynomial)) % R
    assert vectors.evaluate(_vector(polynomial), point) == expected


def test_a_long_polynomial_is_evaluated() -> None:
    polynomial, point, expected = _long(1), 11**70, 0
    for value in reversed(polynomial):
        expected = (expected * point + value) % R
    assert vectors.evaluate(_vector(polynomial), point) == expected


def test_a_multiple_is_added_to_the_first_elements() -> None:
    left, right, factor = _long(2), _long(3)[: LONG - 5], R - 3
    into = _vector(left)
    vectors.add_multiple(into, _vector(right), factor)
    assert _integers(into) == [(a + factor * b) % R for a, b in zip(left, right, strict=False)] + left[-5:]
    with pytest.raises(InvalidVector, match="20000 elements does not fit into 19995"):
        vectors.add_multiple(_vector(right), into, factor)


@settings(deadline=None)
@given(st.lists(SCALARS, max_size=8), SCALARS, SCALARS, SCALARS)
def test_division_undoes_multiplication_whatever_remains(quotient: list[int], middle: int, r0: int, r1: int) -> None:
    product = [0] * (len(quotient) + 2)
    for degree, value in enumerate(quotient):
        for step, factor in ((0, 1), (1, -middle), (2, 1)):
            product[degree + step] = (product[degree + step] + value * factor) % R
    product[0], product[1] = (product[0] + r0) % R, (product[1] + r1) % R
    assert _integers(vectors.divide(_vector(product), middle)) == quotient


def test_dividing_what_is_shorter_than_the_divisor_leaves_nothing() -> None:
    assert len(vectors.divide(_vector([3]), 5)) == 0
    assert len(vectors.divide(vectors.zeros(0), 5)) == 0


def _combined(rows: list[vectors.Values], factors: list[int], at: int) -> int:
    return sum(factor * int(row[at]) for row, factor in zip(rows, factors, strict=True)) % R


@pytest.mark.parametrize("factor", [0, 1, (1 << 128) - 1, 0xFFFFFFFF << 96, 1 << 32])
@pytest.mark.parametrize("count", [1, 16, vectors.MAX_ROWS])
def test_extreme_rows_are_combined_without_overflow(factor: int, count: int) -> None:
    short = [np.array([-32768, 32767, 0, -1], np.int16)] * (count // 2)
    rows: list[vectors.Values] = [np.array([-LAST, LAST, (1 << 24) - 1, -1], np.int64)] * (count - len(short))
    rows = [*short, *rows]
    factors = [factor] * count
    assert _integers(vectors.combine(rows, factors)) == [_combined(rows, factors, at) for at in range(4)]
    last = (1 << 31) - 1
    middle: list[vectors.Values] = [np.array([-last - 1, last, (1 << 24) - 1, -1], np.int32)] * count
    assert _integers(vectors.combine(middle, factors)) == [_combined(middle, factors, at) for at in range(4)]
    wide = rows[-1:] * count
    assert _integers(vectors.combine(wide, factors)) == [_combined(wide, factors, at) for at in range(4)]


def test_long_rows_are_combined_from_memory_maps(tmp_path: Path) -> None:
    rng, drawn = np.random.default_rng(4), random.Random(4)
    rows: list[vectors.Values] = [rng.integers(-32768, 32768, LONG).astype(np.int16) for _ in range(3)]
    rows.append(rng.integers(-LAST, LAST, LONG))
    rows.append(rng.integers(-(1 << 31), 1 << 31, LONG).astype(np.int32))
    factors = [drawn.getrandbits(128) for _ in rows]
    for index, row in enumerate(rows):
        np.save(tmp_path / f"{index}.npy", row)
    mapped = [np.load(tmp_path / f"{index}.npy", mmap_mode="r") for index in range(5)]
    out = _vector([7] * (LONG + 2))
    assert vectors.combine(mapped, factors, out) is out
    assert _integers(out) == [_combined(rows, factors, at) for at in range(LONG)] + [7, 7]


def test_wrong_rows_are_refused() -> None:
    row = np.zeros(4, np.int16)
    for rows, factors, problem in (
        ([row, row], [1], "2 rows and 1 factors"),
        ([], [], "0 rows"),
        ([row] * 97, [1] * 97, "1 to 96"),
        ([row, row[:3]], [1, 1], "row 1 has 3 entries, and row 0 has 4"),
        ([row, row.astype(np.uint32)], [1, 1], "row 1: .*not uint32"),
        ([row], [1 << 128], "factor 0 = .* is not below"),
        ([row], [-1], "factor 0 = -1"),
    ):
        with pytest.raises(InvalidVector, match=problem):
            vectors.combine(rows, factors)
    with pytest.raises(InvalidVector, match="4 elements does not fit into 3"):
        vectors.combine([row], [1], vectors.zeros(3))
