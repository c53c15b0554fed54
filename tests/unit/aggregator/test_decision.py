from __future__ import annotations

import random

import pytest

from aggregator.decision import decide
from market.protocol.errors import InvalidGram, InvalidTerms
from tests.unit.aggregator import rules_oracle
from tests.unit.aggregator.random_rounds import Round, random_round


def outcome(case: Round) -> object:
    """The decision as a tuple, or the name of the refusal."""
    try:
        d = decide(case.terms, case.rows, case.shift, case.step_q16, case.packed)
    except (InvalidGram, InvalidTerms) as error:
        return type(error).__name__
    return d.accepted, d.paid, d.next_step_q16, list(d.weights), list(d.scores)


def expected(case: Round) -> object:
    try:
        return rules_oracle.decide(case.terms, case.rows, case.shift, case.step_q16, case.packed)
    except rules_oracle.Refused as refused:
        return "InvalidTerms" if refused.name == "InvalidRuleTerms" else "InvalidGram"


@pytest.mark.parametrize("seed", range(40))
def test_decisions_are_those_of_the_text_read_literally(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        case = random_round(rng, most_rows=24)
        assert outcome(case) == expected(case)
