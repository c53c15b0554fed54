"""CARv1 archives: one root and all its blocks in a single stream, as `ipfs dag export` writes and `import` reads them.

Format: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from market.protocol.errors import InvalidCid, InvalidContent, StorageError
from market.storage.cid import Cid
from market.storage.content_store import MAX_BLOCK_BYTES, BlockStore, ContentStore
from market.storage.file_dag import walk_blocks
from market.storage.varint import MAX_VARINT_BYTES, decode_varint, encode_varint

_MAX_CID_BYTES = 36
_MAX_HEADER_BYTES = 100

# The header is the dag-cbor map {"roots": [CID], "version": 1}; a CID is tag 42 over bytes that begin with a zero.
_BEFORE_CID = b"\xa2\x65roots\x81\xd8\x2a\x58"
_AFTER_CID = b"\x67version\x01"


def export(root: Cid, store: BlockStore, out: BinaryIO) -> int:
    """Write the content as a CAR, each block once and in the file's order, and return the number of blocks.

    Raises:
        BlockNotFound, CorruptBlock, InvalidContent: the content is incomplete or damaged; what was written up to
            there is no whole CAR.
    """
    _write_section(out, _encode_header(root))
    count = 0
    for cid, block in walk_blocks(root, store.get_block, raw_leaves=True):
        _write_section(out, cid.to_bytes() + (block or b""))
        count += 1
    return count


def import_(unverified_stream: BinaryIO, store: ContentStore) -> Cid:
    """Keep the blocks of a CAR, each verified against its CID, and return the root, all of whose content is then held.

    The content is not pinned.

    Raises:
        StorageError: the stream is not a CARv1 with a single root, or is cut off.
        CorruptBlock: a block does not have its CID; it is not kept.
        InvalidContent: blocks of the root are missing, or it is not a file.
    """
    header = _read_section(unverified_stream, _MAX_HEADER_BYTES)
    if header is None:
        raise StorageError("not a CAR: the stream is empty")
    root = _decode_header(header)
    store.put_blocks(_read_blocks(unverified_stream))
    if not store.has(root):
        raise InvalidContent(str(root), "the CAR does not hold all of its blocks")
    return root


def _encode_header(root: Cid) -> bytes:
    cid = b"\x00" + root.to_bytes()
    return _BEFORE_CID + bytes([len(cid)]) + cid + _AFTER_CID


def _decode_header(unverified_header: bytes) -> Cid:
    start = len(_BEFORE_CID) + 2
    try:
        root = Cid.from_bytes(unverified_header[start : -len(_AFTER_CID)])
    except InvalidCid as error:
        raise StorageError(f"not a CARv1 with one root: {error}") from error
    if _encode_header(root) != unverified_header:
        raise StorageError("not a CARv1 with one root: its header is another")
    return root


def _read_blocks(unverified_stream: BinaryIO) -> Iterator[tuple[Cid, bytes]]:
    while (section := _read_section(unverified_stream, _MAX_CID_BYTES + MAX_BLOCK_BYTES)) is not None:
        cid, end = Cid.read_prefix(section)
        yield cid, section[end:]


def _write_section(out: BinaryIO, section: bytes) -> None:
    out.write(encode_varint(len(section)))
    out.write(section)


def _read_section(unverified_stream: BinaryIO, limit_bytes: int) -> bytes | None:
    """The next section, or None at the stream's end."""
    prefix = b""
    while not prefix or prefix[-1] >= 0x80:
        byte = unverified_stream.read(1)
        if not byte and not prefix:
            return None
        if not byte or len(prefix) == MAX_VARINT_BYTES:
            raise StorageError("not a whole CAR: it ends, or is damaged, inside a section's length")
        prefix += byte
    try:
        length, _ = decode_varint(prefix, 0)
    except ValueError as error:
        raise StorageError(f"not a whole CAR: {error}") from error
    if length > limit_bytes:
        raise StorageError(f"not a CAR of ours: a section of {length} bytes, at most {limit_bytes} are read")
    return _read_exactly(unverified_stream, length)


def _read_exactly(unverified_stream: BinaryIO, size_bytes: int) -> bytes:
    parts: list[bytes] = []
    missing = size_bytes
    while missing:
        part = unverified_stream.read(missing)
        if not part:
            raise StorageError(f"not a whole CAR: it ends {missing} bytes before a section does")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
