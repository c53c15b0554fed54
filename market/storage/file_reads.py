"""Reading files from anything that gives verified blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from market.protocol.errors import InvalidContent
from market.storage.cid import Cid
from market.storage.durable_file import sync_folder, write_file
from market.storage.file_dag import file_size, read_file, read_range, walk_blocks


class FileReads(ABC):
    """The reading half of a `ContentStore`, block by block, over `get_block`."""

    @abstractmethod
    def get_block(self, cid: Cid) -> bytes:
        """One block, verified."""

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

    def size(self, cid: Cid) -> int:
        """Length of the content in bytes, by its verified root."""
        return file_size(cid, self.get_block)

    def verify(self, cid: Cid) -> int:
        """Read and check every block once, and return the content's length in bytes."""
        for _ in walk_blocks(cid, self.get_block, raw_leaves=True):
            pass
        return self.size(cid)

    def bring(self, cid: Cid, limit_s: float) -> None:
        """See that the root is here: what is not here is to be had nowhere."""
        self.size(cid)
