"""Bulk counts and searches: the same as counting every pair, in any number of parts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from market.protocol.errors import InvalidData, InvalidInput
from trainer_client.digests import count_within, hamming_histogram, hamming_matrix, nearest, pairs_within

Bytes = NDArray[np.uint8]
widths = st.sampled_from([5, 8, 16, 32, 40, 64])
sizes = st.integers(0, 60)


def random_digests(count: int, width: int = 32, seed: int = 0) -> Bytes:
    """Near one another: a few bits set."""
    random = np.random.default_rng(seed)
    return np.packbits(random.random((count, 8 * width)) < 0.1, axis=1)


@given(sizes, sizes, st.integers(1, 70))
def test_a_histogram_counts_the_pairs_of_every_distance(n: int, m: int, width: int) -> None:
    a, b = random_digests(n, width, 1), random_digests(m, width, 2)
    expected = np.bincount(hamming_matrix(a, b).ravel(), minlength=8 * width + 1)
    assert np.array_equal(hamming_histogram(a, b), expected)


def test_a_histogram_of_many_is_counted_in_parts() -> None:
    a, b = random_digests(300, 32, 1), random_digests(5003, 32, 2)
    expected = np.bincount(hamming_matrix(a, b).ravel(), minlength=257)
    assert np.array_equal(hamming_histogram(a, b), expected)
    assert np.array_equal(hamming_histogram(b, a), expected)


def test_of_a_batch_with_itself_every_pair_comes_twice() -> None:
    a = random_digests(50)
    histogram = hamming_histogram(a, a)
    histogram[0] -= 50
    assert np.array_equal(histogram // 2, np.bincount(hamming_matrix(a, a)[np.triu_indices(50, 1)], minlength=257))


@given(sizes, sizes, widths, st.integers(0, 40))
def test_pairs_within_a_radius_are_counted_and_found(n: int, m: int, width: int, radius: int) -> None:
    a, b = random_digests(n, width, 1), random_digests(m, width, 2)
    near = hamming_matrix(a, b) <= radius
    assert count_within(a, b, radius) == near.sum()
    queries, places, distances = pairs_within(a, b, radius)
    assert np.array_equal(np.stack([queries, places]), np.nonzero(near))
    assert np.array_equal(distances, hamming_matrix(a, b)[near])


@given(sizes, st.integers(1, 60), widths, st.data())
def test_the_nearest_are_those_of_the_least_distances(n: int, m: int, width: int, data: st.DataObject) -> None:
    a, b = random_digests(n, width, 1), random_digests(m, width, 2)
    count = data.draw(st.integers(1, m))
    distances, places = nearest(a, b, count)
    matrix = hamming_matrix(a, b)
    assert distances.shape == places.shape == (n, count)
    assert np.array_equal(distances, np.sort(matrix, axis=1)[:, :count])
    assert np.array_equal(distances, np.take_along_axis(matrix, places, axis=1))


def test_many_queries_are_searched_for_in_parts_and_faiss_keeps_its_threads() -> None:
    a, b = random_digests(3000, 32, 1), random_digests(500, 32, 2)
    threads = faiss.omp_get_max_threads()
    matrix = hamming_matrix(a, b)
    assert np.array_equal(nearest(a, b)[0][:, 0], matrix.min(axis=1))
    assert np.array_equal(pairs_within(a, b, 30)[:2], np.nonzero(matrix <= 30))
    assert faiss.omp_get_max_threads() == threads


def test_columns_of_a_larger_array_are_searched_as_they_are() -> None:
    wide = random_digests(40, 64)
    part = wide[:, 8:40]
    assert count_within(part, part, 20) == (hamming_matrix(part, part) <= 20).sum()
    assert (nearest(part, part)[0] == 0).all()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda a: count_within(a, a[:, :8], 3), "32 and 8 bytes"),
        (lambda a: count_within(a, a, -1), r"radius is -1, expected 0..256"),
        (lambda a: pairs_within(a, a, 257), r"radius is 257, expected 0..256"),
        (lambda a: nearest(a, a, 0), r"0 nearest of 4 digests"),
        (lambda a: nearest(a, a, 5), r"5 nearest of 4 digests, expected 1..4"),
        (lambda a: nearest(a.astype(int), a), "digests a are int64"),
        (lambda a: hamming_histogram(a, a[0]), r"digests b have the shape \(32,\)"),
    ],
)
def test_what_cannot_be_searched_is_named(call: Callable[[Bytes], Any], named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        call(random_digests(4))


def test_without_faiss_it_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InvalidInput, match=r"faiss is not installed: pip install 'fedmarket\[verifier\]'"):
        nearest(random_digests(2), random_digests(2))
    assert hamming_histogram(random_digests(2), random_digests(2)).sum() == 4
