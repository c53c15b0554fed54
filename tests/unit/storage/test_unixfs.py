from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import InvalidContent
from market.storage import Cid
from market.storage.cid import DAG_PB, RAW
from market.storage.dag_pb import (
    MAX_LINKS,
    DagPbLink,
    bytes_field,
    decode_node,
    encode_node,
    varint_field,
)
from market.storage.unixfs import FileNode, Subtree, decode_block, encode_inner, encode_leaf

LEAF = Cid.of_block(b"part", RAW)
LINK = DagPbLink(LEAF, 4)
FILE = varint_field(1, 2)


def decode(block: bytes) -> FileNode:
    return decode_block(Cid.of_block(block, DAG_PB), block)


def leaf_of(unixfs: bytes) -> bytes:
    return encode_node((), unixfs)


def inner_of(unixfs: bytes, links: int = 1) -> bytes:
    return encode_node([LINK] * links, unixfs)


@given(st.binary(max_size=100))
def test_a_wrapped_leaf_holds_its_bytes(data: bytes) -> None:
    assert decode(encode_leaf(data)) == FileNode(data, ())


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=20))
def test_an_inner_node_names_its_subtrees_and_their_lengths(sizes: list[int]) -> None:
    node = decode(encode_inner([LINK] * len(sizes), sizes))
    assert node.subtrees == tuple(Subtree(LEAF, size) for size in sizes)
    assert node.size_bytes == sum(sizes)


def test_a_raw_block_is_its_content() -> None:
    assert decode_block(Cid.of_block(encode_leaf(b"x"), RAW), encode_leaf(b"x")) == FileNode(encode_leaf(b"x"), ())


def test_a_node_may_hold_bytes_before_those_of_its_subtrees() -> None:
    unixfs = FILE + bytes_field(2, b"abc") + varint_field(3, 7) + varint_field(4, 4)
    assert decode(inner_of(unixfs)) == FileNode(b"abc", (Subtree(LEAF, 4),))


def test_the_older_type_raw_is_a_leaf_too() -> None:
    assert decode(leaf_of(varint_field(1, 0) + bytes_field(2, b"old") + varint_field(3, 3))).data == b"old"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        pytest.param(b"", "no data", id="empty block"),
        pytest.param(b"just some text", "inside a field", id="text"),
        pytest.param(leaf_of(b""), "its type is None", id="no type"),
        pytest.param(leaf_of(varint_field(1, 1) + varint_field(3, 0)), "its type is 1", id="folder"),
        pytest.param(
            leaf_of(varint_field(1, 4) + bytes_field(2, b"/etc") + varint_field(3, 4)), "type is 4", id="link"
        ),
        pytest.param(leaf_of(bytes_field(1, b"\2") + varint_field(3, 0)), "its type is b", id="type as bytes"),
        pytest.param(leaf_of(FILE + bytes_field(2, b"abc")), "no size", id="no size"),
        pytest.param(
            leaf_of(FILE + bytes_field(2, b"abc") + varint_field(3, 2)), "2 bytes, its parts have 3", id="short"
        ),
        pytest.param(leaf_of(FILE + varint_field(2, 1) + varint_field(3, 1)), "must be bytes", id="data as integer"),
        pytest.param(leaf_of(FILE + varint_field(3, 0) + varint_field(3, 0)), "out of order", id="size twice"),
        pytest.param(leaf_of(varint_field(3, 0) + FILE), "out of order", id="size before type"),
        pytest.param(leaf_of(FILE + varint_field(3, 0) + varint_field(7, 420)), "field 7", id="with a mode"),
        pytest.param(leaf_of(FILE + b"\x1d\0\0\0\0"), "wire type 5", id="fixed 32 bits"),
        pytest.param(leaf_of(FILE + b"\x18\x80\x00"), "shortest", id="long varint"),
        pytest.param(leaf_of(FILE + b"\x12\x7f"), "inside a field", id="data beyond the end"),
        pytest.param(inner_of(FILE + varint_field(3, 4)), "1 links but 0 block sizes", id="link without size"),
        pytest.param(leaf_of(FILE + varint_field(3, 4) + varint_field(4, 4)), "0 links but 1", id="size without link"),
        pytest.param(inner_of(FILE + varint_field(3, 0) + varint_field(4, 0)), "empty part", id="empty part"),
        pytest.param(inner_of(FILE + varint_field(3, 5) + varint_field(4, 4)), "5 bytes, its parts have 4", id="sum"),
        pytest.param(inner_of(FILE + varint_field(3, 4) + bytes_field(4, b"\4")), "must be an integer", id="packed"),
        pytest.param(encode_leaf(b"x") + bytes_field(1, b""), "follows", id="data twice"),
        pytest.param(encode_leaf(b"x") + bytes_field(2, b""), "follows", id="link after data"),
        pytest.param(bytes_field(3, b"") + encode_leaf(b"x"), "field 3", id="unknown field"),
    ],
)
def test_blocks_that_are_no_plain_file_are_refused(block: bytes, problem: str) -> None:
    with pytest.raises(InvalidContent, match=problem):
        decode(block)


@pytest.mark.parametrize(
    "link",
    [
        b"",
        bytes_field(1, LEAF.to_bytes()),
        bytes_field(1, LEAF.to_bytes()) + bytes_field(2, b"name") + varint_field(3, 4),
        bytes_field(1, LEAF.to_bytes()) + bytes_field(2, b"n" * 5000) + varint_field(3, 4),
        bytes_field(1, LEAF.to_bytes()[:-1]) + bytes_field(2, b"") + varint_field(3, 4),
        bytes_field(2, b"") + bytes_field(1, LEAF.to_bytes()) + varint_field(3, 4),
        bytes_field(1, LEAF.to_bytes()) + bytes_field(2, b"") + bytes_field(3, b"4"),
    ],
    ids=["empty", "hash alone", "named", "long name", "short hash", "order", "size as bytes"],
)
def test_links_of_another_form_are_refused(link: bytes) -> None:
    unixfs = FILE + varint_field(3, 4) + varint_field(4, 4)
    with pytest.raises(InvalidContent, match="not a UnixFS file"):
        decode(bytes_field(2, link) + bytes_field(1, unixfs))


def test_a_node_has_a_bounded_number_of_links() -> None:
    most = encode_inner([LINK] * MAX_LINKS, [4] * MAX_LINKS)
    assert len(decode(most).subtrees) == MAX_LINKS
    with pytest.raises(InvalidContent, match="more than 1024 links"):
        decode(encode_inner([LINK] * (MAX_LINKS + 1), [4] * (MAX_LINKS + 1)))
    sizes = varint_field(4, 4) * (MAX_LINKS + 1)
    with pytest.raises(InvalidContent, match="more than 1024 block sizes"):
        decode(leaf_of(FILE + varint_field(3, 4) + sizes))


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(1, 255))
def test_an_altered_node_is_refused_or_a_consistent_one(tail: bytes, place: int, flip: int) -> None:
    block = bytearray(encode_inner([LINK] * 3, [4, 4, 4]) + tail)
    block[place % len(block)] ^= flip
    try:
        node = decode(bytes(block))
    except InvalidContent:
        return
    assert len(node.subtrees) == len(decode_node(bytes(block)).links)
    assert all(subtree.size_bytes > 0 for subtree in node.subtrees)
