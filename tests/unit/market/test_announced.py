"""Announced endpoints: whose are asked, in which order, and for how long one that is down, slow or lies is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
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
            trainers=lambda job: [f"trainer {seat}" for seat in range(64)] + ["attestor 1"],
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


class Holding:
    """A source that answers when it is told to."""

    def __init__(self, outcome: bytes | Exception, may_answer: threading.Event) -> None:
        self.name, self.outcome, self.may_answer, self.asked = "holding", outcome, may_answer, 0
        self.was_asked = threading.Event()

    def get_block(self, cid: Cid) -> bytes:
        self.asked += 1
        self.was_asked.set()
        assert self.may_answer.wait(60)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def crowd(size: int, source: Callable[[int], Any], last: Any) -> tuple[AnnouncedBlocks, dict[str, Any]]:
    """Trainers who announced so many endpoints, and the owner's, which is asked after all of them."""
    sources = {f"http://t{seat}": source(seat) for seat in range(size)} | {"http://owner": last}
    announced = {f"trainer {seat}": f"http://t{seat}" for seat in range(size)} | {"owner": "http://owner"}
    return AnnouncedBlocks(People(announced).directory(), sources.__getitem__), sources


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


def test_endpoints_that_say_nothing_do_not_keep_the_block_of_another_from_coming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("market.announced.HEDGE_S", 0.01)
    over, honest = threading.Event(), Source("http://owner", BLOCK)
    blocks, sources = crowd(64, lambda seat: Holding(BlockNotFound(str(CID), "t"), over), honest)
    try:
        for _ in range(3):
            assert blocks.get_block(CID) == BLOCK
        assert {source.asked for url, source in sources.items() if url != "http://owner"} == {1}
    finally:
        over.set()


def test_dead_endpoints_in_any_number_hold_up_one_block_and_are_then_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.HEDGE_S", 0.001)
    monkeypatch.setattr("market.announced.WAIT_S", 60)
    monkeypatch.setattr("market.announced.SLOW_S", 0.0)  # whatever they do takes long
    answers = threading.Event()
    answers.set()
    blocks, sources = crowd(
        64, lambda seat: Holding(SourceUnavailable("t", "no answer"), answers), Source("http://owner", BLOCK)
    )
    for _ in range(4):
        assert blocks.get_block(CID) == BLOCK
    assert {source.asked for url, source in sources.items() if url != "http://owner"} == {1}


def test_saying_no_after_a_long_time_is_as_bad_as_saying_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.SLOW_S", 0.0)
    sources = {"http://a": Source("http://a", BlockNotFound(str(CID), "a"))}
    blocks = AnnouncedBlocks(People({"owner": "http://a"}).directory(), sources.__getitem__)
    for _ in range(3):
        with pytest.raises(BlockNotFound):
            blocks.get_block(CID)
    assert sources["http://a"].asked == 1


def test_who_is_slow_is_not_asked_first_for_having_had_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.SLOW_S", 0.0)
    sources = {
        "http://a": Source("http://a", BlockNotFound(str(CID), "a")),
        "http://b": Source("http://b", BLOCK),
    }
    people = People({"attestor 0": "http://a", "attestor 1": "http://b"})
    blocks = AnnouncedBlocks(people.directory(), sources.__getitem__)
    for _ in range(2):
        assert blocks.get_block(CID) == BLOCK
    assert list(blocks._lanes) == ["http://a", "http://b"]


def test_a_block_that_comes_too_late_is_there_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.announced.WAIT_S", 0.05)
    answers = threading.Event()
    source = Holding(BLOCK, answers)
    blocks = AnnouncedBlocks(People({"owner": "http://a"}).directory(), lambda url: source)
    for _ in range(3):
        with pytest.raises(BlockNotFound):
            blocks.get_block(CID)
    answers.set()
    monkeypatch.setattr("market.announced.WAIT_S", 60)
    assert blocks.get_block(CID) == BLOCK
    assert source.asked == 1


def test_endpoints_that_never_said_anything_are_waited_for_once_and_not_for_every_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("market.announced.WAIT_S", 60)
    monkeypatch.setattr("market.announced.HEDGE_S", 0.001)
    over, waited = threading.Event(), list[BlockNotFound]()
    silent = Holding(BlockNotFound(str(CID), "t"), over)
    blocks = AnnouncedBlocks(People({"owner": "http://a"}).directory(), lambda url: silent)

    def wait() -> None:
        with pytest.raises(BlockNotFound) as found:
            blocks.get_block(CID)
        waited.append(found.value)

    first = threading.Thread(target=wait)
    first.start()
    try:
        assert silent.was_asked.wait(60)
        with pytest.raises(BlockNotFound):
            blocks.get_block(Cid.of_block(b"another", 0x55))
        assert not waited
    finally:
        over.set()
        first.join(60)
    assert len(waited) == silent.asked == 1
