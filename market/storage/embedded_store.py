"""The embedded store: content in a folder of this machine, under true IPFS CIDs, for any number of processes at once.

The folder holds `blocks/` (Kubo's flatfs layout), `pins/`, `taken/`, a lock, and `usage` where there is a quota.
Writers share the lock for one block at a time; the garbage collection takes it alone. Readers take none: a block's file
is whole or absent.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO, TypeVar, cast

from market.protocol.errors import BlockNotFound, InvalidContent
from market.storage.cid import RAW, Cid
from market.storage.content_store import BlockStore
from market.storage.durable_file import disk_errors, locked, make_folder, sweep_leftovers, sync_folder
from market.storage.file_dag import build_file, first_missing, walk_blocks
from market.storage.file_reads import FileReads
from market.storage.flat_blocks import FlatBlocks
from market.storage.pin_files import PinFiles
from market.storage.taken_blocks import TakenBlocks
from market.storage.usage import Usage

GRACE_S = 3600.0
"""Seconds for which a block added is safe unpinned: time enough to finish an upload and pin it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Collected:
    """What a garbage collection removed."""

    blocks: int
    size_bytes: int


class EmbeddedStore(FileReads):
    """A `ContentStore` in a folder, which is created by the first write. Safe between threads and processes.

    Raises:
        StorageError: from any method: the folder's place is taken by a file, or it may not be read or written.
        StorageFull: from any method that writes: the disk or the quota is full; what was held before is untouched.
    """

    def __init__(self, root: Path, quota_bytes: int | None = None) -> None:
        """Touch nothing yet.

        Args:
            root: the folder.
            quota_bytes: what the blocks may come to; no block is written that would exceed it. Whoever else writes
                there may have another quota, or none: all count together.
        """
        self.root = root
        self._quota_bytes = quota_bytes
        self._usage = Usage(root / "usage", quota_bytes)
        self._blocks = FlatBlocks(root / "blocks", self._usage.growing)
        self._pins = PinFiles(root / "pins")
        self._taken = TakenBlocks(root / "taken")
        self._prepared = False

    def add(self, stream: BinaryIO) -> Cid:
        """Keep a stream's content and return its CID; durable when this returns."""
        with self._writing() as batch:
            return build_file(stream, batch.put_named)

    def add_bytes(self, data: bytes) -> Cid:
        """Keep some bytes and return their CID; durable when this returns."""
        return self.add(io.BytesIO(data))

    def take(self, cid: Cid, stream: BinaryIO, admit: Callable[[int], None]) -> int:
        """Keep a stranger's content if it has this CID, and return its length in bytes; durable when this returns.

        The content waits in a file without a name, which is gone with its writer: nothing of what has another CID, of
        what is not admitted, or of a stream that breaks off, is ever among the blocks. `collect_taken` removes it
        again when no pin reaches it, but not what was here before.

        Args:
            cid: what its bytes have to be named.
            stream: them.
            admit: called with their length before any is kept; whatever it raises refuses them.

        Raises:
            InvalidContent: it has another CID; nothing of it is kept.
        """
        self._prepare()
        blocks: set[Cid] = set()
        with disk_errors(self.root), TemporaryFile(dir=self.root) as spool:
            found = build_file(cast("BinaryIO", _Copied(stream, spool)), lambda block_cid, block: blocks.add(block_cid))
            if found != cid:
                raise InvalidContent(str(cid), f"the bytes sent are {found}")
            size_bytes = spool.tell()
            admit(size_bytes)
            with self._locked():
                self._taken.add({block.digest for block in blocks if not self._blocks.holds(block)})
            spool.seek(0)
            with self._writing() as batch:
                build_file(spool, batch.put_named)
        return size_bytes

    def put_blocks(self, unverified_blocks: Iterable[tuple[Cid, bytes]]) -> int:
        """Keep single blocks and return how many came; durable when this returns.

        Raises:
            CorruptBlock: the bytes given do not have their CID; blocks before it are kept.
        """
        count = 0
        with self._writing() as batch:
            for cid, block in unverified_blocks:
                batch.put(cid, block)
                count += 1
        return count

    def adopt(self, cid: Cid, source: BlockStore) -> None:
        """Keep what another store holds, verified; durable when this returns. Folders on one disk share its files.

        Raises:
            BlockNotFound, CorruptBlock, InvalidContent: the other store does not hold all of it whole.
        """
        with self._writing() as batch:
            for block_cid, block in walk_blocks(cid, source.get_block, raw_leaves=False):
                if isinstance(source, EmbeddedStore):
                    batch.link(block_cid, source._blocks)
                else:
                    batch.put(block_cid, block or source.get_block(block_cid))

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified.

        Raises:
            BlockNotFound: it is not held.
            CorruptBlock: its file is truncated or altered.
        """
        return self._blocks.read(cid)

    def block_bytes(self, cid: Cid) -> int | None:
        """How long a block's file is, unread; None where there is none."""
        return self._blocks.size_bytes(cid)

    def spare(self, cid: Cid) -> int | None:
        """The same of a block that is about to be pinned with others: it is as safe as if it had been added now."""
        if self.block_bytes(cid) is None:
            return None
        self._prepare()
        with self._locked():
            return self._blocks.freshen(cid)

    def has(self, cid: Cid) -> bool:
        """Whether every block of the content is held; damage is an error where it meets the eye, never a yes."""
        with contextlib.suppress(BlockNotFound):
            self._require(cid)
            return True
        return False

    def pin(self, cid: Cid, reason: str) -> None:
        """Protect content that is wholly held, durably; again for the same reason changes nothing.

        Raises:
            BlockNotFound: a block of it is missing; nothing is pinned.
        """
        self._prepare()
        with self._locked():
            self._require(cid)
            self._pins.add(cid, reason)

    def unpin(self, cid: Cid, reason: str) -> None:
        """Take one reason back, durably; no error if it was not there."""
        if self.root.exists():
            self._prepare()
            with self._locked():
                self._pins.remove(cid, reason)

    def pins(self) -> Mapping[Cid, frozenset[str]]:
        """Every pinned root with its reasons."""
        return self._pins.all()

    def used_bytes(self) -> int:
        """What the blocks come to: as it is counted where somebody gave the store a quota, else from their files."""
        if not self.root.exists():
            return 0
        self._prepare()
        with self._locked():
            return self._usage.used_bytes if self._usage.is_kept else self._count()

    def check_writable(self) -> None:
        """See that something can be kept.

        Raises:
            StorageError: nothing can.
        """
        self._prepare()
        with disk_errors(self.root), TemporaryFile(dir=self.root) as probe:
            probe.write(bytes(1))
            probe.flush()

    def collect_garbage(self, grace_s: float = GRACE_S) -> Collected:
        """Remove blocks that no pin reaches and that were last added at least `grace_s` seconds ago.

        Raises:
            BlockNotFound, CorruptBlock, InvalidContent: pinned content is incomplete or damaged. Nothing is removed
                then, since what it still needs is not known.
        """
        if not self.root.exists():
            return Collected(0, 0)
        self._prepare()
        with self._locked(exclusive=True):
            self._sweep()
            return self._remove_unpinned(time.time() - grace_s)

    def collect_taken(self, grace_s: float = GRACE_S) -> Collected:
        """The same, of blocks that came by `take` alone: whoever shares the folder keeps theirs, pinned or not.

        Raises:
            BlockNotFound, CorruptBlock, InvalidContent: as of `collect_garbage`.
        """
        if not self.root.exists():
            return Collected(0, 0)
        self._prepare()
        with self._locked(exclusive=True):
            self._sweep()
            return self._remove_taken(time.time() - grace_s)

    def _remove_unpinned(self, added_until_s: float) -> Collected:
        needed = self._needed()
        removed = freed_bytes = 0
        with disk_errors(self.root):
            for held in self._blocks:
                if held.digest not in needed and held.added_s <= added_until_s:
                    held.path.unlink()
                    removed, freed_bytes = removed + 1, freed_bytes + held.size_bytes
        if self._usage.is_kept:
            self._usage.set(self._count())
        return Collected(removed, freed_bytes)

    def _remove_taken(self, added_until_s: float) -> Collected:
        needed: set[bytes] | None = None
        removed = freed_bytes = 0
        for taking in self._taken:
            if taking.written_s > added_until_s:
                continue  # it may still be being written
            needed = self._needed() if needed is None else needed
            kept = set(taking.digests & needed)
            for digest in taking.digests - needed:
                path = self._blocks.path(Cid(1, RAW, digest))
                with disk_errors(path), contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if status.st_mtime > added_until_s:
                        kept.add(digest)
                        continue
                    path.unlink()
                    removed, freed_bytes = removed + 1, freed_bytes + status.st_size
            if len(kept) < len(taking.digests):
                self._taken.keep_only(taking, kept)
        self._usage.add(-freed_bytes)
        return Collected(removed, freed_bytes)

    def _needed(self) -> set[bytes]:
        """The digest of every block that a pin reaches."""
        return {
            cid.digest for root in self._pins.all() for cid, _ in walk_blocks(root, self.get_block, raw_leaves=False)
        }

    def _require(self, cid: Cid) -> None:
        if missing := first_missing(cid, self.get_block, self._blocks.holds):
            raise BlockNotFound(str(missing), str(self.root))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[_Batch]:
        self._prepare()
        with _Batch(self._blocks, self._lock) as batch:
            yield batch

    def _prepare(self) -> None:
        """Create what is missing and, if nobody else is writing, clear away what killed writers left."""
        if self._prepared:
            return
        make_folder(self.root)
        with self._locked():
            self._blocks.prepare()
        counting = self._quota_bytes is not None
        with locked(self._lock, exclusive=True, wait=counting) as alone:
            if alone:
                self._sweep()
            if counting:
                self._usage.set(self._count())
        self._prepared = True

    def _count(self) -> int:
        with disk_errors(self.root):
            return sum(held.size_bytes for held in self._blocks)

    def _sweep(self) -> None:
        with disk_errors(self.root):
            sweep_leftovers(self.root)
        self._blocks.sweep()
        self._pins.sweep()
        self._taken.sweep()

    @property
    def _lock(self) -> Path:
        return self.root / "lock"

    def _locked(self, *, exclusive: bool = False) -> contextlib.AbstractContextManager[bool]:
        return locked(self._lock, exclusive=exclusive)


class _Batch:
    """Blocks that become durable together: each file as it is written, the folders' entries once at the end.

    A disk takes several files at once in hardly more time than one: after the first few, blocks are written in threads,
    and are all on the disk when the batch ends, whether it ends well or not.
    """

    _ALONE, _THREADS, _UNDER_WAY = 2, 4, 16

    def __init__(self, blocks: FlatBlocks, lock: Path) -> None:
        self._blocks = blocks
        self._lock = lock
        self._folders: set[Path] = set()
        self._count = 0
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[Path]] = deque()

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._sync()
        finally:
            if self._pool:
                self._pool.shutdown()

    def put(self, cid: Cid, unverified_block: bytes) -> None:
        """Keep a block once it was seen to have this CID; what is wrong with an earlier one may come up here."""
        self._put(self._blocks.write, cid, unverified_block)

    def put_named(self, cid: Cid, block: bytes) -> None:
        """The same of a block whose CID was computed from it."""
        self._put(self._blocks.write_named, cid, block)

    def link(self, cid: Cid, source: FlatBlocks) -> None:
        """The same of a block that another folder holds."""
        self._put(self._blocks.link, cid, source)

    def _put(self, write: Callable[[Cid, T], Path], cid: Cid, block: T) -> None:
        self._count += 1
        if self._count <= self._ALONE:
            self._folders.add(self._write(write, cid, block))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._THREADS)
        while len(self._under_way) >= self._UNDER_WAY:
            self._folders.add(self._under_way.popleft().result())
        self._under_way.append(self._pool.submit(self._write, write, cid, block))

    def _write(self, write: Callable[[Cid, T], Path], cid: Cid, block: T) -> Path:
        with locked(self._lock, exclusive=False):
            return write(cid, block)

    def _sync(self) -> None:
        while self._under_way:
            self._folders.add(self._under_way.popleft().result())
        # Also folders that another writer created a moment ago and has yet to sync.
        for folder in [*sorted(self._folders), self._blocks.folder]:
            sync_folder(folder)


class _Copied:
    """A stream that is written down as it is read; nothing else is asked of it."""

    def __init__(self, stream: BinaryIO, copy: IO[bytes]) -> None:
        self._stream, self._copy = stream, copy

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many."""
        data = self._stream.read(size)
        self._copy.write(data)
        return data
