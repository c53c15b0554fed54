"""A job's exam in its terms: what it costs and takes, how the contract writes it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.protocol.errors import InvalidTerms
from market.protocol.rounds import Phase
from market.protocol.rule_terms import Rule, RuleKind, RuleTerms, Scoring
from market.protocol.terms import NATIVE, NO_EXAM, DisputeTerms, EntryTerms, ExamTerms, JobTerms, PayMode

OWNER = "0x" + "0e" * 20
EXAMINER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
EXAM = ExamTerms(root=b"\x07" * 32, examiner=NATIVE, period_s=50, slices=6, deposit_wei=9)
ASKING = RuleTerms(dimension=1_000, rules=(Rule(RuleKind.EXAM),), scoring=Scoring.EXAM)


def terms(**changes: Any) -> JobTerms:
    values: dict[str, Any] = {
        "token": NATIVE,
        "seats": 8,
        "minimum_commits": 3,
        "rounds": 4,
        "pay_mode": PayMode.POT,
        "scale_exponent": 14,
        "initial_shift": 0,
        "chunks": 1,
        "enrol_until_s": 1_000,
        "deadline_s": 9_000,
        "commit_period_s": 100,
        "reveal_period_s": 60,
        "settle_period_s": 80,
        "vesting_period_s": 40,
        "confirmation_period_s": 10,
        "round_reward_wei": 1_000,
        "aggregator_fee_wei": 10,
        "trainer_stake_wei": 2_000,
        "aggregator_bond_wei": 1_000,
        "compensation_wei": 5,
        "price_wei": 0,
        "score_target_q32": 0,
        "exam": EXAM,
        "rules": ASKING,
    }
    return JobTerms(**values | changes)


def test_the_owner_locks_budget_and_a_deposit_a_round() -> None:
    assert terms().budget_wei == 4 * 1_010
    assert terms().exam_deposits_wei == 4 * 9
    assert terms().deposit_wei == 4 * 1_010 + 4 * 9
    without = terms(exam=NO_EXAM, rules=RuleTerms(dimension=1_000))
    assert without.deposit_wei == without.budget_wei == 4 * 1_010


def test_the_exam_has_a_phase_of_its_own_in_every_attempt() -> None:
    assert terms().attempt_period_s == 100 + 60 + 50 + 80
    schedule = terms().schedule(5_000)
    assert schedule.settle_end_s == 5_000 + terms().attempt_period_s
    assert schedule.phase(5_160, enough_commits=True) is Phase.EXAM
    assert schedule.phase(5_210, enough_commits=True) is Phase.SETTLE


def test_a_slice_is_left_for_as_many_attempts_as_there_are_secret_ones() -> None:
    assert [EXAM.has_slice(attempt) for attempt in (0, 5, 6)] == [True, True, False]
    assert not NO_EXAM.has_slice(0)


def test_the_owner_sets_the_exam_where_nobody_else_is_named() -> None:
    assert EXAM.examiner_of(OWNER) == OWNER
    assert replace(EXAM, examiner=EXAMINER).examiner_of(OWNER) == EXAMINER


@pytest.mark.parametrize("exam", [EXAM, NO_EXAM, replace(EXAM, examiner=EXAMINER)])
def test_terms_survive_the_contracts_encoding(exam: ExamTerms) -> None:
    written = terms(exam=exam)
    assert JobTerms.from_abi(written.to_abi()) == written
    assert written.to_abi()[-3] == (exam.root, exam.examiner, exam.period_s, exam.slices, exam.deposit_wei)


def test_terms_with_an_exam_that_the_rules_ask_for_are_accepted() -> None:
    terms().check()
    terms(rules=replace(ASKING, rules=(Rule(RuleKind.MEDIAN_COSINE),), scoring=Scoring.SHAPLEY)).check()
    terms(exam=NO_EXAM, rules=RuleTerms(dimension=1_000)).check()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exam": NO_EXAM}, "exam.root is none: expected one: the rules need an exam"),
        ({"rules": RuleTerms(dimension=1_000)}, "expected none: neither a rule nor the score needs an exam"),
        ({"exam": replace(EXAM, period_s=10)}, "exam.period_s is 10: expected longer than the confirmations' 10 s"),
        ({"exam": replace(EXAM, period_s=90 * 86_400 + 1), "deadline_s": 1 << 32}, "exam.period_s is 7776001"),
        ({"exam": replace(EXAM, slices=3)}, "exam.slices is 3: expected 4, one a round, to 1048576"),
        ({"exam": replace(EXAM, slices=(1 << 20) + 1)}, "exam.slices is 1048577"),
        ({"exam": replace(EXAM, deposit_wei=0)}, "exam.deposit_wei is 0: expected 1 to"),
        ({"exam": replace(EXAM, deposit_wei=1 << 128)}, "exam.deposit_wei is 3402823669"),
        ({"deadline_s": 1_000 + 100 + 60 + 80}, "deadline is 1240: expected at least 1290"),
    ],
)
def test_an_exam_that_cannot_be_held_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidTerms) as refused:
        terms(**changes).check()
    assert sentence in str(refused.value)


@pytest.mark.parametrize("field", ["examiner", "period_s", "slices", "deposit_wei"])
def test_without_a_root_nothing_of_an_exam_may_be_there(field: str) -> None:
    stray = replace(NO_EXAM, **{field: EXAMINER if field == "examiner" else 1})
    with pytest.raises(InvalidTerms, match=rf"exam\.{field} is"):
        terms(exam=stray, rules=RuleTerms(dimension=1_000)).check()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (EntryTerms(draw_period_s=10), "entry.draw_period_s is 10: expected 0, or longer than the confirmations' 10 s"),
        (EntryTerms(draw_period_s=90 * 86_400 + 1), "entry.draw_period_s is 7776001"),
        (EntryTerms(paid_rounds=1), "entry.paid_rounds is 1: expected 0 without an entry.patron"),
        (EntryTerms(patron=EXAMINER), "entry.paid_rounds is 0: expected 1 to 2^32 - 1"),
        (EntryTerms(patron=EXAMINER, paid_rounds=1 << 32), "entry.paid_rounds is 4294967296"),
    ],
)
def test_an_entry_that_the_contract_refuses_is_refused_before(entry: EntryTerms, sentence: str) -> None:
    with pytest.raises(InvalidTerms) as refused:
        terms(entry=entry).check()
    assert sentence in str(refused.value)


@pytest.mark.parametrize("entry", [EntryTerms(draw_period_s=11), EntryTerms(patron=EXAMINER, paid_rounds=1)])
def test_an_entry_that_the_contract_takes_is_taken_and_survives_its_encoding(entry: EntryTerms) -> None:
    written = terms(entry=entry)
    written.check()
    assert JobTerms.from_abi(written.to_abi()) == written


@pytest.mark.parametrize(("reward_wei", "least_wei"), [(1_000, 1_500), (1_001, 1_502)])
def test_where_a_false_exam_can_be_shown_its_deposit_is_one_and_a_half_rewards(reward_wei: int, least_wei: int) -> None:
    disputes = DisputeTerms(quorum=1, answer_period_s=60, bond_wei=1, attestors=(EXAMINER,))
    asked = {"round_reward_wei": reward_wei, "trainer_stake_wei": 2 * reward_wei, "aggregator_bond_wei": reward_wei}
    terms(**asked, disputes=disputes, exam=replace(EXAM, deposit_wei=least_wei)).check()
    terms(**asked, exam=replace(EXAM, deposit_wei=1)).check()
    with pytest.raises(InvalidTerms, match=rf"exam\.deposit_wei is {least_wei - 1}: expected at least {least_wei}"):
        terms(**asked, disputes=disputes, exam=replace(EXAM, deposit_wei=least_wei - 1)).check()
