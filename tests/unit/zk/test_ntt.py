from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zk import ntt, vectors
from zk.errors import InvalidVector
from zk.field import R, Words, integers, limbs_of

SCALARS = st.sampled_from([0, 1, R - 1]) | st.integers(0, R - 1)


def _vector(values: list[int]) -> Words:
    return vectors.to_montgomery(limbs_of(values).reshape(-1, 4))


def _integers(vector: Words) -> list[int]:
    return integers(vectors.from_montgomery(vector))


def _lag(values: list[int], lag: int) -> int:
    return sum(values[at] * values[at + lag] for at in range(len(values) - lag)) % R


def _lags(values: list[int]) -> list[int]:
    return [_lag(values, lag) for lag in range(1, len(values))]


def _random(size: int) -> list[int]:
    drawn = random.Random(size)
    return [drawn.randrange(R) for _ in range(size)]


@settings(max_examples=60, deadline=None)
@given(st.lists(SCALARS, max_size=40))
def test_an_autocorrelation_is_what_its_definition_says(values: list[int]) -> None:
    assert _integers(ntt.autocorrelation(_vector(values))) == _lags(values)


@pytest.mark.parametrize("size", [63, 64, 65, 72, 79, 80, 81, 140, 512, 524, 639, 641])
def test_lags_that_wrap_around_are_told_apart(size: int) -> None:
    values = _random(size)
    assert _integers(ntt.autocorrelation(_vector(values))) == _lags(values)


@pytest.mark.parametrize("size", [16384 + 12, 32768 + 12, 32768 + 512, 32768 + 513])
def test_vectors_longer_than_a_block(size: int) -> None:
    values = _random(size)
    got = _integers(ntt.autocorrelation(_vector(values)))
    half = 1 << (size.bit_length() - 1)
    edges = [1, 2, 12, 13, half - 513, half - 13, half - 12, half - 11, half - 1, half, half + 1, half + 11, size - 1]
    assert all(got[lag - 1] == _lag(values, lag) for lag in edges if 0 < lag < size)


def test_a_vector_of_a_power_of_two_and_some_blinders_needs_no_larger_transform() -> None:
    spectrum = ntt.Autocorrelation((1 << 12) + 12)
    spectrum.add(vectors.zeros(1 << 12))
    assert spectrum._size == 1 << 13


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(SCALARS, max_size=12), max_size=4))
def test_autocorrelations_of_several_vectors_are_summed(chunks: list[list[int]]) -> None:
    length = 12
    sums = ntt.Autocorrelation(length)
    for chunk in chunks:
        sums.add(_vector(chunk))
    padded = [chunk + [0] * (length - len(chunk)) for chunk in chunks]
    expected = [sum(_lag(chunk, lag) for chunk in padded) % R for lag in range(1, length)]
    assert _integers(sums.coefficients()) == expected


def test_a_vector_longer_than_announced_is_refused() -> None:
    sums = ntt.Autocorrelation(4)
    with pytest.raises(InvalidVector, match="5 elements, where at most 4"):
        sums.add(vectors.zeros(5))
    with pytest.raises(InvalidVector, match="longer than 268435456"):
        ntt.Autocorrelation(1 << 28)


def test_the_vector_is_not_changed() -> None:
    vector = _vector(_random(100))
    before = vector.copy()
    ntt.autocorrelation(vector)
    assert np.array_equal(vector, before)


@pytest.mark.parametrize("bits", range(7))
def test_a_transform_is_the_values_at_the_roots_of_unity(bits: int) -> None:
    size, values = 1 << bits, _random(1 << bits)
    root = pow(5, (R - 1) // size, R)
    vector = _vector(values)
    ntt.transform(vector)
    got = _integers(vector)
    for power in range(size):
        reverse = int(format(power, f"0{bits}b")[::-1], 2) if bits else 0
        assert got[reverse] == sum(value * pow(root, power * at, R) for at, value in enumerate(values)) % R


@pytest.mark.parametrize("bits", [0, 1, 5, 14, 15, 16])
def test_there_and_back_reverses_the_order_and_multiplies_by_the_length(bits: int) -> None:
    size, values = 1 << bits, _random(1 << bits)
    vector = _vector(values)
    ntt.transform(vector)
    ntt.transform_back(vector)
    assert _integers(vector) == [values[-at % size] * size % R for at in range(size)]
