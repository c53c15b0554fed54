from __future__ import annotations

import contextlib
import io
import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, StorageError
from market.storage import CHUNK_BYTES, CarBlocks, Cid, EmbeddedStore, car, car_header
from market.storage.cid import DAG_PB, RAW
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.varint import encode_varint

Content = Callable[[int], bytes]
THREE_BLOCKS = 2 * CHUNK_BYTES + 7

HELLO_CAR = (
    "3aa265726f6f747381d82a58250001551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    "6776657273696f6e01"
    "2f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde968656c6c6f20776f726c64"
)


def exported(store: EmbeddedStore, *roots: Cid) -> bytes:
    out = io.BytesIO()
    car.export(roots, store, out)
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
    assert car.import_(io.BytesIO(exported(store, root)), other) == (root,)
    assert other.read(root, size_bytes) == data


def test_a_block_that_occurs_twice_is_exported_once(store: EmbeddedStore) -> None:
    root = store.add_bytes(b"\0" * (3 * CHUNK_BYTES))
    out = io.BytesIO()
    assert car.export([root], store, out) == 2
    assert len(out.getvalue()) < 2 * CHUNK_BYTES


def test_archives_of_version_0_content_are_read(store: EmbeddedStore, content: Content) -> None:
    blocks: dict[Cid, bytes] = {}
    root = build_file(io.BytesIO(content(THREE_BLOCKS)), blocks.__setitem__, CIDV0_PROFILE)
    store.put_blocks(blocks.items())
    assert car.import_(io.BytesIO(exported(store, root)), store) == (root,)


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
    with pytest.raises(InvalidContent, match="the CAR does not hold its block bafkreih"):
        car.import_(io.BytesIO(without_the_last), other)


def test_damaged_content_is_not_exported(store: EmbeddedStore) -> None:
    with pytest.raises(BlockNotFound):
        car.export([Cid.of_block(b"never added", RAW)], store, io.BytesIO())


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


# The header of the specification's example carv1-basic.car, with the first root's codec dag-pb in place of dag-cbor.
TWO_ROOTS = (
    "a265726f6f747382"
    "d82a58250001701220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e1474dbc200fab8b"
    "d82a5825000155122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df63a365b"
    "6776657273696f6e01"
)


def test_a_header_of_two_roots_has_the_published_form() -> None:
    roots = car_header.decode(bytes.fromhex(TWO_ROOTS))
    assert str(roots[1]) == "bafkreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm"
    assert car_header.encode(roots).hex() == TWO_ROOTS


@pytest.mark.parametrize(
    ("count", "head"), [(0, "80"), (23, "97"), (24, "9818"), (255, "98ff"), (256, "990100"), (65_536, "9a00010000")]
)
def test_a_header_of_any_number_of_roots_is_read_back(count: int, head: str) -> None:
    roots = tuple(Cid(index % 2, DAG_PB, index.to_bytes(32, "big")) for index in range(count))
    header = car_header.encode(roots)
    assert header.hex().startswith("a265726f6f7473" + head)
    assert car_header.decode(header) == roots


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (TWO_ROOTS.replace("0170", "0171"), "codec 0x71"),
        (TWO_ROOTS.replace("747382", "747383"), "expected an item of major type 2"),
        (TWO_ROOTS.replace("747382", "74739802"), "canonical"),
        (TWO_ROOTS.replace("747382", "74739f"), "no definite length"),
        (TWO_ROOTS.replace("d82a", "d82b"), "canonical"),
        (TWO_ROOTS[:-2] + "02", "canonical"),
        (TWO_ROOTS[:20], "expected an item|ends|CID"),
        ("a265726f6f7473", "expected an item of major type 4 at 7"),
        ("a265726f6f74739b7fffffffffffffff", "expected an item of major type 2"),
    ],
)
def test_headers_in_another_form_are_refused(header: str, problem: str) -> None:
    with pytest.raises(StorageError, match=problem):
        car_header.decode(bytes.fromhex(header))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(TWO_ROOTS) // 2 - 1), flip=st.integers(1, 255), length=st.integers(0, 200))
def test_a_header_altered_or_cut_never_names_the_same_roots(place: int, flip: int, length: int) -> None:
    altered = bytearray.fromhex(TWO_ROOTS)
    altered[place] ^= flip
    for header in (bytes(altered), bytes(altered)[:length]):
        with contextlib.suppress(StorageError):
            assert car_header.decode(header) != car_header.decode(bytes.fromhex(TWO_ROOTS))


def test_contents_travel_together_and_what_they_share_once(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    shared = content(CHUNK_BYTES)
    contents = [b"", b"small", shared, shared + b"longer", content(THREE_BLOCKS)]
    roots = tuple(map(store.add_bytes, contents))
    out = io.BytesIO()
    # Of the nine blocks one is in three of the contents.
    assert car.export(roots, store, out) == 2 + 1 + 2 + 3
    assert car.import_(io.BytesIO(out.getvalue()), other) == roots
    assert [other.read(root, THREE_BLOCKS) for root in roots] == contents


def test_an_archive_of_nothing_holds_nothing(store: EmbeddedStore) -> None:
    assert car.import_(io.BytesIO(exported(store)), store) == ()


def test_an_archive_cut_off_inside_a_block_names_it_and_what_came_before_it_stays(
    store: EmbeddedStore, other: EmbeddedStore, content: Content
) -> None:
    root = store.add_bytes(content(THREE_BLOCKS))
    archive = exported(store, root)
    parts = (content(THREE_BLOCKS)[at : at + CHUNK_BYTES] for at in range(0, THREE_BLOCKS, CHUNK_BYTES))
    leaves = [Cid.of_block(part, RAW) for part in parts]
    with pytest.raises(StorageError, match=f"ends 3 bytes before block {leaves[2]}"):
        car.import_(io.BytesIO(archive[:-3]), other)
    assert [other.block_bytes(leaf) is not None for leaf in leaves] == [True, True, False]
    assert not other.has(root)
    written = {path: path.stat().st_ino for path in other.root.glob("blocks/*/*.data")}
    assert car.import_(io.BytesIO(archive), other) == (root,)
    assert {path: path.stat().st_ino for path in written} == written, "whole blocks are not written again"


def test_exporting_and_importing_take_little_memory(store: EmbeddedStore, other: EmbeddedStore, tmp_path: Path) -> None:
    root = store.add_bytes(random.Random(7).randbytes(40 << 20))
    path = tmp_path / "large.car"
    tracemalloc.start()
    try:
        with path.open("wb") as out:
            car.export([root], store, out)
        with path.open("rb") as archive:
            car.import_(archive, other)
        with CarBlocks(path) as blocks:
            assert blocks.verify(root) == 40 << 20
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20, "sixteen blocks may be on their way to the disk"


@pytest.fixture(scope="module")
def some_archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[int, int]]:
    """A CAR of several small contents and a longer one; and where each of its sections begins and ends."""
    store = EmbeddedStore(tmp_path_factory.mktemp("archived"))
    roots = [store.add_bytes(bytes([size % 251]) * size) for size in (0, 1, 40, 80, 120, CHUNK_BYTES + 1)]
    sections, start = {}, 0
    for part in car.parts(roots, store):
        sections[start] = start + len(part)
        start += len(part)
    return exported(store, *roots), sections


def test_a_bit_flipped_anywhere_in_an_archive_is_found_and_its_place_named(
    some_archive: tuple[bytes, dict[int, int]], tmp_path: Path
) -> None:
    archive, sections = some_archive
    path, generator = tmp_path / "flipped.car", random.Random(20_261)
    path.write_bytes(archive)
    long_block = range(len(archive) - CHUNK_BYTES - 50, len(archive) - 50)
    places = {place for place in range(len(archive)) if place not in long_block or place % 5_003 == 0}
    for place in sorted(places):
        start = max(section for section in sections if section <= place)
        flipped = archive[place] ^ 1 << generator.randrange(8)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([flipped]))
            file.flush()
            with pytest.raises(StorageError) as refused, CarBlocks(path):
                pass
            file.seek(place)
            file.write(archive[place : place + 1])
        offsets = [int(offset.replace(",", "")) for offset in re.findall(r" at ([0-9,]+)", str(refused.value))]
        # A root that is another one is missing; whatever else is wrong is wrong at its place.
        assert start == 0 or any(start <= offset <= sections[start] for offset in offsets), (place, str(refused.value))


def test_contents_are_read_where_they_lie(store: EmbeddedStore, content: Content, tmp_path: Path) -> None:
    roots = [store.add_bytes(content(size)) for size in (5, THREE_BLOCKS)]
    path = tmp_path / "some.car"
    path.write_bytes(exported(store, *roots))
    with CarBlocks(path) as blocks:
        assert blocks.roots == tuple(roots)
        assert blocks.read(roots[1], THREE_BLOCKS) == content(THREE_BLOCKS)
        blocks.copy_to(roots[0], tmp_path / "copy", 5)
        with pytest.raises(BlockNotFound, match=r"some\.car"):
            blocks.get_block(Cid.of_block(b"another", RAW))
        assert not blocks.has(Cid.of_block(b"another", RAW))
    assert (tmp_path / "copy").read_bytes() == content(5)


def test_a_block_altered_after_the_archive_was_opened_is_not_used(store: EmbeddedStore, tmp_path: Path) -> None:
    root = store.add_bytes(b"hello world")
    path = tmp_path / "some.car"
    path.write_bytes(exported(store, root))
    with CarBlocks(path) as blocks:
        path.write_bytes(path.read_bytes().replace(b"hello", b"jello"))
        with pytest.raises(CorruptBlock, match=str(root)):
            blocks.read(root, 100)


@pytest.mark.parametrize("name", ["missing.car", "."])
def test_what_is_no_file_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="cannot use"):
        CarBlocks(tmp_path / name)


def test_a_root_that_is_named_any_number_of_times_is_looked_through_once(
    store: EmbeddedStore, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store.add_bytes(content(2 * CHUNK_BYTES))
    path, walked = tmp_path / "some.car", list[Cid]()
    path.write_bytes(exported(store, *[root] * 10_000))

    def counting(cid: Cid, *rest: object) -> Cid | None:
        walked.append(cid)
        return None

    monkeypatch.setattr("market.storage.car_blocks.first_missing", counting)
    with CarBlocks(path) as blocks:
        assert blocks.roots == (root,) * 10_000
    assert walked == [root]


def test_an_archive_of_nothing_but_tiny_blocks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.storage.car_blocks.FREE_BLOCKS", 100)
    blocks = [number.to_bytes(2, "big") for number in range(200)]
    sections = (Cid.of_block(block, RAW).to_bytes() + block for block in blocks)
    header = car_header.encode([])
    path = tmp_path / "tiny.car"
    path.write_bytes(b"".join(encode_varint(len(part)) + part for part in (header, *sections)))
    with pytest.raises(StorageError, match="101 blocks, far more than its length is for"):
        CarBlocks(path)
