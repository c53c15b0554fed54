"""Where somebody is who follows the events: what came since, and what was taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sqlalchemy.orm import Session

from market.queries.events import (
    HASH_BYTES,
    EventFilter,
    EventPlace,
    events,
    kept_block,
    kept_since,
    last_event,
    last_orphan,
)
from market.queries.paging import Key, Part
from market.views import ChainEvent

AT_ONCE = 100
"""Events that are read at a time."""

BEFORE_ALL: Key = (-1, -1, -1)
START = EventPlace(0, bytes(HASH_BYTES), 0, 0)
"""Stands for the beginning: an empty id would have browsers forget where they were."""

AFTER_ALL = (1 << 31) - 1
"""Beyond every place within a block, and no more than a column holds."""


@dataclass
class EventCursor:
    """The place after which events are new.

    Attributes:
        wanted: which events.
        key: the place of the last one that is known.
        orphan: ordinal of the last block taken back that is known.
        kept_block: the last block that stayed, where something was taken back that nobody was told of yet.
    """

    wanted: EventFilter
    key: Key
    orphan: int
    kept_block: int | None = None

    @classmethod
    def begin(cls, session: Session, wanted: EventFilter, place: EventPlace | None) -> Self:
        """Begin after an event that somebody saw; after the last one of all where it saw none."""
        orphan = last_orphan(session)
        if place is None:
            last = last_event(session)
            return cls(wanted, BEFORE_ALL if last is None else last.key, orphan)
        if place == START:
            return cls(wanted, BEFORE_ALL, orphan)
        kept = kept_block(session, place)
        return cls(wanted, place.key if kept is None else (kept, AFTER_ALL, 0), orphan, kept)

    def take_back(self, session: Session) -> int | None:
        """The last block that stayed, where events that are known were taken back since; None where none were."""
        kept = kept_since(session, self.orphan)
        if kept is not None:
            self.orphan = last_orphan(session)
            if kept < self.key[0]:
                self.key = (kept, AFTER_ALL, 0)
                self.kept_block = kept
        told, self.kept_block = self.kept_block, None
        return told

    def advance(self, session: Session) -> list[ChainEvent]:
        """What came since, in order; the cursor is after it then."""
        found, _ = events(session, self.wanted, Part(AT_ONCE, self.key))
        if found:
            self.key = EventPlace.parse(found[-1].id).key
        return found

    def event_id(self, session: Session) -> str:
        """The id of the last event of all up to the cursor; before the first one that stands for the beginning."""
        return str(last_event(session, self.key) or START)
