"""A made-up market behind a real server, read over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import Engine, event

from market.db.engine import connect
from market.db.migrate import upgrade
from tests.market_rows import seed_market
from tests.served import reader, served


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Twenty-four jobs, of which each phase has some, in either database."""
    if request.param == "postgresql":
        address = request.getfixturevalue("postgresql_server").new_database()
    else:
        address = f"sqlite:///{tmp_path_factory.mktemp('rows')}/market.db"
    made = filled(address, jobs=24, rounds=6, trainers=8)
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


def filled(address: str, **size: int) -> Engine:
    """A made-up market of this size, in an empty database."""
    made = connect(address)
    upgrade(made)
    seed_market(made, **size)
    return made
