"""Announced endpoints: whose are asked, in which order, and for how long one that is down, slow or lies is not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from market.announced import AnnouncedBlocks, JobDirectory, checked_endpoint
from market.chain.directory import Announcement
from market.protocol.errors import BlockNotFound, ChainUnreachable, CorruptBlock, InvalidInput, SourceUnavailable
from market.protocol.identifiers import JobId
from market.storage import Cid
from market.storage.gateway import GatewayBlocks
from tests.unit.storage.hostile_servers import answering, behaving

BLOCK = b"a block"
CID = Cid.of_block(BLOCK, 0x55)
KEY = b"\x01" * 32


class People:
    """Announcements of one job, as the chain has them."""

    def __init__(self, announced: Mapping[str, str], *, at_home: bool = True) -> None:
        self.announced, self.at_home, self.is_down = dict(announced), at_home, False

    def directory(self, without: str | None = None) -> JobDirectory:
        market: Any = SimpleNamespace(
            chain=SimpleNamespace(is_development_chain=self.at_home),
            state=lambda job: SimpleNamespace(owner="owner"),
            terms=lambda job: SimpleNamespace(disputes=SimpleNamespace(attestors=("attestor 0", "attestor 1"))),
            aggregators=lambda job: ["aggregator"],
            trainers=lambda job: ["trainer 0", "attestor 1"],
        )
        directory: Any = SimpleNamespace(announcements=self.announcements)
        return JobDirectory(market, directory, JobId(3), without)

    def announcements(self, job: JobId, accounts: Any) -> dict[str, Announcement]:
        if self.is_down:
            raise ChainUnreachable("the node is away")
        return {who: Announcement(KEY, url) for who, url in self.announced.items() if who in accounts}


class Source:
    def __init__(self, name: str, outcome: bytes | Exception) -> None:
        self.name, self.outcome, self.asked = name, outcome, 0

    def get_block(self, cid: Cid) -> bytes:
        self.asked += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_those_with_a_part_in_the_job_are_listened_to_and_each_has_one_endpoint() -> None:
    people = People(
        {
            "stranger": "http://stranger.example",
            "owner": "https://owner.example/",
            "trainer 0": "http://trainer.example:80",
            "attestor 1": "http://attestor.example",
            "aggregator": "nonsense",
            "attestor 0": "",
        }
    )
    assert people.directory().endpoints() == {
        "attestor 1": "http://attestor.example",
        "trainer 0": "http://trainer.example:80",
        "owner": "https://owner.example",
    }
    assert list(people.directory().endpoints()) == ["attestor 1", "trainer 0", "owner"]
    assert "attestor 1" not in people.directory(without="attestor 1").endpoints()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "http://",
        "http://somebody@example.org",
        "https://example.org/?a=b",
        "https://example.org/#a",
        "https://example.org:0",
        "https://example.org:99999",
        "https://example.org/a b",
        "https://example.org/\x00",
        "https://example.org/\x7f",
        "https://exämple.org",
        "http://[::1",
        "https://example.org/" + "a" * 200,
    ],
)
def test_what_is_no_endpoint_is_left_out(url: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        checked_endpoint(url)
    assert People({"owner": url}).directory().endpoints() == {}


def test_the_next_endpoint_is_asked_where_one_has_the_block_not_and_who_had_it_is_asked_first() -> None:
    sources = {
        "http://a": Source("http://a", BlockNotFound(str(CID), "a")),
        "http://b": Source("http://b", BLOCK),
    }
    people = People({"attestor 0": "http://a", "attestor 1": "http://b"})
    blocks = AnnouncedBlocks(people.directory(), sources.__getitem__)
    assert [blocks.get_block(CID) for _ in range(3)] == [BLOCK] * 3
    assert (sources["http://a"].asked, sources["http://b"].asked) == (1, 3)


def test_who_lies_is_not_asked_again_and_who_is_down_not_for_ever() -> None:
    sources = {
        "http://a": Source("http://a", CorruptBlock(str(CID), "other bytes")),
        "http://b": Source("http://b", SourceUnavailable("http://b", "it is down")),
    }
    people = People({"attestor 0": "http://a", "attestor 1": "http://b"})
    blocks = AnnouncedBlocks(people.directory(), sources.__getitem__)
    for _ in range(10):
        with pytest.raises(BlockNotFound, match="endpoints announced for job 3"):
            blocks.get_block(CID)
    assert sources["http://a"].asked == 1
    assert 1 < sources["http://b"].asked < 10


class Dripping(Source):
    """Takes as long as it may for every block, and then has it not: which is an answer, and no failure."""

    def __init__(self, name: str, over: threading.Event) -> None:
        super().__init__(name, BLOCK)
        self._over = over

    def get_block(self, cid: Cid) -> bytes:
        self.asked += 1
        self._over.wait(30.0)
        raise BlockNotFound(str(cid), self.name)


def test_endpoints_that_drip_hold_up_nobody_who_has_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers who answer everything as late as they may would keep others' updates from whoever is to hold them."""
    monkeypatch.setattr("market.announced.ALONE_S", 0.05)
    over = threading.Event()
    sources: dict[str, Source] = {f"http://{name}": Dripping(f"http://{name}", over) for name in "ab"}
    sources["http://c"] = Source("http://c", BLOCK)
    people = People({"attestor 0": "http://a", "attestor 1": "http://b", "trainer 0": "http://c"})
    try:
        blocks = AnnouncedBlocks(people.directory(), sources.__getitem__)
        assert blocks.get_block(CID) == BLOCK  # neither of the two has answered
        blocks._prefer("http://a")
        while not blocks._standings["http://a"].is_slow:
            assert blocks.get_block(CID) == BLOCK
            blocks._prefer("http://a")
        asked = sources["http://a"].asked
        assert blocks.get_block(CID) == BLOCK
        assert sources["http://a"].asked == asked  # it is asked last from then on
    finally:
        over.set()


def test_a_defect_on_the_way_to_an_endpoint_is_told_and_holds_up_nobody() -> None:
    blocks = AnnouncedBlocks(People({"owner": "http://a"}).directory(), lambda url: Source(url, ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        blocks.get_block(CID)


def test_no_more_than_a_few_endpoints_are_asked_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.ALONE_S", 0.01)
    monkeypatch.setattr("market.announced.BESIDE", 1)
    over = threading.Event()
    sources: dict[str, Source] = {"http://a": Dripping("http://a", over), "http://b": Source("http://b", BLOCK)}
    blocks = AnnouncedBlocks(
        People({"attestor 0": "http://a", "attestor 1": "http://b"}).directory(), sources.__getitem__
    )
    timer = threading.Timer(0.2, over.set)
    timer.start()
    assert blocks.get_block(CID) == BLOCK
    assert over.is_set()
    timer.join()


def test_what_was_announced_is_known_while_the_node_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.LOOK_S", 0.0)
    people = People({"owner": "http://a"})
    blocks = AnnouncedBlocks(people.directory(), lambda url: Source(url, BLOCK))
    assert blocks.get_block(CID) == BLOCK
    people.is_down = True
    assert blocks.get_block(CID) == BLOCK
    people.is_down, people.announced = False, {}
    with pytest.raises(BlockNotFound):
        blocks.get_block(CID)


def test_an_endpoint_on_this_machine_is_asked_on_a_development_chain_alone() -> None:
    with behaving(answering("200 OK", BLOCK)) as url:
        assert AnnouncedBlocks(People({"owner": url}).directory()).get_block(CID) == BLOCK
        with pytest.raises(BlockNotFound):
            AnnouncedBlocks(People({"owner": url}, at_home=False).directory()).get_block(CID)
        assert GatewayBlocks(url).get_block(CID) == BLOCK


@pytest.mark.parametrize(
    "conduct",
    [
        answering("302 Found", b"", "Location: http://127.0.0.1:1/"),
        answering("200 OK", bytes(3 << 20)),
        answering("200 OK", b"other bytes"),
    ],
    ids=["redirects", "too much", "other bytes"],
)
def test_a_hostile_endpoint_is_none_that_has_the_block(tmp_path: Path, conduct: Any) -> None:
    with behaving(conduct) as url, behaving(answering("200 OK", BLOCK)) as honest:
        people = People({"attestor 0": url, "trainer 0": honest})
        assert AnnouncedBlocks(people.directory()).get_block(CID) == BLOCK
