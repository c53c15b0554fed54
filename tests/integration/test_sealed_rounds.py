"""Sealed updates in played rounds: to whom they are sealed, what a storage that refuses costs, and what nobody sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit import audit_job
from fedmarket.devnet import Devnet
from fedmarket.openings import AccountOpenings
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason
from market.protocol.errors import CannotUnseal, StorageError, StorageFull
from market.protocol.rounds import Phase
from market.sealing import UpdateSeal, update_ephemeral
from market.storage import Cid, EmbeddedStore
from market.storage.content_store import BlockStore
from tests.integration.marketplace import ON_ANVIL, Marketplace
from tests.integration.sealings import committed, played_with, put, sealed_by, some_counts
from tests.sealed_updates import holds
from trainer_client.session import TrainerSession

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


# ---------------------------------------------------------------------- blobs that do not open


def test_whatever_was_done_to_a_sealed_update_it_is_excluded_as_unreadable(place: Marketplace) -> None:
    """A bit, a byte, another's label, another attempt's blob: each is one seat's loss, and nobody else's."""
    place.post().join(8)
    place.advance("start_s")
    commitment, data = committed(place, some_counts(3))
    blob = sealed_by(place, "trainer 3", data, commitment)
    flipped = blob[:99] + bytes([blob[99] ^ 1]) + blob[100:]
    in_the_clear = data + bytes(48)
    elsewhere = replace(place.market.seal_context(place.id, 0, 0), attempt=7)
    moved = _sealed_for(place, elsewhere, "trainer 7", data, commitment)
    sealings = {
        "trainer 3": put(place, flipped, commitment),
        "trainer 4": put(place, blob, commitment),  # it is that of trainer 3
        "trainer 5": put(place, blob[:-1], commitment),
        "trainer 6": put(place, in_the_clear, commitment),
        "trainer 7": put(place, moved, commitment),
    }
    played_with(place, place.trainers[:3], sealings)
    assert place.settle()
    attempt = place.attempt(0)
    assert attempt.rows == [0, 1, 2]
    assert {event.reason for event in attempt.exclusions.values()} == {ExclusionReason.UNREADABLE}
    assert len(attempt.exclusions) == 5


def _sealed_for(place: Marketplace, where: Any, name: str, data: bytes, commitment: bytes) -> bytes:
    from tests.sealed_updates import sealed_payload

    public = place.market.sealing_key(place.id, place.actor("alice").address)
    assert public is not None
    bound = place.view("onlooker").update_seal(where, place.actor(name).address, commitment)
    return sealed_payload(public, bound, data)


def test_an_update_that_is_too_long_is_refused_before_it_is_fetched(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.post().join(4)
    commitment, _ = committed(place, some_counts(0))
    long = put(place, bytes(200_000), commitment)
    played_with(place, place.trainers[:3], {"trainer 3": long})
    opened: list[Cid] = []
    usual = EmbeddedStore.open
    monkeypatch.setattr(EmbeddedStore, "open", lambda self, cid: opened.append(cid) or usual(self, cid))
    assert place.settle()
    assert place.attempt(0).exclusions[place.seat("trainer 3")].reason is ExclusionReason.UNREADABLE
    assert long.content not in {cid.digest for cid in opened}


# ---------------------------------------------------------------------- to whom


def test_after_an_expired_attempt_updates_are_sealed_to_the_successor(place: Marketplace) -> None:
    place.post().join(3, aggregators=("alice", "bob"))
    place.commit()
    assert {place.opening(name).recipient for name in place.trainers} == {place.worker("alice").key.public}
    place.reveal()
    place.expire()
    place.commit()
    assert {place.opening(name).recipient for name in place.trainers} == {place.worker("bob").key.public}
    place.reveal()
    where, reveal = place.market.seal_context(place.id, 0, 1), place.attempt(1).reveals[place.seat("trainer 0")]
    with pytest.raises(CannotUnseal):
        place.view("onlooker").open_update(where, reveal, place.worker("alice").key)
    assert place.settle("bob")
    assert place.attempt(1).rows == [0, 1, 2]


def test_another_aggregator_after_a_reorganisation_gets_the_same_update_sealed_again(place: Marketplace) -> None:
    place.post().join(3, aggregators=())
    before = place.devnet.snapshot()
    place.worker("alice").bond()
    place.advance("start_s")
    place.kill("trainer 0", before="commit")
    first = place.opening("trainer 0")
    place.devnet.revert(before)
    place.worker("bob").bond()
    place.advance("start_s")
    place.restart("trainer 0")
    place.act(["trainer 0"])
    second = place.opening("trainer 0")
    assert (first.recipient, second.recipient) == (place.worker("alice").key.public, place.worker("bob").key.public)
    assert (first.commitment, first.payload, first.counts) == (second.commitment, second.payload, second.counts)
    assert first.content != second.content
    assert place.told["trainer 0"][-2:] == [
        "round 0: another aggregator is active; the update is sealed again, to that one",
        "round 0: committed",
    ]
    place.act(place.trainers[1:])
    place.reveal()
    assert place.settle("bob")
    assert place.attempt(0).rows == [0, 1, 2]


def test_where_nobody_has_announced_a_key_it_is_waited_for(place: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.post().join(3)
    place.advance("start_s")
    session = place.session("trainer 0")
    with monkeypatch.context() as patched:
        patched.setattr(JobMarket, "sealing_key", lambda self, job, aggregator: None)
        for _ in range(2):
            assert not session.advance(*place.now())
    assert place.told["trainer 0"] == ["round 0: waiting for an aggregator that updates can be sealed to"]
    assert session.advance(*place.now())


def test_sealed_again_after_a_loss_it_is_the_same(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    before = place.sealed_blob("trainer 0")
    for block in (place.work_folder("trainer 0") / "sealed").rglob("*.data"):
        block.unlink()
    place.reveal()
    assert place.store.read(place.update_cid("trainer 0"), 1 << 18) == before
    assert place.settle()
    assert place.attempt(0).rows == [0, 1, 2]


# ---------------------------------------------------------------------- a storage that refuses


class Refusing(EmbeddedStore):
    """A storage that takes nothing while it is full."""

    full = True

    def adopt(self, cid: Cid, source: BlockStore) -> None:
        if self.full:
            raise StorageFull("the disk\nis full")
        super().adopt(cid, source)


def refused(place: Marketplace, name: str) -> tuple[TrainerSession, Refusing]:
    session = place.session(name)
    store = Refusing(place.store.root)
    session.job.store = store
    return session, store


def test_a_storage_that_refuses_is_tried_again_and_the_seal_is_revealed_meanwhile(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    place.advance("commit_end_s")
    session, store = refused(place, "trainer 0")
    assert session.advance(*place.now())
    place.act(place.trainers[1:])
    assert place.state.revealed == place.mask(*place.trainers)
    [line] = [line for line in place.told["trainer 0"] if "cannot be handed in" in line]
    left_s = place.terms.reveal_period_s
    assert line.startswith("round 0: the update cannot be handed in, ")
    assert line.endswith(" s are left, trying again: the disk is full")
    assert 0 < int(line.split(", ")[1].split()[0]) <= left_s
    assert not place.store.has(place.update_cid("trainer 0"))
    store.full = False
    while not session.advance(*place.now()):
        pass
    assert place.told["trainer 0"][-1] == "round 0: the update is in storage now"
    assert place.settle()
    assert place.attempt(0).rows == [0, 1, 2]


def test_whoever_starts_again_hands_in_what_it_still_owes(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    place.advance("commit_end_s")
    session, _ = refused(place, "trainer 0")
    assert session.advance(*place.now())
    place.act(place.trainers[1:])
    assert not place.store.has(place.update_cid("trainer 0"))
    place.restart("trainer 0")
    place.session("trainer 0").advance(*place.now())
    assert place.store.has(place.update_cid("trainer 0"))
    assert place.settle()


def test_a_storage_that_never_comes_back_costs_the_round_and_no_stake(place: Marketplace) -> None:
    place.post().join(4)
    place.commit()
    place.advance("commit_end_s")
    session, _ = refused(place, "trainer 0")
    assert session.advance(*place.now())
    place.act(place.trainers[1:])
    place.advance("reveal_end_s", place.terms.settle_period_s // 2)
    session.advance(*place.now())
    assert place.settle()
    gone = place.attempt(0).exclusions
    assert {seat: it.reason for seat, it in gone.items()} == {place.seat("trainer 0"): ExclusionReason.UNAVAILABLE}
    assert place.state.staked & place.mask("trainer 0")
    assert isinstance(StorageFull(""), StorageError)


# ---------------------------------------------------------------------- what nobody sees, and who opens


def test_no_secret_and_no_update_is_where_others_look_and_no_key_is_anywhere(place: Marketplace) -> None:
    place.post().join(3)
    plain = []
    place.commit()
    for name in place.trainers:
        plain.append(place.stored(name, 0).to_bytes())
    place.reveal()
    assert place.settle()
    assert place.phase is not Phase.CLOSED
    for data in plain:
        assert not holds(place.store.root, data[:30])
    secrets = []
    for name in place.trainers:
        account, opening = place.actor(name).account, place.opening(name, 0)
        where = place.market.seal_context(place.id, 0, 0)
        bound = place.view(name).update_seal(where, account.address, opening.commitment)
        secrets += [bytes(account.key), update_ephemeral(account, bound, opening.payload)]
    key = place.worker("alice").key
    secrets += [bytes(place.actor("alice").account.key), key._private.private_bytes_raw()]
    lines = "\n".join(line for told in place.told.values() for line in told)
    for secret in secrets:
        assert not holds(place.folder, secret)
        assert secret.hex() not in lines
        assert secret.hex() not in repr(key)


def test_aggregator_and_trainer_open_in_an_audit_what_is_theirs(place: Marketplace) -> None:
    place.post().join(3)
    place.play_round()

    def updates(name: str | None) -> tuple[str, str]:
        openings = None
        if name:
            folder, account = place.work_folder(name), place.actor(name).account
            openings = AccountOpenings(account, place.market.chain.chain_id, place.market.address, place.id, folder)
        found = audit_job(
            place.market, place.store, place.id, place.srs, place.folder / "audit", openings=openings
        ).checks
        [check] = [check for check in found if check.name == "updates"]
        return check.verdict, check.detail

    assert updates("alice") == ("ok", "3 updates in storage open their commitments")
    assert updates(None)[0] == updates("onlooker")[0] == "unproven"
    assert "seats 0, 1, 2;" in updates(None)[1]
    assert "seats 0, 2;" in updates("trainer 1")[1]


def test_a_trainer_shows_what_its_update_was_sealed_with(place: Marketplace) -> None:
    place.post().join(3)
    place.play_round()
    where, name = place.market.seal_context(place.id, 0, 0), "trainer 1"
    account, bound = place.actor(name).account, place.view("onlooker").update_seal
    openings = AccountOpenings(account, where.chain_id, where.contract, where.job, place.work_folder(name))
    reveal = place.attempt(0).reveals[place.seat(name)]
    shown = openings.of(place.attempt(0), bound(where, account.address, reveal.commitment))
    assert shown is not None
    reveals, view = place.attempt(0).reveals, place.view("onlooker")
    opened = view.open_update(where, reveals[place.seat(name)], shown)
    assert opened.to_bytes() == place.stored(name, 0).to_bytes()
    with pytest.raises(CannotUnseal, match="another ephemeral key"):
        view.open_update(where, reveals[place.seat("trainer 0")], shown)
    assert isinstance(view.update_seal(where, place.actor(name).address, b""), UpdateSeal)
