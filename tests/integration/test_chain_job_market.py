"""The marketplace's gateway against the real contract: what is called, read and reported is the same thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import DEVELOPMENT_POWERS_OF_TAU
from market.chain import events, log_windows, packed
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.deployment import Deployment, deploy
from market.chain.erc20 import Erc20
from market.chain.job_market import JobMarket
from market.chain.records import NO_UNDO, ExclusionReason, Settlement
from market.protocol.errors import ChainError, ContractRevert, InvalidInput, WrongChain
from market.protocol.identifiers import Digest, JobId, Seat
from market.protocol.provenance import NO_REVEALS, PublicRows, extended
from market.protocol.rounds import Phase
from market.protocol.rule_terms import RuleTerms
from market.protocol.seal import new_salt, seal
from market.protocol.terms import NATIVE, JobTerms, PayMode
from zk.curve import generator, point_bytes
from zk.srs import INSECURE_SRS_ID

SPEC, MODEL, CONTENT = (Digest(bytes([number]) * 32) for number in (1, 2, 3))
POINT = point_bytes(generator())
"""A commitment as good as any: nothing is proven here."""

NO_SCORES = packed.pack_lifetime([0] * 4)
SEALING_KEY = b"\x09" + bytes(31)
TRAINERS = ("trainer 0", "trainer 1", "trainer 2")


def job_terms(devnet: Any, token: str = NATIVE) -> JobTerms:
    now_s = devnet.timestamp()
    return JobTerms(
        token=token,
        seats=4,
        minimum_commits=3,
        rounds=2,
        pay_mode=PayMode.POT,
        scale_exponent=12,
        initial_shift=2,
        chunks=1,
        enrol_until_s=now_s + 1_000,
        deadline_s=now_s + 1_000_000,
        commit_period_s=100,
        reveal_period_s=100,
        settle_period_s=100,
        vesting_period_s=50,
        confirmation_period_s=10,
        round_reward_wei=1_000,
        aggregator_fee_wei=70,
        trainer_stake_wei=2_000,
        aggregator_bond_wei=3_000,
        compensation_wei=30,
        price_wei=0,
        score_target_q32=0,
        rules=RuleTerms(dimension=1_000),
    )


def open_job(market: JobMarket, actors: Any, terms: JobTerms) -> JobId:
    receipt = actors["owner"].send("open", market.open_job(terms, SPEC, MODEL, POINT, INSECURE_SRS_ID))
    (opened,) = market.events_in(receipt.logs)
    return opened.job


@pytest.fixture
def terms(devnet: Any) -> JobTerms:
    return job_terms(devnet)


@pytest.fixture
def job(deployed: JobMarket, actors: Any, terms: JobTerms) -> JobId:
    return open_job(deployed, actors, terms)


@pytest.fixture
def committed(deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms) -> dict[str, bytes]:
    """A job in its first commit phase, in which every trainer has committed; the salts."""
    for name in TRAINERS:
        actors[name].send("enrol", deployed.enrol(job, terms))
    actors["aggregator"].send("bond", deployed.bond(job, terms, SEALING_KEY))
    devnet.advance_to(deployed.state(job).attempt_start_s)
    salts = {name: new_salt() for name in TRAINERS}
    context = deployed.seal_context(job, 0, 0)
    for name, salt in salts.items():
        actors[name].send("commit", deployed.commit(job, 0, seal(context, actors[name].address, POINT, CONTENT, salt)))
    return salts


@pytest.fixture
def revealed(deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms, committed: Any) -> Settlement:
    """A job in its first settle phase, every update revealed; a settlement that excludes them all."""
    devnet.advance_to(deployed.state(job).attempt_start_s + 100)
    for name, salt in committed.items():
        actors[name].send("reveal", deployed.reveal(job, 0, actors[name].address, POINT, CONTENT, salt))
    devnet.advance_to(deployed.state(job).attempt_start_s + 200)
    return Settlement({Seat(seat): ExclusionReason.UNREADABLE for seat in range(3)}, b"", MODEL, NO_SCORES)


def test_opened_job_reads_back_as_it_was_opened(deployed: JobMarket, actors: Any, job: JobId, terms: JobTerms) -> None:
    assert deployed.terms(job) == terms
    assert deployed.job_count() == job + 1
    state = deployed.state(job)
    assert (state.owner, state.model, state.closed) == (actors["owner"].address, MODEL, False)
    assert deployed.phase(job) is Phase.AWAITING_AGGREGATOR
    ledger = deployed.ledger(job)
    assert ledger.deposited_wei == ledger.budget_wei == terms.deposit_wei
    assert ledger.is_balanced
    (opened,) = deployed.events(job)
    assert isinstance(opened, events.JobOpened)
    assert (opened.terms, opened.spec, opened.initial_model) == (terms, SPEC, MODEL)
    assert (opened.initial_commitment, opened.srs_id) == (POINT, INSECURE_SRS_ID)
    assert (opened.owner, opened.deposit_wei) == (actors["owner"].address, terms.deposit_wei)


def test_settled_round_is_read_as_it_was_handed_in(
    deployed: JobMarket, actors: Any, job: JobId, revealed: Settlement
) -> None:
    assert deployed.phase(job) is Phase.SETTLE
    assert deployed.state(job).revealed_seats == [0, 1, 2]
    actors["aggregator"].send("settle", deployed.settle_round(job, 0, revealed))
    reported = {kind: [e for e in deployed.events(job) if isinstance(e, kind)] for kind in events.EVENTS.values()}
    assert [event.seat for event in reported[events.UpdateExcluded]] == [0, 1, 2]
    assert {event.reason for event in reported[events.UpdateExcluded]} == {ExclusionReason.UNREADABLE}
    assert [(event.content, event.commitment) for event in reported[events.UpdateRevealed]] == [(CONTENT, POINT)] * 3
    (settled,) = reported[events.RoundSettled]
    assert (settled.round, settled.attempt, settled.accepted, settled.model) == (0, 0, (), MODEL)
    assert settled.aggregator == actors["aggregator"].address
    assert deployed.state(job).round == 1
    outcome = deployed.outcome(job, 0)
    assert (outcome.aggregator, outcome.vests_at_s) == (settled.aggregator, settled.vests_at_s)
    assert deployed.ledger(job).is_balanced


def test_events_come_in_the_order_of_the_chain_and_can_be_chosen(
    deployed: JobMarket, job: JobId, committed: Any, actors: Any
) -> None:
    everything = deployed.events(job)
    places = [(event.block_number, event.log_index) for event in everything]
    assert places == sorted(places)
    assert {type(event).__name__ for event in everything} >= {"JobOpened", "TrainerEnrolled", "UpdateCommitted"}
    commits = deployed.events(job, kinds=[events.UpdateCommitted])
    assert commits == [event for event in everything if isinstance(event, events.UpdateCommitted)]
    assert [event.trainer for event in commits] == [actors[name].address for name in TRAINERS]
    assert deployed.events(JobId(job + 1)) == []
    third = commits[2]
    assert deployed.events(job, from_block=third.block_number, to_block=third.block_number) == [third]


def test_events_are_the_same_in_windows_of_any_size(
    deployed: JobMarket, job: JobId, committed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = deployed.events(job)
    monkeypatch.setattr(log_windows, "WINDOW_BLOCKS", 1)
    assert deployed.events(job) == everything


def test_window_that_a_node_finds_too_large_is_halved(
    deployed: JobMarket, job: JobId, committed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = deployed.events(job)
    fetch = deployed.chain.web3.eth.get_logs

    def picky(query: Any) -> Any:
        if query["toBlock"] - query["fromBlock"] >= 3:
            raise ChainError("query returned more than 10000 results")
        return fetch(query)

    monkeypatch.setattr(deployed.chain.web3.eth, "get_logs", picky)
    assert deployed.events(job) == everything


def test_reads_as_of_an_earlier_block_show_that_block(deployed: JobMarket, job: JobId, committed: Any) -> None:
    (opened,) = deployed.events(job, kinds=[events.JobOpened])
    assert deployed.state(job).seats_taken == 3
    assert deployed.at(opened.block_number).state(job).seats_taken == 0


def test_seats_and_bonds_are_read(
    deployed: JobMarket, actors: Any, job: JobId, terms: JobTerms, committed: Any
) -> None:
    addresses = [actors[name].address for name in TRAINERS]
    assert deployed.trainers(job) == addresses
    assert [deployed.seat(job, address) for address in addresses] == [0, 1, 2]
    assert deployed.seat(job, actors["owner"].address) is None
    assert deployed.aggregators(job) == [actors["aggregator"].address]
    assert deployed.bond_wei(job, actors["aggregator"].address) == terms.aggregator_bond_wei
    assert deployed.owed_wei() == deployed.ledger(job).deposited_wei


def test_contract_and_kernel_agree_on_the_rolling_hash_and_the_public_rows(
    deployed: JobMarket, job: JobId, revealed: Settlement
) -> None:
    chain = NO_REVEALS
    for seat in range(3):
        chain = extended(chain, Seat(seat), POINT)
    state = deployed.state(job)
    assert (state.reveal_chain, state.public_rows) == (chain, PublicRows.at_opening(POINT).digest)


def test_a_job_under_other_powers_of_tau_or_with_no_commitment_is_refused_by_name(
    deployed: JobMarket, actors: Any, devnet: Any
) -> None:
    terms, owner = job_terms(devnet), actors["owner"]
    with pytest.raises(ContractRevert) as powers:
        owner.send("other powers", deployed.open_job(terms, SPEC, MODEL, POINT, bytes(32)))
    expected = {"srsId": "0x" + bytes(32).hex(), "expected": "0x" + INSECURE_SRS_ID.hex()}
    assert (powers.value.name, powers.value.arguments) == ("WrongSrs", expected)
    with pytest.raises(ContractRevert) as point:
        owner.send("no point", deployed.open_job(terms, SPEC, MODEL, b"\1" * 64, INSECURE_SRS_ID))
    assert point.value.name == "InvalidPoint"
    with pytest.raises(ContractRevert) as length:
        owner.send("too long", deployed.open_job(terms, SPEC, MODEL, POINT * 2, INSECURE_SRS_ID))
    assert (length.value.name, length.value.arguments["part"]) == ("InvalidLength", "commitment")


def test_contract_and_kernel_agree_on_a_seal(deployed: JobMarket, actors: Any, job: JobId, committed: Any) -> None:
    context = deployed.seal_context(job, 0, 0)
    address, salt = actors[TRAINERS[1]].address, committed[TRAINERS[1]]
    assert deployed.seal_of(context, address, POINT, CONTENT, salt) == seal(context, address, POINT, CONTENT, salt)
    assert deployed.sealed(job, Seat(1)) == seal(context, address, POINT, CONTENT, salt)


def test_nobody_bonds_with_a_key_that_nothing_can_be_sealed_to(
    deployed: JobMarket, actors: Any, job: JobId, terms: JobTerms
) -> None:
    """Trainers could commit to nothing, and the rounds would be skipped, at no cost to whoever bonded."""
    one_with_the_top_bit = b"\x01" + bytes(30) + b"\x80"
    with pytest.raises(ContractRevert) as refused:
        actors["aggregator"].send("unusable", deployed.bond(job, terms, one_with_the_top_bit))
    expected = {"sealingKey": f"0x{one_with_the_top_bit.hex()}"}
    assert (refused.value.name, refused.value.arguments) == ("UnusableKey", expected)


def test_refusals_carry_what_the_contract_says(
    deployed: JobMarket, actors: Any, job: JobId, terms: JobTerms, committed: Any
) -> None:
    late = actors["late"]
    with pytest.raises(ContractRevert) as unknown:
        deployed.terms(JobId(999))
    assert (unknown.value.name, unknown.value.arguments) == ("UnknownJob", {"job": 999})
    with pytest.raises(ContractRevert) as early:
        late.send("reveal", deployed.reveal(job, 0, actors[TRAINERS[0]].address, POINT, CONTENT, bytes(32)))
    assert (early.value.name, early.value.arguments) == ("WrongPhase", {"phase": "COMMIT", "expected": "REVEAL"})
    with pytest.raises(ContractRevert) as twice:
        actors[TRAINERS[2]].send("again", deployed.commit(job, 0, b"\1" * 32))
    assert (twice.value.name, twice.value.arguments) == ("AlreadyCommitted", {"seat": 2})
    with pytest.raises(ContractRevert) as term:
        late.send("open", deployed.open_job(replace(terms, seats=0), SPEC, MODEL, POINT, INSECURE_SRS_ID))
    assert (term.value.name, term.value.arguments) == ("InvalidTerm", {"term": "seats", "value": 0})


def test_expired_attempt_compensates_and_is_claimed(
    deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms, revealed: Settlement
) -> None:
    devnet.advance(200)
    assert deployed.phase(job) is Phase.OVERDUE
    actors["owner"].send("expire", deployed.expire_round(job, 0))
    (expired,) = deployed.events(job, kinds=[events.AttemptExpired])
    pays_wei = packed.unpack_pays(expired.pays)
    assert pays_wei == [30, 30, 30, 0]
    assert deployed.outcome(job, 0).pay_hash == packed.pay_hash(expired.pays, NO_UNDO)
    devnet.advance_to(expired.vests_at_s)
    receiver = "0x" + "99" * 20
    actors[TRAINERS[0]].send("claim", deployed.claim(job, 0, expired.pays, NO_UNDO, receiver))
    assert devnet.balance_wei(receiver) == 30
    (claimed,) = deployed.events(job, kinds=[events.Claimed])
    assert (claimed.trainer, claimed.amount_wei, claimed.attempt) == (actors[TRAINERS[0]].address, 30, 0)
    ledger = deployed.ledger(job)
    assert (ledger.paid_wei, ledger.burned_wei) == (30, expired.burned_wei)
    assert ledger.is_balanced


def test_skipped_job_closes_and_refunds(
    deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms
) -> None:
    actors["aggregator"].send("bond", deployed.bond(job, terms, SEALING_KEY))
    devnet.advance_to(deployed.state(job).attempt_start_s + 100)
    actors["owner"].send("skip", deployed.skip_round(job, 0))
    (skipped,) = deployed.events(job, kinds=[events.RoundSkipped])
    assert (skipped.round, skipped.had_minimum) == (0, False)
    devnet.advance_to(terms.deadline_s)
    actors["aggregator"].send("close", deployed.close_job(job, NO_SCORES))
    assert deployed.phase(job) is Phase.CLOSED
    receiver = "0x" + "98" * 20
    actors["owner"].send("refund", deployed.refund(job, receiver))
    assert devnet.balance_wei(receiver) == terms.deposit_wei
    actors["aggregator"].send("withdraw", deployed.withdraw_bond(job, receiver))
    ledger = deployed.ledger(job)
    assert (ledger.locked_wei, ledger.refunded_wei) == (0, ledger.deposited_wei)
    names = [type(event).__name__ for event in deployed.events(job)]
    assert names[-3:] == ["JobClosed", "Refunded", "BondWithdrawn"]


def test_stake_is_withdrawn(deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms) -> None:
    actors["trainer 0"].send("enrol", deployed.enrol(job, terms))
    receiver = "0x" + "97" * 20
    actors["trainer 0"].send("withdraw", deployed.withdraw_stake(job, receiver))
    assert devnet.balance_wei(receiver) == terms.trainer_stake_wei


def test_no_fee_is_due_for_a_round_from_which_everybody_is_excluded(
    deployed: JobMarket, actors: Any, devnet: Any, job: JobId, terms: JobTerms, revealed: Settlement
) -> None:
    actors["aggregator"].send("settle", deployed.settle_round(job, 0, revealed))
    outcome = deployed.outcome(job, 0)
    assert (outcome.aggregator, outcome.fee_gone) == (actors["aggregator"].address, True)
    assert deployed.ledger(job).carry_wei == terms.round_reward_wei + terms.aggregator_fee_wei
    devnet.advance_to(outcome.vests_at_s)
    with pytest.raises(ContractRevert) as refused:
        actors["aggregator"].send("fee", deployed.claim_fee(job, 0, actors["aggregator"].address))
    assert (refused.value.name, refused.value.arguments) == ("NoFeeDue", {"attempt": 0})


def test_job_is_paid_in_a_token(
    deployed: JobMarket, actors: Any, devnet: Any, chain: Chain, compile_solidity: Callable[[str], bytes]
) -> None:
    owner = actors["owner"]
    deployed_token = owner.send("token", PreparedCall(None, compile_solidity("Token"), label="deploy Token"))
    token = Erc20(chain, str(deployed_token.contract))
    terms = job_terms(devnet, token.address)
    opening = deployed.open_job(terms, SPEC, MODEL, POINT, INSECURE_SRS_ID)
    assert opening.value_wei == 0
    with pytest.raises(ContractRevert) as refused:
        owner.send("open", opening)
    assert refused.value.name == "ERC20InsufficientAllowance"
    assert refused.value.arguments["needed"] == terms.deposit_wei
    owner.send("approve", token.approve(deployed.address, terms.deposit_wei))
    assert token.allowance(owner.address, deployed.address) == terms.deposit_wei
    owner.send("open", opening)
    assert token.balance(deployed.address) == deployed.owed_wei(token.address) == terms.deposit_wei
    owner.send("transfer", token.transfer("0x" + "95" * 20, 7))
    assert token.balance("0x" + "95" * 20) == 7


@pytest.mark.parametrize("address", ["", "0x12", "nobody", "0x" + "zz" * 20])
def test_malformed_address_is_refused_before_anything_is_sent(deployed: JobMarket, address: str, chain: Chain) -> None:
    with pytest.raises(InvalidInput, match="is no address"):
        deployed.refund(JobId(0), address)
    with pytest.raises(InvalidInput, match="is no address"):
        JobMarket(chain, address)


def test_value_that_does_not_fit_is_refused_before_anything_is_sent(deployed: JobMarket, terms: JobTerms) -> None:
    with pytest.raises(ChainError):
        deployed.open_job(replace(terms, seats=256), SPEC, MODEL, POINT, INSECURE_SRS_ID)


def test_address_without_a_contract_is_told_from_a_marketplace(chain: Chain) -> None:
    with pytest.raises(ChainError):
        JobMarket(chain, "0x" + "94" * 20).job_count()


def test_deployment_is_written_down_and_recognised(deployment: Deployment, chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "somewhere" / "deployment.json"
    deployment.save(path)
    assert Deployment.load(path) == deployment
    assert Deployment.load(path).connect(chain).address == deployment.job_market


def test_interrupted_deployment_goes_on_where_it_was(actors: Any, chain: Chain) -> None:
    first = deploy(actors["deployer"], DEVELOPMENT_POWERS_OF_TAU)
    again = deploy(actors.restart("deployer"), DEVELOPMENT_POWERS_OF_TAU)
    assert first == again
    assert deploy(actors["deployer"], DEVELOPMENT_POWERS_OF_TAU, key="another") != first


def test_other_code_is_not_taken_for_the_marketplace(deployment: Deployment, chain: Chain, faults: str) -> None:
    with pytest.raises(ChainError, match=f"the contract at {faults} is not the JobMarket"):
        replace(deployment, job_market=faults).connect(chain)
    with pytest.raises(ChainError, match="there is no contract at 0x4242"):
        replace(deployment, round_rules="0x" + "42" * 20).connect(chain)
    with pytest.raises(WrongChain, match="is on chain 5"):
        replace(deployment, chain_id=5).connect(chain)


def test_marketplace_with_other_rules_is_not_taken_for_ours(deployment: Deployment, chain: Chain, actors: Any) -> None:
    other = deploy(actors["deployer"], DEVELOPMENT_POWERS_OF_TAU)
    with pytest.raises(ChainError, match="is not the JobMarket"):
        replace(deployment, round_rules=other.round_rules).connect(chain)


def test_marketplace_with_other_powers_of_tau_is_not_taken_for_ours(deployment: Deployment, chain: Chain) -> None:
    powers = bytes.fromhex(deployment.powers_of_tau)
    with pytest.raises(ChainError, match="is not the GramVerifier"):
        replace(deployment, powers_of_tau=(powers[:-1] + bytes([powers[-1] ^ 1])).hex()).connect(chain)


def test_powers_that_are_not_of_one_number_are_refused(actors: Any) -> None:
    powers = DEVELOPMENT_POWERS_OF_TAU
    with pytest.raises(ContractRevert) as refused:
        deploy(actors["deployer"], powers[:192] + powers[64:192], key="inconsistent")
    assert refused.value.name == "InvalidSrs"
    with pytest.raises(InvalidInput, match="powers of tau: got 319 bytes in hex, expected 320"):
        deploy(actors["deployer"], powers[:-1], key="short")


def damaged(chain_id: object = 1, without: str = "") -> str:
    """A deployment's file whose addresses are none."""
    libraries = ("attempts", "openings", "exams", "members", "disputes", "receipts", "claims")
    others = ("directory", "task_endings", "consensus")
    addresses = dict.fromkeys(("job_market", "round_rules", "gram_verifier", *libraries, *others), "0x")
    stated = {"chain_id": chain_id, **addresses, "powers_of_tau": "0x", "block": 1}
    return json.dumps({name: value for name, value in stated.items() if name != without})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("[]", "expected a JSON object with the fields"),
        ('{"chain_id": 1}', "expected a JSON object with the fields"),
        (damaged(chain_id="1"), "chain_id is '1'"),
        (damaged(), "'0x' is no address"),
        (damaged(without="exams"), "expected a JSON object with the fields"),
    ],
)
def test_damaged_deployment_file_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=reason):
        Deployment.load(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        Deployment.load(tmp_path / "missing.json")


def test_a_deployment_of_an_older_version_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(damaged(without="directory"))
    with pytest.raises(ChainError, match="names no directory: an older version deployed that market"):
        Deployment.load(path)
