from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from tests.unit.trainer_client.calibration.synthetic import measured
from trainer_client.calibration.distances import between_inputs, distances, same_input
from trainer_client.digests import BITS


def slow_distance(first: np.ndarray, second: np.ndarray) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(first, second, strict=True))


def test_distances_are_differing_bits() -> None:
    random = np.random.default_rng(1)
    first, second = random.integers(0, 256, (2, 20, 32), dtype=np.uint8)
    assert list(distances(first, second)) == [slow_distance(a, b) for a, b in zip(first, second, strict=True)]


def test_machines_that_flip_bits_independently_are_as_far_apart_as_the_binomial_law_says() -> None:
    chance = 0.02
    pairs = same_input(measured(4_000, chance=chance, machines=3))
    law = binom(BITS, 2 * chance * (1 - chance))
    for tolerance in (5, 10, 15):
        assert pairs.within(tolerance).estimate == pytest.approx(law.cdf(tolerance), abs=0.02)
        rate = pairs.within_apart(tolerance)
        assert rate.lower - 0.01 <= law.cdf(tolerance) <= rate.upper + 0.01
    assert pairs.total == 3 * 4_000


def test_independent_pairs_share_no_sample() -> None:
    found = measured(41, machines=3, others={"b": 0.3})
    assert same_input(found).apart.sum() == 41
    between = between_inputs(found)
    assert between["seed"].apart.sum() <= 20
    assert between["prompt"].apart.sum() <= 20
    assert between["model b"].apart.sum() == 41


def test_every_two_inputs_are_compared_once_by_what_is_different() -> None:
    found = measured(30, machines=2, prompts=("a", "b", "c"), others={"b": 0.3})
    digests, prompts = found.one_each(), [each.prompt for each in found.inputs]
    expected = {"seed": np.zeros(257, int), "prompt": np.zeros(257, int)}
    for one, other in combinations(range(30), 2):
        kind = "seed" if prompts[one] == prompts[other] else "prompt"
        expected[kind][slow_distance(digests[one], digests[other])] += 1
    between = between_inputs(found)
    for kind, counts in expected.items():
        assert (between[kind].counts == counts).all()
    assert between["model b"].total == 2 * 30


def test_what_is_not_there_is_not_reported() -> None:
    assert set(between_inputs(measured(30, prompts=(None,)))) == {"seed"}
    assert set(between_inputs(measured(3, prompts=(1, 2, 3)))) == {"prompt"}
