"""Autocorrelations: the same sums as by definition, whatever wraps round in the transform."""

from __future__ import annotations

import random

import numpy as np
import pytest

from zk.errors import InvalidVector
from zk.field import R, Words, integers, limbs_of, r_element
from zk.ntt import autocorrelation

BACK = pow(1 << 256, -1, R)


def elements(values: list[int]) -> Words:
    return limbs_of(value * (1 << 256) % R for value in values)


def values(words: Words) -> list[int]:
    return [value * BACK % R for value in integers(words)]


def by_definition(chunks: list[list[int]], length: int) -> list[int]:
    return [sum(a[x] * a[x + m] for a in chunks for x in range(length - m)) % R for m in range(1, length)]


def vector(length: int, seed: int) -> list[int]:
    source = random.Random(seed)
    return [source.choice([0, 1, R - 1, source.randrange(R), source.randrange(1 << 16)]) for _ in range(length)]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 64, 65, 100, 129, 300])
def test_every_lag_is_the_sum_that_defines_it(length: int) -> None:
    a = vector(length, length)
    assert values(autocorrelation([elements(a)], length)) == by_definition([a], length)


def test_several_chunks_add_up() -> None:
    chunks = [vector(70, seed) for seed in range(3)]
    assert values(autocorrelation((elements(a) for a in chunks), 70)) == by_definition(chunks, 70)


@pytest.mark.parametrize("extra", [-2, -1, 0, 1, 2, 12, 1024, 1025])
def test_lags_that_wrap_round_beyond_a_power_of_two_are_taken_apart_again(extra: int) -> None:
    # Twelve blinder slots after 2^k coordinates are the usual case; with 1,026 the transform doubles.
    length = 8192 + extra + 1
    source = np.random.default_rng(length)
    a = [int(x) for x in source.integers(0, 1 << 62, length)]
    sums = values(autocorrelation([elements(a)], length))
    vector_a = np.array(a, dtype=object)
    for m in [1, 2, 4095, 4096, 8190 - 1024, 8190 - 12, 8179, 8180, 8191, 8192, 8193, length - 2, length - 1]:
        if 1 <= m < length:
            assert sums[m - 1] == int((vector_a[: length - m] * vector_a[m:]).sum()) % R, m


def test_no_chunk_has_no_products() -> None:
    assert not autocorrelation([], 5).any()


def test_a_chunk_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidVector, match=r"uint64\[3, 4\], expected uint64\[4, 4\]"):
        autocorrelation([np.zeros((3, 4), np.uint64)], 4)


def test_more_coefficients_than_the_field_has_roots_for_are_refused() -> None:
    with pytest.raises(InvalidVector, match="at most 2\\^28"):
        autocorrelation([], (1 << 27) + 2048)


def test_the_order_of_the_coefficients_is_that_of_the_vector() -> None:
    a = np.stack([r_element(1), r_element(2), r_element(3)])
    assert values(autocorrelation([a], 3)) == [1 * 2 + 2 * 3, 1 * 3]
