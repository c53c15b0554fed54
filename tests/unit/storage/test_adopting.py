"""Content that one store takes over from another: files with two names where it can be, copies where not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from market.protocol.errors import BlockNotFound, CorruptBlock, StorageFull
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore
from market.storage.content_store import BlockStore
from market.storage.flat_blocks import FlatBlocks

Content = Callable[[int], bytes]
SIZE = 40 * CHUNK_BYTES + 7


@pytest.fixture
def other(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "other")


def block_files(store: EmbeddedStore) -> list[Path]:
    return sorted(store.root.glob("blocks/*/*.data"))


def test_content_is_adopted_without_copying_a_byte(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    cid = other.add_bytes(data := content(SIZE))
    store.adopt(cid, other)
    assert store.read(cid, SIZE) == data
    assert all(os.path.samefile(*pair) for pair in zip(block_files(store), block_files(other), strict=True))
    assert not list(store.root.rglob(".*.part"))


def test_what_one_store_collects_the_other_keeps(store: EmbeddedStore, other: EmbeddedStore, content: Content) -> None:
    cid = other.add_bytes(data := content(SIZE))
    store.adopt(cid, other)
    assert other.collect_garbage(grace_s=0).blocks == len(block_files(store))
    assert store.read(cid, SIZE) == data


def test_adopted_blocks_count_as_added_now(store: EmbeddedStore, other: EmbeddedStore, content: Content) -> None:
    cid = other.add_bytes(content(SIZE))
    for path in block_files(other):
        os.utime(path, (1, 1))
    store.adopt(cid, other)
    assert store.collect_garbage(grace_s=60).blocks == 0


def test_adopting_again_and_by_the_same_store_changes_nothing(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    cid = other.add_bytes(data := content(SIZE))
    for source in (other, other, store):
        store.adopt(cid, source)
    assert store.read(cid, SIZE) == data
    assert not list(store.root.rglob(".*.part"))


def test_a_damaged_block_is_made_good_and_a_damaged_one_is_not_adopted(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    cid = other.add_bytes(data := content(SIZE))
    store.add_bytes(data)
    damaged = block_files(store)[3]
    damaged.write_bytes(b"damaged")
    store.adopt(cid, other)
    assert store.read(cid, SIZE) == data
    block_files(other)[5].unlink()
    block_files(other)[4].write_bytes(b"damaged")
    with pytest.raises((CorruptBlock, BlockNotFound)):
        EmbeddedStore(store.root.parent / "third").adopt(cid, other)


def test_where_files_cannot_be_linked_they_are_copied(
    store: EmbeddedStore, other: EmbeddedStore, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    cid = other.add_bytes(data := content(SIZE))
    monkeypatch.setattr(os, "link", refuse)
    store.adopt(cid, other)
    assert store.read(cid, SIZE) == data
    assert not any(os.path.samefile(*pair) for pair in zip(block_files(store), block_files(other), strict=True))


def test_a_quota_counts_what_is_adopted(store: EmbeddedStore, other: EmbeddedStore, content: Content) -> None:
    cid = other.add_bytes(content(SIZE))
    small = EmbeddedStore(store.root, quota_bytes=SIZE // 2)
    with pytest.raises(StorageFull):
        small.adopt(cid, other)
    assert small.used_bytes() <= SIZE // 2


def test_blocks_of_what_is_no_folder_are_copied(store: EmbeddedStore, other: EmbeddedStore, content: Content) -> None:
    class Elsewhere:
        get_block = staticmethod(lambda cid: other.get_block(cid))
        put_blocks = staticmethod(lambda blocks: 0)

    cid: Cid = other.add_bytes(data := content(SIZE))
    source: BlockStore = Elsewhere()
    store.adopt(cid, source)
    assert store.read(cid, SIZE) == data
    assert FlatBlocks(store.root / "blocks").holds(cid)
