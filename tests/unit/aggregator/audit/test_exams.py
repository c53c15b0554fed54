"""The audit of a job's exams: an honest owner's are proven, and what was false of another's is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from aggregator.audit.report import Check
from market.chain import events as on_chain
from market.chain.records import Exam, ExclusionReason
from market.protocol.exam import ExamBook
from market.protocol.identifiers import JobId
from market.protocol.seal import SealContext
from market.storage import Cid, EmbeddedStore
from tests.unit.aggregator.audit.examined_job import (
    DEPOSIT_WEI,
    SLICES,
    DigestGrader,
    ExaminedJob,
    joined,
    play_examined,
    play_without,
    result,
    samples,
    shuffled,
)
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, CHAIN_ID, CONTRACT, JOB
from tests.unit.aggregator.audit.verdicts import audited, mismatches, the_mismatch
from zk.srs import Srs

Examine = Callable[..., list[Check]]


@pytest.fixture
def job(store: EmbeddedStore, srs: Srs) -> ExaminedJob:
    """Four trainers and two aggregators, before the first commit."""
    return joined(ExaminedJob(store, srs))


@pytest.fixture
def checks(store: EmbeddedStore, srs: Srs, tmp_path: Path) -> Examine:
    """Audit a job, or a record of it, with somebody who recomputes references, or nobody."""

    def run(job: Any, grader: DigestGrader | None = None, *, graded: bool = True) -> list[Check]:
        record = job.record() if isinstance(job, ExaminedJob) else job
        return audited(record, store, srs, tmp_path / "vectors", (grader or DigestGrader()) if graded else None)

    return run


def found(checks: list[Check], name: str, attempt: int | None = None) -> Check:
    """The check of this name, of an attempt where there is one an attempt."""
    end = "" if attempt is None else f"attempt {attempt}"
    [it] = [check for check in checks if check.name == name and check.subject.endswith(end)]
    return it


def finish(job: ExaminedJob) -> None:
    while job.round < job.terms.rounds:
        play_examined(job)


# ------------------------------------------------------------------ honest owners


def test_a_whole_examined_job_is_ok_to_the_last_check(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.publish()
    job.close()
    job.refund()
    made = checks(job)
    assert {check.verdict for check in made} == {"ok"}, [check for check in made if check.verdict != "ok"]
    assert {"exam", "exam book", "exam reference", "exam labels"} <= {check.name for check in made}
    assert found(made, "exam reference", 1).detail == "r is what was committed to, and the training result of slice 2"
    assert "and r give the matrix again" in found(made, "gram", 1).detail
    assert job.money["refunded"] >= 3 * DEPOSIT_WEI


def test_before_the_exam_is_shown_its_reference_is_unproven_and_nothing_else(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    made = checks(job)
    assert mismatches(made) == set()
    unproven = {check.name for check in made if check.verdict == "unproven"}
    assert unproven == {"exam book", "exam reference", "exam labels"}
    assert "has not shown it yet" in found(made, "exam reference", 0).detail


def test_without_anybody_who_recomputes_it_a_reference_is_unproven(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.publish()
    made = checks(job, graded=False)
    assert mismatches(made) == set()
    assert found(made, "exam reference", 0).verdict == "unproven"
    assert found(made, "exam book").verdict == "ok"
    assert found(made, "gram", 0).verdict == "ok"


def test_missed_skipped_and_expired_exams_are_ok_and_their_deposits_follow_the_rules(
    job: ExaminedJob, checks: Examine
) -> None:
    play_without(job)
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam()
    job.reveal(*updates)
    job.open_exam()
    job.expire()
    play_examined(job)
    job.commit(job.updates((0, 2)))
    job.skip()
    job.publish()
    job.close()
    made = checks(job)
    assert {check.verdict for check in made} == {"ok"}, [check for check in made if check.verdict != "ok"]
    assert f"{DEPOSIT_WEI} wei of the owner's are burned" in found(made, "exam", 0).detail
    assert found(made, "exam reference", 1).verdict == "ok"


def test_an_attempt_beyond_the_last_slice_has_no_exam_and_costs_nothing(job: ExaminedJob, checks: Examine) -> None:
    for _ in range(SLICES):
        job.bond("0x" + f"b{job.attempt}" * 20)
        job.commit(job.updates((0, 1, 2, 3)))
        job.reveal(0, 1, 2, 3)
        job.expire()
    play_without(job)
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam", SLICES).detail == "no slice was left for one"
    assert job.money["exams"] == 3 * DEPOSIT_WEI


def test_the_deposits_of_an_exam_that_was_never_shown_burn_and_nobody_gets_any_of_them(
    job: ExaminedJob, checks: Examine
) -> None:
    finish(job)
    carry = job.money["carry"]
    job.close()
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam book").detail == "the owner never showed it"
    assert job.money["burned"] >= 3 * DEPOSIT_WEI
    assert sum(job.pays[job.attempt]) <= carry


def test_a_price_returns_nothing_of_a_round_without_an_exam(store: EmbeddedStore, srs: Srs, checks: Examine) -> None:
    job = joined(ExaminedJob(store, srs, {"pay": {"mode": "price", "price": 150, "score_target": 0.3}}))
    play_without(job)
    play_examined(job)
    settled = list(job.events_of(on_chain.RoundSettled))
    assert settled[0].returned_wei == 0 < settled[1].returned_wei
    assert mismatches(checks(job)) == set()


# ------------------------------------------------------------------ owners who are not


def test_an_r_that_is_no_training_result_of_its_slice_is_named(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job, reference=result(samples(3), job.proven.models[0].version.model))
    while job.round < job.terms.rounds:
        play_examined(job)
    job.publish()
    mismatch = the_mismatch(checks(job), "exam reference")
    assert "attempt 0" in mismatch.subject
    assert "r is not the training result of slice 1" in mismatch.detail


def test_a_favourites_own_update_as_r_is_named(job: ExaminedJob, checks: Examine) -> None:
    favourite = job.updates((0,))[0].astype(np.int32) << 15
    play_examined(job, reference=np.rint(favourite * 0.9 + np.arange(50) * 7e5).astype(np.int32))
    while job.round < job.terms.rounds:
        play_examined(job)
    job.publish()
    assert "r is not the training result" in the_mismatch(checks(job), "exam reference").detail


def test_another_r_than_was_committed_to_is_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.references[1] = job.references[1] // 2  # the same direction
    job.publish()
    mismatch = the_mismatch(checks(job), "exam reference")
    assert "attempt 1" in mismatch.subject
    assert "not what was committed to" in mismatch.detail


def test_a_slice_that_is_not_under_the_root_is_named_and_its_reference_unproven(
    job: ExaminedJob, checks: Examine, store: EmbeddedStore
) -> None:
    finish(job)
    other = str(store.add_bytes(b"samples with labels shuffled"))
    job.publish(shuffled(job.book, 2, other).to_bytes())
    made = checks(job)
    assert "slice 2 is not under the exam's root" in the_mismatch(made, "exam book").detail
    assert found(made, "exam reference", 1).verdict == "unproven"
    assert found(made, "exam reference", 0).verdict == "ok"


def test_a_book_of_another_exam_is_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    slices = [replace(opened, salt=bytes(32)) for opened in job.slices]
    job.publish(ExamBook.of_slices(slices, job.book.references, job.book.sealings).to_bytes())
    assert "the exam book's root is" in the_mismatch(checks(job), "exam book").detail


@pytest.mark.parametrize("book", [b"{}", b"\xff" * 40, b'{"format":"fedmarket/exam/2"}'])
def test_a_book_that_is_none_is_named(job: ExaminedJob, checks: Examine, book: bytes) -> None:
    finish(job)
    job.publish(book)
    assert mismatches(checks(job)) == {"exam book", "exam reference"}


def test_a_book_that_is_gone_is_unproven(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.publish(keep=False)
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam book").verdict == "unproven"


def test_a_reference_that_is_left_out_of_the_book_is_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    book = job.book
    job.publish(replace(book, references={0: book.references[0], 2: book.references[2]}).to_bytes())
    mismatch = the_mismatch(checks(job), "exam reference")
    assert ("attempt 1" in mismatch.subject, "no r of this attempt" in mismatch.detail) == (True, True)


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"\x00\x00\x00\x80" * 50, b"\0" * 204])
def test_bytes_that_are_no_reference_are_named(
    job: ExaminedJob, checks: Examine, store: EmbeddedStore, data: bytes
) -> None:
    finish(job)
    book = job.book
    job.publish(replace(book, references={**book.references, 1: str(store.add_bytes(data))}).to_bytes())
    assert "attempt 1" in the_mismatch(checks(job), "exam reference").subject


def test_a_slice_that_nobody_can_examine_with_is_named(store: EmbeddedStore, srs: Srs, checks: Examine) -> None:
    class Unfit(ExaminedJob):
        def _keep(self, data: bytes) -> str:
            return super()._keep(b"no slice" if data == samples(2) else data)

    job = joined(Unfit(store, srs))
    finish(job)
    job.publish()
    made = checks(job)
    assert "slice-2.npz is no slice" in the_mismatch(made, "exam reference").detail


def test_a_slice_that_is_gone_leaves_its_reference_unproven(
    job: ExaminedJob, checks: Examine, store: EmbeddedStore
) -> None:
    finish(job)
    job.publish()
    content = store.get_block(Cid.parse(job.slices[2].samples))
    [block] = [path for path in store.root.rglob("*") if path.is_file() and path.read_bytes() == content]
    block.unlink()
    made = checks(job)
    assert mismatches(made) == set()
    assert (found(made, "exam reference", 1).verdict, found(made, "exam reference", 0).verdict) == ("unproven", "ok")


def test_labels_that_look_shuffled_are_shown_with_their_figures(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.publish()
    labels = found(checks(job, DigestGrader(2)), "exam labels")
    assert labels.verdict == "unproven"
    assert labels.detail.startswith("labels may be shuffled: slice 2 has a mean loss of 1.975, the public one 1.002")
    assert "slice 1" not in labels.detail


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_slice_whose_losses_are_no_numbers_is_no_ordinary_one(
    job: ExaminedJob, checks: Examine, loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(job)
    job.publish()
    usual = DigestGrader.losses
    monkeypatch.setattr(
        DigestGrader, "losses", lambda self, document, model, path: [*usual(self, document, model, path)[1:], loss]
    )
    labels = found(checks(job), "exam labels")
    assert labels.verdict == "unproven"
    assert "slice 1 has a mean loss of" in labels.detail


# ------------------------------------------------------------------ aggregators and chains who are not


def play_left_out(job: ExaminedJob, reason: ExclusionReason = ExclusionReason.UNREADABLE, **made: Any) -> None:
    """A round whose exam was opened, and left out."""
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam(**made)
    job.reveal(*updates)
    job.open_exam()
    job.leave_exam_out(reason)
    job.settle(updates)


@pytest.mark.parametrize("reason", [ExclusionReason.UNREADABLE, ExclusionReason.UNAVAILABLE, ExclusionReason.MISMATCH])
def test_before_the_exams_are_shown_one_that_was_left_out_is_on_the_aggregators_word(
    job: ExaminedJob, checks: Examine, reason: ExclusionReason
) -> None:
    play_left_out(job, reason)
    finish(job)
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam", 0).verdict == "unproven"
    assert reason.name.lower() in found(made, "exam", 0).detail
    assert found(made, "exam sealing", 0).verdict == "unproven"
    assert "has not shown it yet" in found(made, "exam sealing", 0).detail


@pytest.mark.parametrize("reason", [ExclusionReason.UNREADABLE, ExclusionReason.MISMATCH])
def test_an_aggregator_that_left_out_what_it_could_read_is_named_with_its_false_reason(
    job: ExaminedJob, checks: Examine, reason: ExclusionReason
) -> None:
    play_left_out(job, reason)
    finish(job)
    job.publish()
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam reference", 0).verdict == "ok"
    sealing = found(made, "exam sealing", 0)
    assert (sealing.verdict, AGGREGATORS[0] in sealing.detail) == ("ok", True)
    assert sealing.detail.endswith(f"could read: that it was left out as {reason.name.lower()} is false")
    assert [check.subject for check in made if check.name == "exam sealing"] == [sealing.subject]


def test_whether_what_was_sealed_as_it_must_be_came_in_time_an_audit_does_not_see(
    job: ExaminedJob, checks: Examine
) -> None:
    play_left_out(job, ExclusionReason.UNAVAILABLE)
    finish(job)
    job.publish()
    sealing = found(checks(job), "exam sealing", 0)
    assert sealing.verdict == "ok"
    assert "false" not in sealing.detail
    assert sealing.detail.endswith("whether it was in storage in time is not seen from here")


def test_an_owner_that_opened_other_bytes_than_r_sealed_to_the_aggregator_is_named(
    job: ExaminedJob, checks: Examine
) -> None:
    play_left_out(job, blob=b"garbage" * 36)
    finish(job)
    job.publish()
    mismatch = the_mismatch(checks(job), "exam sealing")
    assert "attempt 0" in mismatch.subject
    assert f"the content id of r, sealed to the key that {AGGREGATORS[0]} announced, is 0x" in mismatch.detail


@pytest.mark.parametrize("change", [{"attempt": 1}, {"round": 1}, {"job": JobId(8)}])
def test_r_that_was_sealed_for_another_place_is_named(
    job: ExaminedJob, checks: Examine, change: dict[str, Any]
) -> None:
    place = replace(SealContext(CHAIN_ID, CONTRACT, JOB, 0, 0), **change)
    play_left_out(job, blob=job.seal(place, job.due_reference))
    finish(job)
    job.publish()
    assert "attempt 0" in the_mismatch(checks(job), "exam sealing").subject


def test_r_that_was_sealed_to_another_key_is_named(job: ExaminedJob, checks: Examine) -> None:
    announced, job.sealing_key = job.sealing_key, X25519PrivateKey.generate().public_key().public_bytes_raw()
    blob = job.seal(SealContext(CHAIN_ID, CONTRACT, JOB, 0, 0), job.due_reference)
    job.sealing_key = announced
    play_left_out(job, blob=blob)
    finish(job)
    job.publish()
    assert "attempt 0" in the_mismatch(checks(job), "exam sealing").subject


def test_the_key_that_counts_is_the_last_that_the_attempts_own_aggregator_announced_before_it(
    store: EmbeddedStore, srs: Srs, checks: Examine
) -> None:
    def drawn() -> bytes:
        return X25519PrivateKey.generate().public_key().public_bytes_raw()

    job = ExaminedJob(store, srs)
    job.enrol(0, 1, 2, 3)
    first, second = AGGREGATORS
    job.bond(first)
    job.sealing_key = drawn()
    job.bond(second)
    job.withdraw_bond(second)
    job.sealing_key = drawn()
    job.bond(second)
    announced = job.sealing_key
    job.commit(job.updates((0, 1, 2, 3)))
    job.reveal(0, 1, 2, 3)
    job.expire()
    job.sealing_key = drawn()
    job.bond(first)  # it is not this one's turn
    job.sealing_key = announced
    play_left_out(job)
    finish(job)
    job.publish()
    made = checks(job)
    assert mismatches(made) == set()
    assert f"sealed to the key that {second} announced" in found(made, "exam sealing", 1).detail


@pytest.mark.parametrize("published", [True, False])
def test_a_chain_on_which_an_aggregator_bonded_with_an_unusable_key_is_not_the_contract_s(
    store: EmbeddedStore, srs: Srs, checks: Examine, published: bool
) -> None:
    job = ExaminedJob(store, srs)
    job.sealing_key = b"\x01" + bytes(31)
    play_left_out(joined(job))
    finish(job)
    if published:
        job.publish()
    made = checks(job)
    assert "exam sealing" in mismatches(made)
    detail = f"nothing can be sealed to the key that {AGGREGATORS[0]} announced: the contract takes none such"
    assert found(made, "exam sealing", 0).detail == detail


def test_what_r_was_sealed_with_has_to_be_shown_of_an_exam_that_was_left_out_alone(
    job: ExaminedJob, checks: Examine
) -> None:
    play_left_out(job)
    finish(job)
    job.publish(replace(job.book, sealings={}).to_bytes())
    mismatch = the_mismatch(checks(job), "exam sealing")
    assert "attempt 0" in mismatch.subject
    assert mismatch.detail == "the book does not show what r of this attempt was sealed with"


def test_another_ephemeral_key_than_r_was_sealed_with_is_named(job: ExaminedJob, checks: Examine) -> None:
    play_left_out(job)
    finish(job)
    job.publish(replace(job.book, sealings={**job.book.sealings, 0: b"\x07" * 32}).to_bytes())
    assert "attempt 0" in the_mismatch(checks(job), "exam sealing").subject


def test_sealing_the_published_r_that_is_not_the_committed_one_clears_nobody(job: ExaminedJob, checks: Examine) -> None:
    """Half of r, sealed, opened beside a commitment to r, left out with reason, and shown as r: all bytes agree."""
    half = job.due_reference // 2
    play_left_out(job, ExclusionReason.MISMATCH, blob=job.seal(SealContext(CHAIN_ID, CONTRACT, JOB, 0, 0), half))
    finish(job)
    job.references[0] = half
    job.publish()
    made = checks(job)
    assert mismatches(made) == {"exam reference", "exam sealing"}
    assert "not what was committed to" in found(made, "exam sealing", 0).detail


def test_a_reference_that_is_gone_leaves_its_sealing_unproven(
    job: ExaminedJob, checks: Examine, store: EmbeddedStore
) -> None:
    play_left_out(job)
    finish(job)
    job.publish()
    content = store.get_block(Cid.parse(job.book.references[0]))
    [block] = [path for path in store.root.rglob("*") if path.is_file() and path.read_bytes() == content]
    block.unlink()
    made = checks(job)
    assert mismatches(made) == set()
    assert found(made, "exam sealing", 0).verdict == "unproven"


def test_a_matrix_of_another_r_than_was_opened_is_not_proven(job: ExaminedJob, checks: Examine) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam()
    job.reveal(*updates)
    job.open_exam()
    assert job.exam is not None
    job.exam = replace(job.exam, values=-np.asarray(job.exam.values))
    job.settle(updates)
    assert "proof" in mismatches(checks(job))


def test_a_record_other_than_the_exams_came_to_is_named_in_the_round_that_wrote_it(
    job: ExaminedJob, checks: Examine
) -> None:
    finish(job)
    taken = list(job.events_of(on_chain.ExamTaken))[1].records_q16
    record = job.forged(on_chain.ExamTaken, place=1, records_q16=(taken[0] + 1, *taken[1:]))
    made = checks(record)
    first = next(check for check in made if not check.ok)
    assert (first.name, "attempt 1" in first.subject) == ("decision", True)
    assert f"the list of exam records is [{taken[0] + 1}, " in first.detail
    assert found(made, "decision", 0).ok


def test_a_decision_by_other_records_than_the_exams_before_came_to_is_named(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job)
    true = list(job.records)
    job.records[2] = -(1 << 18)  # in debt, by the aggregator's and the contract's word
    play_examined(job)
    assert true[2] > 0
    mismatch = next(check for check in checks(job) if not check.ok)
    assert (mismatch.name, "attempt 1" in mismatch.subject) == ("decision", True)
    assert "accepted seats" in mismatch.detail


def test_records_that_are_missing_of_an_exam_that_counted_are_named(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job)
    record = job.record([event for event in job.events if not isinstance(event, on_chain.ExamTaken)])
    made = checks(record)
    assert mismatches(made) == {"decision", "state"}
    assert "the list of exam records is [] on the chain" in found(made, "decision", 0).detail


def test_records_of_an_exam_that_was_missed_are_named(job: ExaminedJob, checks: Examine) -> None:
    job.charge_missed = lambda: job.take_exam([0, 1, 2, 3], [1, 2, 3, 4])  # type: ignore[method-assign]
    play_without(job)
    made = checks(job)
    assert {"schedule", "decision"} <= mismatches(made)
    assert "an exam was taken twice, or without having been opened" in found(made, "schedule", 0).detail


def test_records_that_are_not_one_a_row_are_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    record = job.forged(on_chain.ExamTaken, records_q16=(7, 7))
    made = checks(record)
    first = next(check for check in made if not check.ok)
    assert (first.name, "attempt 0" in first.subject) == ("decision", True)
    assert first.detail == "attempt 0 has 2 records of its exam for 4 rows"


def test_a_state_whose_records_are_not_those_of_the_events_is_named(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job)
    record = job.record()
    record = replace(record, state=replace(record.state, records_hash=b"\x01" * 32))
    assert "records_hash is 0x0101" in the_mismatch(checks(record), "state").detail


def test_a_seat_in_debt_is_decided_on_by_its_record_and_not_by_one_mark(job: ExaminedJob, checks: Examine) -> None:
    for sign in (-1, -1, 1):
        updates = job.updates((0, 1, 2, 3))
        updates[3] = sign * updates[3]
        job.commit(updates)
        job.commit_exam()
        job.reveal(*updates)
        job.open_exam()
        job.settle(updates)
    last = list(job.events_of(on_chain.RoundSettled))[-1]
    assert set(last.accepted) == {0, 1, 2}
    assert job.records[3] < 0 < job.records[0]
    assert mismatches(checks(job)) == set()


def test_an_exam_of_what_is_public_changes_no_record_and_returns_nothing_of_a_price(
    store: EmbeddedStore, srs: Srs, checks: Examine
) -> None:
    job = joined(ExaminedJob(store, srs, {"pay": {"mode": "price", "price": 150, "score_target": 0.3}}))
    play_examined(job)
    before = list(job.records)
    model = np.asarray(job.proven.models[-1].version.model)
    play_examined(job, reference=model.astype(np.int32))
    assert job.records == before
    settled = list(job.events_of(on_chain.RoundSettled))
    assert settled[1].returned_wei == 0 < settled[0].returned_wei
    made = checks(job)
    assert {check.name for check in made if not check.ok} <= {"exam gradient"}, made


def test_the_examiner_as_aggregator_is_named(job: ExaminedJob, checks: Examine) -> None:
    record = job.record()
    exam = replace(record.terms.exam, examiner=AGGREGATORS[0])
    terms = replace(record.terms, exam=exam)
    opened = [replace(it, terms=terms) if isinstance(it, on_chain.JobOpened) else it for it in job.events]
    record = replace(job.record(opened), terms=terms)
    details = [check.detail for check in checks(record) if not check.ok]
    assert any(f"the examiner {AGGREGATORS[0]} bonded as aggregator" in detail for detail in details)


def test_an_opening_of_another_seal_is_named(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job)
    record = job.forged(on_chain.ExamOpened, salt=bytes(32))
    assert "the exam's seal is" in the_mismatch(checks(record), "exam").detail


def test_what_the_contract_keeps_of_an_exam_has_to_be_what_was_opened(job: ExaminedJob, checks: Examine) -> None:
    play_examined(job)
    record = job.record()
    record = replace(record, exams={**record.exams, 0: Exam(record.exams[0].seal, b"\x01" * 32)})
    assert "what the contract keeps" in the_mismatch(checks(record), "exam").detail


def test_a_deposit_that_was_taken_for_an_opened_exam_is_named(job: ExaminedJob, checks: Examine) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam()
    job.reveal(*updates)
    job.open_exam()
    job.charge_missed = lambda: job.emit(on_chain.ExamMissed, attempt=0, deposit_wei=DEPOSIT_WEI)  # type: ignore[method-assign]
    job.settle(updates)
    assert {"schedule", "ledger"} <= mismatches(checks(job))


def test_a_deposit_that_was_not_taken_for_a_missed_exam_is_named(job: ExaminedJob, checks: Examine) -> None:
    job.charge_missed = lambda: None  # type: ignore[method-assign]
    play_without(job)
    found = checks(job)
    assert mismatches(found) == {"schedule", "pay"}, "the pay hash binds whether a deposit was taken"
    mismatch = next(check for check in found if check.name == "schedule" and not check.ok)
    assert "number of deposits taken for the exam is 0 on the chain, recomputed it is 1" in mismatch.detail


@pytest.mark.parametrize("act", ["commit", "open", "publish"])
def test_an_exam_out_of_its_phase_is_named(job: ExaminedJob, checks: Examine, act: str) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    if act != "commit":
        job.commit_exam()
    if act == "publish":
        job.publish()
    job.reveal(*updates)
    if act == "commit":
        job.commit_exam()
    job.open_exam()
    if act == "open":
        late = job.terms.schedule(job.start_s).exam_end_s
        job.times[job.block] = late
    job.settle(updates)
    assert "schedule" in mismatches(checks(job))


def test_a_close_that_returns_the_deposits_of_an_exam_never_shown_is_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.conclude_exams = lambda: job.money["exams"]  # type: ignore[method-assign]
    job.now_s += job.terms.commit_period_s + job.terms.vesting_period_s
    job.close()
    mismatch = the_mismatch(checks(job), "schedule")
    assert "whether the close took the exams' deposits is False" in mismatch.detail


def test_a_close_before_an_exam_could_be_shown_is_named(job: ExaminedJob, checks: Examine) -> None:
    finish(job)
    job.close()
    early = {number: min(time_s, job.now_s - 1) for number, time_s in job.times.items()}
    record = replace(job.record(), timestamps=early)
    found_early = [check.detail for check in checks(record) if not check.ok]
    assert any("the job closed at" in detail for detail in found_early)
