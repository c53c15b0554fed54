"""What a settlement that decides nothing costs its aggregator, how long a bond stays, and where lost deposits go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit.ledger import balances
from aggregator.audit.report import Check
from market.chain import events as on_chain
from market.chain.records import ExclusionReason, Fact, Ledger, Verdict
from market.protocol.identifiers import Wei
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_round
from tests.unit.aggregator.audit.examined_job import (
    DEPOSIT_WEI,
    DigestGrader,
    ExaminedJob,
    joined,
    play_examined,
    play_without,
)
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, ATTESTORS, trainer
from tests.unit.aggregator.audit.test_schedule import problems
from tests.unit.aggregator.audit.verdicts import Verdicts, audited, mismatches, the_mismatch
from zk.srs import Srs

ANSWERS = {"disputes": {"attestors": list(ATTESTORS), "answer_s": 60, "bond": "11 wei"}}
FEE_WEI = 10
GONE = ExclusionReason.UNAVAILABLE
FIRST, SECOND = AGGREGATORS

Examine = Callable[..., list[Check]]


@pytest.fixture
def examined(store: EmbeddedStore, srs: Srs) -> ExaminedJob:
    """A job with an exam and attestors, before the first commit."""
    return joined(ExaminedJob(store, srs, ANSWERS))


@pytest.fixture
def checks(store: EmbeddedStore, srs: Srs, tmp_path: Path) -> Examine:
    """Audit a job, or a record of it, with somebody who recomputes references."""

    def run(job: Any) -> list[Check]:
        record = job.record() if isinstance(job, AuditedJob) else job
        return audited(record, store, srs, tmp_path / "vectors", DigestGrader())

    return run


def leave_out(job: ExaminedJob) -> None:
    """A round whose opened exam the aggregator leaves out."""
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam()
    job.reveal(*updates)
    job.open_exam()
    job.leave_exam_out(GONE)
    job.settle(updates)


def exclude_everybody(job: AuditedJob) -> None:
    updates = job.updates((0, 1, 2))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates, dict.fromkeys((0, 1, 2), GONE))


UNEARNED: dict[str, Callable[[Any], None]] = {"everybody excluded": exclude_everybody, "exam left out": leave_out}

# ------------------------------------------------------------------ fees


@pytest.mark.parametrize("way", UNEARNED)
def test_a_fee_that_was_not_earned_carries_over(examined: ExaminedJob, checks: Examine, way: str) -> None:
    carry_before = examined.money["carry"]
    UNEARNED[way](examined)
    assert examined.outcomes[0].fee_gone
    assert examined.money["carry"] - carry_before >= FEE_WEI
    assert mismatches(checks(examined)) == set()


@pytest.mark.parametrize("way", UNEARNED)
def test_a_fee_claimed_that_was_not_earned_is_named(examined: ExaminedJob, checks: Examine, way: str) -> None:
    UNEARNED[way](examined)
    examined.claim_fee(0)
    found = [check for check in checks(examined) if not check.ok]
    assert {check.name for check in found} == {"claims", "conservation"}, "what was taken is nobody's credit"
    assert "who took the fee" in found[0].detail


def test_a_fee_that_a_round_with_one_update_left_earned_is_due(examined: ExaminedJob, checks: Examine) -> None:
    updates = examined.updates((0, 1, 2))
    examined.commit(updates)
    examined.commit_exam()
    examined.reveal(*updates)
    examined.open_exam()
    examined.settle(updates, dict.fromkeys((0, 1), GONE))
    examined.claim_fee(0)
    assert mismatches(checks(examined)) == set()


def test_a_contract_that_would_still_pay_a_fee_that_was_not_earned_is_named(job: AuditedJob, checks: Verdicts) -> None:
    exclude_everybody(job)
    job.outcomes[0] = replace(job.outcomes[0], fee_gone=False)
    assert "whether the fee is taken or was never earned is False" in the_mismatch(checks(job), "claims").detail


def test_a_contract_that_says_that_an_earned_fee_is_gone_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.outcomes[0] = replace(job.outcomes[0], fee_gone=True)
    assert "whether the fee is taken or was never earned is True" in the_mismatch(checks(job), "claims").detail


def test_a_ledger_that_credits_a_fee_that_was_not_earned_is_named(job: AuditedJob, checks: Verdicts) -> None:
    exclude_everybody(job)
    job.move(carry=-FEE_WEI, credits=FEE_WEI)
    assert "carry_wei" in the_mismatch(checks(job), "ledger").detail


def test_a_settlement_that_earned_nothing_and_is_undone_gives_back_no_fee(
    store: EmbeddedStore, srs: Srs, checks: Verdicts
) -> None:
    job = AuditedJob(store, srs, ANSWERS)
    job.enrol(0, 1, 2, 3)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    exclude_everybody(job)
    job.dispute(Fact.EXCLUSION, 0, seat=1)
    job.answer(*ATTESTORS[:2], holds=False)
    job.resolve(Verdict.FAILS)
    assert job.outcomes[0].fee_gone
    play_round(job, 0, 1, 2)
    job.claim_fee(2)
    assert mismatches(checks(job)) == set()


SETTLEMENTS = UNEARNED | {"exam counted": play_examined, "exam missed": play_without}


def ledger_of(job: AuditedJob) -> Ledger:
    """What the events of a job add up to."""
    *_, (_, ledger) = balances(job.record().history, job.terms)
    return ledger


@pytest.mark.parametrize("way", SETTLEMENTS)
def test_undoing_a_settlement_takes_back_exactly_what_it_did(examined: ExaminedJob, way: str) -> None:
    before = ledger_of(examined)
    SETTLEMENTS[way](examined)
    examined.dispute(Fact.MODEL, 0, seat=1)
    examined.answer(*ATTESTORS[:2], holds=False)
    examined.resolve(Verdict.FAILS)
    bond_wei, compensation_wei, disputed_wei = examined.terms.aggregator_bond_wei, sum(examined.pays[0]), 11
    assert ledger_of(examined) == replace(
        before,
        deposited_wei=before.deposited_wei + disputed_wei,
        disputes_wei=before.disputes_wei + disputed_wei,
        bonds_wei=before.bonds_wei - bond_wei,
        credits_wei=before.credits_wei + compensation_wei,
        burned_wei=before.burned_wei + bond_wei - compensation_wei,
    )


# ------------------------------------------------------------------ whose turn it is


def test_leaving_an_exam_out_makes_the_next_aggregator_the_active_one(examined: ExaminedJob, checks: Examine) -> None:
    leave_out(examined)
    assert examined.queue == [SECOND, FIRST]
    play_examined(examined)
    assert [event.aggregator for event in examined.events_of(on_chain.RoundSettled)] == [FIRST, SECOND]
    examined.claim_fee(1)
    assert mismatches(checks(examined)) == set()


def test_a_queue_that_was_not_rotated_is_named(examined: ExaminedJob, checks: Examine) -> None:
    leave_out(examined)
    record = replace(examined.record(), aggregators=AGGREGATORS)
    assert "the queue of aggregators" in the_mismatch(checks(record), "state").detail


def test_an_attempt_that_starts_under_who_left_the_exam_out_is_named(examined: ExaminedJob) -> None:
    leave_out(examined)
    record = examined.forged(on_chain.AttemptStarted, 1, aggregator=FIRST)
    assert f"the attempt's aggregator is {FIRST}" in problems(record)


def test_a_queue_that_was_rotated_though_no_exam_was_left_out_is_named(examined: ExaminedJob) -> None:
    play_examined(examined)
    record = examined.forged(on_chain.AttemptStarted, 1, aggregator=SECOND)
    assert f"the attempt's aggregator is {SECOND}" in problems(record)


def test_excluding_everybody_makes_the_next_aggregator_the_active_one(examined: ExaminedJob, checks: Examine) -> None:
    play_examined(examined, excluded=dict.fromkeys((0, 1, 2, 3), ExclusionReason.UNAVAILABLE))
    assert examined.queue == [SECOND, FIRST]
    assert mismatches(checks(examined)) == set()
    record = examined.forged(on_chain.AttemptStarted, 1, aggregator=FIRST)
    assert f"the attempt's aggregator is {FIRST}" in problems(record)


def test_an_aggregator_that_is_alone_stays_the_active_one(store: EmbeddedStore, srs: Srs, checks: Examine) -> None:
    job = ExaminedJob(store, srs)
    job.enrol(0, 1, 2, 3)
    job.bond(FIRST)
    leave_out(job)
    play_examined(job)
    assert mismatches(checks(job)) == set()


# ------------------------------------------------------------------ bonds


def test_whoever_settled_last_and_is_not_active_any_more_takes_its_bond_back_once_its_pay_vested(
    examined: ExaminedJob, checks: Examine
) -> None:
    leave_out(examined)
    examined.now_s = examined.outcomes[0].vests_at_s
    examined.withdraw_bond(FIRST)
    assert mismatches(checks(examined)) == set()


def test_a_bond_withdrawn_while_its_settlement_can_be_undone_is_named(examined: ExaminedJob) -> None:
    leave_out(examined)
    examined.now_s = examined.outcomes[0].vests_at_s - 1
    examined.withdraw_bond(FIRST)
    assert "or its settlement could be undone" in problems(examined.record())


def test_a_bond_withdrawn_while_its_settlement_is_disputed_is_named(examined: ExaminedJob) -> None:
    leave_out(examined)
    vests_s = examined.outcomes[0].vests_at_s
    examined.dispute(Fact.MODEL, 0, seat=1)
    examined.now_s = vests_s + 1
    examined.withdraw_bond(FIRST)
    assert "or its settlement could be undone" in problems(examined.record())


def test_the_bond_of_who_settled_breaks_when_it_is_undone_though_another_is_active(
    examined: ExaminedJob, checks: Examine
) -> None:
    leave_out(examined)
    examined.dispute(Fact.MODEL, 0, seat=1)
    examined.answer(*ATTESTORS[:2], holds=False)
    examined.resolve(Verdict.FAILS)
    assert examined.queue == [SECOND]
    play_examined(examined)
    assert mismatches(checks(examined)) == set()


def test_the_bond_of_the_active_one_that_broke_for_anothers_settlement_is_named(examined: ExaminedJob) -> None:
    leave_out(examined)
    examined.dispute(Fact.MODEL, 0, seat=1)
    examined.answer(*ATTESTORS[:2], holds=False)
    examined.resolve(Verdict.FAILS)
    record = examined.forged(on_chain.AttemptUndone, aggregator=SECOND)
    assert f"the aggregator whose bond broke is {SECOND}" in problems(record)


def last_exam_disputed(job: ExaminedJob) -> ExaminedJob:
    """Every round is over, the last one's pay has vested, the exam is shown, and somebody says that it is false."""
    play_examined(job)
    play_examined(job)
    leave_out(job)
    job.now_s = job.outcomes[2].vests_at_s
    job.publish()
    job.dispute(Fact.EXAM, 0, seat=1)
    return job


def test_a_dispute_of_an_exam_holds_no_bond_back_of_a_settlement_that_is_final(
    examined: ExaminedJob, checks: Examine
) -> None:
    job = last_exam_disputed(examined)
    job.withdraw_bond(FIRST)
    assert problems(job.record()) == ""
    assert mismatches(checks(job)) == set()


# ------------------------------------------------------------------ deposits


def test_the_deposit_of_a_missed_exam_burns(examined: ExaminedJob, checks: Examine) -> None:
    play_without(examined)
    assert examined.money["burned"] == DEPOSIT_WEI
    assert mismatches(checks(examined)) == set()


def carried(job: ExaminedJob) -> ExaminedJob:
    job.move(burned=-DEPOSIT_WEI, carry=DEPOSIT_WEI)
    return job


def test_the_deposit_of_a_missed_exam_that_carried_over_is_named(examined: ExaminedJob, checks: Examine) -> None:
    play_without(examined)
    assert "burned_wei" in the_mismatch(checks(carried(examined)), "ledger").detail


def test_the_deposits_of_an_exam_that_was_never_shown_that_the_trainers_got_are_named(
    examined: ExaminedJob, checks: Examine
) -> None:
    for _ in range(3):
        play_examined(examined)
    honest = examined.conclude_exams

    def give_to_trainers() -> int:
        amount = examined.money["exams"]
        returned = honest()
        examined.move(burned=-amount, carry=amount)
        return returned

    examined.conclude_exams = give_to_trainers  # type: ignore[method-assign]
    examined.close()
    assert {"pay", "conservation"} & mismatches(checks(examined))


def refuted(job: ExaminedJob, *, burned: bool = True) -> ExaminedJob:
    """The published exam of an attempt is found to be false: what is left of the deposits is lost."""
    last_exam_disputed(job)
    job.answer(*ATTESTORS[:2], holds=False)
    job.resolve(Verdict.FAILS)
    amount = job.money["exams"]
    job.move(exams=-amount, **{"burned" if burned else "carry": amount})
    job.emit(on_chain.ExamRefuted, attempt=0, amount_wei=Wei(amount))
    return job


def test_the_deposits_of_an_exam_that_was_refuted_burn(examined: ExaminedJob, checks: Examine) -> None:
    refuted(examined)
    examined.take_dispute_bond(trainer(1))
    assert examined.money["burned"] >= 3 * DEPOSIT_WEI
    assert mismatches(checks(examined)) == set()


def test_the_deposits_of_an_exam_that_was_refuted_that_carried_over_are_named(
    examined: ExaminedJob, checks: Examine
) -> None:
    refuted(examined, burned=False)
    assert "burned_wei" in the_mismatch(checks(examined), "ledger").detail
