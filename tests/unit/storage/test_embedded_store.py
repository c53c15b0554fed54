from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, StorageError
from market.storage import CHUNK_BYTES, Cid, ContentStore, EmbeddedStore, content_cid
from market.storage.cid import RAW
from market.storage.content_store import MAX_BLOCK_BYTES
from market.storage.durable_file import locked
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.flat_blocks import FlatBlocks

Content = Callable[[int], bytes]
THREE_BLOCKS = 2 * CHUNK_BYTES + 7


def block_files(store: EmbeddedStore) -> list[Path]:
    return sorted(store.root.glob("blocks/*/*.data"))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def block_file(store: EmbeddedStore, cid: Cid) -> Path:
    return FlatBlocks(store.root / "blocks").path(cid)


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, THREE_BLOCKS])
def test_content_comes_back_as_it_was_added(
    store: EmbeddedStore, content: Content, tmp_path: Path, size_bytes: int
) -> None:
    data = content(size_bytes)
    cid = store.add_bytes(data)
    assert store.read(cid, size_bytes) == data
    assert b"".join(store.open(cid)) == data
    assert store.size(cid) == store.verify(cid) == size_bytes
    assert store.has(cid)
    store.copy_to(cid, tmp_path / "copy", expected_bytes=size_bytes)
    assert (tmp_path / "copy").read_bytes() == data


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_any_bytes_come_back(store: EmbeddedStore, data: bytes) -> None:
    assert store.read(store.add_bytes(data), len(data)) == data


def test_it_is_a_content_store(store: EmbeddedStore) -> None:
    as_interface: ContentStore = store
    assert as_interface.read(as_interface.add(io.BytesIO(b"hello world")), 11) == b"hello world"


def test_another_process_would_find_the_content_in_kubos_places(store: EmbeddedStore) -> None:
    store.add_bytes(b"hello world")
    assert (store.root / "blocks/SHARDING").read_text() == "/repo/flatfs/shard/v1/next-to-last/2\n"
    key = "CIQLSTJHXGJU2PQIUUXFFV62PWV7VREE57RXUU4A52IIR55M4LX432I"
    assert block_files(store) == [store.root / "blocks" / key[-3:-1] / f"{key}.data"]
    assert block_files(store)[0].read_bytes() == b"hello world"
    assert EmbeddedStore(store.root).has(Cid.parse("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"))


def test_files_added_by_plain_ipfs_add_are_read(store: EmbeddedStore, content: Content) -> None:
    data = content(THREE_BLOCKS)
    blocks: dict[Cid, bytes] = {}
    root = build_file(io.BytesIO(data), blocks.__setitem__, CIDV0_PROFILE)
    assert store.put_blocks(blocks.items()) == 4
    assert str(root).startswith("Qm")
    assert store.read(root, THREE_BLOCKS) == data


def test_reading_and_asking_create_nothing(store: EmbeddedStore) -> None:
    cid = Cid.of_block(b"never added", RAW)
    assert not store.has(cid)
    assert store.pins() == {}
    store.unpin(cid, "job 1")
    assert store.collect_garbage().blocks == 0
    with pytest.raises(BlockNotFound, match=str(cid)):
        store.read(cid, 100)
    assert not store.root.exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * MAX_BLOCK_BYTES)


@pytest.mark.parametrize("damage", [truncate, alter, lengthen])
@pytest.mark.parametrize("which", ["leaf", "root"])
def test_a_damaged_block_is_refused_by_name_and_replaced_by_adding_again(
    store: EmbeddedStore, content: Content, tmp_path: Path, which: str, damage: Callable[[Path], None]
) -> None:
    data = content(THREE_BLOCKS)
    root = store.add_bytes(data)
    victim = root if which == "root" else Cid.of_block(data[:CHUNK_BYTES], RAW)
    damage(block_file(store, victim))
    target = tmp_path / "copy"
    target.write_bytes(b"an earlier model")

    for attempt in (
        lambda: store.read(root, THREE_BLOCKS),
        lambda: list(store.open(root)),
        lambda: store.verify(root),
        lambda: store.copy_to(root, target),
    ):
        with pytest.raises(CorruptBlock, match=str(victim)):
            attempt()
    assert target.read_bytes() == b"an earlier model"
    assert leftovers(tmp_path) == []

    assert store.add_bytes(data) == root
    assert store.verify(root) == THREE_BLOCKS


@pytest.mark.parametrize("which", ["leaf", "root"])
def test_a_missing_block_is_named_and_the_content_is_not_held(
    store: EmbeddedStore, content: Content, which: str
) -> None:
    root = store.add_bytes(content(THREE_BLOCKS))
    gone = root if which == "root" else Cid.of_block(content(CHUNK_BYTES), RAW)
    block_file(store, gone).unlink()
    assert not store.has(root)
    with pytest.raises(BlockNotFound, match=str(gone)):
        store.read(root, THREE_BLOCKS)
    with pytest.raises(BlockNotFound, match=str(gone)):
        store.pin(root, "job 1")
    assert store.pins() == {}


def test_content_longer_than_the_reader_allows_is_refused(store: EmbeddedStore, content: Content) -> None:
    cid = store.add_bytes(content(THREE_BLOCKS))
    with pytest.raises(InvalidContent, match=f"{THREE_BLOCKS} bytes, at most {THREE_BLOCKS - 1}"):
        store.read(cid, THREE_BLOCKS - 1)


@pytest.mark.parametrize("expected_bytes", [0, THREE_BLOCKS - 1, THREE_BLOCKS + 1])
def test_content_of_another_length_than_expected_leaves_no_file(
    store: EmbeddedStore, content: Content, tmp_path: Path, expected_bytes: int
) -> None:
    cid = store.add_bytes(content(THREE_BLOCKS))
    with pytest.raises(InvalidContent, match=f"expected {expected_bytes}"):
        store.copy_to(cid, tmp_path / "copy", expected_bytes=expected_bytes)
    assert not (tmp_path / "copy").exists()


def test_a_copy_into_a_folder_that_is_not_there_is_refused(store: EmbeddedStore, tmp_path: Path) -> None:
    cid = store.add_bytes(b"model")
    with pytest.raises(StorageError, match="No such file or directory"):
        store.copy_to(cid, tmp_path / "missing" / "model.bin")


def test_blocks_that_lie_about_their_cid_are_not_kept(store: EmbeddedStore) -> None:
    honest, forged = Cid.of_block(b"honest", RAW), Cid.of_block(b"what it claims to be", RAW)
    with pytest.raises(CorruptBlock, match=str(forged)):
        store.put_blocks([(honest, b"honest"), (forged, b"something else")])
    assert store.has(honest)
    assert not store.has(forged)


def test_a_block_larger_than_any_peer_takes_is_not_kept(store: EmbeddedStore) -> None:
    block = b"\0" * (MAX_BLOCK_BYTES + 1)
    with pytest.raises(CorruptBlock, match="at most 2097152"):
        store.put_blocks([(Cid.of_block(block, RAW), block)])


def test_everything_written_stays_inside_the_root(store: EmbeddedStore, content: Content) -> None:
    cid = store.add_bytes(content(THREE_BLOCKS))
    for reason in ("../../../escape", "/etc/passwd", "a\0b", "", "x" * 5000, "\ud800", "..", "naïve"):
        store.pin(cid, reason)
        assert reason in store.pins()[cid]
    outside = [path for path in store.root.parent.iterdir() if path != store.root]
    assert outside == []
    assert {path.name for path in store.root.iterdir()} == {"blocks", "pins", "lock"}


def test_what_a_killed_writer_left_is_ignored_and_swept(store: EmbeddedStore) -> None:
    cid = store.add_bytes(b"whole")
    store.pin(cid, "job 1")
    torn = [block_files(store)[0].parent / ".0123.part", store.root / "pins" / ".4567.part"]
    for path in torn:
        path.write_bytes(b"who")

    assert store.read(cid, 5) == b"whole"
    assert store.pins() == {cid: frozenset({"job 1"})}
    EmbeddedStore(store.root).add_bytes(b"more")
    assert leftovers(store.root) == []


def test_a_writer_at_work_is_not_swept_away(store: EmbeddedStore) -> None:
    store.add_bytes(b"whole")
    in_the_making = block_files(store)[0].parent / ".0123.part"
    in_the_making.write_bytes(b"who")
    with locked(store.root / "lock", exclusive=False):
        EmbeddedStore(store.root).add_bytes(b"more")
        assert in_the_making.exists()


def test_a_stream_that_fails_leaves_no_content_and_its_own_error(store: EmbeddedStore, content: Content) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > CHUNK_BYTES:
                raise ConnectionResetError("the peer went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        store.add(Broken(content(THREE_BLOCKS)))
    assert leftovers(store.root) == []
    assert store.verify(store.add_bytes(content(THREE_BLOCKS))) == THREE_BLOCKS


def test_a_root_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("notes")
    store = EmbeddedStore(tmp_path / "store")
    cid = Cid.of_block(b"x", RAW)
    for attempt in (lambda: store.add_bytes(b"x"), lambda: store.pin(cid, "job 1")):
        with pytest.raises(StorageError, match="store is a file: expected a folder"):
            attempt()
    with pytest.raises(StorageError, match="Not a directory"):
        store.read(cid, 1)
    assert (tmp_path / "store").read_text() == "notes"


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes")
    with pytest.raises(StorageError, match="notes is a file"):
        EmbeddedStore(tmp_path / "notes" / "a" / "store").add_bytes(b"x")


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """A folder's permissions do not bind the superuser, as whom tests run in many containers."""
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)


def test_a_root_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "locked"
    parent.mkdir(mode=0o500)
    with without_privileges(), pytest.raises(StorageError, match="Permission denied"):
        EmbeddedStore(parent / "store").add_bytes(b"x")
    assert list(parent.iterdir()) == []


def test_blocks_laid_out_by_another_rule_are_left_alone(tmp_path: Path) -> None:
    rule = tmp_path / "store" / "blocks" / "SHARDING"
    rule.parent.mkdir(parents=True)
    rule.write_text("/repo/flatfs/shard/v1/prefix/4\n")
    with pytest.raises(StorageError, match="prefix/4"):
        EmbeddedStore(tmp_path / "store").add_bytes(b"x")
    assert list(rule.parent.iterdir()) == [rule]


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, THREE_BLOCKS])
def test_content_is_added_under_its_own_name(store: EmbeddedStore, content: Content, size_bytes: int) -> None:
    data = content(size_bytes)
    cid = content_cid(data)

    admitted: list[int] = []
    assert store.take(cid, io.BytesIO(data), admitted.append) == size_bytes
    assert admitted == [size_bytes]
    assert store.read(cid, size_bytes) == data


def test_nothing_is_kept_of_content_with_another_name(store: EmbeddedStore, content: Content) -> None:
    data = content(THREE_BLOCKS)
    for other in (content_cid(data[:-1]), content_cid(b""), Cid(1, RAW, content_cid(data).digest)):
        with pytest.raises(InvalidContent, match=str(content_cid(data))):
            store.take(other, io.BytesIO(data), lambda size_bytes: None)
    assert block_files(store) == leftovers(store.root) == []


def test_nothing_is_kept_of_a_stream_that_breaks_off(store: EmbeddedStore, content: Content) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data:
                raise EOFError("gone")
            return data

    data = content(THREE_BLOCKS)
    with pytest.raises(EOFError):
        store.take(content_cid(data), Broken(data), lambda size_bytes: None)
    assert block_files(store) == leftovers(store.root) == []
    assert sorted(path.name for path in store.root.iterdir()) == ["blocks", "lock"]


def test_range_is_read_alone(store: EmbeddedStore, content: Content) -> None:
    data = content(THREE_BLOCKS)
    cid = store.add_bytes(data)
    block_file(store, Cid.of_block(data[:CHUNK_BYTES], RAW)).unlink()

    assert b"".join(store.open_range(cid, CHUNK_BYTES, CHUNK_BYTES + 9)) == data[CHUNK_BYTES : CHUNK_BYTES + 10]
    with pytest.raises(BlockNotFound):
        list(store.open_range(cid, CHUNK_BYTES - 1, CHUNK_BYTES))


def test_store_that_cannot_be_written_says_so(store: EmbeddedStore) -> None:
    store.check_writable()
    assert sorted(path.name for path in store.root.iterdir()) == ["blocks", "lock"]
    taken = EmbeddedStore(store.root / "lock")
    with pytest.raises(StorageError):
        taken.check_writable()
