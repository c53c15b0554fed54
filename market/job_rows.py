"""One job's rows, as far as they can be made: a job that nobody foresaw must not keep the others from being shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, SmallInteger, String
from sqlalchemy.types import TypeEngine

from market.chain.events import Event
from market.db.base import Amount, Base
from market.db.tables import PROJECTED
from market.projection import rows_of
from market.protocol.errors import ChainError
from market.row_changes import Keyed, keyed

STRANGE = (ArithmeticError, AttributeError, ChainError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of events that do not go together as this program expects it."""

INTEGER_BITS: tuple[tuple[type[TypeEngine[Any]], int], ...] = ((SmallInteger, 16), (BigInteger, 64), (Integer, 32))
"""The first that a column's type is."""

Check = Callable[[Any], bool]


@dataclass(frozen=True)
class JobRows:
    """What is made of a job's events.

    Attributes:
        rows: by their keys.
        strange: why they go no further than to some block, where they do not.
        block: up to where they go then; None where there are none at all.
    """

    rows: Keyed
    strange: Exception | None = None
    block: int | None = None


def job_rows(events: Sequence[Event], moments_s: Mapping[int, int], gas_used: Mapping[bytes, int]) -> JobRows:
    """All rows of a job, or those up to a block after which none can be made. Arguments as `rows_of`.

    It follows from these events alone, and not from when they were read: made again, the rows are the same.
    """
    try:
        return JobRows(_made(events, moments_s, gas_used))
    except STRANGE as error:
        strange = error
    blocks = sorted({event.block_number for event in events})
    rows, good, bad = _made([], moments_s, gas_used), 0, len(blocks)  # good: of how many blocks they can be made
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            rows = _made([it for it in events if it.block_number < blocks[middle]], moments_s, gas_used)
        except STRANGE:
            bad = middle
        else:
            good = middle
    return JobRows(rows, strange, blocks[good - 1] if good else None)


def _made(events: Sequence[Event], moments_s: Mapping[int, int], gas_used: Mapping[bytes, int]) -> Keyed:
    rows = rows_of(events, moments_s, gas_used)
    for table in PROJECTED:
        checks = _checks(table)
        for row in rows[table]:
            for name, check in checks:
                if not check(row[name]):
                    raise ValueError(f"{table.__tablename__}.{name} cannot be {row[name]!r:.100}")
    return keyed(rows)


@cache
def _checks(table: type[Base]) -> tuple[tuple[str, Check], ...]:
    """What a table's columns can hold: of two databases one would refuse a batch for it, and the other would not."""
    return tuple((column.name, _check(column.type, bool(column.nullable))) for column in table.__table__.columns)


def _check(kind: TypeEngine[Any], optional: bool) -> Check:
    if isinstance(kind, Amount):
        return lambda value: optional if value is None else 0 <= value < 1 << 128
    bits = next((bits for integer, bits in INTEGER_BITS if isinstance(kind, integer)), None)
    if bits is not None:
        half = 1 << bits - 1
        return lambda value: optional if value is None else -half <= value < half
    if isinstance(kind, String):
        longest = kind.length or sys.maxsize
        return lambda value: optional if value is None else len(value) <= longest
    return lambda value: value is not None or optional
