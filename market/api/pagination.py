"""Long lists in pages: a cursor is the key of the last entry, opaque to who passes it on."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from market.protocol.errors import InvalidInput
from market.queries.paging import MOST, Order, Part
from market.views import Page

DEFAULT_LIMIT = 50
MAX_CURSOR = 400
MAX_PARTS = 8

Item = TypeVar("Item")

Key = tuple[int | str, ...]


@dataclass(frozen=True)
class PageQuery:
    """Which part of a list is asked for.

    Attributes:
        limit: of how many entries at most.
        after: key of the last entry that is known; None for the beginning.
    """

    limit: int
    after: Key | None

    def part(self, order: Order) -> Part:
        """What the database is asked for, of a list in this order.

        Raises:
            InvalidInput: the cursor is another list's.
        """
        if self.after is not None and not order.has(self.after):
            raise InvalidInput("cursor: it is another list's: pass on what this list's `next` said")
        return Part(self.limit, self.after)


def page_of(items: list[Item], next_key: Key | None) -> Page[Item]:
    """The page of these entries, and the cursor of the one after it."""
    return Page(items=items, next=None if next_key is None else encode_cursor(next_key))


def encode_cursor(key: Key) -> str:
    """A key as text that fits a URL."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode("ascii").rstrip("=")


def decode_cursor(unverified_cursor: str) -> Key:
    """The key of a cursor.

    Raises:
        InvalidInput: it is none.
    """
    try:
        padded = unverified_cursor.encode("ascii") + b"=" * (-len(unverified_cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("cursor: it is none: pass on what `next` said") from error
    if not isinstance(key, list) or not 1 <= len(key) <= MAX_PARTS or not all(map(_is_part, key)):
        raise InvalidInput("cursor: it is none: pass on what `next` said")
    return tuple(key)


def _is_part(value: object) -> bool:
    if type(value) is int:
        return True
    # No database keeps a zero character, and PostgreSQL refuses one; lone surrogates are no text.
    return type(value) is str and "\0" not in value and value.isprintable()


def _page_query(
    limit: Annotated[int, Query(ge=1, le=MOST, description="Entries a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")] = None,
) -> PageQuery:
    return PageQuery(limit, None if cursor is None else decode_cursor(cursor))


PageDep = Annotated[PageQuery, Depends(_page_query)]
"""The query's `limit` and `cursor`."""
