"""Disputes on a real chain before real attestors: what no proof shows is found out, and a false alarm costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account

from aggregator.audit import audit_job
from fedmarket.attestor import AttestorSession
from fedmarket.devnet import Devnet
from fedmarket.exam_grader import ModelGrader
from market.chain.attestation import Question
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, Fact
from market.protocol import integer_model
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from tests.integration.hand_made_exams import HandExamined
from tests.integration.marketplace import COMPENSATION_WEI, REWARD_WEI, STAKE_WEI, Marketplace
from trainer_client.claims import claim, claimable

ANSWER_S = 120
BOND_WEI = 10**14
ATTESTORS = ("attestor 0", "attestor 1", "attestor 2")


@dataclass
class Court(Marketplace):
    """A job with three attestors, two of whom decide."""

    def post(self, **changes: Any) -> Court:
        super().post(**{"disputes": disputes_of(self), **changes})
        return self

    def join(self, trainers: int = 4, aggregators: Any = ("alice", "bob")) -> Court:
        super().join(trainers, aggregators)
        return self


@dataclass
class ExaminedCourt(HandExamined):
    """The same, with an exam."""

    def post(self, **changes: Any) -> ExaminedCourt:
        super().post(**{"disputes": disputes_of(self), **changes})
        return self


def disputes_of(place: Marketplace) -> dict[str, Any]:
    """The section of the spec that names the attestors."""
    accounts = [place.actor(name).address for name in ATTESTORS]
    return {"attestors": accounts, "answer_s": ANSWER_S, "bond": f"{BOND_WEI} wei"}


def attestor(place: Marketplace, name: str) -> AttestorSession:
    """An attestor's session as a new process starts it."""
    work = place.work_folder(name)
    return AttestorSession(place.view(name), place.actor(name), work, place.srs, report=place.listen(name), poll_s=0.01)


def attend(place: Marketplace, *names: str) -> None:
    """Let new sessions do what is due."""
    for name in names or ATTESTORS:
        if place.phase is not Phase.DISPUTED and len(names) != 1:
            return
        attestor(place, name).advance(*place.now())


def watch(place: Marketplace) -> None:
    """Let every attestor look at the running attempt."""
    for name in ATTESTORS:
        attestor(place, name).advance(*place.now())


def dispute(place: Marketplace, name: str, fact: Fact, attempt: int) -> None:
    """Let somebody dispute a fact of an attempt."""
    job: PublishedJob = place.view(name)
    history = job.history()
    disputed = history.attempt(attempt)
    pays, undo = (disputed.settled.pays, history.undo_of(disputed)) if disputed.settled else (b"", None)
    if fact is Fact.EXAM:
        pays, undo = b"", None
    call = job.market.dispute(job.id, job.terms, attempt, fact, pays, undo)
    place.send(name, f"dispute {attempt} {fact}", call)


def settle_with(place: Marketplace, change: Callable[[Any], Any]) -> None:
    """Settle with something else in the settlement than the worker would hand in."""
    place.advance("exam_end_s")
    worker, state = place.worker("alice"), place.state
    history = worker.job.history()
    material = worker._gather(history, state.attempt)
    assert material is not None
    settlement = change(worker._settlement(state, history, material, worker._decide(material)))
    place.send("alice", f"settle {state.attempt}", place.market.settle_round(place.id, state.attempt, settlement))


def audited(place: Marketplace, folder: Path) -> list[str]:
    """What an audit finds wrong."""
    view = place.view("onlooker")
    report = audit_job(view.market, place.store, place.id, place.srs, folder, grader=ModelGrader())
    return [f"{check.name}: {check.detail}" for check in report.checks if not check.ok]


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    return Court(devnet, deployed, actors, tmp_path).post().join()


@pytest.fixture
def exam_court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> ExaminedCourt:
    place = ExaminedCourt(devnet, deployed, actors, tmp_path).post(rounds=1)
    place.join(4, ("alice", "bob"))
    return place


def test_answers_are_signed_over_what_the_contract_asks(court: Court) -> None:
    court.play_round()
    dispute(court, "trainer 1", Fact.MODEL, 0)
    asked = court.market.dispute_of(court.id)
    question = Question.of_dispute(court.market.chain.chain_id, court.market.address, court.id, asked)
    other = replace(question, attempt=1)
    account = court.actor("attestor 0").account
    for holds in (True, False):
        signature = question.sign(account, holds)
        digest = court.market.answer_digest(question, holds)
        assert Account._recover_hash(digest, signature=signature) == account.address
    with pytest.raises(ContractRevert) as refused:
        court.send("bob", "misplaced", court.market.answer(court.id, True, [other.sign(account, True)]))
    assert refused.value.name == "NotAttestor"


def test_a_majority_that_disputes_a_right_model_loses_its_bond_and_stops_nobody_for_long(
    court: Court, tmp_path: Path
) -> None:
    court.play_round()
    vests_s = court.market.outcome(court.id, 0).vests_at_s
    start_s, opened_s = court.state.attempt_start_s, court.devnet.timestamp()
    dispute(court, "trainer 0", Fact.MODEL, 0)
    assert court.phase is Phase.DISPUTED
    with pytest.raises(ContractRevert):
        court.send("trainer 2", "commit now", court.market.commit(court.id, 1, b"\x01" * 32))
    attend(court)
    assert court.phase is Phase.COMMIT
    frozen_s = court.state.attempt_start_s - start_s
    assert 0 <= frozen_s <= court.devnet.timestamp() - opened_s < ANSWER_S
    assert court.market.outcome(court.id, 0).vests_at_s == vests_s + frozen_s
    assert court.market.terms(court.id).deadline_s == court.terms.deadline_s + frozen_s
    assert court.ledger.burned_wei == BOND_WEI
    with pytest.raises(ContractRevert) as twice:
        dispute(court, "trainer 1", Fact.MODEL, 0)
    assert twice.value.name == "DisputedBefore"
    court.play_round()
    court.check_books()
    assert audited(court, tmp_path / "audit") == []


@pytest.mark.parametrize("withheld", [True, False], ids=["withheld", "false"])
def test_a_model_that_nobody_can_fetch_or_that_is_another_undoes_its_round(
    court: Court, tmp_path: Path, withheld: bool
) -> None:
    court.play_round()
    before, ledger = court.state, court.ledger
    court.commit()
    court.reveal()
    other = integer_model.to_bytes(np.full(court.terms.rules.dimension, 7, np.int64))
    digest = Digest(b"\x07" * 32) if withheld else Digest(court.store.add_bytes(other).digest)
    settle_with(court, lambda settlement: replace(settlement, model=digest))
    # Who trains on is the first to notice: the round's model does not open the chain's commitment.
    court.advance("start_s")
    session = court.session("trainer 3")
    assert not session.advance(*court.now())
    dispute(court, "owner", Fact.MODEL, 1)
    attend(court)
    if withheld:
        assert court.phase is Phase.DISPUTED, "attestors wait for what may still come"
        court.devnet.advance(ANSWER_S // 2)
        attend(court)
    state = court.state
    assert (state.round, state.model, state.public_rows) == (1, before.model, before.public_rows)
    assert court.market.aggregators(court.id) == [court.actor("bob").address]
    assert court.ledger.budget_wei == ledger.budget_wei
    assert court.ledger.burned_wei == STAKE_WEI - 4 * COMPENSATION_WEI
    for name in court.trainers:  # compensated at once, and paid for the round that runs again
        paid = [credit.amount_wei for credit in claimable(court.view(name), court.actor(name).address)]
        assert COMPENSATION_WEI in paid
    attempt = state.attempt
    court.commit()
    court.reveal()
    assert court.settle("bob")
    assert court.attempt(attempt).settled is not None
    owed = sum(credit.amount_wei for credit in court.view("owner").history().credits(Seat(0)))
    assert owed > REWARD_WEI // 4
    taken = court.market.withdraw_dispute_bond(court.id, "0x" + "55" * 20)
    court.send("owner", "take back", taken)
    assert court.devnet.balance_wei("0x" + "55" * 20) == BOND_WEI
    court.check_books()
    assert audited(court, tmp_path / "audit") == []


def test_a_slandered_trainer_is_heard_by_attestors_who_had_its_update(court: Court, tmp_path: Path) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(2))
    with pytest.raises(ContractRevert) as others:
        dispute(court, "trainer 1", Fact.EXCLUSION, 0)
    assert others.value.name == "CannotDispute"
    dispute(court, "trainer 2", Fact.EXCLUSION, 0)
    attend(court)
    assert (court.phase, court.state.round) == (Phase.COMMIT, 0)
    court.check_books()
    attempt = court.state.attempt
    court.commit()
    court.reveal()
    assert court.settle("bob")
    settled = court.attempt(attempt).settled
    assert settled is not None
    assert 2 in settled.accepted
    assert audited(court, tmp_path / "audit") == []


def test_an_update_that_came_too_late_was_excluded_with_reason(court: Court) -> None:
    court.commit()
    court.advance("commit_end_s")
    court.act(["trainer 0", "trainer 1", "trainer 3"])
    # Revealed without its bytes, which are in storage only once the aggregator's time has begun.
    opening, late = court.opening("trainer 2"), court.attempt_folder("trainer 2").update_path
    call = court.reveal_call("trainer 2", 0)
    court.send("trainer 2", "reveal by hand", call)
    watch(court)
    court.advance("exam_end_s")
    watch(court)
    court.devnet.advance(court.terms.settle_period_s // 2)  # the aggregator waits for it as long as it can
    assert court.settle()
    assert court.attempt(0).exclusions[Seat(2)].reason is ExclusionReason.UNAVAILABLE
    assert court.store.add_bytes(late.read_bytes()).digest == opening.content
    dispute(court, "trainer 2", Fact.EXCLUSION, 0)
    attend(court)
    assert court.phase is Phase.COMMIT
    assert court.state.round == 1
    assert court.ledger.burned_wei == BOND_WEI


def test_attestors_who_were_away_do_not_answer_and_the_job_thaws(court: Court, tmp_path: Path) -> None:
    court.commit()
    court.reveal()
    court.settle_otherwise(without=Seat(2))
    dispute(court, "trainer 2", Fact.EXCLUSION, 0)
    attend(court)
    assert court.phase is Phase.DISPUTED
    assert all("cannot be told from here" in court.told[name][-1] for name in ATTESTORS)
    court.devnet.advance(ANSWER_S)
    attestor(court, "attestor 1").advance(*court.now())
    assert (court.phase, court.state.round) == (Phase.COMMIT, 1)
    assert court.ledger.burned_wei == BOND_WEI
    court.play_round()
    assert audited(court, tmp_path / "audit") == []


def test_one_attestor_alone_decides_nothing(court: Court) -> None:
    court.play_round()
    dispute(court, "trainer 0", Fact.MODEL, 0)
    attestor(court, "attestor 0").advance(*court.now())
    assert not attestor(court, "attestor 0").advance(*court.now()), "it is counted once"
    assert court.phase is Phase.DISPUTED
    asked = court.market.dispute_of(court.id)
    question = Question.of_dispute(court.market.chain.chain_id, court.market.address, court.id, asked)
    again = [question.sign(court.actor("attestor 0").account, True)] * 2
    court.send("bob", "again", court.market.answer(court.id, True, again))
    assert court.phase is Phase.DISPUTED
    attestor(court, "attestor 2").advance(*court.now())
    assert court.phase is Phase.COMMIT


def test_only_attestors_attest(court: Court) -> None:
    with pytest.raises(InvalidInput, match="is no attestor of job"):
        attestor(court, "bob")


def test_rounds_that_are_over_wait_for_what_may_be_undone(court: Court, tmp_path: Path) -> None:
    for _ in range(2):
        court.play_round()
    court.commit()
    court.reveal()
    settle_with(court, lambda settlement: replace(settlement, model=Digest(b"\x09" * 32)))
    assert court.phase is Phase.FINISHED
    dispute(court, "trainer 0", Fact.MODEL, 2)
    court.devnet.advance(ANSWER_S // 2)
    attend(court)
    assert (court.phase, court.state.round) == (Phase.COMMIT, 2)
    court.commit()
    court.reveal()
    assert court.settle("bob")
    assert court.phase is Phase.FINISHED
    court.devnet.advance_to(court.market.outcome(court.id, court.state.attempt - 1).vests_at_s)
    lifetime = court.view("owner").history().packed_lifetime()
    court.send("owner", "close", court.market.close_job(court.id, lifetime))
    for name in court.trainers:
        for credit in claimable(court.view(name), court.actor(name).address):
            claim(court.view(name), court.actor(name), credit)
    court.check_books()
    assert audited(court, tmp_path / "audit") == []


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
    assert (court.ledger.exams_wei, court.ledger.burned_wei) == (0, 0)
    assert court.ledger.carry_wei >= deposits_wei
    court.check_books()


def test_an_exam_that_was_what_was_asked_costs_who_disputes_it(exam_court: ExaminedCourt, tmp_path: Path) -> None:
    court = exam_court
    court.play_examined()
    assert not court.show_exams(), "a round that may still run again must not be studied for"
    court.devnet.advance_to(court.market.outcome(court.id, 0).vests_at_s)
    assert court.show_exams()
    dispute(court, "trainer 0", Fact.EXAM, 0)
    attend(court)
    assert court.phase is Phase.FINISHED
    assert court.ledger.burned_wei == BOND_WEI
    assert court.ledger.exams_wei == court.terms.exam_deposits_wei
    assert audited(court, tmp_path / "audit") == []
