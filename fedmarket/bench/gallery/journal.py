"""What has been played, one JSON line a cell: an interrupted gallery goes on where it was.

What other code has played stays in the file, and is played again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmarket.bench.gallery.contest import Cell, Outcome
from fedmarket.bench.gallery.edition import edition
from market.protocol.errors import InvalidInput


class Journal:
    """A file to which finished cells are appended; a line that was cut off in the middle is played again.

    Raises:
        InvalidInput: the file is no journal, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Outcome] = {}
        for line in self._lines():
            entry = _entry(line, path)
            if entry.get("edition") == edition():
                self.found[entry["key"]] = _outcome(entry["outcome"])

    def __contains__(self, cell: Cell) -> bool:
        return cell.key in self.found

    def __getitem__(self, cell: Cell) -> Outcome:
        return self.found[cell.key]

    def add(self, cell: Cell, outcome: Outcome) -> None:
        """Append one cell: a single write, and on disk before it returns."""
        entry = {"key": cell.key, "edition": edition(), "cell": asdict(cell), "outcome": outcome.to_json()}
        line = json.dumps(entry) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
        self.found[cell.key] = _outcome(outcome.to_json())

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


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**fields, "cosines": [tuple(pair) for pair in fields["cosines"]]})
