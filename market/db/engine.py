"""From an address to an engine: SQLite for one machine, PostgreSQL for a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from market.protocol.errors import InvalidInput

BUSY_TIMEOUT_MS = 15_000
"""How long a writer of SQLite waits for another: the indexer's batches take milliseconds."""


def connect(database_url: str) -> Engine:
    """An engine for this database; nothing is asked of it yet.

    Args:
        database_url: sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME.

    Raises:
        InvalidInput: it is no such address.
    """
    url = _parsed(database_url)
    if url.get_backend_name() == "postgresql":
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parsed(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise InvalidInput("the database's address is none: expected sqlite:///PATH or postgresql://…") from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidInput(f"a database of kind {url.get_backend_name()}: expected sqlite or postgresql")
    return url


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver's own transactions begin too late for reads that have to agree with one another.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",  # readers see the last batch while the next is written
        "synchronous = NORMAL",  # what a power cut takes back is read from the chain again
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")
