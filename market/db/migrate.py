"""Brings a database to this program's version: whole, or not at all."""

from __future__ import annotations

from functools import cache
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from market.protocol.errors import InvalidInput

ADVISORY_LOCK = 0x66656D61
"""Held in PostgreSQL while migrating: of two services that start together one waits."""


def upgrade(engine: Engine) -> None:
    """Bring the tables to this program's version; killed in the middle, the database is as it was before.

    Raises:
        InvalidInput: the database was written by a newer version.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        configuration = _configuration(connection)
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise InvalidInput(
                f"the database has version {_version(connection)}, which this program does not know: use a newer one"
            ) from error


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this program."""
    with engine.connect() as connection:
        return _version(connection) == _newest()


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _newest() -> str | None:
    """This program's version; the modules that say so do not change while it runs."""
    return ScriptDirectory.from_config(_scripts()).get_current_head()


def _configuration(connection: Connection) -> Config:
    configuration = _scripts()
    configuration.attributes["connection"] = connection
    return configuration


def _scripts() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(resources.files("market.db") / "migrations"))
    return configuration
