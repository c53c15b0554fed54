"""Where a job's money went: what can be claimed, and what crossed the contract's border."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from market.db.tables import CreditRow, MovementRow
from market.movements import Flow
from market.queries.paging import Key, Order, Part
from market.views import Credit, Movement

BY_SEAT = Order((CreditRow.attempt, CreditRow.seat))
BY_PLACE = Order((MovementRow.block_number, MovementRow.log_index, MovementRow.part))


def credits(
    session: Session, job: int, part: Part, trainer: str | None = None, claimed: bool | None = None
) -> tuple[list[Credit], Key | None]:
    """What a job's seats earned, by attempt and seat, and where the next part begins.

    Args:
        session: of the database.
        job: the job's number.
        part: which part of the list.
        trainer: only this one's.
        claimed: only what was claimed, or only what was not.
    """
    statement = select(CreditRow).where(CreditRow.job == job)
    if trainer is not None:
        statement = statement.where(CreditRow.trainer == trainer)
    if claimed is not None:
        statement = statement.where(CreditRow.claimed_block.is_not(None) == claimed)
    rows = session.scalars(BY_SEAT.apply(statement, part)).all()
    return [_credit(row) for row in rows[: part.limit]], BY_SEAT.next_key(rows, part)


def movements(
    session: Session, part: Part, job: int | None = None, account: str | None = None, flow: Flow | None = None
) -> tuple[list[Movement], Key | None]:
    """What moved, in the order of the chain, and where the next part begins. Arguments narrow it down."""
    statement = select(MovementRow)
    if job is not None:
        statement = statement.where(MovementRow.job == job)
    if account is not None:
        statement = statement.where(MovementRow.account == account)
    if flow is not None:
        statement = statement.where(MovementRow.flow == flow.value)
    rows = session.scalars(BY_PLACE.apply(statement, part)).all()
    return [_movement(row) for row in rows[: part.limit]], BY_PLACE.next_key(rows, part)


def _credit(row: CreditRow) -> Credit:
    return Credit(
        job=row.job,
        attempt=row.attempt,
        seat=row.seat,
        trainer=row.trainer,
        source=row.source,
        amount_wei=row.amount_wei,
        vests_s=row.vests_s,
        claimed_block=row.claimed_block,
        claimed_transaction=row.claimed_transaction,
    )


def _movement(row: MovementRow) -> Movement:
    return Movement(
        block_number=row.block_number,
        log_index=row.log_index,
        timestamp_s=row.timestamp_s,
        transaction=row.transaction,
        job=row.job,
        flow=row.flow,
        kind=row.kind,
        account=row.account,
        to=row.to,
        attempt=row.attempt,
        seat=row.seat,
        amount_wei=row.amount_wei,
    )
