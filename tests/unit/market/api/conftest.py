"""A made-up market behind a real server, read over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, event

from market.db.engine import connect
from market.db.migrate import upgrade
from tests.market_rows import seed_market
from tests.served import reader, served


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Twenty-four jobs, of which each phase has some."""
    made = connect(f"sqlite:///{tmp_path_factory.mktemp('rows')}/market.db")
    upgrade(made)
    seed_market(made, jobs=24, rounds=6, trainers=8)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service over them."""
    with (
        served(reader(engine, tmp_path_factory.mktemp("service"))) as address,
        httpx.Client(base_url=address) as asking,
    ):
        yield asking


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What the database is asked in the meantime."""
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def small_market(folder: Path, **size: int) -> Engine:
    """Another made-up market of one's own size."""
    made = connect(f"sqlite:///{folder}/market.db")
    upgrade(made)
    seed_market(made, **size)
    return made
