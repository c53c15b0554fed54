"""What every content store offers, whichever way it keeps its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from market.storage.cid import Cid

MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""Largest block that is kept or read: what IPFS peers exchange at most."""


class BlockStore(Protocol):
    """Keeps single blocks, verified on the way in and on the way out."""

    def get_block(self, cid: Cid) -> bytes:
        """One block's bytes, at most `MAX_BLOCK_BYTES`.

        Raises:
            BlockNotFound: it is not held.
            CorruptBlock: what is held does not have this CID.
        """
        ...

    def put_blocks(self, unverified_blocks: Iterable[tuple[Cid, bytes]]) -> int:
        """Keep blocks and return how many came; all of them are durable when this returns.

        Raises:
            CorruptBlock: the bytes given do not have their CID; blocks before it are kept.
            StorageFull: there is no room.
        """
        ...


class ContentReader(Protocol):
    """Reads files by their CIDs: a store, or an archive that nothing can be added to.

    Everything read is verified block by block. Raised throughout, beside what each method names: `BlockNotFound`
    where a block is missing, `CorruptBlock` where its bytes are not its own, `InvalidContent` where the blocks are
    whole but not the file asked for, `StorageError` where the disk or the peer refuses.
    """

    def open(self, cid: Cid) -> Iterator[bytes]:
        """The content in order, in verified pieces of at most one block. It ends early only by an error."""
        ...

    def read(self, cid: Cid, limit_bytes: int) -> bytes:
        """The whole content in memory.

        Raises:
            InvalidContent: it is longer than `limit_bytes`; nothing beyond its root was read.
        """
        ...

    def copy_to(self, cid: Cid, path: Path, expected_bytes: int | None = None) -> None:
        """Write the content to a file that appears only when it is complete, verified and on the disk.

        Raises:
            InvalidContent: `expected_bytes` is given and the content has another length.
        """
        ...

    def has(self, cid: Cid) -> bool:
        """Whether every block of the content is held. Leaves are looked up, not read: see `verify`."""
        ...

    def size(self, cid: Cid) -> int:
        """Length of the content in bytes, as its root declares and every later read enforces."""
        ...

    def verify(self, cid: Cid) -> int:
        """Read and check every block, and return the content's length in bytes."""
        ...

    def bring(self, cid: Cid, limit_s: float) -> None:
        """Fetch what is missing, where there is anywhere to fetch it from, for so many seconds at most.

        Raises:
            BlockNotFound: it is not all here yet; what came is kept.
        """
        ...


class ContentStore(BlockStore, ContentReader, Protocol):
    """Keeps files under their CIDs. CIDs equal those of `ipfs add --cid-version=1 --raw-leaves`.

    Raised throughout, beside what a `ContentReader` raises: `StorageFull` where there is no room.
    """

    def add(self, stream: BinaryIO) -> Cid:
        """Keep a stream's content; durable when this returns. Memory does not grow with its length."""
        ...

    def adopt(self, cid: Cid, source: BlockStore) -> None:
        """Keep what another store holds, verified; durable when this returns."""
        ...

    def add_bytes(self, data: bytes) -> Cid:
        """Keep some bytes; durable when this returns."""
        ...

    def pin(self, cid: Cid, reason: str) -> None:
        """Protect content that is wholly held from garbage collection, durably, until this reason is unpinned."""
        ...

    def unpin(self, cid: Cid, reason: str) -> None:
        """Take one reason back; no error if it was not there."""
        ...

    def pins(self) -> Mapping[Cid, frozenset[str]]:
        """Every pinned root with the reasons it is pinned for."""
        ...
