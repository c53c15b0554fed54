from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from market.protocol.errors import BlockNotFound, CorruptBlock, StorageError
from market.storage import CHUNK_BYTES, GRACE_S, Cid, EmbeddedStore
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.flat_blocks import FlatBlocks

Content = Callable[[int], bytes]
THREE_BLOCKS = 2 * CHUNK_BYTES + 7


def make_old(store: EmbeddedStore) -> None:
    """Let every block have been added just before the grace began."""
    past_s = time.time() - GRACE_S - 1
    for path in store.root.glob("blocks/*/*.data"):
        os.utime(path, (past_s, past_s))


def test_pins_outlive_the_process_with_their_reasons(store: EmbeddedStore) -> None:
    spec, model = store.add_bytes(b"spec"), store.add_bytes(b"model")
    store.pin(spec, "job 1")
    store.pin(model, "job 1 round 1")
    store.pin(model, "job 1 round 2")
    store.pin(model, "job 1 round 2")
    again = EmbeddedStore(store.root)
    assert again.pins() == {spec: frozenset({"job 1"}), model: frozenset({"job 1 round 1", "job 1 round 2"})}


def test_content_stays_until_its_last_reason_is_gone(store: EmbeddedStore) -> None:
    cid = store.add_bytes(b"model")
    store.pin(cid, "round 1")
    store.pin(cid, "round 2")
    make_old(store)

    store.unpin(cid, "round 1")
    assert store.collect_garbage().blocks == 0
    store.unpin(cid, "round 2")
    store.unpin(cid, "round 2")
    collected = store.collect_garbage()
    assert (collected.blocks, collected.size_bytes) == (1, 5)
    assert not store.has(cid)


def test_no_block_below_a_pinned_root_is_collected(store: EmbeddedStore, content: Content) -> None:
    pinned, other = store.add_bytes(content(THREE_BLOCKS)), store.add_bytes(b"other" * 100_000)
    store.pin(pinned, "job 1")
    make_old(store)
    assert store.collect_garbage().blocks == 3
    assert store.verify(pinned) == THREE_BLOCKS
    assert not store.has(other)


def test_a_block_shared_with_pinned_content_stays(store: EmbeddedStore, content: Content) -> None:
    longer, shorter = store.add_bytes(content(THREE_BLOCKS)), store.add_bytes(content(CHUNK_BYTES))
    store.pin(shorter, "job 1")
    make_old(store)
    store.collect_garbage()
    assert not store.has(longer)
    assert store.verify(shorter) == CHUNK_BYTES


def test_both_versions_of_a_cid_are_one_pin(store: EmbeddedStore, content: Content) -> None:
    blocks: dict[Cid, bytes] = {}
    root = build_file(io.BytesIO(content(THREE_BLOCKS)), blocks.__setitem__, CIDV0_PROFILE)
    store.put_blocks(blocks.items())
    store.pin(root, "job 1")
    make_old(store)
    assert store.collect_garbage().blocks == 0
    store.unpin(Cid(1, root.codec, root.digest), "job 1")
    assert store.pins() == {}


def test_fresh_blocks_are_spared(store: EmbeddedStore) -> None:
    cid = store.add_bytes(b"about to be pinned")
    assert store.collect_garbage().blocks == 0
    assert store.has(cid)
    assert store.collect_garbage(grace_s=0).blocks == 1


def test_adding_again_makes_old_blocks_fresh(store: EmbeddedStore, content: Content) -> None:
    cid = store.add_bytes(content(THREE_BLOCKS))
    make_old(store)
    store.add_bytes(content(THREE_BLOCKS))
    assert store.collect_garbage().blocks == 0
    assert store.has(cid)


def test_nothing_is_collected_while_pinned_content_is_damaged(store: EmbeddedStore, content: Content) -> None:
    cid = store.add_bytes(content(THREE_BLOCKS))
    store.pin(cid, "job 1")
    other = store.add_bytes(b"other")
    make_old(store)
    root = FlatBlocks(store.root / "blocks").path(cid)

    root.write_bytes(b"damaged")
    with pytest.raises(CorruptBlock, match=str(cid)):
        store.collect_garbage()
    root.unlink()
    with pytest.raises(BlockNotFound, match=str(cid)):
        store.collect_garbage()
    assert store.has(other)


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"cid": 1, "reason": "x"}', '{"cid": "bafk", "reason": "x"}'])
def test_nothing_is_collected_while_a_pin_is_damaged(store: EmbeddedStore, damaged: str) -> None:
    cid = store.add_bytes(b"model")
    store.pin(cid, "job 1")
    make_old(store)
    (pin_file,) = (store.root / "pins").iterdir()
    pin_file.write_text(damaged)
    with pytest.raises(StorageError, match=f"{pin_file.name}: not a pin"):
        store.collect_garbage()
    assert store.has(cid)


def test_a_pin_under_another_pins_name_is_refused(store: EmbeddedStore) -> None:
    cid = store.add_bytes(b"model")
    store.pin(cid, "job 1")
    (pin_file,) = (store.root / "pins").iterdir()
    pin_file.write_text(pin_file.read_text().replace("job 1", "job 2"))
    with pytest.raises(StorageError, match="not this pin's file"):
        store.pins()


def test_files_of_other_kinds_are_left_alone(store: EmbeddedStore) -> None:
    store.add_bytes(b"model")
    make_old(store)
    (shard,) = [path for path in (store.root / "blocks").iterdir() if path.is_dir()]
    foreign = [shard / "notes.txt", shard / "notes.data", store.root / "blocks" / "_README"]
    for path in foreign:
        path.write_text("mine")
    assert store.collect_garbage().blocks == 1
    assert all(path.exists() for path in foreign)


def test_a_store_is_collected_by_folder_and_not_by_name(tmp_path: Path) -> None:
    one, two = EmbeddedStore(tmp_path / "one"), EmbeddedStore(tmp_path / "two")
    cid = one.add_bytes(b"model")
    two.add_bytes(b"model")
    two.pin(cid, "job 1")
    one.collect_garbage(grace_s=0)
    assert not one.has(cid)
    assert two.has(cid)
