"""Contents read where they lie in a CAR: nothing is copied out of it, and nothing can be added to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from market.protocol.errors import BlockNotFound, CorruptBlock, StorageError
from market.storage import car
from market.storage.cid import Cid
from market.storage.durable_file import disk_errors
from market.storage.file_dag import first_missing
from market.storage.file_reads import FileReads

FREE_BLOCKS = 1_000_000
"""How many blocks a CAR may have,"""

PART_BYTES = 4_096
"""and one more for each so many bytes of it: the place of each block is in memory, and it may be of few bytes."""


class CarBlocks(FileReads):
    """A `ContentReader` and a source of blocks over a CAR file. Threads may share it. Use it as a context manager.

    Opening reads the whole file once and verifies every block, and every later read verifies its own again. Of a block
    only its digest and its place are in memory.

    Attributes:
        roots: the contents that the CAR names, each of them whole.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and look through it.

        Raises:
            StorageError: it cannot be read, is not a CARv1, is cut off or damaged; the error says where.
            CorruptBlock: a block does not have its CID.
            InvalidContent: a block of a root is missing, or a root is not a file.
        """
        self._path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        with disk_errors(path):
            self._file = path.open("rb")
        try:
            self.roots = self._look_through()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified.

        Raises:
            BlockNotFound: the CAR does not have it.
            CorruptBlock: the file was altered since it was opened.
        """
        if cid.digest not in self._places:
            raise BlockNotFound(str(cid), self.name)
        offset, size_bytes = self._places[cid.digest]
        with disk_errors(self._path):
            block = os.pread(self._file.fileno(), size_bytes, offset)
        if hashlib.sha256(block).digest() != cid.digest:
            raise CorruptBlock(str(cid), f"the bytes at {offset:,} of {self._path} were altered since it was opened")
        return block

    def has(self, cid: Cid) -> bool:
        """Whether the CAR has every block of the content."""
        with contextlib.suppress(BlockNotFound):
            return first_missing(cid, self.get_block, self._holds) is None
        return False

    def _holds(self, cid: Cid) -> bool:
        return cid.digest in self._places

    def _look_through(self) -> tuple[Cid, ...]:
        with disk_errors(self._path):
            roots, sections = car.read(self._file)
            for section in car.verified(sections):
                self._places[section.cid.digest] = (section.offset, len(section.unverified_block))
                if len(self._places) > FREE_BLOCKS + section.offset // PART_BYTES:
                    raise StorageError(f"{self._path}: {len(self._places):,} blocks, far more than its length is for")
        car.check_whole(roots, self)
        return roots
