from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.chunked_aead import CHUNK_BYTES, open_chunks, seal_chunks, sealed_bytes
from market.hpke import ENCAPSULATED_BYTES, Context
from market.protocol.errors import CannotUnseal

HELD = CHUNK_BYTES - 16
FIRST = HELD - 32
CONTEXT = Context(bytes(range(32)), bytes(range(12)))
LABEL = b"what it is for"
CONTENT = random.Random(7).randbytes(2 * HELD + 1000)
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + HELD - 1, FIRST + HELD, FIRST + HELD + 1, len(CONTENT)]


def sealed(content: bytes = CONTENT) -> list[bytes]:
    return list(seal_chunks(CONTEXT, LABEL, [content]))


def opened(chunks: list[bytes], context: Context = CONTEXT, label: bytes = LABEL) -> bytes:
    return b"".join(open_chunks(context, label, chunks))


@pytest.mark.parametrize("length", EDGES)
def test_what_was_sealed_opens_and_every_leaf_of_the_blob_is_one_chunk(length: int) -> None:
    chunks = sealed(CONTENT[:length])
    assert opened(chunks) == CONTENT[:length]
    blob = bytes(32) + b"".join(chunks)
    assert len(blob) == sealed_bytes(length)
    leaves = [blob[at : at + CHUNK_BYTES] for at in range(0, len(blob), CHUNK_BYTES)]
    assert leaves == [bytes(32) + chunks[0], *chunks[1:]]


@given(st.integers(0, len(CONTENT)), st.lists(st.integers(0, len(CONTENT)), max_size=6), st.integers(0, 300_000))
def test_however_content_and_blob_are_cut_the_bytes_are_the_same(length: int, cuts: list[int], step: int) -> None:
    content = CONTENT[:length]
    ends = [0, *sorted(min(cut, length) for cut in cuts), length]
    parts = [content[a:b] for a, b in pairwise(ends)]
    blob = b"".join(seal_chunks(CONTEXT, LABEL, parts))
    assert blob == b"".join(sealed(content))
    step += 1000
    assert opened([blob[at : at + step] for at in range(0, len(blob), step)]) == content


def test_without_anything_before_it_the_first_chunk_is_a_whole_block() -> None:
    chunks = list(seal_chunks(CONTEXT, LABEL, [CONTENT], preceding_bytes=0))
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 1016]
    assert sealed_bytes(len(CONTENT), preceding_bytes=0) == 2 * CHUNK_BYTES + 1016
    assert b"".join(open_chunks(CONTEXT, LABEL, chunks, preceding_bytes=0)) == CONTENT


@pytest.mark.parametrize("chunk", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 500, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit_is_found_and_its_chunk_named(chunk: int, at: int, bit: int) -> None:
    chunks = sealed()
    altered = bytearray(chunks[chunk])
    altered[at] ^= 1 << bit
    chunks[chunk] = bytes(altered)
    found: list[bytes] = []
    with pytest.raises(CannotUnseal, match=f"(chunk|number) {chunk} .*does not open"):
        found.extend(open_chunks(CONTEXT, LABEL, chunks))
    assert opened(sealed())[: sum(map(len, found))] == CONTENT[: sum(map(len, found))]


CHEATS = {
    "the last chunk dropped": (lambda c: c[:-1], 1),
    "all but the first dropped": (lambda c: c[:1], 0),
    "everything dropped": (lambda c: [], 0),
    "the first dropped": (lambda c: c[1:], 0),
    "one in the middle dropped": (lambda c: [c[0], c[2]], 1),
    "two swapped": (lambda c: [c[0], c[2], c[1]], 1),
    "one repeated": (lambda c: [c[0], c[1], c[1], c[2]], 2),
    "the last repeated": (lambda c: [*c, c[-1]], 2),
    "a byte added": (lambda c: [*c, b"\0"], 2),
    "a byte cut": (lambda c: [*c[:-1], c[-1][:-1]], 2),
    "cut within a chunk": (lambda c: [c[0], c[1][:1000]], 1),
    "cut to less than a tag": (lambda c: [*c[:-1], c[-1][:9]], 2),
    "a second content behind it": (lambda c: [*c, *sealed(b"more")], 2),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_truncated_reordered_repeated_or_extended_it_does_not_open(cheat: str) -> None:
    alter, chunk = CHEATS[cheat]
    with pytest.raises(CannotUnseal, match=f"(chunk|number) {chunk} "):
        opened(alter(sealed()))


@pytest.mark.parametrize(
    ("context", "label"),
    [
        (Context(bytes(32), CONTEXT.base_nonce), LABEL),
        (Context(CONTEXT.key, bytes(12)), LABEL),
        (CONTEXT, b"something else"),
        (CONTEXT, b"\0" + LABEL),
    ],
)
def test_with_another_key_nonce_or_label_the_first_chunk_does_not_open(context: Context, label: bytes) -> None:
    with pytest.raises(CannotUnseal, match="chunk 0 "):
        opened(sealed(), context, label)


def test_nothing_is_sealed_as_one_last_chunk_that_a_message_cannot_stand_for() -> None:
    assert len(sealed(b"")) == 1
    with pytest.raises(CannotUnseal, match="number 0"):
        opened([CONTEXT.seal(0, LABEL, b"")])
    with pytest.raises(CannotUnseal, match="number 0"):
        opened([CONTEXT.seal(0, b"\0" + LABEL, b"")])


def test_a_content_has_one_form_an_empty_chunk_at_its_end_is_refused() -> None:
    first = CONTEXT.seal(0, b"\0" + LABEL, CONTENT[:FIRST])
    with pytest.raises(CannotUnseal, match="chunk 1 is empty"):
        opened([first, CONTEXT.seal(1, b"\1" + LABEL, b"")])


def test_memory_does_not_grow_with_the_content() -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(HELD)

    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in open_chunks(CONTEXT, LABEL, seal_chunks(CONTEXT, LABEL, parts())))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 64 * HELD
    assert peak < 8 * CHUNK_BYTES


def test_a_share_of_the_key_agreement_is_as_long_as_the_first_chunk_is_shorter() -> None:
    assert [len(chunk) for chunk in sealed()] == [CHUNK_BYTES - ENCAPSULATED_BYTES, CHUNK_BYTES, 1048]
