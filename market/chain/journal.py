"""What an account has signed, on disk before any node sees it: one file an intent, each replaced atomically.

A file holds every version of an intent's transaction (same nonce, rising fees), so that a process that was killed at
any point broadcasts the very same bytes again instead of signing anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TypeVar

from market.protocol.errors import InvalidInput, WrongChain

T = TypeVar("T")


class Status(StrEnum):
    """What became of an intent."""

    SENT = "sent"  # signed; may or may not have reached a node or a block
    DONE = "done"  # succeeded, in a confirmed block
    REVERTED = "reverted"  # failed in a confirmed block: had no effect
    LOST = "lost"  # its nonce was used by another transaction, confirmed: can have no effect any more


@dataclass(frozen=True)
class SignedVersion:
    """One signature of an intent's transaction.

    Attributes:
        hash: the transaction's hash, 0x-prefixed.
        raw: what is broadcast, 0x-prefixed.
        fee_cap_wei: most that a unit of gas may cost.
        tip_wei: what of it goes to the block's proposer.
    """

    hash: str
    raw: str
    fee_cap_wei: int
    tip_wei: int


@dataclass(frozen=True)
class Entry:
    """One intent: its transaction's content and every signed version, oldest first."""

    key: str
    label: str
    nonce: int
    to: str | None
    data: str
    value_wei: int
    gas: int
    status: Status
    versions: tuple[SignedVersion, ...]

    def with_version(self, version: SignedVersion) -> Entry:
        """The same intent, signed once more."""
        return replace(self, versions=(*self.versions, version))

    def with_status(self, status: Status) -> Entry:
        """The same intent, further on."""
        return replace(self, status=status)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Entry:
        """Read what was written."""
        versions = tuple(SignedVersion(**version) for version in fields["versions"])
        return cls(**{**fields, "status": Status(fields["status"]), "versions": versions})


@dataclass(frozen=True)
class JournalOwner:
    """Whose journal it is: a nonce means nothing on another chain, or for another account."""

    chain_id: int
    genesis: str
    account: str


class Journal:
    """A folder of intents, held by one process at a time."""

    def __init__(self, folder: Path, owner: JournalOwner) -> None:
        """Open or create the folder and take its lock.

        Raises:
            InvalidInput: another process holds it, it is another account's, or it cannot be read or written.
            WrongChain: it was written for another chain.
        """
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(folder)
        except OSError as error:
            raise InvalidInput(f"cannot keep a journal of transactions in {folder}: {error.strerror}") from error
        try:
            self._check_owner(owner)
            self._entries = {entry.key: entry for entry in map(_read_entry, sorted(folder.glob("intent-*.json")))}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the next process have it."""
        self._lock.close()

    def get(self, key: str) -> Entry | None:
        """The intent with this key, if there is one."""
        return self._entries.get(key)

    def unresolved(self) -> list[Entry]:
        """Intents whose transaction may still be mined, by nonce."""
        sent = (entry for entry in list(self._entries.values()) if entry.status is Status.SENT)
        return sorted(sent, key=lambda entry: entry.nonce)

    def in_order(self, first_nonce: int, before_nonce: int) -> list[Entry]:
        """Intents that were not lost, by nonce, from one to before another."""
        entries = [entry for entry in list(self._entries.values()) if first_nonce <= entry.nonce < before_nonce]
        return sorted((entry for entry in entries if entry.status is not Status.LOST), key=lambda entry: entry.nonce)

    def next_nonce(self) -> int:
        """One more than the largest nonce in flight, zero where none is."""
        return max((entry.nonce + 1 for entry in self.unresolved()), default=0)

    def put(self, entry: Entry) -> None:
        """Write an intent so that it survives a crash, replacing what was known of it."""
        _write_durably(self._file(entry.key), asdict(entry))
        self._entries[entry.key] = entry

    def remove(self, key: str) -> None:
        """Forget an intent that no node ever took."""
        self._file(key).unlink()
        _sync_folder(self._folder)
        del self._entries[key]

    def _file(self, key: str) -> Path:
        return self._folder / f"intent-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _check_owner(self, owner: JournalOwner) -> None:
        file = self._folder / "owner.json"
        if not file.exists():
            _write_durably(file, asdict(owner))
        found = _read(file, lambda fields: JournalOwner(**fields))
        if found.account != owner.account:
            raise InvalidInput(f"journal {self._folder} belongs to account {found.account}, not to {owner.account}")
        if found != owner:
            raise WrongChain(
                f"journal {self._folder} was kept on chain {found.chain_id} with genesis {found.genesis[:18]}, this is "
                f"chain {owner.chain_id} with genesis {owner.genesis[:18]}: use another work folder"
            )


def _lock(folder: Path) -> IO[str]:
    file = (folder / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        message = f"{folder} is in use by another process: run one at a time for each account and work folder"
        raise InvalidInput(message) from error
    return file


def _read_entry(file: Path) -> Entry:
    return _read(file, Entry.from_json)


def _read(file: Path, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        return parse(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{file} is not a journal's file or is damaged: {type(error).__name__}") from error


def _write_durably(file: Path, fields: dict[str, Any]) -> None:
    """Write, sync, rename, sync the folder: after a crash the file is the old one or the new one, never a part."""
    draft = file.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        json.dump(fields, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
