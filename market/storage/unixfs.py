"""UnixFS file nodes: what one block says about a file, decoded strictly.

A file is a tree of blocks: leaves hold its bytes, inner nodes link to subtrees and state the length of each. Nodes are
read in both profiles of `ipfs add`: raw leaves (CIDv1) and leaves wrapped in dag-pb (CIDv0, Kubo's default).
Format: https://specs.ipfs.tech/unixfs/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.protocol.errors import InvalidCid, InvalidContent
from market.storage.cid import RAW, Cid
from market.storage.dag_pb import (
    MAX_LINKS,
    DagPbLink,
    bytes_field,
    decode_node,
    encode_node,
    integer,
    octets,
    read_fields,
    varint_field,
)

_TYPE, _DATA, _FILE_SIZE, _BLOCK_SIZE = 1, 2, 3, 4
_TYPE_RAW, _TYPE_FILE = 0, 2


@dataclass(frozen=True)
class Subtree:
    """A child of a file node, and the length of the part of the file below it."""

    cid: Cid
    size_bytes: int


@dataclass(frozen=True)
class FileNode:
    """One block of a file: bytes of its own, then those of its subtrees in order."""

    data: bytes
    subtrees: tuple[Subtree, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the file, or of the part of it, below this node, by the node's own account."""
        return len(self.data) + sum(subtree.size_bytes for subtree in self.subtrees)


def encode_leaf(data: bytes) -> bytes:
    """A leaf of the CIDv0 profile: content wrapped in a dag-pb node."""
    return encode_node((), _encode_unixfs(data, len(data), ()))


def encode_inner(links: Sequence[DagPbLink], sizes_bytes: Sequence[int]) -> bytes:
    """An inner node: links to subtrees, and the length of the file below each."""
    return encode_node(links, _encode_unixfs(b"", sum(sizes_bytes), sizes_bytes))


def decode_block(cid: Cid, block: bytes) -> FileNode:
    """Parse a block whose digest has been verified already.

    A subtree of length zero is refused: only an empty file is empty, and a tree whose every branch holds at least a
    byte takes no more steps to read than it has bytes.

    Raises:
        InvalidContent: the block is not a node of a plain file, or its sizes contradict each other.
    """
    if cid.codec == RAW:
        return FileNode(block, ())
    try:
        node = decode_node(block)
        data, declared_bytes, sizes_bytes = _decode_unixfs(node.data)
    except (ValueError, InvalidCid) as error:
        raise InvalidContent(str(cid), f"not a UnixFS file: {error}") from error
    if len(sizes_bytes) != len(node.links):
        raise InvalidContent(str(cid), f"{len(node.links)} links but {len(sizes_bytes)} block sizes")
    if 0 in sizes_bytes:
        raise InvalidContent(str(cid), "it links to an empty part")
    subtrees = tuple(Subtree(link.cid, size) for link, size in zip(node.links, sizes_bytes, strict=True))
    file_node = FileNode(data, subtrees)
    if file_node.size_bytes != declared_bytes:
        raise InvalidContent(str(cid), f"it declares {declared_bytes} bytes, its parts have {file_node.size_bytes}")
    return file_node


def _encode_unixfs(data: bytes, size_bytes: int, sizes_bytes: Sequence[int]) -> bytes:
    held = bytes_field(_DATA, data) if data else b""
    parts = b"".join(varint_field(_BLOCK_SIZE, size) for size in sizes_bytes)
    return varint_field(_TYPE, _TYPE_FILE) + held + varint_field(_FILE_SIZE, size_bytes) + parts


def _decode_unixfs(unverified_message: bytes) -> tuple[bytes, int, list[int]]:
    """Data, declared length and block sizes; fields in order, each of the first three at most once."""
    single: dict[int, int | bytes] = {}
    sizes_bytes: list[int] = []
    previous = 0
    for number, value in read_fields(unverified_message):
        if number > _BLOCK_SIZE:
            raise ValueError(f"field {number} does not belong in a plain file")
        if number < previous or number in single:
            raise ValueError(f"field {number} is out of order")
        previous = number
        if number != _BLOCK_SIZE:
            single[number] = value
        elif len(sizes_bytes) == MAX_LINKS:
            raise ValueError(f"more than {MAX_LINKS} block sizes")
        else:
            sizes_bytes.append(integer(value))
    if single.get(_TYPE) not in (_TYPE_RAW, _TYPE_FILE):
        raise ValueError(f"its type is {single.get(_TYPE)!r}")
    if _FILE_SIZE not in single:
        raise ValueError("it declares no size")
    return octets(single.get(_DATA, b"")), integer(single[_FILE_SIZE]), sizes_bytes
