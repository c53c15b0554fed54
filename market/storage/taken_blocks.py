"""Which blocks were taken in for strangers: they may go when no pin reaches them. One file a taking, of bare digests.

A block that was here before is in no such file: it is somebody else's, pinned or not.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from market.storage.cid import DIGEST_BYTES
from market.storage.durable_file import disk_errors, make_folder, sweep_leftovers, sync_folder, write_file

_SUFFIX = ".blocks"


@dataclass(frozen=True)
class Taking:
    """Blocks that were taken in together: their digests, the file that says so, and when it was written."""

    digests: frozenset[bytes]
    path: Path
    written_s: float


class TakenBlocks:
    """The folder of those files. It takes no locks: its owner does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, digests: Collection[bytes]) -> None:
        """Record blocks durably, before the first of them is written."""
        if digests:
            make_folder(self.folder)
            write_file(self.folder / f"{uuid.uuid4().hex}{_SUFFIX}", sorted(digests))
            sync_folder(self.folder)

    def keep_only(self, taking: Taking, digests: Collection[bytes]) -> None:
        """Forget the others of a taking, and all of it where none is left."""
        if digests:
            write_file(taking.path, sorted(digests))
        else:
            with disk_errors(taking.path):
                taking.path.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Taking]:
        """Every taking."""
        with disk_errors(self.folder):
            for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
                data = path.read_bytes()
                starts = range(0, len(data) - DIGEST_BYTES + 1, DIGEST_BYTES)
                digests = frozenset(data[at : at + DIGEST_BYTES] for at in starts)
                yield Taking(digests, path, path.stat().st_mtime)

    def sweep(self) -> None:
        """Remove what killed writers left behind; no writer may be at work."""
        with disk_errors(self.folder):
            if self.folder.is_dir():
                sweep_leftovers(self.folder)
