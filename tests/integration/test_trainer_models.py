"""A trainer trains on no model but the one that the chain committed to; who publishes another one is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from web3.exceptions import TransactionNotFound

from fedmarket.cli import main
from fedmarket.devnet import Devnet
from fedmarket.owner import initial_model, publish
from market.chain import keystore
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.events import JobOpened, RoundProven
from market.chain.job_market import JobMarket
from market.job_history import Version
from market.model_opening import check_srs, fetch_verified, model_blinders, verdict, verify_model
from market.protocol import integer_model
from market.protocol.errors import AuditMismatch, ChainError, InvalidInput, InvalidModel, StorageError
from market.protocol.identifiers import Digest
from market.protocol.integer_model import MODEL_LIMIT, Integers
from tests.integration.marketplace import ON_ANVIL, SEALING_KEY, Marketplace, spec, srs_folder
from zk.commitment import Blinders, Layout, commit
from zk.field import R

pytestmark = ON_ANVIL

D = 15


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


def versions(place: Marketplace) -> list[Version]:
    return place.view("onlooker").history().versions()


# ---------------------------------------------------------------------- before a training


def one_entry_off(model: Integers) -> bytes:
    changed = model.copy()
    changed[D // 2] += 1
    return integer_model.to_bytes(changed)


def one_entry_short(model: Integers) -> bytes:
    return integer_model.to_bytes(model[:-1])


def one_entry_too_large(model: Integers) -> bytes:
    changed = model.copy()
    changed[2] = MODEL_LIMIT + 1
    return changed.astype("<i8").tobytes()


def zeros(model: Integers) -> bytes:
    return bytes(8 * D)


FALSE: dict[str, tuple[Callable[[Integers], bytes], str]] = {
    "one entry off": (one_entry_off, "the model of round 0 is not what the chain committed to: its commitment is 0x"),
    "another model": (zeros, "the model of round 0 is not what the chain committed to: its commitment is 0x"),
    "one entry short": (one_entry_short, f"{8 * (D - 1)} bytes, expected {8 * D}"),
    "out of range": (one_entry_too_large, f"the model's entry 2 is {MODEL_LIMIT + 1}, expected a magnitude of at most"),
}


@pytest.mark.parametrize("what", FALSE)
def test_nobody_trains_on_a_false_model_until_the_chain_has_the_true_one(place: Marketplace, what: str) -> None:
    altered, words = FALSE[what]
    place.post().join(4)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    before_settlement = place.devnet.snapshot()
    _settle_falsely(place, altered)
    place.advance("start_s")
    session = place.session("trainer 0")
    for _ in range(2):
        assert not session.advance(*place.now())
    [_, _, line] = place.told["trainer 0"]  # committed, revealed, and this once
    assert line.startswith("round 1: not taking part any more: ")
    assert words in line
    assert "\n" not in line
    assert session.is_done(place.state, 0)
    assert place.state.committed == 0

    place.devnet.revert(before_settlement)  # as by a reorganisation: the same attempt begins from another settlement
    place.settle_otherwise()
    place.advance("start_s")
    session.sender = place.restart("trainer 0")
    assert session.advance(*place.now())
    assert place.state.committed == place.mask("trainer 0")


def _settle_falsely(place: Marketplace, altered: Callable[[Integers], bytes]) -> None:
    """The aggregator proves the round, and publishes other bytes than the true model's."""
    worker = place.worker("alice")

    def publish_other(model: Integers, state: object) -> Digest:
        return Digest(place.store.add_bytes(altered(model)).digest)

    worker._publish = publish_other  # type: ignore[method-assign]
    assert worker.advance(*place.now())


def test_whoever_takes_part_needs_no_rounds_transaction(place: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that lags behind, or is asked in the middle of a reorganisation, has the log and not the transaction."""
    place.post().join(3)
    place.play_round()
    view = place.view("onlooker")

    def refuse(block: object, index: int) -> None:
        raise TransactionNotFound("not here yet")

    monkeypatch.setattr(view.market.chain.web3.eth, "get_transaction_by_block", refuse)
    assert len(view.history().versions()) == 2
    with pytest.raises(ChainError, match="not here yet"):
        view.market.events(view.id, kinds=[RoundProven])


def test_nobody_can_make_a_jobs_history_longer_by_coming_and_going(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    before = place.view("onlooker").history().events
    trainer, successor = place.actor("trainer 0"), place.actor("bob")
    for turn in range(3):
        place.send("trainer 0", f"unstake {turn}", place.market.withdraw_stake(place.id, trainer.address))
        place.send("trainer 0", f"enrol again {turn}", place.market.enrol(place.id, place.terms))
        place.send("bob", f"unbond {turn}", place.market.withdraw_bond(place.id, successor.address))
        place.send("bob", f"bond again {turn}", place.market.bond(place.id, place.terms, SEALING_KEY))
    assert place.view("onlooker").history().events == before


def test_a_model_that_is_not_to_be_had_is_waited_for(place: Marketplace) -> None:
    place.post().join(3)
    place.advance("start_s")
    session, data = place.session("trainer 0"), integer_model.to_bytes(place.prepared.model)
    [block] = [path for path in place.store.root.rglob("*.data") if path.read_bytes() == data]
    block.unlink()
    for _ in range(3):
        assert not session.advance(*place.now())
    missing = f"block {place.model_cid} is not in {place.store.root}"
    assert place.told["trainer 0"] == [f"round 0: waiting for the model: {missing}"]
    assert not session.is_done(place.state, 0)
    place.store.add_bytes(data)
    assert session.advance(*place.now())


def test_nobody_enrols_where_the_chain_committed_to_another_initial_model(
    place: Marketplace, deployment: Deployment, tmp_path: Path
) -> None:
    place.post()
    other = place.prepared.model.copy()
    other[3] += 1
    lie = commit(place.srs, place.layout, other, Blinders.zero(place.layout))
    receipt = place.send("owner", "lie", place.opening_call(replace(place.prepared, commitment=lie)))
    [opened] = [event for event in place.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
    deployment.save(tmp_path / "deployment.json")
    keystore.create(tmp_path / "trainer.json", "a password for tests", "scrypt-light")
    (tmp_path / "password").write_text("a password for tests")
    (tmp_path / "password").chmod(0o600)
    environment = {
        "FEDMARKET_RPC": place.devnet.url,
        "FEDMARKET_DEPLOYMENT": str(tmp_path / "deployment.json"),
        "FEDMARKET_STORE": str(place.store.root),
        "FEDMARKET_SRS": str(srs_folder()),
        "FEDMARKET_KEYSTORE": str(tmp_path / "trainer.json"),
        "FEDMARKET_PASSWORD_FILE": str(tmp_path / "password"),
        "FEDMARKET_WORK": str(tmp_path / "work"),
    }
    place.devnet.fund(str(keystore.address_in(tmp_path / "trainer.json")), 10**18)

    refused = CliRunner(env=environment).invoke(main, ["trainer", "enrol", str(opened.job)])

    assert (refused.exit_code, refused.stdout) == (1, "")
    [line] = refused.stderr.splitlines()
    assert "the initial model is not what the chain committed to: its commitment is 0x" in line
    assert place.market.state(opened.job).seats_taken == 0


# ---------------------------------------------------------------------- openings


def test_every_model_of_a_job_opens_the_chains_commitment_and_no_other(place: Marketplace) -> None:
    """With a coarser scale: blinders add up as 2^e times what each settlement published."""
    place.post(update={"initial_shift": 3}).join(4)
    for _ in range(3):
        place.play_round()
    job, found = place.view("onlooker"), versions(place)
    assert [version.round for version in found] == [None, 0, 1, 2]
    assert {version.shift for version in found[1:]} == {3}
    models = [fetch_verified(job, place.srs, found[: number + 1]) for number in range(4)]
    for number in range(4):
        for other in set(range(4)) - {number}:
            with pytest.raises(AuditMismatch, match=f"{found[number].name} is not what the chain committed to"):
                verify_model(place.srs, place.layout, found[: number + 1], models[other])
    line = verdict(place.id, found[3], D)
    assert line == f"job {place.id}: the model of round 2 is what the chain committed to (15 parameters)"
    assert "the initial model is what the chain committed to" in verdict(place.id, found[0], D)


def test_the_initial_model_opens_without_blinders(place: Marketplace) -> None:
    place.post()
    [version] = versions(place)
    none = Blinders.zero(place.layout)
    assert version.commitment == commit(place.srs, place.layout, place.prepared.model, none)
    assert model_blinders(place.layout, [version]).to_bytes() == none.to_bytes()


def test_published_blinders_that_are_false_or_none_are_found_out(place: Marketplace) -> None:
    place.post().join(4)
    place.play_round()
    [first, second] = versions(place)
    model = place.view("onlooker").model(second.digest)
    last = int.from_bytes(second.blinders[-32:], "big")
    for false, words in (
        (second.blinders[:-32] + ((last + 1) % R).to_bytes(32, "big"), "is not what the chain committed to"),
        (second.blinders[:-32] + R.to_bytes(32, "big"), "the blinders published with the model of round 0 are none"),
        (second.blinders[:-1], "the blinders published with the model of round 0 are none"),
    ):
        with pytest.raises(AuditMismatch, match=words):
            verify_model(place.srs, place.layout, [first, replace(second, blinders=false)], model)


def test_a_model_of_another_length_or_out_of_range_is_refused(place: Marketplace) -> None:
    place.post()
    [version] = versions(place)
    with pytest.raises(InvalidModel, match=r"shape \(14,\), expected \(15,\)"):
        verify_model(place.srs, place.layout, [version], place.prepared.model[:-1])
    too_large = place.prepared.model.copy()
    too_large[4] = -MODEL_LIMIT - 1
    with pytest.raises(InvalidModel, match="entry 4 is"):
        verify_model(place.srs, place.layout, [version], too_large)


def test_a_model_that_is_not_in_storage_is_told(place: Marketplace) -> None:
    place.post()
    [version] = versions(place)
    with pytest.raises(StorageError, match="is not in"):
        fetch_verified(place.view("onlooker"), place.srs, [replace(version, digest=Digest(bytes(32)))])


# ---------------------------------------------------------------------- the SRS, and how vectors are cut for it


def test_an_insecure_another_and_a_short_srs_are_told_apart(place: Marketplace) -> None:
    srs = place.srs
    check_srs(srs, srs.id, Layout(D, 1), on_development_chain=True)
    with pytest.raises(InvalidInput, match="insecure"):
        check_srs(srs, srs.id, Layout(D, 1), on_development_chain=False)
    with pytest.raises(InvalidInput, match="expected 0x0000"):
        check_srs(srs, bytes(32), Layout(D, 1), on_development_chain=True)
    with pytest.raises(InvalidInput, match="4,096 points, expected at least 5,012 for 5,000 parameters in 1 chunks"):
        check_srs(srs, srs.id, Layout(5_000, 1), on_development_chain=True)
    check_srs(srs, srs.id, Layout(5_000, 2), on_development_chain=True)


def test_nobody_takes_part_under_an_insecure_srs_off_a_development_chain(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.post().join(3)
    monkeypatch.setattr(Chain, "is_development_chain", property(lambda chain: False))
    for start in (lambda: place.session("trainer 0"), lambda: place.worker("alice")):
        with pytest.raises(InvalidInput, match="for development chains only"):
            start()


def test_a_vector_longer_than_the_srs_is_cut_into_as_few_chunks_as_will_do(place: Marketplace) -> None:
    wide = spec(2_000)
    prepared = publish(wide, initial_model(wide, None), place.store, place.srs)
    assert (prepared.document.parameters.dimension, prepared.spec.update.chunks) == (6_003, 2)
    assert len(prepared.commitment) == 128
    assert prepared.terms(0).chunks == 2
    assert prepared.document.spec == prepared.spec
    with pytest.raises(InvalidInput, match="4,096 points, expected at least 6,015"):
        publish(wide.with_chunks(1), initial_model(wide, None), place.store, place.srs)


def test_a_job_in_chunks_is_played_and_its_models_open(place: Marketplace) -> None:
    place.post(update={"chunks": 4}).join(4)
    for _ in range(2):
        assert place.play_round().rows == [0, 1, 2, 3]
    found = versions(place)
    assert [len(version.commitment) for version in found] == [256] * 3
    fetch_verified(place.view("onlooker"), place.srs, found)
