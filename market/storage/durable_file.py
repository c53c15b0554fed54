"""Files that are whole or absent, and still there after a power cut: temporary file, fsync, rename, folder fsync.

POSIX only, like the locks: it relies on atomic renames and on folders that can be synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from market.protocol.errors import StorageError, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEFTOVER_SUFFIX = ".part"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Tell the operating system's refusals in the project's words.

    Raises:
        StorageFull: no space, over quota, or over the largest file allowed.
        StorageError: anything else that the disk refuses, such as a missing folder or a missing permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"{path}: the disk is full ({error.strerror}), nothing was changed there") from error
        at = error.filename if isinstance(error.filename, str) else path
        raise StorageError(f"cannot use {path}: {at}: {error.strerror}") from error


def write_file(path: Path, parts: Iterable[bytes | bytearray | memoryview], mode: int = 0o666) -> None:
    """Write a file that appears under its name only when it is complete and on the disk.

    The name itself is durable after `sync_folder` on its folder. A writer killed on the way leaves a hidden `.part`
    file and never a damaged one; any other failure leaves nothing. Nobody gets more permissions than `mode` gives.

    Raises:
        StorageFull: the disk is full.
        StorageError: the folder cannot be written to, or what has the name is no file: a device would be gone.
    """
    with disk_errors(path):
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is no file: expected one, or nothing yet")
    temporary = path.parent / f".{uuid.uuid4().hex}{_LEFTOVER_SUFFIX}"
    with disk_errors(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            # Also on an interrupt: the error goes on, only its litter does not.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def link_file(named: Path, path: Path) -> bool:
    """Give a file that is on the disk a second name, in the place of what had it; whether its disk can do that.

    It counts as written now. The name is durable after `sync_folder`, as of `write_file`.

    Raises:
        StorageError: the folder cannot be written to.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}{_LEFTOVER_SUFFIX}"
    with disk_errors(path):
        try:
            os.link(named, temporary)
        except OSError as error:
            if error.errno in _FULL:
                raise
            return False  # another disk, one that knows no links, or no more of them
        os.utime(temporary)
        os.replace(temporary, path)
        # Where both names were the file's already, the rename does nothing.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return True


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably; one that is there already is fine.

    Raises:
        StorageError: a file is in the way, or there is no permission.
    """
    with disk_errors(path):
        if path.is_dir():
            return
        if path.parent != path:
            make_folder(path.parent)
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise StorageError(f"{path} is a file: expected a folder, or nothing yet") from error
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and removals inside a folder durable.

    Raises:
        StorageError: the folder is missing or cannot be synced.
    """
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder; the caller makes sure that no writer is at work there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(_LEFTOVER_SUFFIX):
                os.unlink(entry.path)


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool, wait: bool = True) -> Iterator[bool]:
    """Hold a lock shared by threads and processes, which the kernel drops when its holder dies.

    Yields whether the lock is held: always, if `wait`. Not reentrant.

    Raises:
        StorageError: the lock's file cannot be opened, or its file system knows no locks.
    """
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _take_lock(path, descriptor, exclusive, wait)
    finally:
        os.close(descriptor)


def _take_lock(path: Path, descriptor: int, exclusive: bool, wait: bool) -> bool:
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    with disk_errors(path):
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
