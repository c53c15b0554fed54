"""Where a list goes on, in a page's address: the numbers of the last entry shown."""

from __future__ import annotations

from market.protocol.errors import InvalidInput
from market.queries.paging import Key, Order

SEPARATOR = "."
MAX_DIGITS = 39


def to_text(key: Key | None) -> str | None:
    """A key as part of an address; None where the list is over."""
    return None if key is None else SEPARATOR.join(map(str, key))


def parse(unverified_text: str, order: Order) -> Key | None:
    """The key that a part of an address says; None for the list's beginning.

    Raises:
        InvalidInput: it is no key of this list.
    """
    if not unverified_text:
        return None
    parts = unverified_text.split(SEPARATOR)
    if not all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in parts):
        raise InvalidInput("the list has no such place: start at its first page")
    key = tuple(map(int, parts))
    if not order.has(key):
        raise InvalidInput("the list has no such place: start at its first page")
    return key
