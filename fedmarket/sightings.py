"""When what the chain names came into an attestor's hands: what tells late bytes from a slander."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Digest
from market.protocol.json_text import parse_json
from market.storage.durable_file import write_file

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Sighting:
    """What an attestor saw of one content, in block timestamps. What has come is kept: it is not looked for again.

    Attributes:
        came_s: after it was found; it was there no later. None where it never was.
        missing_s: before it was looked for in vain, once the settle phase had begun. None where it never was.
    """

    came_s: int | None = None
    missing_s: int | None = None

    def in_time(self, settle_start_s: int) -> bool | None:
        """Whether the content was there before the aggregator's time began.

        True if it was at a look before. False if it was not at a look at that moment or later. None otherwise: of what
        came between the last look before that moment and the first one after it nobody can tell on which side it did.
        """
        if self.came_s is not None and self.came_s < settle_start_s:
            return True
        return False if self.missing_s is not None and self.missing_s >= settle_start_s else None


UNSEEN = Sighting()
"""Of what was never looked for."""


class Sightings:
    """The sightings of one job, a file an attempt: ``{content digest: {"came_s": …, "missing_s": …}}``."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created before something is kept."""
        self._folder = folder

    def of(self, attempt: int) -> dict[Digest, Sighting]:
        """The sightings of one attempt, by content; none where this attestor was away.

        Raises:
            InvalidInput: the file is damaged.
        """
        path = self._path(attempt)
        try:
            entries = parse_json(path.read_bytes())
            return {_parse_digest(content): _parse_sighting(entry) for content, entry in entries.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError) as error:
            raise InvalidInput(f"{path} is damaged: {error}") from error

    def keep(self, attempt: int, sightings: Mapping[Digest, Sighting]) -> None:
        """Put the sightings of one attempt on the disk, in the place of those that were there.

        Raises:
            StorageError: the disk refuses.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        entries = {content.hex(): asdict(sighting) for content, sighting in sightings.items()}
        write_file(self._path(attempt), [json.dumps(entries).encode("ascii")])

    def _path(self, attempt: int) -> Path:
        return self._folder / f"attempt-{attempt:06}.json"


def _parse_digest(unverified_text: str) -> Digest:
    if not _DIGEST.fullmatch(unverified_text):
        raise ValueError(f"{unverified_text!r:.100} is no content digest of 64 hexadecimal digits")
    return Digest(bytes.fromhex(unverified_text))


def _parse_sighting(unverified_entry: Any) -> Sighting:
    names = {field.name for field in fields(Sighting)}
    if not isinstance(unverified_entry, dict) or unverified_entry.keys() != names:
        raise ValueError(f"{unverified_entry!r:.100} is no sighting: expected {', '.join(sorted(names))}")
    for moment in unverified_entry.values():
        if moment is not None and (type(moment) is not int or moment < 0):
            raise ValueError(f"{moment!r:.100} is no block timestamp")
    return Sighting(**unverified_entry)
