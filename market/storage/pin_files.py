"""Pins as small files: which content must stay, and for what reasons (a job, a round). One file a pin and reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from market.protocol.errors import InvalidCid, StorageError
from market.storage.cid import Cid
from market.storage.durable_file import disk_errors, make_folder, sweep_leftovers, sync_folder, write_file


class PinFiles:
    """The folder of pins. It takes no locks: its owner does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, cid: Cid, reason: str) -> None:
        """Record a pin durably; the same pin for the same reason again changes nothing."""
        make_folder(self.folder)
        record = json.dumps({"cid": str(cid), "reason": reason})
        write_file(self._path(cid, reason), [record.encode("ascii")])
        sync_folder(self.folder)

    def remove(self, cid: Cid, reason: str) -> None:
        """Forget a pin durably; one that is not there is no error."""
        path = self._path(cid, reason)
        with disk_errors(path):
            if path.exists():
                path.unlink(missing_ok=True)
                sync_folder(self.folder)

    def all(self) -> dict[Cid, frozenset[str]]:
        """Every pinned root with its reasons.

        Raises:
            StorageError: a pin's file is damaged: what it protected is not known.
        """
        reasons: dict[Cid, set[str]] = {}
        for path in self._files():
            pin = self._read(path)
            if pin is None:
                continue
            cid, reason = pin
            reasons.setdefault(cid, set()).add(reason)
        return {cid: frozenset(held) for cid, held in reasons.items()}

    def sweep(self) -> None:
        """Remove what killed writers left behind; no writer may be at work."""
        with disk_errors(self.folder):
            if self.folder.is_dir():
                sweep_leftovers(self.folder)

    def _files(self) -> Iterator[Path]:
        with disk_errors(self.folder):
            return iter(sorted(self.folder.glob("*.json")))

    def _path(self, cid: Cid, reason: str) -> Path:
        # The reason is hashed, so that no text in it can shape a path. Version 0 and 1 name the same blocks.
        named = hashlib.sha256(json.dumps(reason).encode("ascii")).hexdigest()[:32]
        return self.folder / f"{cid.digest.hex()}-{cid.codec:x}-{named}.json"

    def _read(self, path: Path) -> tuple[Cid, str] | None:
        """The pin in a file, or None if it was unpinned in the meantime."""
        with disk_errors(path):
            try:
                unverified_record = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            record = json.loads(unverified_record)
            cid, reason = Cid.parse(record["cid"]), record["reason"]
        except (ValueError, KeyError, TypeError, AttributeError, InvalidCid) as error:
            raise StorageError(f"{path}: not a pin: expected an object with cid and reason ({error})") from error
        if not isinstance(reason, str) or self._path(cid, reason) != path:
            raise StorageError(f"{path}: not this pin's file: it holds {cid} for {str(reason)[:80]!r}")
        return cid, reason
