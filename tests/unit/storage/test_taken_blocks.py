"""What strangers sent goes when nobody needs it, and nothing that was anybody else's goes with it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable

import pytest

from market.protocol.errors import OverQuota, StorageFull
from market.storage import CHUNK_BYTES, GRACE_S, Cid, EmbeddedStore, content_cid
from market.storage.flat_blocks import FlatBlocks

Content = Callable[[int], bytes]
THREE_BLOCKS = 2 * CHUNK_BYTES + 7


def take(store: EmbeddedStore, data: bytes) -> Cid:
    cid = content_cid(data)
    store.take(cid, io.BytesIO(data), lambda size_bytes: None)
    return cid


def make_old(store: EmbeddedStore) -> None:
    past_s = time.time() - GRACE_S - 1
    for path in (*store.root.glob("blocks/*/*.data"), *store.root.glob("taken/*")):
        os.utime(path, (past_s, past_s))


def files(store: EmbeddedStore, folder: str) -> int:
    return sum(path.is_file() and path.name != "SHARDING" for path in (store.root / folder).rglob("*"))


def test_what_is_not_admitted_is_never_kept(store: EmbeddedStore, content: Content) -> None:
    data = content(THREE_BLOCKS)

    def refuse(size_bytes: int) -> None:
        assert files(store, "blocks") == 0
        raise OverQuota(str(size_bytes))

    with pytest.raises(OverQuota, match=str(THREE_BLOCKS)):
        store.take(content_cid(data), io.BytesIO(data), refuse)
    assert files(store, "blocks") == files(store, "taken") == 0


def test_what_was_taken_stays_as_long_as_a_pin_reaches_it(store: EmbeddedStore, content: Content) -> None:
    cid = take(store, content(THREE_BLOCKS))
    store.pin(cid, "upload")
    make_old(store)

    assert store.collect_taken().blocks == 0
    store.unpin(cid, "upload")
    assert store.collect_taken().blocks == 4
    assert files(store, "blocks") == files(store, "taken") == 0


def test_part_that_two_share_goes_with_the_second(store: EmbeddedStore, content: Content) -> None:
    one, two = take(store, content(THREE_BLOCKS)), take(store, content(CHUNK_BYTES))
    store.pin(two, "upload")
    make_old(store)

    assert store.collect_taken().blocks == 3
    assert store.verify(two) == CHUNK_BYTES
    store.unpin(two, "upload")
    make_old(store)
    assert store.collect_taken().blocks == 1
    assert not store.has(one)
    assert files(store, "taken") == 0


def test_blocks_of_others_stay_pinned_or_not(store: EmbeddedStore, content: Content) -> None:
    whole, part = content(THREE_BLOCKS), content(CHUNK_BYTES)
    theirs = store.add_bytes(part)
    take(store, whole)
    take(store, part)
    other = store.add_bytes(b"never sent")
    make_old(store)

    assert store.collect_taken().blocks == 3
    assert store.has(theirs)
    assert store.has(other)


def test_what_came_or_came_again_a_moment_ago_stays(store: EmbeddedStore) -> None:
    cid = take(store, b"some")
    assert store.collect_taken().blocks == 0
    make_old(store)
    store.add_bytes(b"some")

    assert store.collect_taken().blocks == 0
    assert store.has(cid)


def test_what_was_cut_off_halfway_is_collected(
    store: EmbeddedStore, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = FlatBlocks.write_named
    left = [2]

    def write(self: FlatBlocks, cid: Cid, block: bytes) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise StorageFull("full")
        return written(self, cid, block)

    monkeypatch.setattr(FlatBlocks, "write_named", write)
    with pytest.raises(StorageFull):
        take(store, content(THREE_BLOCKS))
    assert files(store, "blocks") == 2
    make_old(store)
    assert store.collect_taken().blocks == 2
    assert files(store, "blocks") == files(store, "taken") == 0


def test_store_that_is_not_there_has_nothing_to_collect(store: EmbeddedStore) -> None:
    assert store.collect_taken().blocks == 0
    assert not store.root.exists()
