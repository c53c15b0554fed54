from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, StorageError
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, car
from market.storage.cid import RAW
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.varint import encode_varint

Content = Callable[[int], bytes]
THREE_BLOCKS = 2 * CHUNK_BYTES + 7

HELLO_CAR = (
    "3aa265726f6f747381d82a58250001551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    "6776657273696f6e01"
    "2f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde968656c6c6f20776f726c64"
)


def exported(store: EmbeddedStore, root: Cid) -> bytes:
    out = io.BytesIO()
    car.export(root, store, out)
    return out.getvalue()


@pytest.fixture
def other(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "other")


def test_an_archive_of_one_block_has_the_published_form(store: EmbeddedStore) -> None:
    assert exported(store, store.add_bytes(b"hello world")).hex() == HELLO_CAR


@pytest.mark.parametrize("size_bytes", [0, 5, THREE_BLOCKS])
def test_content_moves_between_stores(
    store: EmbeddedStore, other: EmbeddedStore, content: Content, size_bytes: int
) -> None:
    data = content(size_bytes)
    root = store.add_bytes(data)
    assert car.import_(io.BytesIO(exported(store, root)), other) == root
    assert other.read(root, size_bytes) == data


def test_a_block_that_occurs_twice_is_exported_once(store: EmbeddedStore) -> None:
    root = store.add_bytes(b"\0" * (3 * CHUNK_BYTES))
    out = io.BytesIO()
    assert car.export(root, store, out) == 2
    assert len(out.getvalue()) < 2 * CHUNK_BYTES


def test_archives_of_version_0_content_are_read(store: EmbeddedStore, content: Content) -> None:
    blocks: dict[Cid, bytes] = {}
    root = build_file(io.BytesIO(content(THREE_BLOCKS)), blocks.__setitem__, CIDV0_PROFILE)
    store.put_blocks(blocks.items())
    assert car.import_(io.BytesIO(exported(store, root)), store) == root


def test_an_altered_block_is_refused_and_not_kept(store: EmbeddedStore, other: EmbeddedStore) -> None:
    root = store.add_bytes(b"hello world")
    archive = exported(store, root).replace(b"hello", b"jello")
    with pytest.raises(CorruptBlock, match=str(root)):
        car.import_(io.BytesIO(archive), other)
    assert not other.has(root)


def test_an_archive_without_a_block_of_its_root_is_refused(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    root = store.add_bytes(content(THREE_BLOCKS))
    without_the_last = exported(store, root)[: -(1 + 36 + 7)]
    with pytest.raises(InvalidContent, match="does not hold all of its blocks"):
        car.import_(io.BytesIO(without_the_last), other)


def test_damaged_content_is_not_exported(store: EmbeddedStore) -> None:
    with pytest.raises(BlockNotFound):
        car.export(Cid.of_block(b"never added", RAW), store, io.BytesIO())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, len(HELLO_CAR) // 2 - 1))
def test_an_archive_cut_off_anywhere_is_refused(other: EmbeddedStore, length: int) -> None:
    fresh = EmbeddedStore(other.root / str(length))
    with pytest.raises(StorageError):
        car.import_(io.BytesIO(bytes.fromhex(HELLO_CAR)[:length]), fresh)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(HELLO_CAR) // 2 - 1), flip=st.integers(1, 255))
def test_an_archive_altered_anywhere_is_refused(other: EmbeddedStore, place: int, flip: int) -> None:
    altered = bytearray.fromhex(HELLO_CAR)
    altered[place] ^= flip
    fresh = EmbeddedStore(other.root / f"{place}-{flip}")
    with pytest.raises(StorageError):
        car.import_(io.BytesIO(bytes(altered)), fresh)


@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        (b"", "the stream is empty"),
        (b"\x80", "inside a section's length"),
        (b"\xff" * 20, "inside a section's length"),
        (b"\x80\x00", "shortest"),
        (encode_varint(2**40), "a section of 1099511627776 bytes"),
        (b"\x05hello", "not a CARv1"),
        (bytes.fromhex(HELLO_CAR)[:59] + encode_varint(2**31), "a section of 2147483648 bytes"),
    ],
)
def test_streams_that_are_no_archive_are_refused(other: EmbeddedStore, archive: bytes, problem: str) -> None:
    with pytest.raises(StorageError, match=problem):
        car.import_(io.BytesIO(archive), other)
