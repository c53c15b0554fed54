"""dag-pb nodes: a list of links to other blocks, then the node's own data, as canonical protobuf.

The decoder takes the canonical form only (links before data, fields in order, shortest varints) and no names: files
have none. Everything is bounded by the block, and the number of links by `MAX_LINKS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from market.storage.cid import Cid
from market.storage.varint import decode_varint, encode_varint

MAX_LINKS = 1024
"""Most links that a node may carry; the widest published UnixFS profile has 1,024, `ipfs add` writes 174."""

_MAX_LINK_BYTES = 64
"""A nameless link takes at most 51 bytes."""

_VARINT, _BYTES = 0, 2
_NODE_DATA, _NODE_LINK = 1, 2
_LINK_HASH, _LINK_NAME, _LINK_TSIZE = 1, 2, 3


@dataclass(frozen=True)
class DagPbLink:
    """A child block, and the bytes of all blocks below the link together (`Tsize`, advisory and never trusted)."""

    cid: Cid
    total_block_bytes: int


@dataclass(frozen=True)
class DagPbNode:
    """A node: its links in order, and its data, here always a UnixFS message."""

    links: tuple[DagPbLink, ...]
    data: bytes


def varint_field(number: int, value: int) -> bytes:
    """A protobuf field of wire type 0."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A protobuf field of wire type 2."""
    return encode_varint(number << 3 | _BYTES) + encode_varint(len(value)) + value


def read_fields(unverified_message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message in order: numbers with an integer (wire type 0) or bytes (wire type 2).

    Raises:
        ValueError: another wire type, or the message ends inside a field.
    """
    offset = 0
    while offset < len(unverified_message):
        tag, offset = decode_varint(unverified_message, offset)
        if tag & 7 == _VARINT:
            value, offset = decode_varint(unverified_message, offset)
            yield tag >> 3, value
        elif tag & 7 == _BYTES:
            length, offset = decode_varint(unverified_message, offset)
            if length > len(unverified_message) - offset:
                raise ValueError("the message ends inside a field")
            yield tag >> 3, unverified_message[offset : offset + length]
            offset += length
        else:
            raise ValueError(f"wire type {tag & 7} is not used in these messages")


def integer(value: int | bytes) -> int:
    """The value of a field that must be an integer.

    Raises:
        ValueError: it is bytes.
    """
    if isinstance(value, int):
        return value
    raise ValueError("a field that must be an integer holds bytes")


def octets(value: int | bytes) -> bytes:
    """The value of a field that must be bytes.

    Raises:
        ValueError: it is an integer.
    """
    if isinstance(value, bytes):
        return value
    raise ValueError("a field that must be bytes holds an integer")


def encode_node(links: Sequence[DagPbLink], data: bytes) -> bytes:
    """The canonical bytes of a node whose links have empty names."""
    encoded = [bytes_field(_NODE_LINK, _encode_link(link)) for link in links]
    return b"".join(encoded) + bytes_field(_NODE_DATA, data)


def decode_node(unverified_block: bytes) -> DagPbNode:
    """Parse a canonical node with data.

    Raises:
        ValueError: the bytes are not one, or it has more than `MAX_LINKS` links or a named one.
    """
    links: list[DagPbLink] = []
    data: bytes | None = None
    for number, value in read_fields(unverified_block):
        if number not in (_NODE_LINK, _NODE_DATA):
            raise ValueError(f"field {number} does not belong in a node")
        if data is not None:
            raise ValueError("something follows the node's data")
        if number == _NODE_DATA:
            data = octets(value)
        elif len(links) == MAX_LINKS:
            raise ValueError(f"a node has more than {MAX_LINKS} links")
        else:
            links.append(_decode_link(octets(value)))
    if data is None:
        raise ValueError("a node has no data")
    return DagPbNode(tuple(links), data)


def _encode_link(link: DagPbLink) -> bytes:
    named = bytes_field(_LINK_HASH, link.cid.to_bytes()) + bytes_field(_LINK_NAME, b"")
    return named + varint_field(_LINK_TSIZE, link.total_block_bytes)


def _decode_link(unverified_link: bytes) -> DagPbLink:
    if len(unverified_link) > _MAX_LINK_BYTES:
        raise ValueError("a link is longer than a hash and a size: this is a folder, not a file")
    fields = list(read_fields(unverified_link))
    if [number for number, _ in fields] != [_LINK_HASH, _LINK_NAME, _LINK_TSIZE]:
        raise ValueError("a link does not consist of hash, name and size")
    (_, cid), (_, name), (_, total_block_bytes) = fields
    if octets(name):
        raise ValueError("a link has a name: this is a folder, not a file")
    return DagPbLink(Cid.from_bytes(octets(cid)), integer(total_block_bytes))
