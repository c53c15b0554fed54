"""Amounts and bytes in a database: exact, in order, the same in each kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, select
from sqlalchemy.exc import StatementError

from market.db.base import Amount, Hex
from market.db.tables import BondRow, JobRow, ModelRow, WaitingRow

AMOUNTS = st.lists(st.integers(0, (1 << 128) - 1), min_size=1, max_size=8)
SAME_DATABASE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


@SAME_DATABASE
@given(AMOUNTS)
def test_amounts_come_back_exact_and_sort_by_size(database: Engine, amounts: list[int]) -> None:
    with database.connect() as connection, connection.begin() as whole:
        _make_job(connection)
        rows = [
            {"job": 0, "trainer": f"0x{number:040x}", "stake_wei": amount, "since_s": 0}
            for number, amount in enumerate(amounts)
        ]
        connection.execute(insert(WaitingRow), rows)
        read = connection.scalars(select(WaitingRow.stake_wei).order_by(WaitingRow.stake_wei)).all()
        assert read == sorted(amounts)
        most = connection.scalars(select(WaitingRow.stake_wei).where(WaitingRow.stake_wei >= max(amounts))).all()
        assert set(most) == {max(amounts)}
        whole.rollback()


@pytest.mark.parametrize("amount", [-1, 1 << 128])
def test_amounts_that_the_contract_cannot_have_are_refused(database: Engine, amount: int) -> None:
    with database.begin() as connection, pytest.raises(StatementError, match="2\\^128"):
        connection.execute(delete(BondRow).where(BondRow.bonded_wei == amount))


@SAME_DATABASE
@given(st.binary(max_size=200))
def test_bytes_come_back_as_they_were(database: Engine, content: bytes) -> None:
    with database.connect() as connection, connection.begin() as whole:
        _make_job(connection)
        row = {"job": 0, "version": 0, "content": bytes(32), "shift": 0, "commitment": content}
        connection.execute(insert(ModelRow), [row])
        assert connection.scalars(select(ModelRow.commitment)).all() == [content]
        assert connection.scalars(select(ModelRow.job).where(ModelRow.commitment == content)).all() == [0]
        whole.rollback()


def _make_job(connection: Connection) -> None:
    """Rows of a job need the job's own: one with nothing in it."""
    columns = JobRow.__table__.columns
    connection.execute(insert(JobRow), [{column.name: _blank(column) for column in columns if not column.nullable}])


def _blank(column: ColumnElement[Any]) -> object:
    if isinstance(column.type, Hex):
        return bytes(32)
    return 0 if isinstance(column.type, Amount) else column.type.python_type()
