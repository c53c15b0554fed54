"""How many bytes of blocks a store holds: one number in a file, which all who write to the store keep up to date.

It is never less than what is there, whoever is killed whenever: a block's bytes are counted before it is written. What
that counts too much, and what a power cut made of the number, is put right where the blocks are counted anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from market.protocol.errors import StorageError, StorageFull
from market.storage.durable_file import disk_errors, locked, write_file

_DIGITS = 20


class Usage:
    """The file with the number. Stores that nobody gave a quota have none, and pay nothing for it.

    The caller holds the store's lock: alone for `set`, shared for the rest.
    """

    def __init__(self, path: Path, quota_bytes: int | None) -> None:
        self._path = path
        self._quota_bytes = quota_bytes

    @property
    def is_kept(self) -> bool:
        """Whether anybody counts."""
        return self._path.exists()

    @property
    def used_bytes(self) -> int:
        """What the blocks come to, where that is kept.

        Raises:
            StorageError: the file is damaged.
        """
        with locked(self._path, exclusive=True):
            return self._read()

    def set(self, used_bytes: int) -> None:
        """Begin to count, or to count anew, from what is there."""
        write_file(self._path, [f"{used_bytes:0{_DIGITS}}".encode()])

    @contextlib.contextmanager
    def growing(self, size_bytes: int) -> Iterator[None]:
        """Count bytes that are about to be written; those of a write that fails are taken off again.

        Raises:
            StorageFull: they are more than the quota leaves; nothing is counted.
        """
        self.add(size_bytes)
        try:
            yield
        except BaseException:
            # Also on an interrupt: the error goes on.
            self.add(-size_bytes)
            raise

    def add(self, size_bytes: int) -> None:
        """Count bytes more, or less. Raises as `growing`."""
        if not self.is_kept:
            return
        # Its own lock, since writers share the store's. Locks are the file's: `set` replaces it, but only alone.
        with locked(self._path, exclusive=True):
            used_bytes = self._read()
            if self._quota_bytes is not None and 0 < size_bytes > self._quota_bytes - used_bytes:
                raise StorageFull(
                    f"{self._path.parent}: {used_bytes:,} bytes are used, {size_bytes:,} more were asked for, "
                    f"{self._quota_bytes:,} are allowed: unpin what can go and collect the garbage, or allow more"
                )
            self._write(used_bytes + size_bytes)

    def _read(self) -> int:
        with disk_errors(self._path):
            number = self._path.read_bytes()
        if len(number) != _DIGITS or not number.isdigit():
            raise StorageError(f"{self._path}: not a number of {_DIGITS} digits: collecting the garbage counts anew")
        return int(number)

    def _write(self, used_bytes: int) -> None:
        # In one call, in place: a process that is killed has made it or has not.
        with disk_errors(self._path):
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, f"{max(0, used_bytes):0{_DIGITS}}".encode(), 0)
            finally:
                os.close(descriptor)
