"""An aggregator's worker on a real chain: what cannot be used is excluded, what is false is refused, once is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tests.integration.marketplace
from aggregator.gram import GramMatrix
from aggregator.payouts import pot_round
from fedmarket.devnet import Devnet
from market.chain.events import BondWithdrawn, UpdateExcluded
from market.chain.job_market import JobMarket
from market.chain.packed import unpack_pays
from market.chain.records import ExclusionReason, Settlement
from market.protocol.errors import BlockNotFound, ChainTimeout, ContractRevert, InvalidInput, InvalidModel
from market.protocol.identifiers import Digest, Seat
from market.protocol.integer_model import MODEL_LIMIT
from market.protocol.rounds import Phase
from market.protocol.seal import new_salt, seal
from market.storage import Cid
from tests.integration.marketplace import (
    COMPENSATION_WEI,
    FEE_WEI,
    ON_ANVIL,
    REWARD_WEI,
    STAKE_WEI,
    Killed,
    Marketplace,
    constant,
)
from trainer_client.claims import claim, claimable
from trainer_client.session import RoundTask

pytestmark = ON_ANVIL

D = 15


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


def commit_content(place: Marketplace, name: str, content: Digest) -> bytes:
    """Seal a content id without having to have the content; returns the salt."""
    state, salt = place.state, new_salt()
    context = place.market.seal_context(place.id, state.round, state.attempt)
    digest = seal(context, place.actor(name).address, content, salt)
    place.send(name, f"commit {state.attempt}", place.market.commit(place.id, state.attempt, digest))
    return salt


def reveal_content(place: Marketplace, name: str, content: Digest, salt: bytes) -> None:
    attempt, address = place.state.attempt, place.actor(name).address
    call = place.market.reveal(place.id, attempt, address, content, salt)
    place.send(name, f"reveal {attempt}", call)


def played_with(place: Marketplace, honest: list[str], contents: dict[str, Digest]) -> None:
    """Commit and reveal: the honest as they do, the others whatever content ids they like."""
    place.commit(honest)
    salts = {name: commit_content(place, name, content) for name, content in contents.items()}
    place.reveal(honest)
    for name, salt in salts.items():
        reveal_content(place, name, contents[name], salt)


def digest_of(data: bytes) -> Digest:
    return Digest(Cid.of_block(data, 0x55).digest)


# ---------------------------------------------------------------------- what cannot be used


def test_more_unusable_updates_than_usable_ones_are_excluded_and_gain_nobody_anything(place: Marketplace) -> None:
    place.post().join(7)
    honest = place.trainers[:3]
    out_of_range = np.full(D, -32768, "<i2").tobytes()
    contents = {
        "trainer 3": Digest(place.store.add_bytes(b"too short").digest),
        "trainer 4": Digest(place.store.add_bytes(out_of_range).digest),
        "trainer 5": digest_of(b"never uploaded"),
        "trainer 6": Digest(place.store.add_bytes(b"\x01\x02" * D).digest),
    }
    played_with(place, honest, contents)
    _damage(place, contents["trainer 6"])

    assert not place.settle()  # half of the settle phase is for those that are missing
    place.advance("reveal_end_s", place.terms.settle_period_s // 2)
    assert place.settle()
    attempt = place.attempt(0)
    assert [(event.seat, event.reason) for event in attempt.exclusions.values()] == [
        (3, ExclusionReason.UNREADABLE),
        (4, ExclusionReason.UNREADABLE),
        (5, ExclusionReason.UNAVAILABLE),
        (6, ExclusionReason.UNAVAILABLE),
    ]
    assert attempt.settled is not None
    assert attempt.settled.accepted == (0, 1, 2)
    pays = unpack_pays(attempt.settled.pays)
    shares = pot_round(attempt.settled.scores_q32, 3, 4, REWARD_WEI, 0)
    assert pays == [*shares.pays_wei, 0, 0, 0, 0, 0]
    assert sum(pays) <= REWARD_WEI * 3 // 7
    # Their stakes are where they were: being excluded costs nothing by itself, and brings nothing.
    assert place.ledger.stakes_wei == 7 * STAKE_WEI
    assert place.ledger.carry_wei == REWARD_WEI - sum(pays)
    assert place.ledger.refundable_wei == 0
    line = "3 of 3 accepted, new model, seat 3 excluded: unreadable, seat 4 excluded: unreadable"
    assert line in place.told["alice"][-1]
    place.check_books()


def _damage(place: Marketplace, content: Digest) -> None:
    [block] = [path for path in place.store.root.rglob("*.data") if digest_of(path.read_bytes()) == content]
    block.chmod(0o644)
    block.write_bytes(b"\x00" * 2 * D)


def test_an_update_that_arrives_while_it_is_waited_for_counts(place: Marketplace) -> None:
    place.post().join(4)
    late = (np.random.default_rng(0).integers(-900, 900, D)).astype("<i2").tobytes()
    played_with(place, place.trainers[:3], {"trainer 3": digest_of(late)})
    assert not place.settle()
    place.store.add_bytes(late)
    assert place.settle()
    assert place.attempt(0).rows == [0, 1, 2, 3]


def test_a_damaged_copy_in_the_cache_is_fetched_again(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    job = place.worker("alice").job
    for reveal in place.attempt(0).reveals.values():
        job.update(reveal.content)
    for copy in (place.work_folder("alice") / "cache").iterdir():
        copy.chmod(0o644)
        copy.write_bytes(b"\x00\x80" * D)
    assert place.settle()
    assert place.attempt(0).rows == [0, 1, 2]


@pytest.mark.parametrize("revealed", [False, True], ids=["nobody revealed", "everybody excluded"])
def test_a_round_with_no_update_left_is_settled_without_a_model(place: Marketplace, revealed: bool) -> None:
    place.post().join(3)
    contents = {name: digest_of(name.encode()) for name in place.trainers}
    place.commit([])
    salts = {name: commit_content(place, name, content) for name, content in contents.items()}
    place.advance("commit_end_s")
    for name in place.trainers if revealed else []:
        reveal_content(place, name, contents[name], salts[name])
    place.advance("reveal_end_s", place.terms.settle_period_s // 2)
    model = place.state.model
    assert place.settle()
    assert (place.state.round, place.state.model) == (1, model)
    ledger = place.ledger
    assert (ledger.carry_wei, ledger.refundable_wei) == (REWARD_WEI, 0)
    assert ledger.credits_wei == FEE_WEI
    assert ledger.burned_wei == (0 if revealed else 3 * STAKE_WEI)
    assert place.told["alice"][-1].startswith("round 0: 0 of 0 accepted, the model stays")
    place.check_books()


def test_with_fewer_than_three_accepted_the_model_stays_and_nobody_is_paid(place: Marketplace) -> None:
    place.post(rules={"accept": [{"norm_bound": {"norm": 5_000}}]}).join(4)
    for name, size in zip(place.trainers[2:], (20_000, 30_000), strict=True):
        place.crafts[name] = constant(np.full(D, size))
    model = place.state.model
    attempt = place.play_round()
    assert attempt.settled is not None
    assert attempt.settled.accepted == ()
    assert place.state.model == model
    assert set(unpack_pays(attempt.settled.pays)) == {0}
    assert "0 of 4 accepted, the model stays" in place.told["alice"][-1]


def test_a_round_with_too_few_commits_is_skipped(place: Marketplace) -> None:
    place.post().join(3)
    place.commit(place.trainers[:2])
    place.advance("commit_end_s")
    assert place.worker("alice").advance(*place.now())
    assert (place.state.round, place.phase) == (1, Phase.COMMIT)
    assert place.ledger.refundable_wei == REWARD_WEI + FEE_WEI
    assert place.ledger.burned_wei == 0
    place.check_books()


# ---------------------------------------------------------------------- killed and started again


@pytest.mark.parametrize("moment", ["killed_before", "killed_after"])
def test_a_worker_killed_around_its_settlement_settles_once(place: Marketplace, moment: str) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    state, phase = place.state, place.phase
    place.restart("alice", **{moment: "settle"})
    with pytest.raises(Killed):
        place.worker("alice").advance(state, phase)
    published = {cid.digest for cid, why in place.store.pins().items() if f"job {place.id} model of round 0" in why}
    place.restart("alice")
    again = place.worker("alice")
    if moment == "killed_before":
        assert again.advance(*place.now())
    else:
        # What the node answered before the settlement: the journal knows better.
        assert again.advance(state, phase)
        assert not again.advance(*place.now())
    [settled] = place.settlements()
    assert {settled.model} == published
    assert place.state.round == 1


def test_a_settlement_on_its_way_is_not_signed_again(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    state, phase = place.state, place.phase
    place.devnet.set_mining(False)
    for _ in range(2):
        sender = place.restart("alice")
        sender.devnet, sender.policy = None, replace(sender.policy, timeout_s=0.05)
        with pytest.raises(ChainTimeout):
            place.worker("alice").advance(state, phase)
    place.devnet.set_mining(True)
    place.devnet.mine()
    assert len(place.settlements()) == 1
    assert place.state.round == 1


def test_an_owner_cannot_trap_a_bond_with_a_model_that_leaves_no_room_for_an_update(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.integration.marketplace, "initial_model", lambda *_: np.full(D, MODEL_LIMIT))
    place.post()
    with pytest.raises(InvalidModel, match="could not be settled"):
        place.join(0)
    assert place.ledger.bonds_wei == 0


def test_an_owner_cannot_trap_a_bond_with_a_model_that_is_in_no_store(place: Marketplace) -> None:
    place.post()
    blocks = place.store.root.rglob("*.data")
    [model] = [path for path in blocks if sha256(path.read_bytes()).digest() == place.model_cid.digest]
    model.unlink()
    with pytest.raises(BlockNotFound):
        place.join(0)
    assert place.ledger.bonds_wei == 0


def test_bonding_again_changes_nothing(place: Marketplace) -> None:
    place.post().join(3)
    place.restart("alice")
    place.worker("alice").bond()
    assert place.market.bond_wei(place.id, place.actor("alice").address) == STAKE_WEI
    assert place.told["alice"] == ["bonded"]


# ---------------------------------------------------------------------- succession


def test_a_successor_takes_over_and_the_first_aggregators_bond_is_gone(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    place.commit()
    place.reveal()
    assert not place.settle("bob")  # not its turn
    place.advance("settle_end_s")
    late = place.worker("alice")
    assert not late.advance(*place.now())
    assert place.worker("bob").advance(*place.now())
    assert place.told["bob"][-1] == "round 0: attempt 0 expired; its aggregator lost the bond"
    ledger = place.ledger
    assert ledger.burned_wei == STAKE_WEI - 3 * COMPENSATION_WEI
    assert ledger.credits_wei == 3 * COMPENSATION_WEI
    assert place.market.aggregators(place.id) == [place.actor("bob").address]
    with pytest.raises(InvalidInput, match=r"0x\w+ has no bond in job 0: bond before running"):
        late.run()
    with pytest.raises(ContractRevert, match="NotBonded"):
        place.send("alice", "unbond", place.market.withdraw_bond(place.id, place.actor("alice").address))

    place.commit()
    place.reveal()
    assert place.settle("bob")
    view, sender = place.view("trainer 0"), place.actor("trainer 0")
    [compensation] = claimable(view, sender.address)
    assert compensation.amount_wei == COMPENSATION_WEI
    claim(view, sender, compensation)
    assert place.ledger.paid_wei == COMPENSATION_WEI
    place.check_books()


def test_who_lost_a_bond_can_bond_again_as_successor(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    place.commit()
    place.reveal()
    place.expire()
    place.worker("alice").bond()
    assert place.market.aggregators(place.id) == [place.actor(name).address for name in ("bob", "alice")]
    assert not [event for event in place.market.events(place.id) if isinstance(event, BondWithdrawn)]


# ---------------------------------------------------------------------- false settlements


Forgery = Callable[[Settlement, GramMatrix], Settlement]


def _with_entry(honest: Settlement, gram: GramMatrix, row: int, column: int, value: int) -> Settlement:
    updates = [list(products) for products in gram.updates]
    updates[row][column] = updates[column][row] = value
    return replace(honest, gram=replace(gram, updates=updates).pack())


def _beyond_cauchy_schwarz(honest: Settlement, gram: GramMatrix) -> Settlement:
    return _with_entry(honest, gram, 0, 1, gram.updates[0][0] + gram.updates[1][1])


def _negative_square(honest: Settlement, gram: GramMatrix) -> Settlement:
    return _with_entry(honest, gram, 2, 2, -1)


def _beyond_range(honest: Settlement, gram: GramMatrix) -> Settlement:
    return _with_entry(honest, gram, 2, 2, (D << 30) + 1)


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "products beyond Cauchy-Schwarz": (_beyond_cauchy_schwarz, "CauchySchwarz"),
    "a negative square": (_negative_square, "Diagonal"),
    "a square beyond its range": (_beyond_range, "Diagonal"),
    "a matrix of fewer rows": (lambda honest, gram: replace(honest, gram=honest.gram[:-8]), "Length"),
    "an exclusion of who did not reveal": (
        lambda honest, gram: replace(honest, exclusions={Seat(5): ExclusionReason.UNAVAILABLE}),
        "NotRevealed",
    ),
    "an exclusion without a reason": (
        lambda honest, gram: replace(honest, exclusions={Seat(0): ExclusionReason.NONE}),
        "InvalidReason",
    ),
    "no model": (lambda honest, gram: replace(honest, model=Digest(bytes(32))), "EmptyModel"),
    "other lifetime scores": (
        lambda honest, gram: replace(honest, lifetime=b"\x00" * 63 + b"\x01"),
        "LifetimeMismatch",
    ),
    "fewer lifetime scores": (lambda honest, gram: replace(honest, lifetime=b"\x00" * 56), "LifetimeMismatch"),
}


def _honest_settlement(place: Marketplace) -> tuple[Settlement, GramMatrix]:
    worker = place.worker("alice")
    history, state = worker.job.history(), place.state
    attempt = history.attempt(state.attempt)
    collected = worker._collect(attempt)
    assert collected is not None
    result = worker._decide(history, attempt, collected)
    model = state.model if result.model is None else worker._publish(result.model, state)
    settlement = Settlement({}, result.gram.pack(), model, history.packed_lifetime())
    return settlement, GramMatrix.unpack(settlement.gram, len(collected.updates))


def test_a_false_settlement_is_refused_by_name_and_the_honest_one_goes_through(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    before = place.state, place.ledger
    for what, (forge, name) in FORGERIES.items():
        honest, gram = _honest_settlement(place)
        call = place.market.settle_round(place.id, 0, forge(honest, gram))
        with pytest.raises(ContractRevert) as refusal:
            place.send("alice", what, call)
        assert name in refusal.value.name, what
    honest, _ = _honest_settlement(place)
    with pytest.raises(ContractRevert, match="NotAggregator"):
        place.send("bob", "not my turn", place.market.settle_round(place.id, 0, honest))
    with pytest.raises(ContractRevert, match=r"WrongAttempt\(attempt=1, current=0\)"):
        place.send("alice", "another attempt", place.market.settle_round(place.id, 1, honest))
    assert (place.state, place.ledger) == before
    assert place.settle()
    with pytest.raises(ContractRevert, match=r"WrongAttempt\(attempt=0, current=1\)"):
        place.send("alice", "the same again", place.market.settle_round(place.id, 0, honest))


def test_a_model_of_the_aggregators_own_is_refused_where_nobody_was_accepted(place: Marketplace) -> None:
    place.post().join(3)
    random = np.random.default_rng(1)

    def unlike(task: RoundTask) -> NDArray[np.float32]:
        return constant(random.integers(-900, 900, D))(task)

    place.crafts = dict.fromkeys(place.trainers, unlike)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    honest, _ = _honest_settlement(place)
    own = replace(honest, model=digest_of(b"my own"))
    with pytest.raises(ContractRevert, match="ModelMustStay"):
        place.send("alice", "my own", place.market.settle_round(place.id, 0, own))
    assert place.settle()


def test_excluding_an_honest_trainer_is_on_record_and_gains_nobody_anything(place: Marketplace) -> None:
    place.post().join(4)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    worker = place.worker("alice")
    history = worker.job.history()
    collected = worker._collect(history.attempt(0))
    assert collected is not None
    del collected.updates[Seat(3)]
    result = worker._decide(history, history.attempt(0), collected)
    assert result.model is not None
    model = worker._publish(result.model, place.state)
    slander = Settlement({Seat(3): ExclusionReason.MISMATCH}, result.gram.pack(), model, history.packed_lifetime())
    place.send("alice", "slander", place.market.settle_round(place.id, 0, slander))
    [event] = [event for event in place.market.events(place.id) if isinstance(event, UpdateExcluded)]
    assert (event.seat, event.reason) == (3, ExclusionReason.MISMATCH)
    [settled] = place.settlements()
    assert sum(unpack_pays(settled.pays)) <= REWARD_WEI * 3 // 4
    assert place.ledger.carry_wei >= REWARD_WEI // 4
    assert place.ledger.refundable_wei == 0
