"""CARv1 archives: roots and all their blocks in a single stream, as `ipfs dag export` writes and `import` reads them.

Format: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidCid, InvalidContent, StorageError
from market.storage import car_header
from market.storage.cid import Cid
from market.storage.content_store import MAX_BLOCK_BYTES, BlockStore, ContentReader, ContentStore
from market.storage.file_dag import walk_blocks
from market.storage.varint import MAX_VARINT_BYTES, decode_varint, encode_varint

_MAX_CID_BYTES = 36


@dataclass(frozen=True)
class Section:
    """A block of an archive as it is found there, not verified: its name, where its bytes begin, and them."""

    cid: Cid
    offset: int
    unverified_block: bytes


def export(roots: Sequence[Cid], store: BlockStore, out: BinaryIO) -> int:
    """Write contents as one CAR and return the number of blocks.

    Raises:
        BlockNotFound, CorruptBlock, InvalidContent: a content is incomplete or damaged; what was written up to there
            is no whole CAR.
    """
    # The header is the first part, every other a block.
    return sum(1 for part in parts(roots, store) if out.write(part)) - 1


def parts(roots: Sequence[Cid], store: BlockStore) -> Iterator[bytes]:
    """A CAR of these contents in parts: its header, then each block once, in the contents' order.

    Memory is one block, and the digests of those that are in it already. Raises as `export`.
    """
    yield _section(car_header.encode(roots))
    written: set[bytes] = set()
    for root in roots:
        for cid, block in walk_blocks(root, store.get_block, raw_leaves=True):
            if block is not None and cid.digest not in written:
                written.add(cid.digest)
                yield _section(cid.to_bytes() + block)


def import_(unverified_stream: BinaryIO, store: ContentStore) -> tuple[Cid, ...]:
    """Keep the blocks of a CAR, each verified against its CID, and return the roots, all of whose content is then held.

    Nothing is pinned. An import that ends early leaves the whole blocks that came: another goes on from there.

    Raises:
        StorageError: the stream is not a CARv1, or is cut off or damaged; the error says where.
        CorruptBlock: a block does not have its CID; it is not kept.
        InvalidContent: a block of a root is missing, or a root is not a file.
    """
    roots, sections = read(unverified_stream)
    store.put_blocks((section.cid, section.unverified_block) for section in verified(sections))
    check_whole(roots, store)
    return roots


def read(unverified_stream: BinaryIO) -> tuple[tuple[Cid, ...], Iterator[Section]]:
    """The roots that a CAR names, and its blocks as they come; nothing of it is verified.

    Raises:
        StorageError: it is not a CARv1; from the iterator: it is cut off or damaged.
    """
    stream = _Counted(unverified_stream)
    header = _read_section(stream, car_header.MAX_HEADER_BYTES)
    if header is None:
        raise StorageError("not a CAR: the stream is empty")
    return car_header.decode(header), _read_blocks(stream)


def verified(sections: Iterable[Section]) -> Iterator[Section]:
    """The same blocks, each once it is known to have its CID.

    Raises:
        CorruptBlock: one does not, and where in the archive it is.
    """
    for section in sections:
        block, cid = section.unverified_block, section.cid
        if Cid.of_block(block, cid.codec, cid.version) != cid:
            raise CorruptBlock(str(cid), f"the {len(block)} bytes at {section.offset:,} of the CAR have another hash")
        yield section


def check_whole(roots: Iterable[Cid], store: ContentReader) -> None:
    """See that every block of a CAR's roots is held.

    Raises:
        InvalidContent: naming the first that is not; or a root is not a file.
    """
    for root in dict.fromkeys(roots):  # a CAR may name one any number of times
        try:
            if not store.has(root):
                store.verify(root)
        except BlockNotFound as missing:
            raise InvalidContent(str(root), f"the CAR does not hold its block {missing.cid}") from missing


def _read_blocks(stream: _Counted) -> Iterator[Section]:
    start = stream.position
    while (section := _read_section(stream, _MAX_CID_BYTES + MAX_BLOCK_BYTES)) is not None:
        try:
            cid, end = Cid.read_prefix(section)
        except InvalidCid as error:
            raise StorageError(f"not a whole CAR: the block at {start:,} has no CID: {error}") from error
        yield Section(cid, stream.position - len(section) + end, section[end:])
        start = stream.position


def _section(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


@dataclass
class _Counted:
    """A stream, and how far it was read."""

    unverified_stream: BinaryIO
    position: int = 0

    def read(self, size_bytes: int) -> bytes:
        data = self.unverified_stream.read(size_bytes)
        self.position += len(data)
        return data


def _read_section(stream: _Counted, limit_bytes: int) -> bytes | None:
    """The next section, or None at the stream's end."""
    start, prefix = stream.position, b""
    while not prefix or prefix[-1] >= 0x80:
        byte = stream.read(1)
        if not byte and not prefix:
            return None
        if not byte or len(prefix) == MAX_VARINT_BYTES:
            raise StorageError(f"not a whole CAR: it ends, or is damaged, inside a section's length at {start:,}")
        prefix += byte
    try:
        length, _ = decode_varint(prefix, 0)
    except ValueError as error:
        raise StorageError(f"not a whole CAR: the section's length at {start:,}: {error}") from error
    if length > limit_bytes:
        raise StorageError(
            f"not a CAR of ours: a section of {length} bytes at {start:,}, at most {limit_bytes} are read"
        )
    return _read_exactly(stream, start, length)


def _read_exactly(stream: _Counted, start: int, size_bytes: int) -> bytes:
    found: list[bytes] = []
    missing = size_bytes
    while missing:
        part = stream.read(missing)
        if not part:
            raise StorageError(
                f"not a whole CAR: it ends {missing} bytes before {_named(b''.join(found))} at {start:,} does"
            )
        found.append(part)
        missing -= len(part)
    return b"".join(found)


def _named(unverified_section: bytes) -> str:
    """What a section that is cut off holds, as far as it is there."""
    try:
        cid, _ = Cid.read_prefix(unverified_section)
    except InvalidCid:
        return "the section"
    return f"block {cid}"
