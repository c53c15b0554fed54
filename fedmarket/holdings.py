"""What an attestor keeps of a job's attempts, and until when: what it signed for stays pinned until then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from market.protocol.errors import InvalidCid, InvalidInput
from market.protocol.identifiers import JobId
from market.protocol.json_text import parse_json
from market.storage import Cid, ContentStore
from market.storage.durable_file import write_file


@dataclass(frozen=True)
class Held:
    """What is kept of one attempt.

    Attributes:
        until_s: block timestamp up to which it is kept. It is only ever put off.
        contents: roots of what is pinned.
    """

    until_s: int = 0
    contents: frozenset[Cid] = field(default_factory=frozenset)


NOTHING = Held()
"""Of an attempt of which nothing is kept."""


class Holdings:
    """One attestor's holdings in one job, a file an attempt: ``{"until_s": …, "contents": [CID, …]}``.

    A content is on the record before it is pinned: nothing stays pinned that nobody would ever release.
    """

    def __init__(self, store: ContentStore, folder: Path, job: JobId, account: str) -> None:
        """Name the folder; nothing is created before something is kept."""
        self._store, self._folder, self._job, self._account = store, folder, job, account

    def reason(self, attempt: int) -> str:
        """What the pins of an attempt are for."""
        return f"job {self._job} attempt {attempt} attestor {self._account}"

    def of(self, attempt: int) -> Held:
        """What is kept of an attempt.

        Raises:
            InvalidInput: the file is damaged.
        """
        path = self._path(attempt)
        try:
            return _parse_held(parse_json(path.read_bytes()))
        except FileNotFoundError:
            return NOTHING
        except (ValueError, InvalidCid) as error:
            raise InvalidInput(f"{path} is damaged: {error}") from error

    def keep(self, attempt: int, cid: Cid, until_s: int) -> None:
        """Note that a content is about to be pinned.

        Raises:
            StorageError: the disk refuses.
        """
        held = self.of(attempt)
        self._write(attempt, Held(max(held.until_s, until_s), held.contents | {cid}))

    def prolong(self, attempt: int, until_s: int) -> None:
        """Keep what is kept of an attempt until then, where that is later. Raises as `keep`."""
        held = self.of(attempt)
        if until_s > held.until_s:
            self._write(attempt, replace(held, until_s=until_s))

    def due(self, now_s: int) -> list[int]:
        """The attempts whose contents need not be kept any more."""
        return [attempt for attempt in self._attempts() if self.of(attempt).until_s < now_s]

    def release(self, attempt: int) -> None:
        """Let an attempt's contents go, as far as this attestor is concerned."""
        for cid in sorted(self.of(attempt).contents, key=str):
            self._store.unpin(cid, self.reason(attempt))
        self._path(attempt).unlink(missing_ok=True)

    def _attempts(self) -> Iterator[int]:
        return (int(path.stem.removeprefix("attempt-")) for path in sorted(self._folder.glob("attempt-*.json")))

    def _write(self, attempt: int, held: Held) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = {"until_s": held.until_s, "contents": sorted(map(str, held.contents))}
        write_file(self._path(attempt), [json.dumps(entry).encode("ascii")])

    def _path(self, attempt: int) -> Path:
        return self._folder / f"attempt-{attempt:06}.json"


def _parse_held(unverified_entry: Any) -> Held:
    if not isinstance(unverified_entry, dict) or unverified_entry.keys() != {"until_s", "contents"}:
        raise ValueError(f"{unverified_entry!r:.100} is no holding: expected until_s and contents")
    until_s, contents = unverified_entry["until_s"], unverified_entry["contents"]
    if type(until_s) is not int or until_s < 0:
        raise ValueError(f"{until_s!r:.100} is no block timestamp")
    if not isinstance(contents, list) or not all(isinstance(cid, str) for cid in contents):
        raise ValueError(f"{contents!r:.100} are no CIDs")
    return Held(until_s, frozenset(map(Cid.parse, contents)))
