"""An honest job passes every check, whatever happens in it; what storage lost is unproven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aggregator.audit.report import AuditReport, Check
from market.chain.records import ExclusionReason
from market.protocol.identifiers import JobId
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_everything, play_round
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, UPDATE_BYTES, D
from tests.unit.aggregator.audit.verdicts import Verdicts, block_file, mismatches, the_mismatch
from zk.srs import Srs


def test_a_whole_honest_job_is_ok_to_the_last_check(job: AuditedJob, checks: Verdicts) -> None:
    play_everything(job)
    found = checks(job)
    assert {check.verdict for check in found} == {"ok"}, [check for check in found if check.verdict != "ok"]
    assert {check.name for check in found} == {
        *("document", "terms", "initial model", "schedule", "openings", "exclusions", "gram", "decision", "model"),
        *("pay", "claims", "current model", "conservation", "ledger", "balance", "state"),
        *("proof", "commitment", "updates"),
    }


def test_a_job_paid_by_price_is_ok(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, {"pay": {"mode": "price", "price": 150, "score_target": 0.3}})
    job.enrol(0, 1, 2, 3)
    job.bond(AGGREGATORS[0])
    play_round(job)
    assert mismatches(checks(job)) == set()


def test_a_running_job_is_ok_in_the_middle_of_an_attempt(job: AuditedJob, checks: Verdicts) -> None:
    play_round(job)
    job.commit(job.updates((0, 1, 2)))
    job.reveal(1, 0)
    assert mismatches(checks(job)) == set()


def test_a_job_that_nobody_joined_is_ok(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs)
    job.close()
    job.refund()
    assert mismatches(checks(job)) == set()


def test_a_round_that_accepts_nobody_keeps_the_model_and_is_ok(job: AuditedJob, checks: Verdicts) -> None:
    updates = {seat: np.eye(4, D, dtype=np.int16)[seat] * 100 for seat in range(4)}
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates)
    assert len(job.proven.models) == 1
    assert mismatches(checks(job)) == set()


def test_a_round_with_everybody_excluded_is_ok(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2))
    job.commit(updates)
    job.reveal(0)
    job.settle(updates, {0: ExclusionReason.UNAVAILABLE})
    assert mismatches(checks(job)) == set()


def test_a_job_whose_vectors_are_cut_into_chunks_is_ok(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, {"update": {"chunks": 3}})
    job.enrol(0, 1, 2, 3)
    job.bond(AGGREGATORS[0])
    play_round(job)
    play_round(job, 0, 1, 2)
    assert len(job.proven.models[-1].commitment) == 3 * 64
    assert {check.verdict for check in checks(job)} == {"ok"}


def test_reveals_in_any_order_are_ok(job: AuditedJob, checks: Verdicts) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(2, 0, 3, 1)
    job.settle(updates)
    assert {check.verdict for check in checks(job)} == {"ok"}


def test_a_step_that_shrinks_is_followed(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, {"rules": {"step": {"rule": "decay", "factor": 0.5}}, "update": {"initial_shift": 2}})
    job.enrol(0, 1, 2, 3)
    job.bond(AGGREGATORS[0])
    play_round(job)
    play_round(job)
    assert job.step_q16 == 1 << 14
    assert mismatches(checks(job)) == set()


def test_a_job_longer_than_the_public_rows_reach_back_is_ok(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, {"rounds": 7})
    job.enrol(0, 1, 2, 3)
    job.bond(AGGREGATORS[0])
    for _ in range(7):
        play_round(job)
    assert len(job.proven.models) == 8
    assert {check.verdict for check in checks(job)} == {"ok"}


def test_a_job_closed_at_its_deadline_with_an_attempt_open_is_ok(job: AuditedJob, checks: Verdicts) -> None:
    job.commit(job.updates((0, 1, 2)))
    job.reveal(0, 1)
    job.expire(at_s=job.terms.deadline_s)
    job.close()
    assert job.money["burned"] > job.terms.round_reward_wei
    assert mismatches(checks(job)) == set()


def test_a_report_names_its_first_mismatch() -> None:
    fine, false = Check("gram", "round 0, attempt 0", "unproven", ""), Check("pay", "close", "mismatch", "1 is 2")
    report = AuditReport(JobId(3), 17, (fine, false, replace(false, name="ledger")))
    assert (report.ok, report.first_mismatch) == (False, false)
    assert AuditReport(JobId(3), 17, (fine,)).ok
    shown = report.to_json()
    assert (shown["job"], shown["ok"], shown["first_mismatch"]["name"]) == (3, False, "pay")
    assert [check["verdict"] for check in shown["checks"]] == ["unproven", "mismatch", "mismatch"]


# ------------------------------------------------------------------ what is not in storage any more


def test_of_an_update_that_is_gone_only_its_bytes_are_unproven(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    gone = job.committed[3].content
    job.settle(updates)
    play_round(job)
    block_file(store, gone, UPDATE_BYTES).unlink()
    found = checks(job)
    assert mismatches(found) == set()
    [unproven] = [check for check in found if check.verdict == "unproven"]
    assert (unproven.name, unproven.subject) == ("updates", "round 0, attempt 0")
    assert "not in storage: seats 3;" in unproven.detail
    [gram, _] = [check for check in found if check.name == "gram"]
    assert gram.detail == "3 of 4 updates with the public rows give it again, the proof has the rest"
    [model, _] = [check for check in found if check.name == "model"]
    assert "opens the chain's commitment; not all that it was made of is open to this audit" in model.detail


def test_of_a_round_of_which_nothing_is_left_only_the_model_s_bytes_are_unproven(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    gone = [sealed.content for sealed in job.committed.values()]
    job.settle(updates)
    lost_model = job.model
    play_round(job)
    for content in gone:
        block_file(store, content, UPDATE_BYTES).unlink()
    block_file(store, lost_model, 8 * D).unlink()
    found = checks(job)
    assert mismatches(found) == set()
    unproven = [(check.name, check.subject) for check in found if check.verdict == "unproven"]
    assert unproven == [("updates", "round 0, attempt 0"), ("model", "round 0, attempt 0")]
    grams = [check.detail for check in found if check.name == "gram"]
    assert grams == [
        "0 of 4 updates with the public rows give it again, the proof has the rest",
        "4 of 4 updates without the public rows give it again, the proof has the rest",
    ]


def test_a_false_matrix_is_convicted_though_nothing_of_its_updates_is_left(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    gone = [sealed.content for sealed in job.committed.values()]
    job.settle(updates, measured=updates | {2: updates[2] * 2})
    for content in gone:
        block_file(store, content, UPDATE_BYTES).unlink()
    assert "the proof does not hold" in the_mismatch(checks(job), "proof").detail


def test_what_is_left_of_the_updates_is_a_second_witness_of_a_false_matrix(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    gone = job.committed[3].content
    job.settle(updates, measured=updates | {2: updates[2] * 2})
    block_file(store, gone, UPDATE_BYTES).unlink()
    assert mismatches(checks(job)) == {"proof", "gram"}


def test_a_final_model_that_is_gone_is_named(job: AuditedJob, store: EmbeddedStore, checks: Verdicts) -> None:
    play_round(job)
    block_file(store, job.model, 8 * D).unlink()
    the_mismatch(checks(job), "current model")


def test_a_final_model_whose_block_was_altered_is_named(
    job: AuditedJob, store: EmbeddedStore, checks: Verdicts
) -> None:
    play_round(job)
    block = block_file(store, job.model, 8 * D)
    block.chmod(0o644)
    block.write_bytes(bytes([block.read_bytes()[0] ^ 1]) + block.read_bytes()[1:])
    assert "corrupt" in the_mismatch(checks(job), "current model").detail
