"""A job's models, and the disputes about what no proof shows."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from market.db.service_tables import DocumentRow
from market.db.tables import DisputeRow, JobRow, ModelRow
from market.queries.jobs import seals_models
from market.queries.paging import Key, Order, Part
from market.sealed_model import stored_model_bytes
from market.storage import Cid
from market.views import Dispute, Job, ModelVersion

BY_VERSION = Order((ModelRow.version,))
LATEST_FIRST = Order((ModelRow.version,), descending=True)


def models(session: Session, job: int, part: Part) -> tuple[list[ModelVersion], Key | None]:
    """A job's models in order, the initial one first, and where the next part begins."""
    return _listed(session, job, _seals_models(session, job), BY_VERSION, part)


def latest_models(session: Session, job: Job, part: Part) -> tuple[list[ModelVersion], Key | None]:
    """A job's models, the current one first, and where the next part begins."""
    return _listed(session, job.job, job.models_sealed, LATEST_FIRST, part)


def model(session: Session, job: int, version: int) -> ModelVersion | None:
    """One model; None where there is none of this number."""
    statement = select(ModelRow, JobRow.dimension).join(JobRow, JobRow.job == ModelRow.job)
    found = session.execute(statement.where(ModelRow.job == job, ModelRow.version == version)).first()
    return None if found is None else _version(*found, _seals_models(session, job))


def disputes(session: Session, job: int) -> list[Dispute]:
    """A job's disputes in order: few, for each costs a bond and stops the job."""
    rows = session.scalars(select(DisputeRow).where(DisputeRow.job == job).order_by(DisputeRow.ordinal))
    return [
        Dispute(
            job=row.job,
            attempt=row.attempt,
            fact=row.fact,
            seat=row.seat,
            by=row.by,
            bond_wei=row.bond_wei,
            answer_until_s=row.answer_until_s,
            holding=row.holding,
            failing=row.failing,
            verdict=row.verdict,
            burned_wei=row.burned_wei,
            opened_s=row.opened_s,
            resolved_s=row.resolved_s,
        )
        for row in rows
    ]


def _listed(
    session: Session, job: int, sealed: bool | None, order: Order, part: Part
) -> tuple[list[ModelVersion], Key | None]:
    statement = select(ModelRow, JobRow.dimension).join(JobRow, JobRow.job == ModelRow.job).where(ModelRow.job == job)
    rows = session.execute(order.apply(statement, part)).all()
    found = [_version(row, dimension, sealed) for row, dimension in rows[: part.limit]]
    return found, order.next_key(rows, part, lambda row: row[0])


def _seals_models(session: Session, job: int) -> bool | None:
    named = and_(DocumentRow.job == JobRow.job, DocumentRow.spec == JobRow.spec)
    return seals_models(session.scalar(select(DocumentRow.body).join(JobRow, named).where(JobRow.job == job)))


def _version(row: ModelRow, dimension: int, sealed: bool | None) -> ModelVersion:
    size_bytes = stored_model_bytes(dimension, sealed=bool(sealed))
    return ModelVersion(
        job=row.job,
        version=row.version,
        round=row.round,
        attempt=row.attempt,
        cid=str(Cid.from_digest(row.content, size_bytes)),
        size_bytes=size_bytes,
        sealed=sealed,
        commitment=row.commitment,
    )
