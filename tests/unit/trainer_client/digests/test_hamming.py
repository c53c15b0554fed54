"""Distances between digests: a metric, counted alike by every function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests.hamming import hamming, hamming_matrix

Bytes = NDArray[np.uint8]
digests = st.binary(min_size=32, max_size=32).map(lambda content: np.frombuffer(content, np.uint8))


def random_digests(count: int, width: int = 32, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, width), dtype=np.uint8)


@given(digests, digests)
def test_the_distance_is_the_number_of_bits_set_in_the_difference(a: Bytes, b: Bytes) -> None:
    expected = (int.from_bytes(a.tobytes(), "big") ^ int.from_bytes(b.tobytes(), "big")).bit_count()
    assert hamming(a, b) == hamming(b, a) == expected
    assert (expected == 0) == np.array_equal(a, b)


@given(digests, digests, digests)
def test_the_way_through_a_third_digest_is_no_shorter(a: Bytes, b: Bytes, c: Bytes) -> None:
    assert hamming(a, c) <= hamming(a, b) + hamming(b, c)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 40))
def test_a_matrix_has_the_distances_of_all_pairs(n: int, m: int, width: int) -> None:
    a, b = random_digests(n, width, 1), random_digests(m, width, 2)
    matrix = hamming_matrix(a, b)
    assert matrix.shape == (n, m)
    assert all(matrix[i, j] == hamming(a[i], b[j]) for i in range(n) for j in range(m))


def test_a_matrix_that_is_made_in_parts_is_the_same() -> None:
    a, b = random_digests(700), random_digests(3000, seed=3)
    assert np.array_equal(hamming_matrix(a, b)[650], hamming(b, a[650]))
    assert np.array_equal(hamming_matrix(a, b), hamming_matrix(b, a).T)


def test_one_digest_is_compared_with_each() -> None:
    many = random_digests(5)
    assert hamming(many, many[2])[2] == 0
    assert np.array_equal(hamming(many, many[2]), hamming(many[2], many))


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        (np.zeros((2, 32), np.uint8), np.zeros((2, 31), np.uint8), r"\(2, 32\) and \(2, 31\)"),
        (np.zeros((2, 32), np.uint8), np.zeros((3, 32), np.uint8), r"\(2, 32\) and \(3, 32\)"),
        (np.zeros((2, 32), np.int8), np.zeros((2, 32), np.uint8), "digests a are int8"),
        (np.zeros((2, 32), np.uint8), bytes(32), "digests b are bytes"),
        (np.zeros((2, 2, 32), np.uint8), np.zeros((2, 32), np.uint8), r"digests a are uint8 \(2, 2, 32\)"),
    ],
)
def test_what_cannot_be_compared_is_named(a: Any, b: Any, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        hamming(a, b)


def test_a_matrix_takes_batches_of_as_many_bytes() -> None:
    with pytest.raises(InvalidData, match="32 and 8 bytes"):
        hamming_matrix(random_digests(2), random_digests(2, 8))
    with pytest.raises(InvalidData, match=r"shape \(32,\), expected \(n, bytes\)"):
        hamming_matrix(random_digests(1)[0], random_digests(2))
