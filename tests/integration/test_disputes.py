"""Disputes on a real chain before real attestors: what no proof shows is found out, and a false alarm costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account

from fedmarket.devnet import Devnet
from market.chain.attestation import Question
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, Fact
from market.protocol import integer_model
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from tests.integration.court import (
    ANSWER_S,
    ATTESTORS,
    BOND_WEI,
    Court,
    attend,
    attestor,
    audited,
    dispute,
    settle_with,
    watch,
)
from tests.integration.marketplace import COMPENSATION_WEI, REWARD_WEI, STAKE_WEI
from trainer_client.claims import claim, claimable


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    return Court(devnet, deployed, actors, tmp_path).post().join()


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
    owed = sum(credit.amount_wei for credit in court.view("owner").history().credits("", Seat(0)))
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
    opening, late = court.opening("trainer 2"), court.sealed_blob("trainer 2")
    court.send("trainer 2", "reveal by hand", court.reveal_call("trainer 2", 0))
    watch(court)
    court.advance("exam_end_s")
    watch(court)
    court.devnet.advance(court.terms.settle_period_s // 2)  # the aggregator waits for it as long as it can
    assert court.settle()
    assert court.attempt(0).exclusions[Seat(2)].reason is ExclusionReason.UNAVAILABLE
    assert court.store.add_bytes(late).digest == opening.content
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


def test_an_attestor_that_was_away_when_an_update_came_does_not_call_it_late(court: Court) -> None:
    """It came after the attestors' last look, and still before the aggregator's time began."""
    court.commit()
    court.advance("commit_end_s")
    court.act(["trainer 0", "trainer 1", "trainer 3"])
    court.send("trainer 2", "reveal by hand", court.reveal_call("trainer 2", 0))
    watch(court)
    court.store.add_bytes(court.sealed_blob("trainer 2"))
    attestor(court, "attestor 2").advance(*court.now())
    court.advance("exam_end_s")
    watch(court)
    court.settle_otherwise(without=Seat(2))
    dispute(court, "trainer 2", Fact.EXCLUSION, 0)
    for name in ATTESTORS:
        attestor(court, name).advance(*court.now())
    asked, attestors = court.market.dispute_of(court.id), court.view("owner").terms.disputes.attestors
    knows = 1 << attestors.index(court.actor("attestor 2").address)
    assert (asked.holding, asked.failing) == (0, knows), "only who had it in time knows"
    assert court.phase is Phase.DISPUTED
