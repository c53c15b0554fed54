from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.protocol.errors import InvalidTerms
from market.protocol.rule_terms import NO_FALLBACK, Rule, RuleKind, RuleTerms, Scoring, StepRule, Weighting

TERMS = RuleTerms(dimension=1_000)
KRUM = Rule(RuleKind.MULTI_KRUM, 3)
SIGMA = Rule(RuleKind.THREE_SIGMA, 3 << 8)


def test_default_terms_hold_with_three_updates() -> None:
    TERMS.check(3, 64)


@pytest.mark.parametrize(("rule", "least"), [(KRUM, 9), (SIGMA, 11), (Rule(RuleKind.MULTI_KRUM, 0), 3)])
def test_a_rule_holds_from_its_least_number_of_updates_on(rule: Rule, least: int) -> None:
    terms = replace(TERMS, rules=(rule,))
    terms.check(least, 64)
    with pytest.raises(InvalidTerms):
        terms.check(least - 1, 64)


def test_refusals_print_f_and_n() -> None:
    with pytest.raises(InvalidTerms, match=r"multi_krum: f = 3 .* n >= 2f \+ 3 = 9, .* n = 8"):
        replace(TERMS, rules=(KRUM,)).check(8, 64)
    with pytest.raises(InvalidTerms, match=r"three_sigma: k = 3 needs .* n = 10"):
        replace(TERMS, rules=(SIGMA,)).check(10, 64)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dimension": 0}, "dimension"),
        ({"dimension": (1 << 30) + 1}, "dimension"),
        ({"cap_q16": 0}, "capQ16"),
        ({"cap_q16": (1 << 16) + 1}, "capQ16"),
        ({"server_rate_q16": 0}, "serverRateQ16"),
        ({"server_rate_q16": (1 << 18) + 1}, "serverRateQ16"),
        ({"step_factor_q16": 0}, "stepFactorQ16"),
        ({"step_threshold_q16": (1 << 16) + 1}, "stepThresholdQ16"),
        ({"significance_q8": 1 << 16}, "significanceQ8"),
        ({"floor_q16": -1}, "floorQ16"),
        ({"norm_floor": 1 << 32}, "normFloor"),
        ({"fallback_faults": 31}, "fallbackFaults"),
        ({"fallback_faults": 256}, "fallbackFaults"),
        ({"rules": (Rule(RuleKind.NONE),) * 4}, "rules"),
        ({"rules": (Rule(RuleKind.NORM_BOUND, 0),)}, "norm_bound"),
        ({"rules": (Rule(RuleKind.THREE_SIGMA, 0),)}, "three_sigma"),
        ({"rules": (Rule(RuleKind.MULTI_KRUM, 1, 1 << 32),)}, "multi_krum: b"),
    ],
)
def test_terms_out_of_range_are_refused_by_name(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidTerms, match=f"^{named}"):
        replace(TERMS, **changed).check(64, 64)


def test_too_small_a_minimum_is_refused() -> None:
    with pytest.raises(InvalidTerms, match=r"^minimum: 2"):
        TERMS.check(2, 64)


def test_terms_survive_the_contracts_encoding() -> None:
    terms = RuleTerms(
        dimension=7,
        scoring=Scoring.EQUAL,
        weighting=Weighting.EQUAL,
        significance_q8=1,
        floor_q16=2,
        cap_q16=3,
        server_rate_q16=4,
        norm_floor=5,
        fallback_faults=6,
        step_rule=StepRule.AGREEMENT,
        step_factor_q16=8,
        step_threshold_q16=9,
        rules=(SIGMA, KRUM),
    )
    assert terms.to_abi() == (7, 2, 1, 1, 2, 3, 4, 5, 6, 2, 8, 9, ((4, 768, 0), (3, 3, 0), (0, 0, 0)))
    assert RuleTerms.from_abi(terms.to_abi()) == terms


def test_an_unused_place_between_rules_is_kept() -> None:
    terms = replace(TERMS, rules=(Rule(RuleKind.NONE), KRUM))
    assert RuleTerms.from_abi(terms.to_abi()) == terms


def test_unknown_members_are_refused() -> None:
    fields = TERMS.to_abi()
    with pytest.raises(InvalidTerms, match="9 is not a valid Scoring"):
        RuleTerms.from_abi((fields[0], 9, *fields[2:]))


def test_no_fallback_needs_no_updates() -> None:
    replace(TERMS, fallback_faults=NO_FALLBACK).check(3, 64)
