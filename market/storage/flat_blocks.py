"""Blocks as files, laid out as Kubo's flatfs does: one file a block, named by its multihash, spread over folders.

Kubo opens the same folder as its block store. A block's file name is made from its digest alone, so no content and no
CID can reach outside.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from market.protocol.errors import BlockNotFound, CorruptBlock, StorageError
from market.storage.cid import DIGEST_BYTES, Cid
from market.storage.content_store import MAX_BLOCK_BYTES
from market.storage.durable_file import disk_errors, link_file, make_folder, sweep_leftovers, sync_folder, write_file

_SHARDING = "/repo/flatfs/shard/v1/next-to-last/2\n"
_SUFFIX = ".data"
_STRIPES = 64


@dataclass(frozen=True)
class BlockFile:
    """A block held: its digest, its file, the file's length, and when it was last added (seconds since 1970)."""

    digest: bytes
    path: Path
    size_bytes: int
    added_s: float


class FlatBlocks:
    """The folder of blocks. It takes no locks and syncs no folder by itself: its owner does both."""

    def __init__(self, folder: Path, growing: Callable[[int], AbstractContextManager[None]] | None = None) -> None:
        """Read and write nothing yet.

        Args:
            folder: the blocks'.
            growing: entered around the writing of a block, with the bytes that the folder then holds more.
        """
        self.folder = folder
        self._growing = growing
        self._one_at_a_time = [threading.Lock() for _ in range(_STRIPES)]

    def prepare(self) -> None:
        """Create the folder, or check that one found here is laid out as ours.

        Raises:
            StorageError: the folder cannot be created, or its blocks are spread by another rule.
        """
        make_folder(self.folder)
        rule = self.folder / "SHARDING"
        with disk_errors(rule):
            if not rule.exists():
                write_file(rule, [_SHARDING.encode()])
                sync_folder(self.folder)
            found = rule.read_text(encoding="utf-8", errors="replace")
        if found.strip() != _SHARDING.strip():
            raise StorageError(f"{rule}: blocks are spread by {found.strip()[:80]!r}, expected {_SHARDING.strip()!r}")

    def path(self, cid: Cid) -> Path:
        """Where a block's file is, or would be."""
        name = base64.b32encode(cid.multihash).decode("ascii").rstrip("=")
        return self.folder / name[-3:-1] / (name + _SUFFIX)

    def holds(self, cid: Cid) -> bool:
        """Whether the block's file is here; its bytes are not read."""
        return self.size_bytes(cid) is not None

    def size_bytes(self, cid: Cid) -> int | None:
        """Length of the block's file, whose bytes are not read; None where it is not here."""
        path = self.path(cid)
        with disk_errors(path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def freshen(self, cid: Cid) -> int | None:
        """Mark a block as added now, and return its file's length; None where it is not here."""
        path = self.path(cid)
        with disk_errors(path):
            try:
                os.utime(path)
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def read(self, cid: Cid) -> bytes:
        """The block's bytes, verified.

        Raises:
            BlockNotFound: it is not here.
            CorruptBlock: its file is truncated or altered.
        """
        block = self._read_unverified(cid)
        if block is None:
            raise BlockNotFound(str(cid), str(self.folder.parent))
        if len(block) > MAX_BLOCK_BYTES:
            raise CorruptBlock(str(cid), f"its file is longer than {MAX_BLOCK_BYTES} bytes")
        if hashlib.sha256(block).digest() != cid.digest:
            raise CorruptBlock(str(cid), f"the {len(block)} bytes in its file have another hash")
        return block

    def write(self, cid: Cid, block: bytes) -> Path:
        """Keep a block and return its folder, which has to be synced for the block's name to be durable.

        A block already here is only marked as fresh, a damaged one is replaced.

        Raises:
            CorruptBlock: the bytes do not have this CID, or are more than `MAX_BLOCK_BYTES`.
            StorageFull: the disk is full, or there is no room for more.
        """
        if len(block) > MAX_BLOCK_BYTES:
            raise CorruptBlock(str(cid), f"{len(block)} bytes, at most {MAX_BLOCK_BYTES} are kept in one block")
        if hashlib.sha256(block).digest() != cid.digest:
            raise CorruptBlock(str(cid), f"the {len(block)} bytes given have another hash")
        return self.write_named(cid, block)

    def write_named(self, cid: Cid, block: bytes) -> Path:
        """The same of a block whose CID was computed from these very bytes: they are not hashed a second time."""
        # Equal blocks, as of a file with zeros, may be written by several threads at once: only the first one grows it.
        with self._one_at_a_time[cid.digest[0] % _STRIPES]:
            return self._write_named(cid, block)

    def _write_named(self, cid: Cid, block: bytes) -> Path:
        path = self.path(cid)
        held = self._read_unverified(cid)
        if held == block:
            with disk_errors(path):
                os.utime(path)
        else:
            make_folder(path.parent)
            with self._growing(len(block) - len(held or b"")) if self._growing else nullcontext():
                write_file(path, [block])
        return path.parent

    def link(self, cid: Cid, other: FlatBlocks) -> Path:
        """The same of a block that another folder holds: its file gets a second name here, where both are on one disk.

        No byte is copied then, and none need be synced: whoever wrote the file did, and nobody writes to it again.

        Raises:
            BlockNotFound, CorruptBlock: the other folder does not hold the block, or a damaged one.
            StorageFull: there is no room for more.
        """
        block, path, named = other.read(cid), self.path(cid), other.path(cid)
        held = self._read_unverified(cid)
        if held != block:
            make_folder(path.parent)
            with self._growing(len(block) - len(held or b"")) if self._growing else nullcontext():
                if link_file(named, path):
                    return path.parent
        return self.write_named(cid, block)

    def __iter__(self) -> Iterator[BlockFile]:
        """Every block held, in no particular order; files of other kinds are passed over."""
        for shard in self._shards():
            with os.scandir(shard) as entries:
                held = [(digest, entry) for entry in entries if (digest := _digest_of(entry.name)) is not None]
            for digest, entry in held:
                status = entry.stat()
                yield BlockFile(digest, Path(entry.path), status.st_size, status.st_mtime)

    def sweep(self) -> None:
        """Remove what killed writers left behind; no writer may be at work."""
        with disk_errors(self.folder):
            sweep_leftovers(self.folder)
            for shard in self._shards():
                sweep_leftovers(shard)

    def _shards(self) -> list[Path]:
        with os.scandir(self.folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir()]

    def _read_unverified(self, cid: Cid) -> bytes | None:
        path = self.path(cid)
        with disk_errors(path):
            try:
                with path.open("rb") as file:
                    return file.read(MAX_BLOCK_BYTES + 1)
            except FileNotFoundError:
                return None


def _digest_of(file_name: str) -> bytes | None:
    if not file_name.endswith(_SUFFIX):
        return None
    key = file_name[: -len(_SUFFIX)]
    try:
        multihash = base64.b32decode(key + "=" * (-len(key) % 8))
    except ValueError:
        return None
    return multihash[2:] if multihash[:2] == b"\x12\x20" and len(multihash) == 2 + DIGEST_BYTES else None
