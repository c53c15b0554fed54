"""Lists in parts: each is asked for by the key of the last entry before it, so that none is skipped or repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, SmallInteger, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from market.db.base import Amount

R = TypeVar("R")
Columns = TypeVarTuple("Columns")

MOST = 200
"""Entries of one part at most."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Part:
    """Which part of a list is asked for.

    Attributes:
        limit: how many entries at most, 1 to MOST.
        after: the key of the last entry before it; None for the first part.
    """

    limit: int = 50
    after: Key | None = None


@dataclass(frozen=True)
class Order:
    """By which columns a list is sorted: together they name one row.

    Attributes:
        columns: the most important first.
        descending: whether the largest comes first.
    """

    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False

    def has(self, unverified_key: Key) -> bool:
        """Whether a key can be one of this list: as many parts, each of which its column can hold."""
        columns = self.columns
        return len(unverified_key) == len(columns) and all(map(_can_hold, columns, unverified_key))

    def apply(self, statement: Select[*Columns], part: Part) -> Select[*Columns]:
        """The statement for this part, and one entry more, which tells whether there is another."""
        if part.after is not None:
            statement = statement.where(self._beyond(part.after))
        ordered = (column.desc() if self.descending else column.asc() for column in self.columns)
        return statement.order_by(*ordered).limit(part.limit + 1)

    def next_key(self, rows: Sequence[R], part: Part, row_of: Any = lambda row: row) -> Key | None:
        """The key at which the next part begins; None where the list is over."""
        if len(rows) <= part.limit:
            return None
        last = row_of(rows[part.limit - 1])
        return tuple(getattr(last, column.key) for column in self.columns)

    def _beyond(self, after: Key) -> ColumnElement[bool]:
        # Bound one by one, so that a column's own type writes its value.
        values = tuple_(*after, types=[column.type for column in self.columns])
        place = tuple_(*self.columns)
        return place < values if self.descending else place > values


def _can_hold(column: InstrumentedAttribute[Any], value: object) -> bool:
    # PostgreSQL refuses a number that its column cannot hold even where it is only compared.
    kind = column.type
    if isinstance(kind, Amount):
        return type(value) is int and 0 <= value < 1 << 128
    if isinstance(kind, Integer):
        bits = 15 if isinstance(kind, SmallInteger) else 63 if isinstance(kind, BigInteger) else 31
        return type(value) is int and abs(value) < 1 << bits
    return type(value) is str
