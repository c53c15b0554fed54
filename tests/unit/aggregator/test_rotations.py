"""What `docs/contribution.md` says of rules that are functions of inner products, and of those that are not."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.decision import decide
from aggregator.gram import gram_matrix
from market.protocol.gram_matrix import PUBLIC_ROWS
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring, Weighting

PLAIN = Weighting.CROWDING
SHARED = Weighting.RULE
SEQUENCES = {
    "norm bound": ((Rule(RuleKind.NORM_BOUND, 100),), PLAIN),
    "median cosine": ((Rule(RuleKind.MEDIAN_COSINE),), PLAIN),
    "multi-krum": ((Rule(RuleKind.MULTI_KRUM, 1),), PLAIN),
    "three sigma": ((Rule(RuleKind.THREE_SIGMA, 1 << 8),), PLAIN),
    "mixing": ((Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, 1), Rule(RuleKind.MULTI_KRUM, 1)), SHARED),
    "geometric median": ((Rule(RuleKind.GEOMETRIC_MEDIAN, 8),), SHARED),
    "centred clipping": ((Rule(RuleKind.CENTRED_CLIPPING, 30, 2),), SHARED),
}

QUARTER_TURN = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]])
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
"""Twice a rotation (with a reflection): what it does to even vectors can be halved without rounding."""


@pytest.mark.parametrize(("rules", "weighting"), SEQUENCES.values(), ids=SEQUENCES)
def test_decisions_are_the_same_in_every_coordinate_system(rules: tuple[Rule, ...], weighting: Weighting) -> None:
    source = np.random.default_rng(6)
    updates = 2 * (source.integers(-5, 6, (7, 4)) + np.array([10, 5, 0, -5]))
    public = [2 * source.integers(-50, 51, 4), *[None] * (PUBLIC_ROWS - 1)]
    decisions = []
    for turn, divisor in ((np.eye(4, dtype=np.int64), 1), (QUARTER_TURN, 1), (HADAMARD, 2)):
        turned = [(row @ turn // divisor).astype(np.int16) for row in updates]
        around = [None if row is None else row @ turn // divisor for row in public]
        for scoring in (Scoring.LEAVE_ONE_OUT_COSINE, Scoring.COSINE_TO_MEAN):
            terms = RuleTerms(dimension=4, rules=rules, weighting=weighting, scoring=scoring, significance_q8=1)
            decisions.append(decide(terms, 7, 0, ONE_Q16, gram_matrix(turned, around)))
    assert decisions[0].accepted, "a decision that decides something"
    assert decisions[0::2] == [decisions[0]] * 3
    assert decisions[1::2] == [decisions[1]] * 3


ROUND = np.array([[0, 0], [20, 0], [0, 20]])
TURN = np.array([[0.6, -0.8], [0.8, 0.6]])
TURNED = np.array([[0, 0], [12, 16], [-16, 12]])


def test_two_rounds_are_each_other_turned_and_have_the_same_inner_products() -> None:
    assert np.allclose(ROUND @ TURN.T, TURNED)
    grams = [gram_matrix(list(rows.astype(np.int16)), [None] * PUBLIC_ROWS) for rows in (ROUND, TURNED)]
    assert grams[0] == grams[1]


def test_the_coordinate_wise_median_is_not_a_function_of_inner_products() -> None:
    assert np.median(ROUND, axis=0).tolist() == [0, 0]
    assert np.median(TURNED, axis=0).tolist() == [0, 12]


def test_nor_are_trimmed_mean_majority_of_signs_and_phocas() -> None:
    """With three updates the trimmed mean is the median."""
    for rule in (_trimmed_mean, _majority_of_signs, _phocas):
        assert not np.allclose(TURN @ rule(ROUND), rule(TURNED)), rule


def _trimmed_mean(rows: np.ndarray) -> np.ndarray:
    return np.sort(rows, axis=0)[1:-1].mean(axis=0)


def _majority_of_signs(rows: np.ndarray) -> np.ndarray:
    return np.sign(np.sign(rows).sum(axis=0))


def _phocas(rows: np.ndarray) -> np.ndarray:
    """The mean, coordinate by coordinate, of the values nearest to the trimmed mean."""
    nearest = np.argsort(np.abs(rows - _trimmed_mean(rows)), axis=0, kind="stable")[:2]
    return np.take_along_axis(rows, nearest, axis=0).mean(axis=0)
