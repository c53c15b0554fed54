"""Jobs: the list, and one with its terms and where it stands."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select
from sqlalchemy.orm import Session

from market.db.event_codec import exact, terms_from_text
from market.db.service_tables import DocumentRow
from market.db.tables import AttemptRow, BondRow, JobRow
from market.queries.attempts import attempt_view
from market.queries.network import now_s
from market.queries.paging import Key, Order, Part
from market.queries.phases import phase_of
from market.sealed_model import stored_model_bytes
from market.storage import Cid
from market.views import Bond, Escrow, Job, JobSummary


class JobOrder(StrEnum):
    """How a list of jobs is sorted."""

    NEWEST = "newest"
    OLDEST = "oldest"
    REWARD = "reward"
    DEADLINE = "deadline"


ORDERS: Mapping[JobOrder, Order] = {
    JobOrder.NEWEST: Order((JobRow.job,), descending=True),
    JobOrder.OLDEST: Order((JobRow.job,)),
    JobOrder.REWARD: Order((JobRow.round_reward_wei, JobRow.job), descending=True),
    JobOrder.DEADLINE: Order((JobRow.deadline_s, JobRow.job)),
}


class JobState(StrEnum):
    """Which jobs are asked for."""

    OPEN = "open"  # not closed
    SEATS = "seats"  # whoever stakes now has a seat
    RUNNING = "running"  # an attempt runs, or is scheduled
    DISPUTED = "disputed"
    CLOSED = "closed"


STATES: Mapping[JobState, ColumnElement[bool]] = {
    JobState.OPEN: JobRow.closed_s.is_(None),
    JobState.SEATS: and_(JobRow.closed_s.is_(None), JobRow.seats_taken < JobRow.seats),
    JobState.RUNNING: and_(JobRow.closed_s.is_(None), JobRow.attempt_start_s.is_not(None)),
    JobState.DISPUTED: JobRow.disputed.is_(True),
    JobState.CLOSED: JobRow.closed_s.is_not(None),
}


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are asked for; None does not matter.

    Attributes:
        state: where they stand.
        owner: whose.
        token: paid in.
        has_exam: whether they are examined.
        text: part of the name that the owner gave, in any case.
    """

    state: JobState | None = None
    owner: str | None = None
    token: str | None = None
    has_exam: bool | None = None
    text: str | None = None


def jobs(
    session: Session, wanted: JobFilter, order: JobOrder = JobOrder.NEWEST, part: Part | None = None
) -> tuple[list[JobSummary], Key | None]:
    """Jobs in this order, and where the next part begins."""
    part = part or Part()
    statement = ORDERS[order].apply(_joined().where(*_conditions(wanted)), part)
    rows = session.execute(statement).all()
    now = now_s(session)
    found = [JobSummary(**_summary(row, now)) for row in rows[: part.limit]]
    return found, ORDERS[order].next_key(rows, part, lambda row: row[0])


def job(session: Session, number: int) -> Job | None:
    """One job; None where there is none of this number."""
    row = session.execute(_joined().where(JobRow.job == number)).first()
    if row is None:
        return None
    bonds = session.scalars(select(BondRow).where(BondRow.job == number).order_by(BondRow.bonded_block)).all()
    entry, document, attempt = row
    terms = terms_from_text(entry.terms)
    sealed = seals_models(None if document is None else document.body)
    model_bytes = stored_model_bytes(entry.dimension, sealed=bool(sealed))
    return Job(
        **_summary(row, now_s(session)),
        spec=entry.spec,
        spec_cid=str(Cid.from_digest(entry.spec, 0)),
        initial_model_cid=str(Cid.from_digest(entry.initial_model, model_bytes)),
        model_cid=str(Cid.from_digest(entry.model, model_bytes)),
        srs_id=entry.srs_id,
        opened_block=entry.opened_block,
        transaction=entry.opened_transaction,
        exam_published=entry.exam_published,
        closed_s=entry.closed_s,
        current=None if attempt is None else attempt_view(attempt, terms, is_proven=attempt.proof is not None),
        bonds=[bond_view(bond) for bond in bonds],
        terms=exact(json.loads(entry.terms)),
        document=None if document is None else json.loads(document.body),
        models_sealed=sealed,
    )


def seals_models(document: str | None) -> bool | None:
    """Whether only those who take part can read a job's models; None where its document has not come."""
    return None if document is None else json.loads(document).get("sealing") is not None


def exists(session: Session, number: int) -> bool:
    """Whether there is a job of this number."""
    return session.scalar(select(JobRow.job).where(JobRow.job == number)) is not None


@dataclass(frozen=True)
class JobLabel:
    """What lists of other things say of a job: its owner's name for it, and the token that it pays in."""

    name: str | None
    token: str


def labels(session: Session, numbers: Collection[int]) -> dict[int, JobLabel]:
    """What these jobs are called."""
    shown = (JobRow.job, DocumentRow.name, JobRow.token)
    statement = _joined().with_only_columns(*shown, maintain_column_froms=True).where(JobRow.job.in_(numbers))
    return {job: JobLabel(name, token) for job, name, token in session.execute(statement)}


def bond_view(row: BondRow) -> Bond:
    """An aggregator's bond."""
    return Bond(
        job=row.job,
        aggregator=row.aggregator,
        bonded_wei=row.bonded_wei,
        withdrawn_wei=row.withdrawn_wei,
        broken_wei=row.broken_wei,
        sealing_key=row.sealing_key,
        bonded_block=row.bonded_block,
    )


def _joined() -> Select[JobRow, DocumentRow | None, AttemptRow | None]:
    """A job with its document and its current attempt, where it has them."""
    running = and_(AttemptRow.job == JobRow.job, AttemptRow.attempt == JobRow.attempt)
    return (
        select(JobRow, DocumentRow, AttemptRow)
        .outerjoin(DocumentRow, and_(DocumentRow.job == JobRow.job, DocumentRow.spec == JobRow.spec))
        .outerjoin(AttemptRow, running)
    )


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    conditions = [STATES[wanted.state]] if wanted.state else []
    if wanted.owner is not None:
        conditions.append(JobRow.owner == wanted.owner)
    if wanted.token is not None:
        conditions.append(JobRow.token == wanted.token)
    if wanted.has_exam is not None:
        conditions.append(JobRow.has_exam.is_(wanted.has_exam))
    if wanted.text:
        named = DocumentRow.name.icontains(wanted.text, autoescape=True)
        conditions.append(or_(named, DocumentRow.architecture.icontains(wanted.text, autoescape=True)))
    return conditions


def _summary(row: Row[JobRow, DocumentRow | None, AttemptRow | None], now: int) -> dict[str, Any]:
    entry, document, attempt = row
    phase, ends_s = phase_of(entry, terms_from_text(entry.terms), attempt.committed if attempt else 0, now)
    return {
        "job": entry.job,
        "name": None if document is None else document.name,
        "architecture": None if document is None else document.architecture,
        "owner": entry.owner,
        "phase": phase.name.lower(),
        "phase_ends_s": ends_s,
        "round": entry.round,
        "rounds": entry.rounds,
        "settled_rounds": entry.settled_rounds,
        "seats": entry.seats,
        "seats_taken": entry.seats_taken,
        "token": entry.token,
        "round_reward_wei": entry.round_reward_wei,
        "escrow": _escrow(entry),
        "has_exam": entry.has_exam,
        "enrol_until_s": entry.enrol_until_s,
        "deadline_s": entry.deadline_s,
        "opened_s": entry.opened_s,
    }


def _escrow(entry: JobRow) -> Escrow:
    gone_wei = entry.paid_wei + entry.refunded_wei + entry.burned_wei
    return Escrow(
        deposited_wei=entry.deposited_wei,
        paid_wei=entry.paid_wei,
        refunded_wei=entry.refunded_wei,
        burned_wei=entry.burned_wei,
        locked_wei=entry.deposited_wei - gone_wei,
    )
