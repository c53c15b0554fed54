"""Each way in which owner, trainer or aggregator cheats is named by the check that is there for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aggregator.decision import Decision
from market.chain import events as on_chain
from market.chain.records import ExclusionReason
from market.protocol.identifiers import Seat
from market.storage import Cid, EmbeddedStore
from tests.unit.aggregator.audit.audited_job import (
    OWNER,
    AuditedJob,
    D,
    Verdicts,
    block_file,
    mismatches,
    play_round,
    the_mismatch,
)

# ------------------------------------------------------------------ the owner cheats


def test_a_document_that_is_gone_is_named(job: AuditedJob, store: EmbeddedStore, checks: Verdicts) -> None:
    document = store.read(Cid.from_digest(job.spec, 0), 1 << 18)
    block_file(store, job.spec, len(document)).unlink()
    assert "is not in" in the_mismatch(checks(job), "document").detail


def test_a_document_that_promises_another_reward_is_named(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    other = AuditedJob(store, {"money": {"round_reward": 999, "trainer_stake": 2_000, "aggregator_bond": 3_000}})
    found = the_mismatch(checks(job.forged(on_chain.JobOpened, spec=other.spec)), "document")
    assert "round_reward_wei" in found.detail or "aggregator_fee_wei" in found.detail


def test_terms_that_changed_after_the_opening_are_named(job: AuditedJob, checks: Verdicts) -> None:
    changed = replace(job.terms, compensation_wei=8)
    the_mismatch(checks(job.forged(on_chain.JobOpened, terms=changed)), "terms")


def test_terms_that_the_contract_would_refuse_are_named(job: AuditedJob, checks: Verdicts) -> None:
    record = job.forged(on_chain.JobOpened, terms=replace(job.terms, vesting_period_s=200))
    found = checks(replace(record, terms=replace(job.terms, vesting_period_s=200)))
    assert any(check.name == "terms" and "vesting period" in check.detail for check in found)


def test_an_initial_model_that_is_gone_is_named(job: AuditedJob, store: EmbeddedStore, checks: Verdicts) -> None:
    play_round(job)
    block_file(store, job.forged(on_chain.JobOpened).history.opened.initial_model, 8 * D).unlink()
    found = checks(job)
    the_mismatch(found, "initial model")
    assert {check.name for check in found if check.verdict == "unproven"} == {"gram", "model"}


# ------------------------------------------------------------------ the trainers cheat


def test_a_seal_opened_with_another_salt_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    found = the_mismatch(checks(job.forged(on_chain.UpdateRevealed, 2, salt=bytes(32))), "openings")
    assert "seat 2" in found.detail
    assert found.subject == "round 0, attempt 0"


def test_a_seal_moved_from_another_attempt_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    first = next(event for event in job.events if isinstance(event, on_chain.UpdateCommitted))
    play_round(job)
    the_mismatch(checks(job.forged(on_chain.UpdateCommitted, 4, seal=first.seal)), "openings")


@pytest.mark.parametrize(
    ("kind", "late_s"),
    [(on_chain.UpdateCommitted, 90), (on_chain.UpdateRevealed, 100), (on_chain.UpdateCommitted, -11)],
)
def test_what_happens_outside_of_its_phase_is_named(
    job: AuditedJob, checks: Verdicts, kind: type[on_chain.Event], late_s: int
) -> None:
    play_round(job)
    event = next(event for event in job.events if isinstance(event, kind))
    job.times[event.block_number] += late_s
    assert kind.__name__ in the_mismatch(checks(job), "schedule").detail


def test_the_last_second_of_a_phase_is_in_it(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    for event in job.events:
        if isinstance(event, on_chain.UpdateCommitted):
            job.times[event.block_number] += 89
        if isinstance(event, on_chain.UpdateRevealed):
            job.times[event.block_number] += 99
    assert mismatches(checks(job)) == set()


def test_a_second_commit_of_one_seat_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0, 1, 2)))
    event = next(event for event in job.events if isinstance(event, on_chain.UpdateCommitted))
    job.events.append(replace(event, block_number=job.block, log_index=1))
    assert "twice" in the_mismatch(checks(job), "schedule").detail


def test_a_stake_that_should_have_burned_and_did_not_is_named(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(0, 1, 2)
    job.settle(updates)
    events = [event for event in job.events if not isinstance(event, on_chain.StakesForfeited)]
    job.move(stakes=job.terms.trainer_stake_wei, burned=-job.terms.trainer_stake_wei)
    job.staked.add(3)
    assert "[3]" in the_mismatch(checks(job.record(events)), "schedule").detail


# ------------------------------------------------------------------ the aggregator cheats


def test_a_matrix_of_other_updates_is_named(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates, measured=updates | {2: updates[2] * 2})
    found = the_mismatch(checks(job), "gram")
    assert "seats 0 and 2" in found.detail


def test_a_matrix_that_no_vectors_have_is_named_first(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    gram = next(event.gram for event in job.events if isinstance(event, on_chain.GramPublished))
    forged = (-1).to_bytes(8, "big", signed=True) + gram[8:]
    first = next(check for check in checks(job.forged(on_chain.GramPublished, gram=forged)) if not check.ok)
    assert first.name == "gram"
    assert "diagonal" in first.detail


def test_scores_that_the_rules_do_not_give_are_named(job: AuditedJob, checks: Verdicts) -> None:
    def favour_seat_0(decision: Decision) -> Decision:
        return replace(decision, scores=(decision.scores[0] + 1, *decision.scores[1:]))

    play_round(job, tamper=favour_seat_0)
    assert "scores" in the_mismatch(checks(job), "decision").detail


def test_an_accepted_update_left_out_is_named(job: AuditedJob, checks: Verdicts) -> None:
    def drop_row_3(decision: Decision) -> Decision:
        keep = (*decision.weights[:3], 0), (*decision.scores[:3], 0)
        return replace(decision, accepted=0b111, weights=keep[0], scores=keep[1])

    play_round(job, tamper=drop_row_3)
    assert "accepted seats" in the_mismatch(checks(job), "decision").detail


def test_a_step_that_the_rules_do_not_give_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, tamper=lambda decision: replace(decision, next_step_q16=1 << 15))
    assert "step" in the_mismatch(checks(job), "decision").detail


def test_another_model_than_the_average_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, publish=lambda model: model + 1)
    assert the_mismatch(checks(job), "model").subject == "round 0, attempt 0"


def test_rounds_after_a_false_model_are_judged_from_that_model(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, publish=lambda model: model + 1)
    play_round(job)
    found = checks(job)
    assert [check.subject for check in found if not check.ok] == ["round 0, attempt 0"]


def test_a_model_that_changes_though_nobody_is_accepted_is_named(job: AuditedJob, checks: Verdicts) -> None:
    updates = {seat: np.eye(4, D, dtype=np.int16)[seat] * 100 for seat in range(4)}
    job.commit(updates)
    job.reveal(*updates)
    job.model = job.keep_model(job.models[0].model + 1)
    job.settle(updates)
    the_mismatch(checks(job), "model")


def test_a_sound_update_excluded_as_unreadable_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, excluded={3: ExclusionReason.UNREADABLE})
    assert "seat 3" in the_mismatch(checks(job), "exclusions").detail


def test_an_exclusion_of_what_is_in_storage_now_is_unproven(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job, excluded={3: ExclusionReason.UNAVAILABLE})
    found = checks(job)
    assert mismatches(found) == set()
    [doubtful] = [check for check in found if check.verdict == "unproven"]
    assert (doubtful.name, "seat 3" in doubtful.detail) == ("exclusions", True)


def test_the_exclusion_of_what_is_no_update_is_ok(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates | {3: np.zeros(D + 1, dtype=np.int16)})
    job.reveal(*updates)
    job.settle(updates, {3: ExclusionReason.UNREADABLE})
    assert {check.verdict for check in checks(job)} == {"ok"}


def test_counting_what_is_no_update_is_named(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates | {3: np.zeros(D + 1, dtype=np.int16)})
    job.reveal(*updates)
    job.settle(updates)
    assert "seat 3 counts, but is none" in the_mismatch(checks(job), "gram").detail


def test_the_owner_as_aggregator_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.bond(OWNER)
    assert "owner" in the_mismatch(checks(job), "schedule").detail


def test_a_settlement_before_the_reveals_are_over_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    settled = next(event for event in job.events if isinstance(event, on_chain.RoundSettled))
    job.times[settled.block_number] -= 6
    job.outcomes[0] = replace(job.outcomes[0], vests_at_s=settled.vests_at_s - 6)
    job.times[settled.block_number + 1] -= 6
    record = job.forged(on_chain.RoundSettled, vests_at_s=settled.vests_at_s - 6)
    assert "RoundSettled" in the_mismatch(checks(record), "schedule").detail


def test_an_expiry_before_the_settle_phase_is_over_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0, 1, 2)))
    job.reveal(0, 1, 2)
    job.expire()
    expired = next(event for event in job.events if isinstance(event, on_chain.AttemptExpired))
    job.times[expired.block_number] -= 1
    assert "AttemptExpired" in the_mismatch(checks(job), "schedule").detail


def test_a_wrong_bond_broken_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0, 1, 2)))
    job.reveal(0, 1, 2)
    job.expire()
    found = checks(job.forged(on_chain.AttemptExpired, burned_wei=1))
    assert mismatches(found) == {"schedule", "ledger"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"seat": Seat(2)}, "without a reveal"), ({"reason": ExclusionReason.NONE}, "without a reason")],
)
def test_an_exclusion_that_makes_no_sense_is_named(
    job: AuditedJob, checks: Verdicts, changes: dict[str, Any], expected: str
) -> None:
    updates = job.updates((0, 1, 2))
    job.commit(updates)
    job.reveal(0, 1)
    job.settle(updates, {1: ExclusionReason.UNAVAILABLE})
    found = checks(job.forged(on_chain.UpdateExcluded, **changes))
    assert any(check.name == "exclusions" and expected in check.detail for check in found)


def test_public_rows_that_are_not_the_jobs_models_are_named(job: AuditedJob, checks: Verdicts) -> None:
    models = job.models
    job.models = [replace(models[0], model=models[0].model * 2)]
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates)
    found = {check.name: check.detail for check in checks(job) if not check.ok}
    assert set(found) == {"gram", "model"}
    assert "public row" in found["gram"]


def test_a_round_decided_without_a_matrix_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    events = [event for event in job.events if not isinstance(event, on_chain.GramPublished)]
    assert mismatches(checks(job.record(events))) == {"gram", "decision"}


def test_enrolment_that_ended_before_the_opening_is_named(job: AuditedJob, checks: Verdicts) -> None:
    job.times[job.events[0].block_number] = job.terms.enrol_until_s + 1
    assert "enrolment ended" in the_mismatch(checks(job), "terms").detail


def test_an_opening_without_a_seal_is_named(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    sealed = next(event for event in job.events if isinstance(event, on_chain.UpdateCommitted))
    events = [event for event in job.events if event is not sealed]
    assert mismatches(checks(job.record(events))) == {"schedule", "openings"}
