"""Nearest-neighbour mixing: what it promises for f arbitrary updates, and what it does not for more."""

from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregator import mixing
from aggregator.mixing import mix
from aggregator.shares import Shares


def products(vectors: np.ndarray) -> list[list[int]]:
    return [[int(entry) for entry in row] for row in vectors @ vectors.T]


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(mixing).failed == 0


@st.composite
def attacked_rounds(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Updates of a few small coordinates of which f may be anywhere: far off, or among the others."""
    faults = draw(st.integers(0, 4))
    rows = draw(st.integers(2 * faults + 1, 2 * faults + 5))
    source = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = source.integers(-20, 21, (rows, draw(st.integers(1, 4))))
    far = draw(st.sampled_from([1, 5, 100, 1000]))
    vectors[:faults] = vectors[rows - 1] + far * source.integers(-20, 21, vectors[:faults].shape)
    return vectors, faults


@given(attacked=attacked_rounds())
def test_sums_are_of_the_nearest_and_their_products_exact(attacked: tuple[np.ndarray, int]) -> None:
    vectors, faults = attacked
    mixture = mix(products(vectors), faults)
    assert mixture.products == products(np.array([vectors[list(chosen)].sum(axis=0) for chosen in mixture.neighbours]))
    for i, chosen in enumerate(mixture.neighbours):
        distances = ((vectors - vectors[i]) ** 2).sum(axis=1)
        left_out = [j for j in range(len(vectors)) if j not in chosen]
        assert i in chosen
        assert len(left_out) == faults
        assert all(max(distances[list(chosen)]) <= distances[j] for j in left_out)


@given(attacked=attacked_rounds(), seed=st.integers(0, 2**32))
def test_mixed_updates_of_any_honest_majority_lie_near_its_mean(attacked: tuple[np.ndarray, int], seed: int) -> None:
    """Lemma 1 of Allouah et al.: variance and shift of the mixed are at most 8f/(n-f) of the variance before."""
    vectors, faults = attacked
    rows = len(vectors)
    mixed = np.array([vectors[list(chosen)].mean(axis=0) for chosen in mix(products(vectors), faults).neighbours])
    honest = np.random.default_rng(seed).permutation(rows)[: rows - faults]
    before = ((vectors[honest] - vectors[honest].mean(axis=0)) ** 2).sum(axis=1).mean()
    centre = mixed[honest].mean(axis=0)
    after = ((mixed[honest] - centre) ** 2).sum(axis=1).mean()
    shift = ((centre - vectors[honest].mean(axis=0)) ** 2).sum()
    assert after + shift <= 8 * faults / (rows - faults) * before + 1e-6


def test_more_than_f_copies_of_an_outlier_survive_the_mixing() -> None:
    source = np.random.default_rng(3)
    vectors = source.integers(-100, 101, (7, 30))
    vectors[4:] = 10_000
    for faults, pulled in ((3, False), (2, True)):
        mixed = np.array([vectors[list(chosen)].mean(axis=0) for chosen in mix(products(vectors), faults).neighbours])
        assert (np.abs(mixed[:4]).max() > 1_000) == pulled


def test_unmixing_gives_every_row_what_the_sums_hold_of_it() -> None:
    vectors = np.array([[0], [1], [2], [100]])
    shares = mix(products(vectors), 1).unmixed(Shares((1, 0, 0, 2), 3))
    assert shares == Shares((1, 3, 3, 2), 9)
    assert sum(shares.parts) == shares.whole
