"""Each wei and each field of the state that is not what the events make it is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.chain import events as on_chain
from market.chain.records import ExclusionReason
from market.protocol.identifiers import Digest, Wei
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_everything, play_round
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, OWNER, trainer
from tests.unit.aggregator.audit.verdicts import Verdicts, mismatches, the_mismatch

# ------------------------------------------------------------------ the money
from zk.srs import Srs


def shift_one_wei(pays: list[int]) -> list[int]:
    return [pays[0] + 1, pays[1] - 1, *pays[2:]]


def test_a_wei_paid_to_another_seat_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, skim=shift_one_wei)
    assert "seat 0" in the_mismatch(checks(job), "pay").detail


def test_a_wei_withheld_from_a_trainer_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, skim=lambda pays: [pays[0] - 1, *pays[1:]])
    the_mismatch(checks(job), "pay")


def test_a_compensation_that_is_not_due_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0, 1, 2)))
    job.reveal(0, 1)
    job.expire(compensation=lambda pays: [*pays[:3], 7, *pays[4:]])
    assert "seat 3" in the_mismatch(checks(job), "pay").detail


def test_a_carry_divided_by_other_scores_is_named(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, {"rounds": 1})
    job.enrol(0, 1, 2, 3)
    job.bond(AGGREGATORS[0])
    play_round(job, excluded={3: ExclusionReason.UNAVAILABLE})
    job.close(skim=shift_one_wei)
    assert the_mismatch(checks(job), "pay").subject == "close"


def test_a_pay_array_of_another_hash_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.outcomes[0] = replace(job.outcomes[0], pay_hash=bytes(32))
    assert "hash" in the_mismatch(checks(job), "pay").detail


def test_a_skipped_round_that_pays_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0,)))
    job.skip()
    job.outcomes[0] = replace(job.outcomes[0], pay_hash=b"\x01" * 32)
    the_mismatch(checks(job), "pay")


@pytest.mark.parametrize("cheat", [{"by": 2}, {"extra": 1}, {"early": True}])
def test_a_claim_by_another_or_of_more_or_too_early_is_named(
    job: AuditedJob, checks: Verdicts, cheat: dict[str, Any]
) -> None:
    play_round(job)
    job.claim(0, 1, **cheat)
    assert "seat 1" in the_mismatch(checks(job), "claims").detail


def test_a_claim_taken_twice_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.claim(0, 1)
    job.claim(0, 1)
    assert "2 times" in the_mismatch(checks(job), "claims").detail


def test_a_claim_of_an_attempt_that_never_was_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.claim(0, 1)
    job.outcomes[0] = replace(job.outcomes[0], claimed=0)
    found = the_mismatch(checks(job.forged(on_chain.Claimed, attempt=9)), "claims")
    assert found.subject == "attempt 9"


def test_a_fee_taken_by_a_successor_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.claim_fee(0, by=AGGREGATORS[1])
    assert "fee" in the_mismatch(checks(job), "claims").detail


def test_a_refund_beyond_what_is_the_owners_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.refund(extra=5)
    assert "refundable" in the_mismatch(checks(job), "conservation").detail


@pytest.mark.parametrize("part", ["paid_wei", "budget_wei", "carry_wei", "credits_wei", "refunded_wei"])
def test_a_ledger_that_is_one_wei_off_its_events_is_named(job: AuditedJob, checks: Verdicts, part: str) -> None:
    play_round(job)
    record = job.record()
    ledger = replace(record.ledger, **{part: Wei(getattr(record.ledger, part) - 1)})
    assert part in the_mismatch(checks(replace(record, ledger=ledger)), "ledger").detail


def test_a_contract_that_has_less_than_it_owes_is_named(job: AuditedJob, checks: Verdicts) -> None:
    record = job.record()
    the_mismatch(checks(replace(record, balance_wei=Wei(record.owed_wei - 1))), "balance")


def test_a_fee_taken_twice_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.claim_fee(0)
    job.claim_fee(0)
    assert "2 times" in the_mismatch(checks(job), "claims").detail


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (on_chain.FeeClaimed, {"amount_wei": Wei(11)}, "the fee in wei"),
        (on_chain.Claimed, {"seat": 9, "trainer": trainer(9)}, "the pay array has 5 entries"),
    ],
)
def test_a_claim_that_cannot_be_due_is_named(
    job: AuditedJob, checks: Verdicts, kind: type[on_chain.Event], changes: dict[str, Any], expected: str
) -> None:
    play_round(job)
    job.claim(0, 1)
    job.claim_fee(0)
    first = next(check for check in checks(job.forged(kind, **changes)) if not check.ok)
    assert first.name == "claims"
    assert expected in first.detail


def test_a_fee_taken_before_it_vests_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.claim_fee(0)
    job.times[job.block] = job.outcomes[0].vests_at_s - 1
    assert "fee was taken at" in the_mismatch(checks(job), "claims").detail


@pytest.mark.parametrize("books", [{"claimed": 0}, {"fee_gone": False}])
def test_a_contract_that_forgets_a_claim_is_named(job: AuditedJob, checks: Verdicts, books: dict[str, Any]) -> None:
    play_round(job)
    job.claim(0, 1)
    job.claim_fee(0)
    job.outcomes[0] = replace(job.outcomes[0], **books)
    the_mismatch(checks(job), "claims")


@pytest.mark.parametrize(
    ("books", "expected"), [({"aggregator": OWNER}, "who settled"), ({"vests_at_s": 1}, "when the pay vests")]
)
def test_an_outcome_that_the_settlement_does_not_give_is_named(
    job: AuditedJob, checks: Verdicts, books: dict[str, Any], expected: str
) -> None:
    play_round(job)
    job.outcomes[0] = replace(job.outcomes[0], **books)
    assert expected in the_mismatch(checks(job), "pay").detail


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (on_chain.RoundSettled, {"returned_wei": Wei(1)}, "what returns"),
        (on_chain.RoundSettled, {"pays": bytes(16 * 6)}, "the length of the pay array"),
        (on_chain.RoundSettled, {"pays": b"odd"}, "multiple of 16"),
        (on_chain.JobClosed, {"burned_wei": Wei(9)}, "what the close burns"),
        (on_chain.JobClosed, {"refundable_wei": Wei(9)}, "what the close returns"),
    ],
)
def test_money_that_an_event_moves_elsewhere_is_named(
    job: AuditedJob, checks: Verdicts, kind: type[on_chain.Event], changes: dict[str, Any], expected: str
) -> None:
    play_everything(job)
    details = [check.detail for check in checks(job.forged(kind, **changes)) if check.name == "pay" and not check.ok]
    assert any(expected in detail for detail in details)


def test_a_carry_that_nobody_gets_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_everything(job)
    found = checks(job.forged(on_chain.JobClosed, burned_wei=Wei(0)))
    assert any(check.name == "conservation" and "neither paid nor burned" in check.detail for check in found)


def test_a_refund_of_less_than_is_the_owners_is_named(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs)
    job.close()
    job.refund(extra=-1)
    assert "still owed 1 wei" in the_mismatch(checks(job), "conservation").detail


def test_a_deposit_that_does_not_cover_the_rounds_is_named(job: AuditedJob, checks: Verdicts) -> None:
    found = checks(job.forged(on_chain.JobOpened, deposit_wei=Wei(1)))
    assert any(check.name == "terms" and "1 wei were deposited" in check.detail for check in found)
    assert any(check.name == "conservation" and "refundable_wei is -" in check.detail for check in found)


def test_a_contract_that_owes_less_than_one_job_has_is_named(job: AuditedJob, checks: Verdicts) -> None:
    record = job.record()
    the_mismatch(checks(replace(record, owed_wei=Wei(record.owed_wei - 1))), "balance")


# ------------------------------------------------------------------ the state


@pytest.mark.parametrize(
    "change",
    [
        {"lifetime_hash": b"\x01" * 32},
        {"model": Digest(b"\x02" * 32)},
        {"had_minimum": True},
        {"staked": 0b0111},
        {"reveal_chain": b"\x03" * 32},
    ],
)
def test_a_state_that_the_events_do_not_lead_to_is_named(
    job: AuditedJob, checks: Verdicts, change: dict[str, Any]
) -> None:
    play_round(job)
    record = job.record()
    found = mismatches(checks(replace(record, state=replace(record.state, **change))))
    assert found - {"current model"} == {"state"}


def test_a_queue_in_another_order_is_named(job: AuditedJob, checks: Verdicts) -> None:
    record = job.record()
    the_mismatch(checks(replace(record, aggregators=record.aggregators[::-1])), "state")


def test_a_trainer_on_anothers_seat_is_named(job: AuditedJob, checks: Verdicts) -> None:
    record = job.record()
    swapped = (trainer(1), trainer(0), *record.trainers[2:])
    the_mismatch(checks(replace(record, trainers=swapped)), "state")


def test_an_attempt_that_did_not_start_is_named(job: AuditedJob, checks: Verdicts) -> None:
    events = [event for event in job.events if not isinstance(event, on_chain.AttemptStarted)]
    job.start_s = 0
    assert "should have been started" in the_mismatch(checks(job.record(events)), "schedule").detail
