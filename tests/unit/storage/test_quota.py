"""What a store takes under a quota, and how it counts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from market.protocol.errors import StorageError, StorageFull
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore
from market.storage.cid import RAW

KIB = 1024


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store", quota_bytes=100 * KIB)


def numbered(number: int, size_bytes: int) -> bytes:
    return random.Random(number).randbytes(size_bytes)


def on_disk(store: EmbeddedStore) -> int:
    return sum(path.stat().st_size for path in store.root.glob("blocks/*/*.data"))


def test_a_block_that_would_exceed_the_quota_is_refused_before_it_is_written(store: EmbeddedStore) -> None:
    kept = store.add_bytes(numbered(0, 60 * KIB))
    with pytest.raises(StorageFull, match="61,440 bytes are used, 51,200 more were asked for, 102,400 are allowed"):
        store.add_bytes(numbered(1, 50 * KIB))
    assert on_disk(store) == store.used_bytes() == 60 * KIB
    store.add_bytes(numbered(2, 40 * KIB))
    assert on_disk(store) == store.used_bytes() == 100 * KIB
    assert store.verify(kept) == 60 * KIB


def test_what_is_held_already_can_be_added_to_a_full_store(store: EmbeddedStore) -> None:
    cid = store.add_bytes(numbered(0, 100 * KIB))
    assert store.add_bytes(numbered(0, 100 * KIB)) == cid
    store.pin(cid, "job 1")
    with pytest.raises(StorageFull):
        store.add_bytes(b"!")


def test_long_content_is_refused_at_the_block_that_does_not_fit(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", quota_bytes=3 * CHUNK_BYTES)
    with pytest.raises(StorageFull):
        store.add_bytes(numbered(0, 4 * CHUNK_BYTES))
    assert on_disk(store) == store.used_bytes() == 3 * CHUNK_BYTES
    with pytest.raises(StorageFull):
        store.put_blocks([(Cid.of_block(b"!", RAW), b"!")])


def test_garbage_makes_room(store: EmbeddedStore) -> None:
    kept = store.add_bytes(numbered(0, 30 * KIB))
    store.pin(kept, "job 1")
    store.add_bytes(numbered(1, 70 * KIB))
    assert store.collect_garbage(grace_s=0).size_bytes == 70 * KIB
    assert store.used_bytes() == 30 * KIB
    store.add_bytes(numbered(2, 70 * KIB))


def test_strangers_content_counts_and_makes_room_when_it_goes(store: EmbeddedStore, tmp_path: Path) -> None:
    data = numbered(0, 80 * KIB)
    (tmp_path / "sent").write_bytes(data)
    with (tmp_path / "sent").open("rb") as stream:
        store.take(Cid.of_block(data, RAW), stream, lambda size_bytes: None)
    assert store.used_bytes() == 80 * KIB
    store.collect_taken(grace_s=0)
    assert on_disk(store) == store.used_bytes() == 0


def test_a_damaged_block_is_replaced_and_counted_once(store: EmbeddedStore) -> None:
    store.add_bytes(numbered(0, 60 * KIB))
    [path] = store.root.glob("blocks/*/*.data")
    path.write_bytes(numbered(0, 20 * KIB))
    again = EmbeddedStore(store.root, quota_bytes=100 * KIB)
    assert again.used_bytes() == 20 * KIB
    again.add_bytes(numbered(0, 60 * KIB))
    assert on_disk(store) == again.used_bytes() == 60 * KIB


def test_a_write_that_fails_is_not_counted(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_bytes(numbered(0, 10 * KIB))

    def refuse(path: Path, parts: object) -> None:
        raise StorageError("the disk refuses")

    with monkeypatch.context() as patched:
        patched.setattr("market.storage.flat_blocks.write_file", refuse)
        with pytest.raises(StorageError, match="refuses"):
            store.add_bytes(numbered(1, 10 * KIB))
    assert store.used_bytes() == 10 * KIB


def test_whoever_has_another_quota_or_none_counts_into_the_same(store: EmbeddedStore) -> None:
    free = EmbeddedStore(store.root)
    free.add_bytes(numbered(0, 10 * KIB))
    assert not (store.root / "usage").exists()
    store.add_bytes(numbered(1, 10 * KIB))
    free.add_bytes(numbered(2, 100 * KIB))
    assert free.used_bytes() == store.used_bytes() == on_disk(store) == 120 * KIB
    with pytest.raises(StorageFull, match="122,880 bytes are used"):
        store.add_bytes(numbered(3, 1))
    EmbeddedStore(store.root, quota_bytes=200 * KIB).add_bytes(numbered(3, 80 * KIB))


@pytest.mark.parametrize("found", [b"", b"7", b"-0000000000000000007", bytes(20), b"9" * 20])
def test_a_number_that_is_damaged_or_false_is_counted_anew(store: EmbeddedStore, found: bytes) -> None:
    store.add_bytes(numbered(0, 10 * KIB))
    (store.root / "usage").write_bytes(found)
    if found != b"9" * 20:
        with pytest.raises(StorageError, match="not a number of 20 digits"):
            store.add_bytes(numbered(1, 10 * KIB))
    store.collect_garbage()
    assert store.used_bytes() == 10 * KIB
    (store.root / "usage").write_bytes(found)
    assert EmbeddedStore(store.root, quota_bytes=20 * KIB).used_bytes() == 10 * KIB


def test_an_empty_store_uses_nothing(store: EmbeddedStore) -> None:
    assert store.used_bytes() == 0
    assert not store.root.exists()


def test_equal_blocks_that_are_written_at_once_count_once(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", quota_bytes=50 * CHUNK_BYTES)
    store.add_bytes(bytes(40 * CHUNK_BYTES))
    assert store.used_bytes() == on_disk(store) < 2 * CHUNK_BYTES
