"""An aggregator's worker on a real chain: rounds end once, killed or not, and successors prove on."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.proving import STAGES
from aggregator.round import ModelVersion
from aggregator.worker import AggregatorWorker, Progress
from fedmarket.devnet import Devnet
from market.chain.events import BondWithdrawn, JobOpened
from market.chain.job_market import JobMarket
from market.chain.packed import unpack_pays
from market.model_opening import verify_model
from market.protocol.errors import (
    AuditMismatch,
    BlockNotFound,
    ChainTimeout,
    ContractRevert,
    InvalidInput,
    InvalidModel,
)
from market.protocol.identifiers import Digest
from market.protocol.integer_model import MODEL_LIMIT
from market.protocol.rounds import Phase
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
from tests.integration.sealings import (
    D,
    Sealing,
    block_of,
    commit_content,
    committed,
    digest_of,
    reveal_content,
    some_counts,
)
from trainer_client.claims import claim, claimable
from zk.gram_proof import MaskRow
from zk.srs import make_insecure, open_srs

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


# ---------------------------------------------------------------------- ends of a round


@pytest.mark.parametrize("revealed", [False, True], ids=["nobody revealed", "everybody excluded"])
def test_a_round_with_no_update_left_is_settled_without_a_model(place: Marketplace, revealed: bool) -> None:
    place.post().join(3)
    gone = [digest_of(name.encode()) for name in place.trainers]
    sealings = [Sealing(content, committed(place, some_counts(0))[0]) for content in gone]
    contents = dict(zip(place.trainers, sealings, strict=True))
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
    assert (ledger.carry_wei, ledger.refundable_wei) == (REWARD_WEI + FEE_WEI, 0)
    assert ledger.credits_wei == 0, "excluding everybody earns no fee"
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


@pytest.mark.parametrize("done", [0, STAGES], ids=["while it proves", "with the proof made"])
def test_a_worker_killed_over_its_proof_makes_another_with_a_fresh_mask(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    masks: list[MaskRow] = []
    fresh = MaskRow.fresh
    monkeypatch.setattr(MaskRow, "fresh", lambda *place: masks.append(fresh(*place)) or masks[-1])

    def killing(progress: Progress) -> None:
        if (progress.what, progress.done) == ("proving", done):
            raise Killed("over its proof")

    with pytest.raises(Killed):
        AggregatorWorker(place.view("alice"), place.actor("alice"), place.srs, progress=killing).advance(*place.now())
    assert not place.actor("alice").knows(f"settle/{place.id}/0")
    place.restart("alice")
    assert place.settle()
    assert len({mask.commitment for mask in masks}) == len(masks) == 2
    assert len(place.settlements()) == 1


def test_a_process_killed_over_its_proof_leaves_the_round_to_the_next_one(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    place.actor("alice").close()
    with subprocess.Popen([sys.executable, "-c", PROVES_FOR_EVER, *_arguments(place)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"proving\n"
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
    assert place.settlements() == []
    place.restart("alice")
    assert place.settle()
    assert len(place.settlements()) == 1


PROVES_FOR_EVER = """
import sys, threading
from pathlib import Path
from eth_account import Account
from aggregator.worker import AggregatorWorker
from market.chain.connection import Chain
from market.chain.job_market import JobMarket
from market.chain.transactions import TransactionSender
from market.published_job import PublishedJob
from market.storage import EmbeddedStore
from zk.srs import open_srs

url, market, job, key, journal, store, cache, srs = sys.argv[1:]

def stop(progress):
    if progress.what == "proving":
        print("proving", flush=True)
        threading.Event().wait(60)

chain = Chain.connect(url)
published = PublishedJob(JobMarket(chain, market), EmbeddedStore(Path(store)), int(job), Path(cache))
sender = TransactionSender(chain, Account.from_key(key), Path(journal))
AggregatorWorker(published, sender, open_srs(Path(srs)), progress=stop).advance(*published.now())
"""


def _arguments(place: Marketplace) -> list[str]:
    """What the process needs to know to be alice."""
    key = place.actors.account("alice").key.hex()
    folders = [place.actors.folder / "alice", place.store.root, place.work_folder("alice") / "cache"]
    srs = place.folder / "insecure.ptau"
    make_insecure(srs, len(place.srs.points))
    return [place.devnet.url, place.market.address, str(place.id), key, *map(str, folders), str(srs)]


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
    monkeypatch.setattr(place, "first_model", lambda *_: np.full(D, MODEL_LIMIT))
    place.post()
    with pytest.raises(InvalidModel, match="could not be settled"):
        place.join(0)
    assert place.ledger.bonds_wei == 0


def test_an_owner_cannot_trap_a_bond_with_a_model_that_is_in_no_store(place: Marketplace) -> None:
    place.post()
    block_of(place, Digest(place.model_cid.digest)).unlink()
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


def test_a_successor_proves_on_from_events_and_models_alone(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    for _ in range(2):
        attempt = place.play_round()
        for reveal in attempt.reveals.values():  # the updates are gone, and whoever aggregated them
            block_of(place, reveal.content).unlink()
    place.commit()
    place.reveal()
    place.expire()
    place.commit()
    place.reveal()
    assert place.settle("bob")
    [*_, settled] = place.settlements()
    assert (settled.aggregator, len(settled.accepted)) == (place.actor("bob").address, 3)
    versions = place.view("onlooker").history().versions()
    assert len(versions) == 4
    verify_model(place.srs, place.layout, versions, place.view("onlooker").model(settled.model))


def test_nobody_bonds_where_a_model_is_not_what_the_chain_committed_to(place: Marketplace) -> None:
    place.post()
    other = place.prepared.commitment
    place.prepared = replace(place.prepared, commitment=committed(place, some_counts(0))[0])
    receipt = place.send("owner", "open falsely", place.opening_call(place.prepared))
    [opened] = [event for event in place.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
    assert opened.initial_commitment != other
    place.id = opened.job
    with pytest.raises(AuditMismatch, match="the initial model is not what the chain committed to"):
        place.join(0)
    assert place.ledger.bonds_wei == 0


def test_nobody_bonds_where_a_model_was_made_of_fractions(place: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a model opens its commitment, but no public row can be made of it, and no round be proven."""
    place.post().join(3)
    place.play_round()
    worker = place.worker("bob")
    [initial, made] = worker._models.needed(worker.job.history())
    broken = replace(made, version=ModelVersion(made.version.model + 1, shift=1))
    monkeypatch.setattr(worker._models, "needed", lambda history: [initial, broken])
    with pytest.raises(InvalidModel, match="expected a multiple of 2"):
        worker.bond()
    assert place.market.bond_wei(place.id, place.actor("bob").address) == 0


def test_an_aggregator_without_the_jobs_srs_does_not_bond(place: Marketplace, tmp_path: Path) -> None:
    place.post()
    make_insecure(tmp_path / "insecure-short.ptau", D)
    with pytest.raises(InvalidInput, match=f"has {D} points, expected at least {D + 12}"):
        AggregatorWorker(place.view("alice"), place.actor("alice"), open_srs(tmp_path / "insecure-short.ptau"))


def test_who_lost_a_bond_can_bond_again_as_successor(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    place.commit()
    place.reveal()
    place.expire()
    place.worker("alice").bond()
    assert place.market.aggregators(place.id) == [place.actor(name).address for name in ("bob", "alice")]
    assert not [event for event in place.market.events(place.id) if isinstance(event, BondWithdrawn)]
