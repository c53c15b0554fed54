"""Disputes of exams on a real chain before real attestors: what an owner asked for, and what it sent the aggregator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit import Check
from aggregator.worker.exams import CollectedExam
from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, Fact
from market.protocol.moments import moment
from market.protocol.rounds import Phase
from tests.integration.court import (
    ANSWER_S,
    ATTESTORS,
    BOND_WEI,
    ExaminedCourt,
    attend,
    attestor,
    audited,
    dispute,
    watch,
)
from tests.integration.hand_made_exams import check_of


@pytest.fixture
def exam_court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> ExaminedCourt:
    place = ExaminedCourt(devnet, deployed, actors, tmp_path).post(rounds=1)
    place.join(4, ("alice", "bob"))
    return place


def test_an_exam_that_was_not_what_was_asked_costs_every_deposit(exam_court: ExaminedCourt) -> None:
    court = exam_court
    court.play_with(lambda r: -r)
    court.devnet.advance_to(court.market.outcome(court.id, 0).vests_at_s)
    court.show_by_hand(court.made)
    deposits_wei = court.ledger.exams_wei
    assert deposits_wei > 0
    dispute(court, "trainer 0", Fact.EXAM, 0)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert (court.ledger.exams_wei, court.ledger.burned_wei) == (0, deposits_wei)
    court.check_books()


def test_an_exam_that_was_what_was_asked_costs_who_disputes_it(exam_court: ExaminedCourt, tmp_path: Path) -> None:
    court = exam_court
    court.play_examined()
    court.devnet.mine(3)  # until the end is confirmed
    session = court.examiner()
    for _ in range(2):
        assert not session.advance(*court.now()), "a round that may still run again must not be studied for"
    final_s = court.market.outcome(court.id, 0).vests_at_s
    waits = f"the exam is published from {moment(final_s)} on: the last round can be undone until then"
    assert [line for line in court.told["owner"] if "publish" in line or "refused" in line] == [waits]
    court.devnet.advance_to(final_s)
    assert court.show_exams()
    dispute(court, "trainer 0", Fact.EXAM, 0)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert court.ledger.burned_wei == BOND_WEI
    assert court.ledger.exams_wei == court.terms.exam_deposits_wei
    assert audited(court, tmp_path / "audit") == []


# ---------------------------------------------------------------------- exams that were left out


def opened_by_hand(court: ExaminedCourt, change: Callable[[bytes], bytes] = bytes) -> bytes:
    """An exam of the round's true r, opened; what was sealed of it, changed or not, is nowhere yet."""
    court.commit()
    r = court.made[court.state.attempt] = court.honest_reference()
    blob = change(court.sealed_to("alice", r))
    made = court.commit_by_hand(blob, court.commitment_of(r))
    court.reveal()
    court.open_by_hand(made, None)
    return blob


def leave_exam_out(court: ExaminedCourt, reason: ExclusionReason) -> None:
    """Settle without an exam that was opened, whatever there is of it."""
    court.advance("exam_end_s")
    worker, state = court.worker("alice"), court.state
    history = worker.job.history()
    material = worker._gather(history, state.attempt)
    assert material is not None
    material = replace(material, exam=CollectedExam(reason=reason))
    settlement = worker._settlement(state, history, material, worker._decide(material))
    court.send("alice", "settle without", court.market.settle_round(court.id, state.attempt, settlement))


def dispute_exam(court: ExaminedCourt, *, by_hand: bool = True) -> None:
    """Show what the exams were, once the last settlement stands, and dispute the first."""
    court.devnet.advance_to(court.market.outcome(court.id, 0).vests_at_s)
    if by_hand:
        court.show_by_hand(court.made)
    else:
        assert court.show_exams()
    dispute(court, "trainer 0", Fact.EXAM, 0)


def the_sealing(court: ExaminedCourt) -> Check:
    """What an audit finds of what the aggregator was sent."""
    return check_of(court.audit(), "exam sealing", 0)


@pytest.mark.parametrize("later", [False, True], ids=["never", "once it was left out"])
def test_an_owner_that_opens_an_exam_and_does_not_deliver_it_loses_its_deposits(
    exam_court: ExaminedCourt, later: bool
) -> None:
    court = exam_court
    blob = opened_by_hand(court)
    watch(court)
    court.advance("exam_end_s")
    watch(court)
    court.settle_patiently()
    excluded = court.attempt(0).exam_excluded
    assert excluded is not None
    assert excluded.reason is ExclusionReason.UNAVAILABLE
    if later:
        court.store.add_bytes(blob)
    deposits_wei = court.ledger.exams_wei
    dispute_exam(court)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert (court.ledger.exams_wei, court.ledger.burned_wei) == (0, deposits_wei)
    assert deposits_wei > 0
    assert the_sealing(court).verdict == "ok", "what it opened was r, only too late"
    court.check_books()


def test_an_owner_that_delivers_garbage_loses_its_deposits_before_attestors_who_were_away(
    exam_court: ExaminedCourt,
) -> None:
    court = exam_court
    garbage = opened_by_hand(court, lambda sealed: bytes(len(sealed)))
    court.store.add_bytes(garbage)
    court.settle_patiently()
    excluded = court.attempt(0).exam_excluded
    assert excluded is not None
    assert excluded.reason is ExclusionReason.UNREADABLE
    deposits_wei = court.ledger.exams_wei
    dispute_exam(court)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert (court.ledger.exams_wei, court.ledger.burned_wei) == (0, deposits_wei)
    assert deposits_wei > 0
    sealing = the_sealing(court)
    assert (sealing.verdict, "the content id of r, sealed to" in sealing.detail) == ("mismatch", True)
    court.check_books()


@pytest.mark.parametrize("reason", [ExclusionReason.UNREADABLE, ExclusionReason.MISMATCH, ExclusionReason.UNAVAILABLE])
def test_an_aggregator_that_left_out_a_good_exam_costs_its_owner_nothing_and_is_named(
    exam_court: ExaminedCourt, reason: ExclusionReason
) -> None:
    court = exam_court
    court.commit()
    assert court.examine()
    court.reveal()
    assert court.open_exam()
    watch(court)
    leave_exam_out(court, reason)
    deposits_wei = court.ledger.exams_wei
    dispute_exam(court, by_hand=False)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert court.ledger.exams_wei == deposits_wei == court.terms.exam_deposits_wei
    assert court.ledger.burned_wei == BOND_WEI
    sealing = the_sealing(court)
    assert sealing.verdict == "ok"
    assert court.actor("alice").address in sealing.detail
    lied = f"that it was left out as {reason.name.lower()} is false"
    assert (lied in sealing.detail) == (reason is not ExclusionReason.UNAVAILABLE)
    court.check_books()


def test_whether_an_exam_came_in_time_is_not_answered_by_who_was_away(exam_court: ExaminedCourt) -> None:
    court = exam_court
    blob = opened_by_hand(court)
    watch(court)
    court.store.add_bytes(blob)
    court.advance("exam_end_s")
    watch(court)  # the first look since: it may have come on either side
    leave_exam_out(court, ExclusionReason.UNAVAILABLE)
    dispute_exam(court)
    attend(court)
    assert court.phase is Phase.DISPUTED
    assert all("cannot be told from here" in court.told[name][-1] for name in ATTESTORS)
    court.devnet.advance(ANSWER_S)
    attestor(court, "attestor 1").advance(*court.now())
    assert court.phase is Phase.FINISHED
    assert court.ledger.exams_wei == court.terms.exam_deposits_wei


def test_attestors_keep_the_sealed_exam_that_the_chain_names(exam_court: ExaminedCourt) -> None:
    court = exam_court
    court.store.add_bytes(opened_by_hand(court))
    watch(court)
    opened = court.attempt(0).exam_opened
    assert opened is not None
    kept = [reasons for cid, reasons in court.store.pins().items() if cid.digest == opened.content]
    accounts = [court.actor(name).address for name in ATTESTORS]
    assert kept == [frozenset(f"job {court.id} attempt 0 attestor {account}" for account in accounts)]
