from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import InvalidCid, InvalidContent
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore
from market.storage.cid import DAG_PB, RAW
from market.storage.unixfs import encode_leaf

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
HELLO_V0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"

cids = st.one_of(
    st.builds(Cid, st.just(0), st.just(DAG_PB), st.binary(min_size=32, max_size=32)),
    st.builds(Cid, st.just(1), st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32)),
)


@given(cids)
def test_text_and_bytes_name_the_same_cid(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(cid.to_bytes()) == cid


def test_the_digest_is_the_sha256_of_a_raw_block() -> None:
    cid = Cid.parse(HELLO)
    assert (cid.version, cid.codec) == (1, RAW)
    assert cid.digest == hashlib.sha256(b"hello world").digest()
    assert cid == Cid.of_block(b"hello world", RAW)


def test_a_version_0_cid_is_the_hash_of_a_wrapped_leaf() -> None:
    assert str(Cid.of_block(encode_leaf(b"hello world"), DAG_PB, version=0)) == HELLO_V0


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_digest_and_length_give_back_the_cid(
    store: EmbeddedStore, content: Callable[[int], bytes], size_bytes: int
) -> None:
    cid = store.add_bytes(content(size_bytes))
    assert Cid.from_digest(cid.digest, size_bytes) == cid


def test_content_crafted_to_be_read_in_two_ways_is_read_in_one(store: EmbeddedStore) -> None:
    crafted = encode_leaf(b"what the other reader sees")
    as_node = Cid.of_block(crafted, DAG_PB)
    store.put_blocks([(as_node, crafted)])

    by_length = Cid.from_digest(as_node.digest, len(crafted))
    assert store.read(as_node, 100) == b"what the other reader sees"
    assert store.read(by_length, 100) == crafted
    assert by_length != as_node


def test_a_digest_of_a_wrapped_small_file_is_not_the_content_of_that_length(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    crafted = encode_leaf(b"12345")
    store.put_blocks([(Cid.of_block(crafted, DAG_PB), crafted)])
    digest = hashlib.sha256(crafted).digest()
    with pytest.raises(InvalidContent, match=f"{len(crafted)} bytes, expected 5"):
        store.copy_to(Cid.from_digest(digest, 5), tmp_path / "out", expected_bytes=5)


@pytest.mark.parametrize(("digest", "size_bytes"), [(b"\0" * 31, 1), (b"\0" * 33, 1), (b"\0" * 32, -1)])
def test_impossible_digests_and_lengths_are_refused(digest: bytes, size_bytes: int) -> None:
    with pytest.raises(InvalidCid):
        Cid.from_digest(digest, size_bytes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "hello",
        "../../etc/passwd",
        HELLO.upper(),
        HELLO + "a",
        HELLO[:-1],
        HELLO[:-1] + "f",  # the same bytes, with a stray bit behind the last of them
        HELLO + "=",
        HELLO_V0[:-1],
        HELLO_V0[:-1] + "0",
        "Qm" + "z" * 44,
        "z" + HELLO_V0,
        "bafkqaaa",  # identity hash
        "bafyrei" + HELLO[7:],  # dag-cbor
        "b" + "a" * 10_000,
    ],
)
def test_texts_that_are_no_cid_of_ours_are_refused(text: str) -> None:
    with pytest.raises(InvalidCid):
        Cid.parse(text)


@given(st.text(max_size=80).map(lambda text: "b" + text) | st.text(max_size=80))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidCid):
        Cid.parse(text)


@given(st.binary(max_size=40))
def test_bytes_are_a_cid_in_their_one_form_or_refused(data: bytes) -> None:
    try:
        cid = Cid.from_bytes(data)
    except InvalidCid:
        return
    assert cid.to_bytes() == data


def test_nothing_may_follow_a_cid() -> None:
    with pytest.raises(InvalidCid, match="1 bytes too many"):
        Cid.from_bytes(Cid.parse(HELLO).to_bytes() + b"\0")


@pytest.mark.parametrize(("version", "codec"), [(2, RAW), (0, RAW), (1, 0x71)])
def test_unknown_versions_and_codecs_are_refused(version: int, codec: int) -> None:
    with pytest.raises(InvalidCid):
        Cid(version, codec, b"\0" * 32)
