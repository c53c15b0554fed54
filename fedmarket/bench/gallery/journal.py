"""What of the gallery has been played; `fedmarket.bench.journal` says how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmarket.bench.gallery.contest import Cell, Outcome
from fedmarket.bench.gallery.edition import edition
from fedmarket.bench.journal import KeyedJournal


class Journal(KeyedJournal[Outcome]):
    """Finished cells of the gallery.

    Raises:
        InvalidInput: the file is no journal, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, edition(), _outcome)

    def __contains__(self, cell: Cell) -> bool:
        return cell.key in self.found

    def __getitem__(self, cell: Cell) -> Outcome:
        return self.found[cell.key]

    def add(self, cell: Cell, outcome: Outcome) -> None:
        """Append one cell: a single write, and on disk before it returns."""
        self.append(cell.key, asdict(cell), outcome.to_json())


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**fields, "cosines": [tuple(pair) for pair in fields["cosines"]]})
