"""Everybody with a store of its own: blocks come from whoever announced where, and nobody is believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.announced import AnnouncedBlocks, announce
from market.chain.job_market import JobMarket
from market.storage import EmbeddedStore, SourcedStore
from market.storage.block_server import BlockServer
from tests.integration.court import ATTESTORS, Court, attestor, have_filed, serving, watch
from tests.integration.marketplace import ON_ANVIL, SEALING_KEY
from tests.unit.storage.hostile_servers import answering, behaving, dripping, endless

pytestmark = ON_ANVIL


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    return Court(devnet, deployed, actors, tmp_path).post()


def move_out(court: Court, *names: str) -> None:
    """Give actors an empty store of their own, behind which is what others announced."""
    for name in names:
        own = EmbeddedStore(court.folder / "stores" / name.replace(" ", "-"))
        court.stores[name] = SourcedStore(own, [AnnouncedBlocks(court.people(name))])


def tell(court: Court, name: str, endpoint: str) -> None:
    people = court.people(name)
    announce(people.directory, court.actor(name), court.id, SEALING_KEY, endpoint)


@contextmanager
def trainers_serve(court: Court) -> Iterator[None]:
    """The trainers share a store, which the owner's contents are in, and one of them serves it."""
    with BlockServer(court.store) as server:
        tell(court, "trainer 0", server.url)
        yield


def test_a_round_settles_with_what_attestors_serve_once_its_trainers_are_gone(court: Court) -> None:
    court.join()
    with trainers_serve(court):
        move_out(court, *ATTESTORS)
        court.commit()
        court.reveal()
        watch(court)
    for name in ATTESTORS:
        assert "attempt 0: holds what seats 0, 1, 2, 3 revealed" in court.told[name]
    with serving(court, "attestor 1", "attestor 2"):
        assert have_filed(court, "trainer 0") == [True]
        move_out(court, "alice")
        assert court.settle()
    assert court.attempt(0).exclusions == {}
    settled = court.attempt(0).settled
    assert settled is not None
    assert settled.accepted == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "conduct",
    [
        answering("302 Found", b"", "Location: http://127.0.0.1:1/"),
        answering("200 OK", bytes(3 << 20)),
        answering("200 OK", b"other bytes"),
        answering("500 Trouble"),
        endless,
        dripping,
    ],
    ids=["redirects", "too much", "other bytes", "fails", "endless", "byte by byte"],
)
def test_a_hostile_endpoint_holds_no_attestor_up_for_long(
    court: Court, conduct: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.announced.BLOCK_S", 1.0)
    court.join()
    with ExitStack() as servers:
        # The trainer that is asked first is the hostile one.
        tell(court, "trainer 0", servers.enter_context(behaving(conduct)))
        tell(court, "trainer 1", servers.enter_context(BlockServer(court.store)).url)
        move_out(court, "attestor 0")
        court.commit()
        court.reveal()
        session = attestor(court, "attestor 0")
        for _ in range(20):
            session.advance(*court.now())
            if court.told["attestor 0"]:
                break
        court.stores.clear()
        del session
    assert court.told["attestor 0"][-1].endswith("holds what seats 0, 1, 2, 3 revealed")


def test_strangers_and_those_who_announce_twice_are_asked_no_more_than_once_each(court: Court) -> None:
    court.join(trainers=3)
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        tell(court, "trainer 1", url)
        tell(court, "stranger", url)
    tell(court, "trainer 2", "ftp://127.0.0.1")
    tell(court, "owner", "http://127.0.0.1:3/store/")
    assert court.people("alice").endpoints() == {
        court.actor("trainer 1").address: "http://127.0.0.1:2",
        court.actor("owner").address: "http://127.0.0.1:3/store",
    }
