from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import contribution, decision, gram, payouts, projection, rules
from aggregator.decision import Decision, decide
from aggregator.gram import gram_matrix
from market.protocol.errors import InvalidTerms
from market.protocol.gram_matrix import PUBLIC_ROWS
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring

DIMENSION = 400
CHEAT = 6
HONEST = (1 << CHEAT) - 1


@pytest.mark.parametrize("module", [contribution, decision, gram, payouts, projection, rules])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def honest_updates(count: int) -> list[np.ndarray]:
    source = np.random.default_rng(4)
    common = source.normal(0, 300, DIMENSION)
    return [common + source.normal(0, 400, DIMENSION) for _ in range(count)]


def decided(updates: list[np.ndarray], public: list[np.ndarray | None] | None = None, **terms: object) -> Decision:
    rows = [np.clip(np.rint(row), -32_768, 32_767).astype(np.int16) for row in updates]
    matrix = gram_matrix(rows, public or [None] * PUBLIC_ROWS)
    return decide(RuleTerms(dimension=DIMENSION, **terms), len(rows), 0, ONE_Q16, matrix)  # type: ignore[arg-type]


def aggregates() -> list[np.ndarray | None]:
    source = np.random.default_rng(5)
    rows = [source.integers(-(2**22), 2**22, DIMENSION) for _ in range(4)]
    return [*rows[:3], rows[3], None]


CHEATS = {
    "sign flip": -3 * honest_updates(7)[CHEAT],
    "noise": np.random.default_rng(6).normal(0, 500, DIMENSION),
    "zeros": np.zeros(DIMENSION),
    "inner product manipulation": -0.5 * np.mean(honest_updates(6), axis=0),
    "last aggregate": aggregates()[0] / 2**10,  # type: ignore[operator]
    "older aggregate": aggregates()[2] / 2**10,  # type: ignore[operator]
    "the model": aggregates()[3] / 2**10,  # type: ignore[operator]
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_median_cosine_pays_the_honest_and_not_the_cheat(cheat: str) -> None:
    result = decided([*honest_updates(6), CHEATS[cheat]], aggregates())
    assert result.accepted == HONEST
    assert result.paid
    assert min(result.scores[:CHEAT]) > 0
    assert result.weights[CHEAT] == result.scores[CHEAT] == 0


def test_a_replay_that_agrees_is_rejected_only_because_it_is_public() -> None:
    trend = np.rint(np.mean(honest_updates(6), axis=0)).astype(np.int64)
    updates = [row + np.random.default_rng(i).normal(0, 500, DIMENSION) for i, row in enumerate(honest_updates(6))]
    public = [trend, None, None, None, None]
    assert decided([*updates, trend], [None] * 5).accepted >> CHEAT & 1
    assert not decided([*updates, trend], public).accepted >> CHEAT & 1


def test_copies_share_a_voice() -> None:
    source = np.random.default_rng(7)
    updates = [source.normal(0, 500, DIMENSION) for _ in range(5)]
    result = decided([*updates, updates[0], updates[0]], rules=())
    copies = result.weights[0] + result.weights[5] + result.weights[6]
    assert copies < 1.2 * max(result.weights[1:5])


def test_a_tiny_update_earns_little() -> None:
    updates = honest_updates(7)
    result = decided([*updates[:6], updates[6] / 100])
    assert result.accepted >> CHEAT & 1
    assert result.scores[CHEAT] * 50 < min(result.scores[:CHEAT])


def test_a_large_update_moves_the_average_no_further_than_a_typical_one() -> None:
    updates = honest_updates(7)
    result = decided([*updates[:6], updates[6] * 20])
    assert result.weights[CHEAT] * 10 < min(result.weights[:CHEAT])


@given(st.lists(st.floats(0.01, 12), min_size=3, max_size=9), st.integers(1, 4 * ONE_Q16))
def test_the_average_is_never_longer_than_what_updates_are_clipped_to(scales: list[float], rate: int) -> None:
    updates = [scale * row for scale, row in zip(scales, honest_updates(len(scales)), strict=True)]
    result = decided(updates, rules=(), server_rate_q16=rate)
    clipped = 1.25 * sorted(float(np.linalg.norm(row)) for row in updates)[(len(updates) - 1) // 2]
    moved = np.sum([weight * row for weight, row in zip(result.weights, updates, strict=True)], axis=0)
    assert np.linalg.norm(moved) <= rate * (clipped + len(updates))  # each entry is rounded to an integer


def test_what_clipping_takes_from_one_update_goes_to_no_other() -> None:
    updates = honest_updates(7)
    before, after = decided(updates, rules=()), decided([*updates[:6], updates[6] * 20], rules=())
    assert after.weights[CHEAT] * 10 < before.weights[CHEAT]
    assert after.weights[:CHEAT] == pytest.approx(before.weights[:CHEAT], rel=0.02)


def test_what_only_the_fallback_accepts_is_unpaid() -> None:
    source = np.random.default_rng(8)
    noise = [source.normal(0, 500, DIMENSION) for _ in range(6)]
    result = decided(noise, fallback_faults=1)
    assert len(result.accepted_rows) == 5
    assert not result.paid
    assert sum(result.scores) == 0
    assert sum(result.weights) > 0


def test_two_accepted_are_nobody() -> None:
    assert decided(honest_updates(2), rules=()).accepted == 0
    assert decided(honest_updates(3), rules=()).accepted == 7


def test_multi_krum_keeps_the_nearest() -> None:
    updates = [*honest_updates(6), CHEATS["sign flip"]]
    assert decided(updates, rules=(Rule(RuleKind.MULTI_KRUM, 1),)).accepted == HONEST


def test_three_sigma_drops_only_the_outlier() -> None:
    updates = honest_updates(13)
    updates[12] = updates[12] * 30
    assert decided(updates, rules=(Rule(RuleKind.THREE_SIGMA, 3 << 8),)).accepted == (1 << 12) - 1


def test_equal_scoring_pays_by_crowding_and_damping_alone() -> None:
    updates = [honest_updates(1)[0]] * 3
    assert set(decided(updates, rules=(), scoring=Scoring.EQUAL).scores) == {(1 << 32) * ONE_Q16 // (3 * ONE_Q16)}


@pytest.mark.parametrize("step_q16", [0, -1, ONE_Q16 + 1])
def test_a_step_out_of_range_is_refused(step_q16: int) -> None:
    with pytest.raises(InvalidTerms, match="stepQ16"):
        decide(RuleTerms(dimension=1), 0, 0, step_q16, gram_matrix([], [None] * PUBLIC_ROWS))
