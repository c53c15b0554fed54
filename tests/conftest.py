"""What every test shares: how hypothesis searches, and empty databases of each kind that the service runs on.

Markers, timeouts and warnings are set in pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.databases import Postgresql

# No deadline: how long an example takes says more about the machine than about the code. Derandomised, so that a run
# fails for a change and not by luck; `--hypothesis-profile=explore` searches anew each time.
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """One server a session."""
    from tests.databases import postgresql  # imported here: most tests know no database

    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes empty databases, and returns their addresses."""
    if request.param == "postgresql":
        server: Postgresql = request.getfixturevalue("postgresql_server")
        return server.new_database
    numbers = count()
    return lambda: f"sqlite:///{tmp_path / f'market-{next(numbers)}.db'}"


@pytest.fixture
def new_engine(new_database: Callable[[], str]) -> Iterator[Callable[[], Engine]]:
    """Connects to new databases that have this version's tables, and nothing in them."""
    from market.db.engine import connect
    from market.db.migrate import upgrade

    engines: list[Engine] = []

    def make() -> Engine:
        engines.append(connect(new_database()))
        upgrade(engines[-1])
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def database(new_engine: Callable[[], Engine]) -> Engine:
    """A database with this version's tables, and nothing in them."""
    return new_engine()
