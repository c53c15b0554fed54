from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from market.protocol.errors import (
    BlockNotFound,
    CorruptBlock,
    InvalidContent,
    SourceUnavailable,
)
from market.storage import CHUNK_BYTES, Cid, ContentStore, EmbeddedStore
from market.storage.block_search import BlockSearch
from market.storage.block_server import BlockServer
from market.storage.cid import DAG_PB, RAW
from market.storage.dag_pb import DagPbLink
from market.storage.file_dag import CIDV0_PROFILE, build_file, walk_blocks
from market.storage.gateway import GatewayBlocks
from market.storage.source_standing import Standing
from market.storage.sourced_store import SourcedStore
from market.storage.unixfs import encode_inner
from tests.unit.storage.conftest import Content
from tests.unit.storage.hostile_servers import answering, behaving, silent

SIZE_BYTES = 6 * CHUNK_BYTES + 5


class Counting:
    """A source that counts what it is asked for, and may be told to fail."""

    def __init__(self, store: EmbeddedStore, name: str = "counting") -> None:
        self.name, self.asked = name, list[Cid]()
        self.refuse: Callable[[Cid], None] = lambda cid: None
        self._store = store

    def get_block(self, cid: Cid) -> bytes:
        self.asked.append(cid)
        self.refuse(cid)
        try:
            return self._store.get_block(cid)
        except BlockNotFound:
            raise BlockNotFound(str(cid), self.name) from None


@pytest.fixture
def theirs(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "theirs")


@pytest.fixture
def source(theirs: EmbeddedStore) -> Counting:
    return Counting(theirs)


@pytest.fixture
def mine(store: EmbeddedStore, source: Counting) -> SourcedStore:
    return SourcedStore(store, [source])


@pytest.fixture
def serving() -> Iterator[Callable[[EmbeddedStore], str]]:
    with ExitStack() as servers:
        yield lambda store: servers.enter_context(BlockServer(store)).url


def blocks(store: EmbeddedStore, cid: Cid) -> list[Cid]:
    return [it for it, _ in walk_blocks(cid, store.get_block, raw_leaves=False)]


def test_it_is_a_content_store(mine: SourcedStore, content: Content, tmp_path: Path) -> None:
    kept: ContentStore = mine
    cid = kept.add_bytes(content(SIZE_BYTES))
    kept.pin(cid, "job 1")
    assert kept.has(cid)
    assert kept.verify(cid) == kept.size(cid) == SIZE_BYTES
    assert kept.pins() == {cid: {"job 1"}}
    kept.unpin(cid, "job 1")
    assert not kept.pins()


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, SIZE_BYTES, 175 * CHUNK_BYTES])
def test_content_of_another_store_is_fetched_and_kept(
    theirs: EmbeddedStore,
    store: EmbeddedStore,
    content: Content,
    serving: Callable[[EmbeddedStore], str],
    size_bytes: int,
) -> None:
    data = content(size_bytes)
    cid = theirs.add_bytes(data)
    mine = SourcedStore(store, [GatewayBlocks(serving(theirs))])
    shown: list[tuple[int, int]] = []
    assert mine.fetch(cid, lambda done, total: shown.append((done, total))) == size_bytes
    assert store.verify(cid) == size_bytes
    assert shown == sorted(shown)
    assert shown[-1] == (size_bytes, size_bytes)


@pytest.mark.parametrize(
    "read",
    [
        lambda store, cid, folder: b"".join(store.open(cid)),
        lambda store, cid, folder: store.read(cid, SIZE_BYTES),
        lambda store, cid, folder: store.copy_to(cid, folder / "copy", SIZE_BYTES) or (folder / "copy").read_bytes(),
    ],
)
def test_reads_fetch_what_is_not_here(
    mine: SourcedStore,
    theirs: EmbeddedStore,
    content: Content,
    tmp_path: Path,
    read: Callable[[SourcedStore, Cid, Path], bytes],
) -> None:
    data = content(SIZE_BYTES)
    cid = theirs.add_bytes(data)
    assert not mine.has(cid)
    assert read(mine, cid, tmp_path) == data
    assert mine.local.read(cid, SIZE_BYTES) == data


def test_asking_whether_it_is_here_asks_nobody_else(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting
) -> None:
    cid = theirs.add_bytes(b"theirs")
    assert not mine.has(cid)
    assert not source.asked


def test_length_takes_the_root_alone(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting, content: Content
) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    assert mine.size(cid) == SIZE_BYTES
    assert source.asked == [cid]


def test_content_longer_than_allowed_is_not_fetched(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting, content: Content, tmp_path: Path
) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    with pytest.raises(InvalidContent):
        mine.read(cid, SIZE_BYTES - 1)
    with pytest.raises(InvalidContent):
        mine.copy_to(cid, tmp_path / "copy", SIZE_BYTES - 1)
    assert source.asked == [cid]


def test_interrupted_transfer_goes_on_where_it_was(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting, content: Content
) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    last = blocks(theirs, cid)[-1]

    def break_off(asked: Cid) -> None:
        if asked == last:
            raise SourceUnavailable(source.name, "broke off")

    source.refuse = break_off
    with pytest.raises(BlockNotFound, match="broke off"):
        mine.fetch(cid)
    again = Counting(theirs, "another")
    shown: list[int] = []
    mine.with_sources([again]).fetch(cid, lambda done, total: shown.append(done))
    assert set(again.asked) == {last}
    assert shown[0] > 0
    assert mine.local.verify(cid) == SIZE_BYTES


@pytest.mark.parametrize("damage", [b"", b"short", bytes(CHUNK_BYTES), bytes(CHUNK_BYTES + 1)])
@pytest.mark.parametrize("which", [0, 3])
def test_damaged_block_is_fetched_again_and_replaced(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting, content: Content, which: int, damage: bytes
) -> None:
    data = content(SIZE_BYTES)
    cid = theirs.add_bytes(data)
    assert mine.add_bytes(data) == cid
    damaged = blocks(theirs, cid)[which]
    mine.local._blocks.path(damaged).write_bytes(damage)
    assert mine.read(cid, SIZE_BYTES) == data
    assert source.asked == [damaged]
    assert mine.local.verify(cid) == SIZE_BYTES


def test_damaged_block_that_nobody_else_has_stays_an_error(store: EmbeddedStore) -> None:
    cid = store.add_bytes(b"12345")
    store._blocks.path(cid).write_bytes(b"12346")
    with pytest.raises(CorruptBlock):
        SourcedStore(store).read(cid, 5)


def test_sources_are_asked_in_order(theirs: EmbeddedStore, store: EmbeddedStore, tmp_path: Path) -> None:
    cid = theirs.add_bytes(b"theirs")
    first, second, third = (
        Counting(EmbeddedStore(tmp_path / "empty"), "1"),
        Counting(theirs, "2"),
        Counting(theirs, "3"),
    )
    SourcedStore(store, [first, second, third]).get_block(cid)
    assert (first.asked, second.asked, third.asked) == ([cid], [cid], [])


def test_what_nobody_has_is_not_found_and_everyone_asked_is_named(
    mine: SourcedStore, store: EmbeddedStore, theirs: EmbeddedStore
) -> None:
    cid = Cid.of_block(b"nowhere", RAW)
    with behaving(silent) as url:
        pass
    with pytest.raises(BlockNotFound) as missing:
        mine.with_sources([GatewayBlocks(url)]).get_block(cid)
    assert str(store.root) in str(missing.value)
    assert "counting" in str(missing.value)
    assert f"{url} (cannot be reached" in str(missing.value)


def test_that_nobody_has_a_block_is_believed_for_a_moment(mine: SourcedStore, source: Counting) -> None:
    cid = Cid.of_block(b"nowhere", RAW)
    for _ in range(3):
        with pytest.raises(BlockNotFound):
            mine.get_block(cid)
    assert source.asked == [cid]


def test_liar_is_named_and_left_out_and_the_block_comes_from_another(
    theirs: EmbeddedStore, store: EmbeddedStore, content: Content, serving: Callable[[EmbeddedStore], str]
) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    with behaving(answering("200 OK", b"lie")) as liar:
        mine = SourcedStore(store, [GatewayBlocks(liar), GatewayBlocks(serving(theirs))])
        assert mine.fetch(cid) == SIZE_BYTES
        with pytest.raises(BlockNotFound, match=rf"{liar} sent for it have another hash; left out for \d+ s"):
            mine.get_block(Cid.of_block(b"nowhere", RAW))


def test_block_that_only_liars_have_is_corrupt(store: EmbeddedStore) -> None:
    with behaving(answering("200 OK", b"lie")) as liar, pytest.raises(CorruptBlock, match=liar):
        SourcedStore(store, [GatewayBlocks(liar)]).get_block(Cid.of_block(b"truth", RAW))


def test_source_that_is_down_is_left_out_after_a_while_and_content_comes_from_another(
    theirs: EmbeddedStore, store: EmbeddedStore, source: Counting, content: Content
) -> None:
    cid = theirs.add_bytes(content(30 * CHUNK_BYTES))
    broken = Counting(theirs, "broken")

    def refuse(asked: Cid) -> None:
        raise SourceUnavailable("broken", "is down")

    broken.refuse = refuse
    mine = SourcedStore(store, [broken, source])
    mine.fetch(cid)
    assert len(broken.asked) < len(source.asked)
    with pytest.raises(BlockNotFound, match="is down; left out for"):
        mine.get_block(Cid.of_block(b"nowhere", RAW))


def test_slow_search_holds_up_nobody_and_what_it_finds_is_kept(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.storage.block_search.LOOK_S", 0.1)
    cid = theirs.add_bytes(b"late")
    found = threading.Event()
    source.refuse = lambda asked: found.wait() and None
    with pytest.raises(BlockNotFound, match="still being looked for at counting"):
        mine.read(cid, 10)
    with pytest.raises(BlockNotFound, match="still being looked for"):
        mine.read(cid, 10)
    under_way = mine._search.begin(cid)
    found.set()
    assert under_way.result(10) == b"late"
    assert mine.read(cid, 10) == b"late"
    assert source.asked[0] == cid


def test_read_that_takes_too_long_says_how_far_it_is_and_the_next_goes_on(
    theirs: EmbeddedStore, store: EmbeddedStore, source: Counting, content: Content
) -> None:
    data = content(SIZE_BYTES)
    cid = theirs.add_bytes(data)
    last = blocks(theirs, cid)[-1]
    found = threading.Event()
    source.refuse = lambda asked: found.wait() and None if asked == last else None
    mine = SourcedStore(store, [source], read_limit_s=0.3)
    with pytest.raises(BlockNotFound, match=rf"{SIZE_BYTES - 5} of {SIZE_BYTES} bytes of {cid} are here"):
        mine.read(cid, SIZE_BYTES)
    found.set()
    assert mine.patient().read(cid, SIZE_BYTES) == data


def test_pin_brings_the_content_first(mine: SourcedStore, theirs: EmbeddedStore, content: Content) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    mine.pin(cid, "job 1 round 2")
    assert mine.local.pins() == {cid: {"job 1 round 2"}}
    mine.local.collect_garbage(grace_s=0)
    assert mine.local.verify(cid) == SIZE_BYTES


def test_what_cannot_be_had_is_not_pinned(mine: SourcedStore) -> None:
    with pytest.raises(BlockNotFound):
        mine.pin(Cid.of_block(b"nowhere", RAW), "job 1")
    assert not mine.pins()


def test_files_added_by_plain_ipfs_add_are_fetched(
    mine: SourcedStore, theirs: EmbeddedStore, content: Content, tmp_path: Path
) -> None:
    data = content(SIZE_BYTES)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as stream:
        cid = build_file(stream, lambda it, block: theirs.put_blocks([(it, block)]) and None, CIDV0_PROFILE)
    assert mine.read(cid, SIZE_BYTES) == data


def test_leaves_longer_than_they_are_said_to_be_are_not_fetched_for_ever(
    mine: SourcedStore, theirs: EmbeddedStore, source: Counting
) -> None:
    leaves = [theirs.add_bytes(bytes([i]) * 1000) for i in range(100)]
    root = encode_inner([DagPbLink(leaf, 1000) for leaf in leaves], [1] * len(leaves))
    cid = Cid.of_block(root, DAG_PB)
    theirs.put_blocks([(cid, root)])
    with pytest.raises(InvalidContent, match="more than the 100 bytes"):
        mine.fetch(cid)
    assert len(source.asked) < len(leaves)


def test_blocks_that_were_looked_for_in_vain_wait_for_those_that_were_not(
    source: Counting, theirs: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.storage.block_search.WORKERS", 1)
    monkeypatch.setattr("market.storage.block_search.FIRST_MISS_S", 1e-9)
    search = BlockSearch([Standing(source)], [], "here")
    absent, first, new = (Cid.of_block(name, RAW) for name in (b"absent", b"first", b"new"))
    with pytest.raises(BlockNotFound):
        search.begin(absent).result(60)
    began, may_go = threading.Event(), threading.Event()

    def hold(cid: Cid) -> None:
        began.set()
        assert may_go.wait(60)

    source.refuse = hold
    waiting = [search.begin(first)]
    assert began.wait(60)
    waiting += [search.begin(absent), search.begin(new)]
    may_go.set()
    for found in waiting:
        with pytest.raises(BlockNotFound):
            found.result(60)
    assert source.asked == [absent, first, new, absent]


def test_a_leaf_that_is_held_back_does_not_keep_a_turn_from_ending(
    mine: SourcedStore, source: Counting, theirs: EmbeddedStore, content: Content
) -> None:
    cid = theirs.add_bytes(bytes(SIZE_BYTES))
    over = threading.Event()

    def hold(asked: Cid) -> None:
        if asked.codec == RAW:
            over.wait(60)

    source.refuse = hold
    try:
        with pytest.raises(BlockNotFound, match="the rest is on its way"):
            mine.bring(cid, 0.05)
    finally:
        over.set()
    mine.bring(cid, 60)
    assert mine.has(cid)


def test_what_came_long_ago_is_not_collected_while_the_rest_comes(
    mine: SourcedStore, source: Counting, theirs: EmbeddedStore, content: Content
) -> None:
    cid = theirs.add_bytes(content(SIZE_BYTES))
    blocks = [
        (block_cid, theirs.get_block(block_cid))
        for block_cid, _ in walk_blocks(cid, theirs.get_block, raw_leaves=False)
    ]
    mine.put_blocks(blocks[:-1])
    for path in mine.local.root.glob("blocks/*/*.data"):
        os.utime(path, (0, 0))

    def collect(asked: Cid) -> None:
        mine.local.collect_garbage()

    source.refuse = collect
    mine.fetch(cid)
    assert source.asked == [blocks[-1][0]]
    assert mine.has(cid)


def test_damage_of_the_own_disk_is_told_where_nobody_else_has_the_block(mine: SourcedStore) -> None:
    cid = mine.add_bytes(b"content")
    mine.local._blocks.path(cid).write_bytes(b"damaged")
    with pytest.raises(CorruptBlock, match="bytes in its file have another hash"):
        mine.get_block(cid)
