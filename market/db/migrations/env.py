"""Runs migrations on the connection that `market.db.migrate` hands over, all of them in one transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from market.db import service_tables, tables
from market.db.base import Base

__all__ = ["service_tables", "tables"]  # imported so that their tables are known


def as_stored(kind: str, value: Any, autogenerate: object) -> str | Literal[False]:
    """A migration speaks of columns as they are stored: what Python makes of them may change."""
    return f"sa.{value.impl_instance!r}" if kind == "type" and isinstance(value, TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite can, too, once its driver does not end transactions by itself
    render_as_batch=True,
    render_item=as_stored,
)
with context.begin_transaction():
    context.run_migrations()
