"""The header of a CARv1: the dag-cbor map {"roots": [CID, …], "version": 1}, in its one canonical form.

Formats: https://ipld.io/specs/transport/car/carv1/ and https://ipld.io/specs/codecs/dag-cbor/spec/
"""

from __future__ import annotations

from collections.abc import Sequence

from market.protocol.errors import InvalidCid, StorageError
from market.storage.cid import Cid

MAX_HEADER_BYTES = 32 * 1024 * 1024
"""Longest header that is read, as in go-car: some 800,000 roots."""

_BEFORE_ROOTS = b"\xa2\x65roots"
_AFTER_ROOTS = b"\x67version\x01"
_CID_TAG = b"\xd8\x2a"
_BYTES, _ARRAY = 0x40, 0x80
_IN_HEAD, _ONE_BYTE, _LONGEST = 24, 24, 27


def encode(roots: Sequence[Cid]) -> bytes:
    """The header that names these roots."""
    return _BEFORE_ROOTS + _head(_ARRAY, len(roots)) + b"".join(map(_encode_cid, roots)) + _AFTER_ROOTS


def decode(unverified_header: bytes) -> tuple[Cid, ...]:
    """The roots that a header names.

    Raises:
        StorageError: it is not a CARv1's, or not in canonical form.
    """
    try:
        roots = _decode_roots(unverified_header)
    except (ValueError, InvalidCid) as error:
        raise StorageError(f"not a CARv1: its header: {error}") from error
    if encode(roots) != unverified_header:
        raise StorageError("not a CARv1: its header is not the map of roots and version 1 in canonical form")
    return roots


def _decode_roots(unverified_header: bytes) -> tuple[Cid, ...]:
    count, offset = _read_head(unverified_header, len(_BEFORE_ROOTS), _ARRAY)
    roots: list[Cid] = []
    for _ in range(count):
        # What stands there in place of the tag shows when the header is encoded again.
        length, start = _read_head(unverified_header, offset + len(_CID_TAG), _BYTES)
        offset = start + length
        # A CID is tag 42 over bytes that begin with a zero.
        roots.append(Cid.from_bytes(unverified_header[start + 1 : offset]))
    return tuple(roots)


def _encode_cid(cid: Cid) -> bytes:
    data = b"\x00" + cid.to_bytes()
    return _CID_TAG + _head(_BYTES, len(data)) + data


def _head(kind: int, count: int) -> bytes:
    """The head of an item: its major type, and a count in the shortest form."""
    if count < _IN_HEAD:
        return bytes([kind | count])
    size = next(size for size in range(4) if count < 1 << (8 << size))
    return bytes([kind | _ONE_BYTE + size]) + count.to_bytes(1 << size, "big")


def _read_head(unverified_data: bytes, offset: int, kind: int) -> tuple[int, int]:
    """The count in an item's head, and the offset behind it."""
    head = unverified_data[offset : offset + 1]
    if not head or head[0] & 0xE0 != kind:
        raise ValueError(f"expected an item of major type {kind >> 5} at {offset}")
    short = head[0] & 0x1F
    if short < _IN_HEAD:
        return short, offset + 1
    if short > _LONGEST:
        raise ValueError(f"an item of no definite length at {offset}")
    end = offset + 1 + (1 << short - _ONE_BYTE)
    if end > len(unverified_data):
        raise ValueError(f"it ends inside the item at {offset}")
    return int.from_bytes(unverified_data[offset + 1 : end], "big"), end
