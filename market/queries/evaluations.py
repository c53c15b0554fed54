"""What owners measured of their jobs' models."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from market.db.service_tables import EvaluationRow
from market.db.tables import JobRow, ModelRow
from market.views import Evaluation


def evaluations(session: Session, job: int) -> list[Evaluation]:
    """What the owner of a job measured, by model: of those models alone that the job has."""
    of_model = and_(EvaluationRow.job == ModelRow.job, EvaluationRow.content == ModelRow.content)
    by_owner = and_(JobRow.job == EvaluationRow.job, JobRow.owner == EvaluationRow.account)
    rows = session.execute(
        select(EvaluationRow, ModelRow.version, ModelRow.round, ModelRow.attempt)
        .join(ModelRow, of_model)
        .join(JobRow, by_owner)
        .where(EvaluationRow.job == job)
        .order_by(ModelRow.version)
    )
    return [
        Evaluation(
            job=row.job,
            version=version,
            round=round_number,
            attempt=attempt,
            account=row.account,
            accuracy=row.accuracy,
            loss=row.loss,
            samples=row.samples,
            measured_s=row.measured_s,
        )
        for row, version, round_number, attempt in rows
    ]


def record(session: Session, measured: EvaluationRow) -> None:
    """Keep what was measured, in the place of what the same account said of the same model before."""
    key = ("job", "content", "account")
    values = {column.key: getattr(measured, column.key) for column in EvaluationRow.__table__.columns}
    news = {name: value for name, value in values.items() if name not in key}
    # In one statement: of two that come at once one would find the other's row.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(EvaluationRow).values(values).on_conflict_do_update(index_elements=key, set_=news))


def model_content(session: Session, job: int, version: int) -> bytes | None:
    """The content digest of a job's model; None where there is none of this number."""
    return session.scalar(select(ModelRow.content).where(ModelRow.job == job, ModelRow.version == version))


def owner_of(session: Session, job: int) -> str | None:
    """Who opened a job; None where there is no such job."""
    return session.scalar(select(JobRow.owner).where(JobRow.job == job))
