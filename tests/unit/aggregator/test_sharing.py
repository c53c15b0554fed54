"""Decisions by rules that share the average themselves: who is in, with what weight, and what attacks come to."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.decision import Decision, decide
from aggregator.gram import gram_matrix
from market.protocol.gram_matrix import PUBLIC_ROWS
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Weighting

DIMENSION = 300
HONEST = 9

MEDIAN = (Rule(RuleKind.GEOMETRIC_MEDIAN, 8),)
CLIPPING = (Rule(RuleKind.CENTRED_CLIPPING, 4_000, 2),)
MIXED_KRUM = (Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, 3), Rule(RuleKind.MULTI_KRUM, 3))
MIXED_MEDIAN = (Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, 3), Rule(RuleKind.GEOMETRIC_MEDIAN, 8))
SEQUENCES = {"median": MEDIAN, "clipping": CLIPPING, "mixed krum": MIXED_KRUM, "mixed median": MIXED_MEDIAN}


def honest(count: int = HONEST) -> list[np.ndarray]:
    source = np.random.default_rng(12)
    common = source.normal(0, 150, DIMENSION)
    return [common + source.normal(0, 150, DIMENSION) for _ in range(count)]


def whole(updates: list[np.ndarray]) -> list[np.ndarray]:
    return [np.clip(np.rint(row), -32_768, 32_767).astype(np.int16) for row in updates]


def decided(
    updates: list[np.ndarray], rules: tuple[Rule, ...], last: np.ndarray | None = None, shift: int = 0, **terms: object
) -> Decision:
    public: list[np.ndarray | None] = [last, *[None] * (PUBLIC_ROWS - 1)]
    by_rule = RuleTerms(dimension=DIMENSION, rules=rules, weighting=Weighting.RULE, **terms)  # type: ignore[arg-type]
    return decide(by_rule, len(updates), shift, ONE_Q16, gram_matrix(whole(updates), public))


def average(updates: list[np.ndarray], decision: Decision) -> np.ndarray:
    return np.array(decision.weights) @ np.array(whole(updates), dtype=np.float64) / ONE_Q16


def distance_from_honest(attackers: list[np.ndarray], rules: tuple[Rule, ...]) -> float:
    """Of the average from the honest mean, in honest standard deviations of a whole update."""
    updates = [*honest(), *attackers]
    mean = np.mean(honest(), axis=0)
    spread = np.linalg.norm(np.array(honest()) - mean, axis=1).mean()
    return float(np.linalg.norm(average(updates, decided(updates, rules)) - mean) / spread)


@pytest.mark.parametrize("rules", SEQUENCES.values(), ids=SEQUENCES)
def test_everybody_honest_is_in_and_paid(rules: tuple[Rule, ...]) -> None:
    decision = decided(honest(), rules)
    assert decision.accepted == (1 << HONEST) - 1
    assert decision.paid
    assert min(decision.weights) > 0 < min(decision.scores)
    assert sum(decision.weights) <= ONE_Q16


@pytest.mark.parametrize("rules", SEQUENCES.values(), ids=SEQUENCES)
def test_a_far_outlier_moves_the_average_little(rules: tuple[Rule, ...]) -> None:
    outlier = [np.full(DIMENSION, 30_000.0)]
    assert distance_from_honest(outlier, rules) < 1
    plain = np.mean([*honest(), *outlier], axis=0) - np.mean(honest(), axis=0)
    assert np.linalg.norm(plain) > 10_000, "the mean is moved by far more"


@pytest.mark.parametrize("rules", SEQUENCES.values(), ids=SEQUENCES)
def test_f_sybils_move_the_average_little(rules: tuple[Rule, ...]) -> None:
    """Three of twelve, all one update, far off on the other side."""
    assert distance_from_honest([-10 * honest()[0]] * 3, rules) < 1.2


@pytest.mark.parametrize("rules", [MEDIAN, MIXED_KRUM, MIXED_MEDIAN], ids=["median", "mixed krum", "mixed median"])
def test_a_sybil_majority_takes_the_round(rules: tuple[Rule, ...]) -> None:
    """None of them is meant to bear more than f, or half: the average goes most of the way to copies that are more."""
    copy = np.full(DIMENSION, 2_000.0)
    for copies, way in ((3, (-0.1, 0.1)), (10, (0.65, 1.01))):
        updates = [*honest(16 - copies), *[copy] * copies]
        result = average(updates, decided(updates, rules))
        assert way[0] < result @ copy / (copy @ copy) < way[1], copies


def test_a_sybil_majority_is_held_by_clipping_to_its_radius_and_no_better() -> None:
    copies = [np.full(DIMENSION, 2_000.0)] * (HONEST + 2)
    updates = [*honest(), *copies]
    result = average(updates, decided(updates, (Rule(RuleKind.CENTRED_CLIPPING, 4_000, 1),)))
    assert np.linalg.norm(result) <= 4_000
    assert result @ copies[0] > 0.8 * np.linalg.norm(result) * np.linalg.norm(copies[0])


def test_clipping_is_around_the_last_aggregate() -> None:
    """The same updates: where the last round went their way, they count in full."""
    common = np.mean(honest(), axis=0)
    last = np.rint(common * ONE_Q16).astype(np.int64)
    rules = (Rule(RuleKind.CENTRED_CLIPPING, 3_000, 1),)
    without, around = decided(honest(), rules), decided(honest(), rules, last)
    assert sum(around.weights) > sum(without.weights)
    assert sum(around.weights) > 0.99 * ONE_Q16


def test_what_stays_with_the_centre_is_left_out() -> None:
    decision = decided(honest(), (Rule(RuleKind.CENTRED_CLIPPING, 500, 1),))
    assert decision.accepted == (1 << HONEST) - 1
    assert sum(decision.weights) < 0.3 * ONE_Q16


def test_the_radius_is_in_base_counts() -> None:
    rules = (Rule(RuleKind.CENTRED_CLIPPING, 4_000, 1),)
    quarter = (Rule(RuleKind.CENTRED_CLIPPING, 1_000, 1),)
    assert decided(honest(), rules, shift=2).weights == decided(honest(), quarter).weights
    assert decided(honest(), rules, shift=2**200).accepted == 0


def test_rules_before_the_last_take_rows_out_of_its_shares() -> None:
    updates = [*honest(), np.full(DIMENSION, 30_000.0)]
    decision = decided(updates, (Rule(RuleKind.NORM_BOUND, 10_000), *MEDIAN))
    assert decision.accepted == (1 << HONEST) - 1
    assert decision.weights[:HONEST] == decided(honest(), MEDIAN).weights


def test_whoever_is_near_to_none_that_is_kept_has_no_part() -> None:
    updates = [*honest(), np.full(DIMENSION, 30_000.0)]
    decision = decided(updates, MIXED_KRUM)
    assert decision.weights[HONEST] == decision.scores[HONEST] == 0
    assert not decision.accepted >> HONEST & 1


def test_mixing_needs_its_quorum() -> None:
    assert decided(honest(6), MIXED_MEDIAN).accepted == 0
    assert decided(honest(7), MIXED_MEDIAN).accepted == (1 << 7) - 1
    assert decided(honest(8), MIXED_KRUM).accepted == 0, "Multi-Krum needs 2f + 3"
    assert decided(honest(9), MIXED_KRUM).accepted == (1 << 9) - 1


def test_where_nobody_is_left_the_fallback_shares_equally_and_unpaid() -> None:
    rules = (Rule(RuleKind.NORM_BOUND, 1), *MEDIAN)
    decision = decided(honest(), rules, fallback_faults=1)
    assert not decision.paid
    assert sum(decision.scores) == 0
    assert sorted(decision.weights) == [0] + [ONE_Q16 // (HONEST - 1)] * (HONEST - 1)
    assert decided(honest(), rules).accepted == 0
