from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from market.protocol.errors import (
    BlockNotFound,
    CorruptBlock,
    FedmarketError,
    InvalidInput,
    SourceUnavailable,
    StorageError,
    StorageFull,
)
from market.storage import CHUNK_BYTES, Cid, ContentStore, EmbeddedStore, content_cid
from market.storage.block_server import BlockServer
from market.storage.cid import RAW
from market.storage.gateway import GatewayBlocks
from market.storage.kubo import KuboStore
from market.storage.sourced_store import SourcedStore
from tests.unit.storage.conftest import Content
from tests.unit.storage.daemons import Daemon, daemon
from tests.unit.storage.hostile_servers import behaving, silent

SIZE_BYTES = 3 * CHUNK_BYTES + 5
SECRET = "correct-horse"


@pytest.fixture
def running() -> Iterator[Daemon]:
    with daemon() as opened:
        yield opened


@pytest.fixture
def kubo(running: Daemon, tmp_path: Path) -> KuboStore:
    return KuboStore(running.url, tmp_path / "reasons")


def test_it_is_a_content_store(kubo: KuboStore, content: Content, tmp_path: Path) -> None:
    kept: ContentStore = kubo
    data = content(SIZE_BYTES)
    cid = kept.add_bytes(data)
    assert cid == content_cid(data)
    assert kept.has(cid)
    assert kept.size(cid) == kept.verify(cid) == SIZE_BYTES
    assert kept.read(cid, SIZE_BYTES) == data
    kept.copy_to(cid, tmp_path / "copy", SIZE_BYTES)
    assert (tmp_path / "copy").read_bytes() == data


def test_last_reason_taken_back_unpins_at_the_daemon(kubo: KuboStore, running: Daemon) -> None:
    cid = kubo.add_bytes(b"12345")
    kubo.pin(cid, "job 1")
    kubo.pin(cid, "job 2")
    assert kubo.pins() == {cid: {"job 1", "job 2"}}
    kubo.unpin(cid, "job 1")
    kubo.unpin(cid, "never given")
    assert running.pins == {str(cid)}
    assert kubo.has_pinned(cid)
    kubo.unpin(cid, "job 2")
    assert not kubo.has_pinned(cid)
    assert not running.pins
    assert not kubo.pins()


def test_pin_that_the_daemon_lost_is_let_go_all_the_same(kubo: KuboStore, running: Daemon) -> None:
    cid = kubo.add_bytes(b"12345")
    kubo.pin(cid, "job 1")
    running.pins.clear()
    kubo.unpin(cid, "job 1")
    assert not kubo.pins()


def test_what_the_daemon_has_not_is_not_found(kubo: KuboStore) -> None:
    cid = Cid.of_block(b"nowhere", RAW)
    with pytest.raises(BlockNotFound, match="Kubo at http"):
        kubo.get_block(cid)
    with pytest.raises(BlockNotFound):
        kubo.held.get_block(cid)
    with pytest.raises(BlockNotFound):
        kubo.pin(cid, "job 1")
    assert not kubo.has(cid)
    assert not kubo.pins()


def test_daemon_that_names_a_block_otherwise_is_told(kubo: KuboStore, running: Daemon) -> None:
    other = Cid.of_block(b"other", RAW)
    running.name_of = lambda cid: str(other)
    with pytest.raises(CorruptBlock, match=f"Kubo at {running.url} names it '{other}'"):
        kubo.add_bytes(b"12345")


def test_daemon_that_says_it_pinned_something_else_is_told(kubo: KuboStore, running: Daemon) -> None:
    cid = kubo.add_bytes(b"12345")
    running.name_of = lambda cid: "bafyother"
    with pytest.raises(CorruptBlock, match="names it 'bafyother'"):
        kubo.pin(cid, "job 1")
    assert not kubo.pins()


def test_daemon_that_sends_other_bytes_is_told(kubo: KuboStore, running: Daemon) -> None:
    cid = kubo.add_bytes(b"12345")
    running.alter = lambda block: bytes([block[0] ^ 1]) + block[1:]
    with pytest.raises(CorruptBlock, match=f"Kubo at {running.url} sent"):
        kubo.get_block(cid)


@pytest.mark.parametrize(
    "message", ["write /data/blocks: no space left on device", "storage quota exceeded", "ENOSPC: no space left"]
)
def test_full_daemon_says_so(kubo: KuboStore, running: Daemon, message: str) -> None:
    running.refuse = lambda call: (500, message) if call == "block/put" else None
    with pytest.raises(StorageFull, match=f"Kubo at {running.url} has no room: {message}"):
        kubo.add_bytes(b"12345")


def test_block_that_is_not_its_own_is_not_sent(kubo: KuboStore, running: Daemon) -> None:
    with pytest.raises(CorruptBlock):
        kubo.put_blocks([(Cid.of_block(b"a", RAW), b"b")])
    assert not running.asked


def test_daemon_that_is_down_is_named(running: Daemon, tmp_path: Path) -> None:
    with behaving(silent) as url:
        pass
    kubo = KuboStore(url, tmp_path / "reasons")
    for ask in (kubo.version, lambda: kubo.get_block(content_cid(b"1")), lambda: kubo.add_bytes(b"1")):
        with pytest.raises(SourceUnavailable, match=f"Kubo at {url}: cannot be reached"):
            ask()


def test_daemon_that_never_answers_is_left_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.storage.kubo.CALL_S", 0.2)
    monkeypatch.setattr("market.storage.kubo._MARGIN_S", 0.2)
    with behaving(silent) as url:
        kubo = KuboStore(url, tmp_path / "reasons", search_s=0.2)
        for ask in (kubo.version, lambda: kubo.get_block(content_cid(b"1")), lambda: kubo.add_bytes(b"1")):
            with pytest.raises(SourceUnavailable, match="within"):
                ask()


def test_what_is_no_daemon_is_told(store: EmbeddedStore, tmp_path: Path) -> None:
    with BlockServer(store) as server:
        kubo = KuboStore(server.url, tmp_path / "reasons")
        with pytest.raises(SourceUnavailable, match="refuses"):
            kubo.version()
        with pytest.raises(SourceUnavailable, match="refuses"):
            kubo.add_bytes(b"1")


@pytest.mark.parametrize(
    ("authorization", "header"),
    [(f"bearer:{SECRET}", f"Bearer {SECRET}"), ("basic:me:pass:word", "Basic bWU6cGFzczp3b3Jk")],
)
def test_authorization_goes_with_every_call(running: Daemon, tmp_path: Path, authorization: str, header: str) -> None:
    kubo = KuboStore(running.url, tmp_path / "reasons", authorization=authorization)
    kubo.version()
    kubo.pin(kubo.add_bytes(b"12345"), "job 1")
    assert len(running.headers) == 3
    assert {headers["Authorization"] for headers in running.headers} == {header}


def test_authorization_is_in_no_message(running: Daemon, tmp_path: Path) -> None:
    kubo = KuboStore(running.url, tmp_path / "reasons", authorization=f"bearer:{SECRET}")
    for refusal in ((500, f"bad header: Bearer {SECRET}"), (403, f"{SECRET} is not allowed")):
        running.refuse = lambda call, refusal=refusal: refusal  # type: ignore[misc]
        for ask in (kubo.version, lambda: kubo.add_bytes(b"1"), lambda: kubo.get_block(content_cid(b"1"))):
            with pytest.raises(FedmarketError) as told:
                ask()
            assert SECRET not in f"{told.value!r} {told.value.__cause__!r}"
    assert SECRET not in repr(vars(kubo)["_secrets"])


@pytest.mark.parametrize("authorization", ["", SECRET, f"digest:{SECRET}", f"basic:{SECRET}", f"bearer:{SECRET}\nX: y"])
def test_authorization_that_is_none_is_refused_and_not_repeated(tmp_path: Path, authorization: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        KuboStore("http://127.0.0.1:5001", tmp_path / "reasons", authorization=authorization)
    assert SECRET not in str(refusal.value)


def test_authorization_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="https"):
        KuboStore("http://192.0.2.1:5001", tmp_path / "reasons", authorization=f"bearer:{SECRET}")


# ---------------------------------------------------------------------- behind an own store


@pytest.fixture
def mine(store: EmbeddedStore, kubo: KuboStore) -> SourcedStore:
    return SourcedStore(store, kubo=kubo)


def test_what_is_pinned_here_is_given_to_the_daemon_and_pinned_there(
    mine: SourcedStore, kubo: KuboStore, running: Daemon, content: Content
) -> None:
    cid = mine.add_bytes(content(SIZE_BYTES))
    mine.pin(cid, "job 1")
    assert running.pins == {str(cid)}
    assert kubo.verify(cid) == SIZE_BYTES
    mine.pin(cid, "job 2")
    assert running.asked.count("block/put") == 5
    mine.unpin(cid, "job 1")
    assert running.pins == {str(cid)}
    mine.unpin(cid, "job 2")
    assert not running.pins


def test_content_comes_from_the_daemon(mine: SourcedStore, kubo: KuboStore, content: Content) -> None:
    cid = kubo.add_bytes(content(SIZE_BYTES))
    assert mine.read(cid, SIZE_BYTES) == content(SIZE_BYTES)
    assert mine.local.has(cid)


@pytest.mark.parametrize("refusal", [(500, "no space left on device"), (403, "forbidden"), (500, "internal error")])
def test_own_copy_stays_where_the_daemon_refuses_and_it_is_given_again_with_the_next_pin(
    mine: SourcedStore, running: Daemon, refusal: tuple[int, str]
) -> None:
    running.refuse = lambda call: refusal
    first = mine.add_bytes(b"first")
    with pytest.raises((StorageFull, SourceUnavailable), match=f"Kubo at {running.url}"):
        mine.pin(first, "job 1")
    assert mine.pins() == {first: {"job 1"}}
    running.refuse = lambda call: None
    second = mine.add_bytes(b"second")
    mine.pin(second, "job 1")
    assert running.pins == {str(first), str(second)}


def test_role_at_work_is_told_of_trouble_and_goes_on(store: EmbeddedStore, kubo: KuboStore, running: Daemon) -> None:
    told: list[StorageError] = []
    mine = SourcedStore(store, kubo=kubo, on_trouble=told.append)
    running.refuse = lambda call: (500, "no space left on device")
    cid = mine.add_bytes(b"first")
    mine.pin(cid, "job 1")
    assert [type(trouble) for trouble in told] == [StorageFull]
    mine.unpin(cid, "job 1")
    running.refuse = lambda call: None
    assert mine.share_pins() == 0
    assert not running.pins


@pytest.mark.parametrize("ill", ["down", "lying", "refusing"])
def test_content_comes_from_another_source_where_the_daemon_is_ill(
    store: EmbeddedStore, running: Daemon, tmp_path: Path, content: Content, ill: str
) -> None:
    theirs = EmbeddedStore(tmp_path / "theirs")
    cid = theirs.add_bytes(content(SIZE_BYTES))
    kubo = KuboStore(running.url, tmp_path / "reasons")
    kubo.add_bytes(content(SIZE_BYTES))
    running.alter = lambda block: b"lie"
    if ill == "refusing":
        running.refuse = lambda call: (500, "internal error")
    if ill == "down":
        with behaving(silent) as url:
            kubo = KuboStore(url, tmp_path / "reasons")
    with BlockServer(theirs) as server:
        mine = SourcedStore(store, [GatewayBlocks(server.url)], kubo)
        assert mine.read(cid, SIZE_BYTES) == content(SIZE_BYTES)


def test_content_comes_from_another_source_where_the_daemon_is_slow(
    store: EmbeddedStore, tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.storage.kubo.HELD_S", 0.1)
    monkeypatch.setattr("market.storage.kubo._MARGIN_S", 0.1)
    theirs = EmbeddedStore(tmp_path / "theirs")
    cid = theirs.add_bytes(content(SIZE_BYTES))
    with behaving(silent) as url, BlockServer(theirs) as server:
        mine = SourcedStore(store, [GatewayBlocks(server.url)], KuboStore(url, tmp_path / "reasons"))
        assert mine.read(cid, SIZE_BYTES) == content(SIZE_BYTES)
