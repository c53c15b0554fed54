"""Long lists in pages: a cursor is the key of the last entry, opaque to who passes it on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from market.protocol.errors import InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR = 400
MAX_PARTS = 8
INTEGER_LIMIT = 1 << 63

Item = TypeVar("Item")
Row = TypeVar("Row")
Key = tuple[int | str, ...]


class Page(BaseModel, Generic[Item]):
    """A part of a list, and where it goes on."""

    model_config = ConfigDict(frozen=True)

    items: list[Item]
    next: Annotated[str | None, Field(description="Pass it as `cursor` for the next page; null on the last one.")]


@dataclass(frozen=True)
class PageQuery:
    """Which part of a list is asked for.

    Attributes:
        limit: of how many entries at most.
        after: key of the last entry that is known; None for the beginning.
    """

    limit: int
    after: Key | None

    def key(self, *kinds: type[int] | type[str]) -> Any:
        """The key after which to go on, its parts of these types; None for the beginning.

        Raises:
            InvalidInput: the cursor is another list's.
        """
        if self.after is None:
            return None
        if tuple(map(type, self.after)) != kinds:
            raise InvalidInput("cursor: it is another list's: pass on what this list's `next` said")
        return self.after

    def page(self, rows: Sequence[Row], key: Callable[[Row], Key], shown: Callable[[Row], Item]) -> Page[Item]:
        """Make a page of rows.

        Args:
            rows: one more than `limit` where there are so many: that is how it is known that the list goes on.
            key: of a row.
            shown: what is answered of a row.
        """
        items = [shown(row) for row in rows[: self.limit]]
        return Page(items=items, next=encode_cursor(key(rows[self.limit - 1])) if len(rows) > self.limit else None)


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
        return abs(value) < INTEGER_LIMIT
    # No database keeps a zero character, and PostgreSQL refuses one; lone surrogates are no text.
    return type(value) is str and "\0" not in value and value.isprintable()


def _page_query(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Entries a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before.")] = None,
) -> PageQuery:
    return PageQuery(limit, None if cursor is None else decode_cursor(cursor))


PageDep = Annotated[PageQuery, Depends(_page_query)]
"""The query's `limit` and `cursor`."""
