"""Trainers: who sits in a job, all of them, and one with everything that it did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, String, cast, distinct, func, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.elements import ColumnElement

from market.db.base import AMOUNT_DIGITS
from market.db.tables import JobRow, SittingRow, WaitingRow
from market.queries.paging import Key, Order, Part
from market.views import Q32, Earnings, Sitting, TrainerSummary, Waiting

PART_DIGITS = 13
"""Amounts are added up in parts of so many digits: their sums fit a database's integers, and no digit is lost."""

BY_ADDRESS = Order((SittingRow.trainer,))
BY_SITTING = Order((SittingRow.job, SittingRow.seat, SittingRow.ordinal), descending=True)


def sittings(session: Session, job: int) -> list[Sitting]:
    """Everybody who has, or had, a seat of a job, by seat, then in order: few more than its seats."""
    ordered = select(SittingRow).where(SittingRow.job == job).order_by(SittingRow.seat, SittingRow.ordinal)
    return [_sitting(row) for row in session.scalars(ordered)]


def waiting(session: Session, job: int) -> list[Waiting]:
    """Who waits for a seat of a job, the longest first."""
    ordered = select(WaitingRow).where(WaitingRow.job == job).order_by(WaitingRow.since_s, WaitingRow.trainer)
    return [
        Waiting(job=row.job, trainer=row.trainer, stake_wei=row.stake_wei, since_s=row.since_s)
        for row in session.scalars(ordered)
    ]


def trainers(session: Session, part: Part) -> tuple[list[TrainerSummary], Key | None]:
    """Everybody who ever had a seat, by address, and where the next part begins."""
    some = BY_ADDRESS.apply(select(SittingRow.trainer).group_by(SittingRow.trainer), part)
    addresses: Sequence[str] = session.scalars(some).all()
    shown = addresses[: part.limit]
    return _summaries(session, shown), ((shown[-1],) if len(addresses) > part.limit else None)


def trainer(session: Session, address: str) -> TrainerSummary | None:
    """One trainer over all jobs; None where it never had a seat."""
    found = _summaries(session, [address])
    return found[0] if found else None


def history(session: Session, address: str, part: Part) -> tuple[list[Sitting], Key | None]:
    """The seats that a trainer has or had, of the newest job first, and where the next part begins."""
    rows = session.scalars(BY_SITTING.apply(select(SittingRow).where(SittingRow.trainer == address), part)).all()
    return [_sitting(row) for row in rows[: part.limit]], BY_SITTING.next_key(rows, part)


def _summaries(session: Session, addresses: Sequence[str]) -> list[TrainerSummary]:
    """By address; what was earned by token, since amounts of different ones do not add up."""
    counted = (SittingRow.committed, SittingRow.revealed, SittingRow.accepted)
    rows = session.execute(
        select(
            SittingRow.trainer,
            JobRow.token,
            func.count(distinct(SittingRow.job)),
            *(func.sum(column) for column in counted),
            *_sum_in_parts(SittingRow.earned_wei),
            *_sum_in_parts(SittingRow.claimed_wei),
        )
        .join(JobRow, JobRow.job == SittingRow.job)
        .where(SittingRow.trainer.in_(addresses))
        .group_by(SittingRow.trainer, JobRow.token)
        .order_by(SittingRow.trainer, JobRow.token)
    )
    return [_summary(address, [tuple(row[1:]) for row in its]) for address, its in groupby(rows, lambda row: row[0])]


def _summary(address: str, by_token: Sequence[tuple[Any, ...]]) -> TrainerSummary:
    jobs, committed, revealed, accepted = (sum(row[place] for row in by_token) for place in range(1, 5))
    return TrainerSummary(
        trainer=address,
        jobs=jobs,
        committed=committed,
        revealed=revealed,
        accepted=accepted,
        earnings=[
            Earnings(token=token, jobs=count, earned_wei=_whole(parts[:3]), claimed_wei=_whole(parts[3:]))
            for token, count, _, _, _, *parts in by_token
        ],
    )


def _sum_in_parts(amount: InstrumentedAttribute[int]) -> list[ColumnElement[int]]:
    digits = type_coerce(amount, String)
    firsts = range(1, AMOUNT_DIGITS + 1, PART_DIGITS)
    return [func.sum(cast(func.substr(digits, first, PART_DIGITS), BigInteger)) for first in firsts]


def _whole(parts: Sequence[int]) -> int:
    whole = 0
    for part in parts:
        whole = whole * 10**PART_DIGITS + int(part)
    return whole


def _sitting(row: SittingRow) -> Sitting:
    return Sitting(
        job=row.job,
        seat=row.seat,
        trainer=row.trainer,
        since_attempt=row.since,
        until_attempt=row.until,
        staked_wei=row.staked_wei,
        committed=row.committed,
        revealed=row.revealed,
        accepted=row.accepted,
        score=row.score_q32 / Q32,
        earned_wei=row.earned_wei,
        claimed_wei=row.claimed_wei,
    )
