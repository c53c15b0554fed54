from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.protocol.errors import InvalidUpdate
from market.protocol.packing import (
    BLOCK_BYTES,
    FRAME_COUNTS,
    is_packed,
    pack_file,
    pack_frame,
    pack_update,
    payload_bytes,
    unpack_update,
)
from market.protocol.update import Counts, StoredUpdate, update_bytes
from market.storage.cid import CHUNK_BYTES

LONG = 2 * FRAME_COUNTS + 77
SHORT = 3000
BLINDERS = random.Random(3).randbytes(2 * 192)


def gaussian(sigma: float, length: int = LONG, seed: int = 1) -> StoredUpdate:
    counts = np.clip(np.random.default_rng(seed).normal(0, sigma, length), -32767, 32767)
    return StoredUpdate(counts.astype("<i2"), BLINDERS)


def pack_counts(counts: Counts) -> Iterator[bytes]:
    return (pack_frame(counts[start : start + FRAME_COUNTS]) for start in range(0, len(counts), FRAME_COUNTS))


def payload(update: StoredUpdate) -> bytes:
    return b"".join(pack_update(update))


def unpacked(data: bytes, length: int = LONG, step: int = 100_000) -> bytes:
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join(unpack_update(parts, length, 2))


@pytest.mark.parametrize("sigma", [0, 0.5, 5, 100, 3000, 30000])
@pytest.mark.parametrize("length", [1, SHORT, BLOCK_BYTES // 2 - 192, BLOCK_BYTES // 2 - 191, FRAME_COUNTS, LONG])
def test_what_was_packed_comes_back_bit_by_bit(sigma: float, length: int) -> None:
    update = gaussian(sigma, length)
    data = payload(update)
    least, most = payload_bytes(length, 2)
    assert least <= len(data) <= most
    assert unpacked(data, length) == update.to_bytes()


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(1, 3 * FRAME_COUNTS),
    st.sampled_from([0, 1, 9, 200, 9000]),
    st.integers(1, 10**6),
)
@example(0, FRAME_COUNTS, 0, 1000)
def test_any_update_comes_back_however_its_payload_is_cut(seed: int, length: int, sigma: int, step: int) -> None:
    update = gaussian(sigma, length, seed)
    assert unpacked(payload(update), length, max(step, len(update.counts) // 100)) == update.to_bytes()


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=200))
def test_every_count_comes_back(numbers: list[int]) -> None:
    update = StoredUpdate(np.resize(np.array(numbers, "<i2"), LONG), BLINDERS)
    assert unpacked(payload(update)) == update.to_bytes()


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_a_count_out_of_range_is_refused_and_named(length: int) -> None:
    update = gaussian(3, length)
    update.counts[-7] = -32768
    with pytest.raises(InvalidUpdate, match=f"entry {length - 7} is -32768"):
        unpacked(payload(update), length)


def test_a_file_is_packed_as_its_update_is(tmp_path: Path) -> None:
    for length in (SHORT, LONG):
        update = gaussian(200, length)
        update.write(tmp_path / "update")
        assert b"".join(pack_file(tmp_path / "update", length, 2)) == payload(update)
        with pytest.raises(InvalidUpdate, match=r"has .* bytes, expected"):
            pack_file(tmp_path / "update", length, 1)


def test_a_file_with_a_count_out_of_range_is_not_packed(tmp_path: Path) -> None:
    update = gaussian(3)
    update.counts[FRAME_COUNTS + 5] = -32768
    update.write(tmp_path / "update")
    with pytest.raises(InvalidUpdate, match=f"entry {FRAME_COUNTS + 5} is -32768"):
        list(pack_file(tmp_path / "update", LONG, 2))


def test_small_counts_become_shorter_and_random_ones_hardly_longer() -> None:
    plain = update_bytes(LONG, 2)
    lengths = {sigma: sum(map(len, pack_counts(gaussian(sigma).counts))) / plain for sigma in (0, 3, 30, 300, 30000)}
    assert lengths[0] < 0.001
    assert lengths[3] < 0.3
    assert lengths[30] < 0.5
    assert lengths[300] < 0.75
    noise = np.random.default_rng(1).integers(-32767, 32767, LONG, np.int16)
    assert sum(map(len, pack_counts(noise))) <= plain + 3 * 8


def test_lengths_are_few_whatever_the_counts_are() -> None:
    lengths = {len(payload(gaussian(sigma, 8 * FRAME_COUNTS))) for sigma in range(100, 200)}
    assert len(lengths) <= 6
    assert {len(payload(gaussian(sigma, SHORT))) for sigma in (0, 1, 9999)} == {update_bytes(SHORT, 2)}


def test_the_padding_is_that_of_padme() -> None:
    """E = floor(log2 L), S = floor(log2 E) + 1, and the last E - S bits are zero."""
    from math import floor, log2

    for sigma in (1, 50, 400, 5000):
        length = len(payload(gaussian(sigma)))
        exponent = floor(log2(length))
        assert length % (1 << exponent - floor(log2(exponent)) - 1) == 0
        shortest = sum(map(len, pack_counts(gaussian(sigma).counts))) + len(BLINDERS)
        assert length <= max(BLOCK_BYTES, shortest * 1.12)


@pytest.mark.parametrize("dimension", [1, 1000, 130_879, 130_880, 10**6, 250_000_000, 1 << 30])
def test_an_update_is_one_block_or_many_by_its_job_alone(dimension: int) -> None:
    chunks = 2
    least, most = payload_bytes(dimension, chunks)
    if is_packed(dimension, chunks):
        assert (
            BLOCK_BYTES <= least <= most <= 1.12 * (update_bytes(dimension, chunks) + 8 * dimension / FRAME_COUNTS + 8)
        )
    else:
        assert least == most == update_bytes(dimension, chunks) <= BLOCK_BYTES


def test_a_block_is_as_long_as_storage_cuts_it() -> None:
    assert BLOCK_BYTES == CHUNK_BYTES


def _header(low: int, high: int) -> Callable[[bytes], bytes]:
    return lambda data: struct.pack("<II", low, high) + data[8:]


def _bomb(data: bytes) -> bytes:
    plane = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    return struct.pack("<II", len(plane), len(plane)) + plane + plane + data


def _shy_bomb(data: bytes) -> bytes:
    plane = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    return struct.pack("<II", len(plane), len(plane)) + plane + plane + data


def _short_plane(data: bytes) -> bytes:
    plane = zstandard.ZstdCompressor().compress(bytes(100))
    return struct.pack("<II", len(plane), len(plane)) + plane + plane + data


def _two_frames(data: bytes) -> bytes:
    plane = zstandard.ZstdCompressor().compress(bytes(FRAME_COUNTS)) * 2
    return struct.pack("<II", len(plane), len(plane)) + plane + plane + data


MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda data: b"", "ends within chunk 0"),
    "cut in a header": (lambda data: data[:3], "ends within chunk 0"),
    "cut in a plane": (lambda data: data[:1000], "ends within chunk 0"),
    "cut in its padding": (lambda data: data[:-1], "ends within its padding"),
    "a byte more": (lambda data: data + b"\0", "goes on behind its end"),
    "padded with something": (lambda data: data[:-1] + b"\1", "other bytes than zeros"),
    "a plane that is too long": (_header(FRAME_COUNTS + 1, 5), "chunk 0 has a plane of 131073 bytes"),
    "a plane of 4 GB": (_header(5, 0xFFFFFFFF), "chunk 0 has a plane of 4294967295 bytes"),
    "a plane of nothing": (_header(0, 0), "a plane of the update's chunk 0"),
    "no compressed plane": (_header(100, 100), "a plane of the update's chunk 0"),
    "a bomb": (_bomb, "says it has 268435456 bytes, expected 131072"),
    "a bomb that does not say so": (_shy_bomb, "says it has -1 bytes"),
    "a plane of too few": (_short_plane, "says it has 100 bytes"),
    "two planes in one": (_two_frames, "cannot be decompressed"),
}


@pytest.mark.parametrize("cheat", MALFORMED)
def test_a_malformed_payload_is_refused_within_little_memory(cheat: str) -> None:
    alter, problem = MALFORMED[cheat]
    data = alter(payload(gaussian(3)))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidUpdate, match=problem):
            unpacked(data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_chunk_at_fault_is_named() -> None:
    first = next(iter(pack_counts(gaussian(3).counts)))
    with pytest.raises(InvalidUpdate, match="ends within chunk 1"):
        unpacked(first + b"\1")


@settings(max_examples=300)
@given(st.data())
def test_whatever_is_altered_is_an_update_or_refused(data: st.DataObject) -> None:
    altered = bytearray(payload(gaussian(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 3000) | st.integers(0, len(altered) - 1))
        altered[at] = data.draw(st.integers(0, 255))
    with suppress(InvalidUpdate):
        assert len(unpacked(bytes(altered))) == update_bytes(LONG, 2)


@given(st.binary(max_size=500))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidUpdate):
        unpacked(data)
    with pytest.raises(InvalidUpdate):
        unpacked(data, SHORT)


def test_what_is_not_packed_has_one_length() -> None:
    plain = gaussian(3, SHORT).to_bytes()
    for wrong in (plain[:-1], plain + b"\0"):
        with pytest.raises(InvalidUpdate, match="payload"):
            unpacked(wrong, SHORT)


def test_memory_does_not_grow_with_the_update() -> None:
    update = gaussian(300, 60 * FRAME_COUNTS)

    def parts() -> Iterator[bytes]:
        yield from map(bytes, pack_update(update))

    tracemalloc.start()
    try:
        total = sum(len(part) for part in unpack_update(parts(), len(update.counts), 2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == update_bytes(len(update.counts), 2)
    assert peak < 10 << 20
