"""What has to be written so that a job's rows become other rows: only those that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, Table, Update, and_, bindparam, delete, insert, select, update

from market.db.base import Base
from market.db.tables import PROJECTED
from market.projection import Rows, Values

Key = tuple[Any, ...]
Keyed = dict[type[Base], dict[Key, Values]]
"""A job's rows by their primary keys, for each table of `PROJECTED`."""


@dataclass
class RowChanges:
    """Changes of several jobs' rows; a row that leaves one job may come to another."""

    gone: dict[type[Base], list[Key]] = field(default_factory=dict)
    altered: dict[type[Base], list[Values]] = field(default_factory=dict)
    new: dict[type[Base], list[Values]] = field(default_factory=dict)

    def add(self, before: Keyed, after: Keyed) -> None:
        """What turns one job's rows into others."""
        for table in PROJECTED:
            old, made = before[table], after[table]
            self.gone.setdefault(table, []).extend(key for key in old if key not in made)
            self.new.setdefault(table, []).extend(row for key, row in made.items() if key not in old)
            changed = (row for key, row in made.items() if key in old and old[key] != row)
            self.altered.setdefault(table, []).extend(changed)

    def write(self, connection: Connection) -> None:
        """Make them, in an order that no constraint minds."""
        for table in reversed(PROJECTED):
            if gone := self.gone.get(table):
                names = [f"key_{column.name}" for column in _table(table).primary_key]
                connection.execute(_delete(table), [dict(zip(names, key, strict=True)) for key in gone])
        for table in PROJECTED:
            if altered := self.altered.get(table):
                connection.execute(_update(table), [_bound(table, row) for row in altered])
            if new := self.new.get(table):
                connection.execute(insert(_table(table)), new)


def keyed(rows: Rows) -> Keyed:
    """Rows by their keys."""
    return {table: _by_key(table, rows[table]) for table in PROJECTED}


def stored(connection: Connection, job: int) -> Keyed:
    """A job's rows as the database has them."""
    return {table: _by_key(table, _read(connection, table, job)) for table in PROJECTED}


def _read(connection: Connection, table: type[Base], job: int) -> Iterable[Values]:
    found = _table(table)
    return (dict(row) for row in connection.execute(select(found).where(found.c.job == job)).mappings())


def _by_key(table: type[Base], rows: Iterable[Values] | Sequence[Values]) -> dict[Key, Values]:
    names = [column.name for column in _table(table).primary_key]
    return {tuple(row[name] for name in names): row for row in rows}


def _bound(table: type[Base], row: Mapping[str, Any]) -> Values:
    keys = {column.name for column in _table(table).primary_key}
    return {f"key_{name}" if name in keys else f"new_{name}": value for name, value in row.items()}


def _table(table: type[Base]) -> Table:
    found = table.__table__
    if not isinstance(found, Table):
        raise TypeError(f"{table.__name__} is no plain table")
    return found


@cache
def _delete(table: type[Base]) -> Delete:
    return delete(_table(table)).where(_is_key(table))


@cache
def _update(table: type[Base]) -> Update:
    others = [column for column in _table(table).c if not column.primary_key]
    return (
        update(_table(table))
        .where(_is_key(table))
        .values({column.name: bindparam(f"new_{column.name}") for column in others})
    )


def _is_key(table: type[Base]) -> Any:
    keys = _table(table).primary_key
    return and_(*(column == bindparam(f"key_{column.name}", type_=column.type) for column in keys))
