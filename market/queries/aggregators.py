"""Aggregators: how the attempts ended that were theirs to settle."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from market.db.tables import AttemptRow, BondRow
from market.queries.jobs import bond_view
from market.queries.paging import Key, Order, Part
from market.views import AggregatorSummary, Bond

BY_ADDRESS = Order((BondRow.aggregator,))
BY_JOB = Order((BondRow.job,), descending=True)
ENDED = ("settled", "skipped", "expired", "undone")


def aggregators(session: Session, part: Part) -> tuple[list[AggregatorSummary], Key | None]:
    """Everybody who ever bonded, by address, and where the next part begins."""
    some = BY_ADDRESS.apply(select(BondRow.aggregator).group_by(BondRow.aggregator), part)
    addresses: Sequence[str] = session.scalars(some).all()
    shown = addresses[: part.limit]
    return _summaries(session, shown), ((shown[-1],) if len(addresses) > part.limit else None)


def aggregator(session: Session, address: str) -> AggregatorSummary | None:
    """One aggregator over all jobs; None where it never bonded."""
    found = _summaries(session, [address])
    return found[0] if found and found[0].jobs else None


def bonds(session: Session, address: str, part: Part) -> tuple[list[Bond], Key | None]:
    """An aggregator's bonds, of the newest job first, and where the next part begins."""
    rows = session.scalars(BY_JOB.apply(select(BondRow).where(BondRow.aggregator == address), part)).all()
    return [bond_view(row) for row in rows[: part.limit]], BY_JOB.next_key(rows, part)


def _summaries(session: Session, addresses: Sequence[str]) -> list[AggregatorSummary]:
    jobs = session.execute(
        select(BondRow.aggregator, func.count(distinct(BondRow.job)))
        .where(BondRow.aggregator.in_(addresses))
        .group_by(BondRow.aggregator)
    )
    ended = session.execute(
        select(AttemptRow.aggregator, AttemptRow.outcome, func.count())
        .where(AttemptRow.aggregator.in_(addresses))
        .group_by(AttemptRow.aggregator, AttemptRow.outcome)
    )
    bonded = {row[0]: row[1] for row in jobs}
    counts = {(address, outcome): count for address, outcome, count in ended}
    return [
        AggregatorSummary(
            aggregator=address,
            jobs=bonded.get(address, 0),
            **{outcome: counts.get((address, outcome), 0) for outcome in ENDED},
        )
        for address in addresses
    ]
