"""What has been played, one JSON line a cell: an interrupted run goes on where it was.

What other code has played stays in the file, and is played again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from market.protocol.errors import InvalidInput

Found = TypeVar("Found")


class KeyedJournal(Generic[Found]):
    """A file to which finished cells are appended; a line that was cut off in the middle is played again.

    Raises:
        InvalidInput: the file is no journal, or cannot be read.
    """

    def __init__(self, path: Path, edition: str, parse: Callable[[Mapping[str, Any]], Found]) -> None:
        """Read what is there.

        Args:
            path: of the file, which need not exist.
            edition: of the code; lines of another are left alone.
            parse: reads an outcome back.
        """
        self.path, self._edition, self._parse = path, edition, parse
        self.found: dict[str, Found] = {}
        for line in self._lines():
            entry = _entry(line, path)
            if entry.get("edition") == edition:
                self.found[entry["key"]] = parse(entry["outcome"])

    def append(self, key: str, cell: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """Append one cell: a single write, and on disk before it returns."""
        entry = {"key": key, "edition": self._edition, "cell": cell, "outcome": outcome}
        line = json.dumps(entry) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
        self.found[key] = self._parse(outcome)

    def _lines(self) -> list[bytes]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise InvalidInput(f"{self.path} cannot be read: {error.strerror}") from error
        whole, end, _ = data.rpartition(b"\n")
        if len(whole) + len(end) < len(data):
            with self.path.open("rb+") as file:
                file.truncate(len(whole) + len(end))
        return whole.splitlines()


def _entry(line: bytes, path: Path) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
        if isinstance(entry, dict) and isinstance(entry.get("key"), str) and isinstance(entry.get("outcome"), dict):
            return entry
    except ValueError:
        pass
    raise InvalidInput(f"{path} has a line {line[:60]!r}, expected one finished cell in JSON")
