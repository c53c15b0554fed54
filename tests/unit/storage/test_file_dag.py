from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import InvalidContent
from market.storage import CHUNK_BYTES, Cid
from market.storage.cid import DAG_PB, RAW
from market.storage.dag_pb import DagPbLink
from market.storage.file_dag import (
    CIDV0_PROFILE,
    CIDV1_PROFILE,
    FREE_BLOCKS,
    MAX_DEPTH,
    PART_BYTES,
    Profile,
    build_file,
    file_size,
    read_file,
    read_range,
    walk_blocks,
)
from market.storage.unixfs import encode_inner

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "cids.json").read_text())

Blocks = dict[Cid, bytes]


def build(data: bytes, profile: Profile = CIDV1_PROFILE) -> tuple[Cid, Blocks]:
    blocks: Blocks = {}
    return build_file(io.BytesIO(data), blocks.__setitem__, profile), blocks


def read(root: Cid, blocks: Blocks) -> bytes:
    return b"".join(read_file(root, blocks.__getitem__))


def walk(root: Cid, blocks: Blocks) -> list[Cid]:
    return [cid for cid, _ in walk_blocks(root, blocks.__getitem__, raw_leaves=True)]


def add_inner(blocks: Blocks, parts: list[tuple[Cid, int]]) -> Cid:
    """A node that claims these parts and lengths, true or not."""
    block = encode_inner([DagPbLink(cid, 0) for cid, _ in parts], [size for _, size in parts])
    cid = Cid.of_block(block, DAG_PB)
    blocks[cid] = block
    return cid


def add_leaf(blocks: Blocks, data: bytes) -> Cid:
    cid = Cid.of_block(data, RAW)
    blocks[cid] = data
    return cid


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda vector: repr(vector["text"]))
def test_texts_have_the_cids_that_ipfs_gives_them(vector: dict[str, str]) -> None:
    data = vector["text"].encode()
    assert str(build(data, CIDV1_PROFILE)[0]) == vector["cid_v1"]
    assert str(build(data, CIDV0_PROFILE)[0]) == vector["cid_v0"]


@pytest.mark.parametrize("vector", VECTORS["chunk_256KiB_width_174"], ids=lambda vector: vector["size_bytes"])
def test_files_have_the_cids_that_ipfs_gives_them(vector: dict[str, Any], content: Callable[[int], bytes]) -> None:
    data = content(vector["size_bytes"])
    for profile, expected in [(CIDV1_PROFILE, vector["cid_v1"]), (CIDV0_PROFILE, vector["cid_v0"])]:
        root, blocks = build(data, profile)
        assert str(root) == expected
        assert read(root, blocks) == data


@pytest.mark.parametrize(
    "vector", VECTORS["small_trees"], ids=lambda v: f"{v['chunk_bytes']}-{v['links']}-{v['size_bytes']}"
)
def test_trees_of_many_levels_are_balanced_as_ipfs_balances_them(
    vector: dict[str, Any], content: Callable[[int], bytes]
) -> None:
    data = content(vector["size_bytes"])
    for version in (0, 1):
        profile = Profile(vector["chunk_bytes"], vector["links"], version, raw_leaves=version == 1)
        root, blocks = build(data, profile)
        assert str(root) == vector[f"cid_v{version}"]
        assert read(root, blocks) == data


@given(st.binary(max_size=400), st.integers(1, 20), st.integers(2, 5), st.booleans())
def test_any_file_is_read_back_in_any_profile(data: bytes, chunk: int, links: int, raw_leaves: bool) -> None:
    root, blocks = build(data, Profile(chunk, links, 1, raw_leaves))
    assert read(root, blocks) == data
    assert file_size(root, blocks.__getitem__) == len(data)
    assert set(walk(root, blocks)) == set(blocks)


class Trickle(io.RawIOBase):
    """A stream that hands out a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 1009))


def test_a_stream_that_trickles_is_cut_at_the_same_places(content: Callable[[int], bytes]) -> None:
    data = content(CHUNK_BYTES + 5000)
    trickled = build_file(Trickle(data), lambda cid, block: None)  # type: ignore[arg-type]
    assert trickled == build(data)[0]


def test_a_part_longer_or_shorter_than_declared_is_refused() -> None:
    for declared in (3, 5):
        blocks: Blocks = {}
        root = add_inner(blocks, [(add_leaf(blocks, b"four"), declared)])
        with pytest.raises(InvalidContent, match=f"declares {declared} bytes, it has 4"):
            read(root, blocks)
        with pytest.raises(InvalidContent, match=f"declares {declared} bytes, it has 4"):
            walk(root, blocks)


def test_a_part_with_two_lengths_is_refused() -> None:
    blocks: Blocks = {}
    leaf = add_leaf(blocks, b"four")
    root = add_inner(blocks, [(leaf, 4), (leaf, 5)])
    with pytest.raises(InvalidContent):
        read(root, blocks)
    for raw_leaves in (True, False):
        with pytest.raises(InvalidContent, match="4 bytes here and 5 there"):
            list(walk_blocks(root, blocks.__getitem__, raw_leaves=raw_leaves))


def chain(blocks: Blocks, length: int, below: Cid, size_bytes: int) -> Cid:
    for _ in range(length):
        below = add_inner(blocks, [(below, size_bytes)])
    return below


def test_a_tree_deeper_than_the_limit_is_refused() -> None:
    blocks: Blocks = {}
    deepest = chain(blocks, MAX_DEPTH, add_leaf(blocks, b"x"), 1)
    assert read(deepest, blocks) == b"x"
    assert len(walk(deepest, blocks)) == MAX_DEPTH + 1

    deeper = chain(blocks, 1, deepest, 1)
    for reader in (read, walk):
        with pytest.raises(InvalidContent, match="deeper than 16 levels"):
            reader(deeper, blocks)


def test_a_shared_part_does_not_hide_a_tree_that_is_too_deep() -> None:
    blocks: Blocks = {}
    shared = chain(blocks, MAX_DEPTH - 3, add_leaf(blocks, b"x"), 1)
    root = add_inner(blocks, [(shared, 1), (chain(blocks, 5, shared, 1), 1)])
    for reader in (read, walk):
        with pytest.raises(InvalidContent, match="deeper than 16 levels"):
            reader(root, blocks)


def test_a_few_blocks_that_declare_an_enormous_file_are_walked_once_each() -> None:
    blocks: Blocks = {}
    part, size_bytes = add_leaf(blocks, b"x"), 1
    for _ in range(6):
        part, size_bytes = add_inner(blocks, [(part, size_bytes)] * 1000), size_bytes * 1000
    assert file_size(part, blocks.__getitem__) == 10**18
    assert len(walk(part, blocks)) == 7


def test_a_few_blocks_that_are_read_again_for_every_byte_are_given_up() -> None:
    """Whoever reads against a deadline would miss it: megabytes under ten blocks a byte take hours."""
    blocks: Blocks = {}
    part, size = add_leaf(blocks, b"\0"), 1
    for links in [1] * 10 + [1024, 1024, 4]:
        part, size = add_inner(blocks, [(part, size)] * links), size * links
    reads = count(1)

    def get_block(cid: Cid) -> bytes:
        assert next(reads) <= 1 + FREE_BLOCKS + size // PART_BYTES
        return blocks[cid]

    with pytest.raises(InvalidContent, match="parts of far less than"):
        for _ in read_file(part, get_block):
            pass


def test_raw_leaves_are_named_without_being_fetched() -> None:
    root, blocks = build(b"abcdefgh", Profile(2, 2, 1, raw_leaves=True))
    inner_alone = {cid: block for cid, block in blocks.items() if cid.codec == DAG_PB}
    named = list(walk_blocks(root, inner_alone.__getitem__, raw_leaves=False))
    assert {cid for cid, _ in named} == set(blocks)
    assert all((block is None) == (cid.codec == RAW) for cid, block in named)


def test_a_files_blocks_come_parents_first_and_in_order() -> None:
    root, blocks = build(b"abcdef", Profile(2, 2, 1, raw_leaves=True))
    order = [blocks[cid] for cid in walk(root, blocks) if cid.codec == RAW]
    assert walk(root, blocks)[0] == root
    assert order == [b"ab", b"cd", b"ef"]


SMALL_PROFILES = [Profile(4, 3, cid_version=1, raw_leaves=True), Profile(4, 3, cid_version=0, raw_leaves=False)]


@given(
    data=st.binary(max_size=200),
    profile=st.sampled_from(SMALL_PROFILES),
    first=st.integers(0, 210),
    last=st.integers(0, 210),
)
def test_range_is_that_part_of_the_file(data: bytes, profile: Profile, first: int, last: int) -> None:
    root, blocks = build(data, profile)

    assert b"".join(read_range(root, blocks.__getitem__, first, last)) == data[first : last + 1]


def test_range_fetches_its_own_leaves_alone() -> None:
    root, blocks = build(bytes(range(200)), SMALL_PROFILES[0])
    fetched: list[Cid] = []

    def get_block(cid: Cid) -> bytes:
        fetched.append(cid)
        return blocks[cid]

    assert b"".join(read_range(root, get_block, 100, 107)) == bytes(range(100, 108))
    assert sum(cid.codec == RAW for cid in fetched) == 2


def test_range_of_a_file_whose_lengths_are_false_is_refused() -> None:
    leaf = Cid.of_block(b"abc", RAW)
    root_block = encode_inner([DagPbLink(leaf, 3), DagPbLink(leaf, 3)], [3, 4])
    root = Cid.of_block(root_block, DAG_PB)
    blocks = {leaf: b"abc", root: root_block}

    assert b"".join(read_range(root, blocks.__getitem__, 0, 2)) == b"abc"
    with pytest.raises(InvalidContent, match="its parent declares 4 bytes, it has 3"):
        list(read_range(root, blocks.__getitem__, 0, 3))


def test_range_of_endless_small_parts_is_refused() -> None:
    leaf = Cid.of_block(b"a", RAW)
    node, size_bytes = leaf, 1
    blocks = {leaf: b"a"}
    for _ in range(2):
        block = encode_inner([DagPbLink(node, size_bytes)] * 100, [size_bytes] * 100)
        node, size_bytes = Cid.of_block(block, DAG_PB), 100 * size_bytes
        blocks[node] = block

    assert b"".join(read_range(node, blocks.__getitem__, 5_000, 5_009)) == b"a" * 10
    with pytest.raises(InvalidContent, match="it is cut into parts of far less than"):
        list(read_range(node, blocks.__getitem__, 0, size_bytes - 1))
