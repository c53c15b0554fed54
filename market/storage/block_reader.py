"""Files read out of blocks that are at hand, whatever holds them."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from market.protocol.errors import BlockNotFound, InvalidContent
from market.storage.cid import Cid
from market.storage.durable_file import sync_folder, write_file
from market.storage.file_dag import file_size, read_file, read_range, walk_blocks


class BlockReader(ABC):
    """A `ContentReader` over single blocks."""

    @abstractmethod
    def get_block(self, cid: Cid) -> bytes:
        """One block, verified.

        Raises:
            BlockNotFound: it is not held.
            CorruptBlock: what is held is truncated or altered.
        """

    @abstractmethod
    def holds_block(self, cid: Cid) -> bool:
        """Whether a block is held; its bytes are not read."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the blocks are, for messages."""

    def open(self, cid: Cid) -> Iterator[bytes]:
        """The content in order, in verified pieces."""
        return read_file(cid, self.get_block)

    def open_range(self, cid: Cid, first: int, last: int) -> Iterator[bytes]:
        """The content's bytes from `first` to `last`, both included, in verified pieces; no other leaf is read."""
        return read_range(cid, self.get_block, first, last)

    def read(self, cid: Cid, limit_bytes: int) -> bytes:
        """The whole content in memory.

        Raises:
            InvalidContent: it is longer than `limit_bytes`.
        """
        size_bytes = self.size(cid)
        if size_bytes > limit_bytes:
            raise InvalidContent(str(cid), f"{size_bytes} bytes, at most {limit_bytes} are read")
        return b"".join(self.open(cid))

    def copy_to(self, cid: Cid, path: Path, expected_bytes: int | None = None) -> None:
        """Write the content to a file, atomically and durably; a file of that name is replaced.

        Raises:
            InvalidContent: the content's length is not `expected_bytes`; the file is not touched.
        """
        size_bytes = self.size(cid)
        if expected_bytes is not None and size_bytes != expected_bytes:
            raise InvalidContent(str(cid), f"{size_bytes} bytes, expected {expected_bytes}")
        write_file(path, self.open(cid))
        sync_folder(path.parent)

    def has(self, cid: Cid) -> bool:
        """Whether every block of the content is held; damage is an error where it meets the eye, never a yes."""
        with contextlib.suppress(BlockNotFound):
            self.require(cid)
            return True
        return False

    def require(self, cid: Cid) -> None:
        """See that every block of the content is held; leaves are looked up, not read.

        Raises:
            BlockNotFound: naming the first that is not.
        """
        for block_cid, block in walk_blocks(cid, self.get_block, raw_leaves=False):
            if block is None and not self.holds_block(block_cid):
                raise BlockNotFound(str(block_cid), self.place)

    def size(self, cid: Cid) -> int:
        """Length of the content in bytes, by its verified root."""
        return file_size(cid, self.get_block)

    def verify(self, cid: Cid) -> int:
        """Read and check every block once, and return the content's length in bytes."""
        for _ in walk_blocks(cid, self.get_block, raw_leaves=True):
            pass
        return self.size(cid)
