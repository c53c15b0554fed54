from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.protocol.errors import InvalidTerms
from market.protocol.rule_terms import (
    NO_FALLBACK,
    Rule,
    RuleKind,
    RuleTerms,
    Scoring,
    StepRule,
    Weighting,
    settlement_gas,
)

TERMS = RuleTerms(dimension=1_000)
KRUM = Rule(RuleKind.MULTI_KRUM, 3)
SIGMA = Rule(RuleKind.THREE_SIGMA, 3 << 8)


def test_default_terms_hold_with_three_updates() -> None:
    TERMS.check(3, 64)


@pytest.mark.parametrize(("rule", "least"), [(KRUM, 9), (SIGMA, 11), (Rule(RuleKind.MULTI_KRUM, 0), 3)])
def test_a_rule_holds_from_its_least_number_of_updates_on(rule: Rule, least: int) -> None:
    terms = replace(TERMS, rules=(rule,))
    terms.check(least, 32)
    with pytest.raises(InvalidTerms):
        terms.check(least - 1, 32)


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
        ({"rules": (Rule(RuleKind.NORM_BOUND, 9, 9),)}, "norm_bound.least: 9 is refused, expected .* below .* 9"),
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


MIXING = Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, 3)
MEDIAN = Rule(RuleKind.GEOMETRIC_MEDIAN, 4)
CLIPPING = Rule(RuleKind.CENTRED_CLIPPING, 1_000, 2)
COSINE = Rule(RuleKind.MEDIAN_COSINE)


def sharing(*rules: Rule, **changed: Any) -> RuleTerms:
    return replace(TERMS, rules=rules, weighting=Weighting.RULE, **changed)


@pytest.mark.parametrize(
    "rules",
    [
        (MEDIAN,),
        (CLIPPING,),
        (COSINE, MEDIAN),
        (MIXING, MEDIAN),
        (MIXING, KRUM),
        (COSINE, MIXING, KRUM),
        (KRUM, MEDIAN),
        (MEDIAN, Rule(RuleKind.NONE)),
    ],
)
def test_sequences_that_share_the_average_end_with_what_gives_shares(rules: tuple[Rule, ...]) -> None:
    sharing(*rules).check(9, 16)
    with pytest.raises(InvalidTerms, match=r"^weighting: 0 is refused, expected 2 \(rule\)"):
        replace(TERMS, rules=rules).check(9, 16)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ((COSINE,), "weighting: 2 is refused, expected 0"),
        ((MIXING,), "nearest_neighbour_mixing.next: 0 is refused, expected multi_krum"),
        ((MIXING, COSINE), "nearest_neighbour_mixing.next: 2"),
        ((MIXING, CLIPPING), "nearest_neighbour_mixing.next: 8"),
        ((MIXING, Rule(RuleKind.NONE), MEDIAN), "nearest_neighbour_mixing.next: 0"),
        ((MIXING, KRUM, COSINE), "multi_krum.next: 2"),
        ((MEDIAN, COSINE), "geometric_median.next: 2 is refused, expected no rule after it"),
        ((MEDIAN, Rule(RuleKind.NONE), COSINE), "geometric_median.next: 2"),
        ((CLIPPING, CLIPPING), "centred_clipping.next: 8"),
        ((replace(MEDIAN, a=0),), "geometric_median: 0 is refused, expected 1 to 32 steps"),
        ((replace(MEDIAN, a=33),), "geometric_median: 33"),
        ((replace(CLIPPING, a=0),), "centred_clipping: 0"),
        ((replace(CLIPPING, b=9),), "centred_clipping.steps: 9 is refused, expected 1 to 8 steps"),
        (
            (replace(MIXING, a=5), MEDIAN),
            r"nearest_neighbour_mixing: f = 5 faulty updates need n >= 2f \+ 1 = 11, .* n = 9",
        ),
    ],
)
def test_rules_that_do_not_go_together_are_refused_by_name_and_value(rules: tuple[Rule, ...], named: str) -> None:
    with pytest.raises(InvalidTerms, match=f"^{named}"):
        sharing(*rules).check(9, 16)


def test_mixing_is_for_few_seats() -> None:
    with pytest.raises(InvalidTerms, match=r"^nearest_neighbour_mixing.seats: 17 .* at most 16 seats"):
        sharing(MIXING, MEDIAN).check(9, 17)
    with pytest.raises(InvalidTerms, match=r"^seats: 65"):
        TERMS.check(3, 65)


@pytest.mark.parametrize(
    ("terms", "seats", "least"),
    [
        (replace(TERMS, rules=(Rule(RuleKind.MULTI_KRUM, 16),)), 51, 35),
        (replace(TERMS, rules=(Rule(RuleKind.MULTI_KRUM, 4),)), 59, 11),
        (replace(TERMS, fallback_faults=0), 63, 3),
        (sharing(replace(MEDIAN, a=8)), 56, 3),
        (sharing(replace(MEDIAN, a=32)), 37, 3),
        (sharing(replace(CLIPPING, b=8)), 56, 3),
    ],
)
def test_a_job_that_is_too_dear_to_settle_is_refused_with_what_makes_it_so(
    terms: RuleTerms, seats: int, least: int
) -> None:
    terms.check(least, seats)
    assert settlement_gas(terms, seats) <= 6_000_000 < settlement_gas(terms, seats + 1)
    culprit = f"{terms.rules[0].kind.name.lower()}\\({terms.rules[0].a}, "
    with pytest.raises(InvalidTerms, match=rf"^gas: \d+ .* {seats + 1} seats with {culprit}.* at most 6000000$"):
        terms.check(least, seats + 1)


def test_costs_of_rules_add_up() -> None:
    krum = Rule(RuleKind.MULTI_KRUM, 16)
    replace(TERMS, rules=(krum,)).check(35, 48)
    with pytest.raises(InvalidTerms, match=r"multi_krum\(16, 0\), multi_krum\(16, 0\) and fallbackFaults = 5,"):
        replace(TERMS, rules=(krum, krum), fallback_faults=5).check(35, 48)
