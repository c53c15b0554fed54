"""Attestors in a job's spec: what is refused, and what the contract gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.protocol.errors import InvalidJobSpec, InvalidTerms
from market.protocol.job_spec import parse_spec
from market.protocol.terms import MAX_ATTESTORS, NO_DISPUTES, DisputeTerms, JobTerms
from tests.unit.aggregator.audit.audited_spec import spec

HIGH, LOW, MIDDLE = (f"0x{digit * 40}" for digit in "f1a")


def terms_of(**disputes: Any) -> JobTerms:
    return parse_spec(spec(disputes=disputes)).to_terms(10, 1_000)


def test_a_job_without_attestors_has_no_disputes() -> None:
    assert parse_spec(spec()).to_terms(10, 1_000).disputes == NO_DISPUTES


def test_attestors_are_sorted_a_majority_decides_and_a_dispute_costs_a_rounds_reward() -> None:
    found = terms_of(attestors=[HIGH, LOW, MIDDLE], answer_s=60).disputes
    assert [account.lower() for account in found.attestors] == [LOW, MIDDLE, HIGH]
    assert (found.quorum, found.bond_wei, found.answer_period_s) == (2, 1_000, 60)


@pytest.mark.parametrize(
    ("disputes", "reason"),
    [
        ({"attestors": [], "answer_s": 60}, "disputes.attestors"),
        ({"attestors": [LOW, LOW.upper().replace("X", "x")], "answer_s": 60}, "of which only 1 differ"),
        ({"attestors": ["0x1"], "answer_s": 60}, "expected an account's address"),
        ({"attestors": [f"0x{n:040x}" for n in range(1, MAX_ATTESTORS + 2)], "answer_s": 60}, "attestors"),
        ({"attestors": [LOW]}, "disputes.answer_s: is missing"),
        ({"attestors": [LOW], "answer_s": 60, "judges": 1}, "is not a known field"),
    ],
)
def test_a_section_that_cannot_work_is_refused(disputes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidJobSpec, match=reason):
        parse_spec(spec(disputes=disputes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quorum": 1}, "disputes.quorum is 1: expected more than half of 3"),
        ({"quorum": 4}, "disputes.quorum is 4"),
        ({"bond_wei": 0}, "disputes.bond_wei is 0"),
        ({"answer_period_s": 1}, "disputes.answer_period_s is 1"),
        ({"attestors": (HIGH, LOW, MIDDLE)}, "ascending order"),
        ({"attestors": (LOW, LOW, HIGH)}, "each once"),
        ({"attestors": (f"0x{'0' * 40}", LOW, HIGH)}, "disputes.attestors"),
        ({"attestors": ()}, "none: no attestors"),
    ],
)
def test_terms_that_the_contract_would_refuse_are_named(change: dict[str, Any], reason: str) -> None:
    terms = terms_of(attestors=[LOW, MIDDLE, HIGH], answer_s=60)
    with pytest.raises(InvalidTerms, match=reason):
        replace(terms, disputes=replace(terms.disputes, **change)).check()


def test_a_window_that_leaves_no_time_to_commit_after_a_dispute_is_refused() -> None:
    terms = terms_of(attestors=[LOW, MIDDLE, HIGH], answer_s=60)
    tight = replace(terms, vesting_period_s=terms.commit_period_s - 1)
    with pytest.raises(InvalidTerms, match="vesting period"):
        tight.check()
    replace(tight, disputes=NO_DISPUTES).check()


def test_terms_with_attestors_survive_the_contracts_encoding() -> None:
    terms = terms_of(attestors=[LOW, MIDDLE, HIGH], answer_s=60, quorum=3, bond="7 wei")
    assert terms.disputes == DisputeTerms(3, 60, 7, terms.disputes.attestors)
    assert JobTerms.from_abi(terms.to_abi()) == terms
