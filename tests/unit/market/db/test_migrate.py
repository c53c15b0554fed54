"""Migrations: they make the tables that the models describe, whole or not at all, and know a newer database."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from market.db.base import Base
from market.db.engine import connect
from market.db.migrate import is_current, upgrade
from market.db.service_tables import SERVICE_TABLES
from market.db.tables import CHAIN_TABLES
from market.protocol.errors import InvalidInput

UPGRADE = """
import sys
from market.db.engine import connect
from market.db.migrate import upgrade
engine = connect(sys.argv[1])
print("begins", flush=True)
upgrade(engine)
print("is done", flush=True)
"""


def test_migrations_make_the_tables_of_the_models(database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    expected = {table.__tablename__ for table in (*CHAIN_TABLES, *SERVICE_TABLES)}
    assert set(inspect(database).get_table_names()) == expected | {"alembic_version"}


def test_an_upgrade_of_what_is_current_changes_nothing(database: Engine) -> None:
    upgrade(database)
    assert is_current(database)


def test_a_newer_database_is_refused(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInput, match="9999"):
        upgrade(database)
    assert not is_current(database)


@pytest.mark.timeout(120)
def test_killed_while_it_migrates_the_database_has_all_or_nothing(new_database: Callable[[], str]) -> None:
    moments, seen = random.Random(3), set[int]()
    for _ in range(8):
        address = new_database()
        with subprocess.Popen([sys.executable, "-c", UPGRADE, address], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.4))
            process.kill()
        engine = connect(address)
        try:
            tables = set(inspect(engine).get_table_names()) - {"alembic_version"}
            seen.add(len(tables))
            upgrade(engine)
            assert is_current(engine)
        finally:
            engine.dispose()
    assert seen <= {0, len(CHAIN_TABLES) + len(SERVICE_TABLES)}
