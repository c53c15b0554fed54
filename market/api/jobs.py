"""Jobs, their attempts, and what came of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from market import views
from market.api.dependencies import SessionDep
from market.api.openapi import problems
from market.api.pagination import PageDep, page_of
from market.api.parameters import AddressQuery, AttemptPath, AttemptQuery, TextQuery, VersionPath, there
from market.movements import Flow
from market.parameters import JobPath
from market.protocol.errors import NotFound
from market.queries import attempts, jobs, models, money, trainers
from market.queries.jobs import JobFilter, JobOrder, JobState
from market.views import Page

router = APIRouter(prefix="/api/v1/jobs", responses=problems(404))


@router.get("", tags=["jobs"])
def list_jobs(
    session: SessionDep,
    page: PageDep,
    state: Annotated[JobState | None, Query(description="Where the job stands.")] = None,
    owner: AddressQuery = None,
    token: AddressQuery = None,
    has_exam: Annotated[bool | None, Query(description="With an exam, or without one.")] = None,
    text: TextQuery = None,
    sort: Annotated[JobOrder, Query(description="Which comes first.")] = JobOrder.NEWEST,
) -> Page[views.JobSummary]:
    """Jobs, in the order asked for."""
    wanted = JobFilter(state, owner, token, has_exam, text)
    return page_of(*jobs.jobs(session, wanted, sort, page.part(jobs.ORDERS[sort])))


@router.get("/{job}", tags=["jobs"])
def get_job(session: SessionDep, job: JobPath) -> views.Job:
    """One job: its terms, its escrow, and what may be done in it now."""
    return there(jobs.job(session, job), f"job {job}")


@router.get("/{job}/attempts", tags=["rounds"])
def list_attempts(session: SessionDep, job: JobPath, page: PageDep) -> Page[views.Attempt]:
    """A job's attempts: a round takes another one where the first was not settled in time, or was undone."""
    _require_job(session, job)
    return page_of(*attempts.attempts(session, job, page.part(attempts.BY_ATTEMPT)))


@router.get("/{job}/attempts/{attempt}", tags=["rounds"])
def get_attempt(session: SessionDep, job: JobPath, attempt: AttemptPath) -> views.Attempt:
    """One attempt."""
    return there(attempts.attempt(session, job, attempt), f"attempt {attempt} of job {job}")


@router.get("/{job}/updates", tags=["rounds"])
def list_updates(
    session: SessionDep, job: JobPath, page: PageDep, attempt: AttemptQuery = None, trainer: AddressQuery = None
) -> Page[views.Update]:
    """What trainers submitted, with weight, score and pay where the attempt was settled."""
    _require_job(session, job)
    return page_of(*attempts.updates(session, job, page.part(attempts.BY_SEAT), attempt, trainer))


@router.get("/{job}/attempts/{attempt}/gram", tags=["rounds"])
def get_gram(session: SessionDep, job: JobPath, attempt: AttemptPath) -> views.GramMatrix:
    """The inner products that a settlement was decided from."""
    return there(attempts.gram(session, job, attempt), f"matrix of attempt {attempt} of job {job}")


@router.get("/{job}/attempts/{attempt}/proof", tags=["rounds"])
def get_proof(session: SessionDep, job: JobPath, attempt: AttemptPath) -> views.Proof:
    """The proof of that matrix, as the contract verified it."""
    return there(attempts.proof(session, job, attempt), f"proof of attempt {attempt} of job {job}")


@router.get("/{job}/payouts", tags=["rounds"])
def list_payouts(
    session: SessionDep,
    job: JobPath,
    page: PageDep,
    trainer: AddressQuery = None,
    claimed: Annotated[bool | None, Query(description="Only what was claimed, or only what was not.")] = None,
) -> Page[views.Credit]:
    """What seats earned, and whether it was claimed."""
    _require_job(session, job)
    return page_of(*money.credits(session, job, page.part(money.BY_SEAT), trainer, claimed))


@router.get("/{job}/movements", tags=["jobs"])
def list_movements(
    session: SessionDep,
    job: JobPath,
    page: PageDep,
    account: AddressQuery = None,
    flow: Annotated[Flow | None, Query(description="Which way it went.")] = None,
) -> Page[views.Movement]:
    """Every wei that came in, was paid, was refunded or was burned: deposits, stakes, claims and all others."""
    _require_job(session, job)
    return page_of(*money.movements(session, page.part(money.BY_PLACE), job, account, flow))


@router.get("/{job}/trainers", tags=["trainers"])
def list_seats(session: SessionDep, job: JobPath) -> list[views.Sitting]:
    """Who has or had a seat, and what came of it."""
    _require_job(session, job)
    return trainers.sittings(session, job)


@router.get("/{job}/waiting", tags=["trainers"])
def list_waiting(session: SessionDep, job: JobPath) -> list[views.Waiting]:
    """Who waits for a seat."""
    _require_job(session, job)
    return trainers.waiting(session, job)


@router.get("/{job}/models", tags=["models"])
def list_models(session: SessionDep, job: JobPath, page: PageDep) -> Page[views.ModelVersion]:
    """A job's models, the initial one first. Their bytes are under their CIDs at `/content`."""
    _require_job(session, job)
    return page_of(*models.models(session, job, page.part(models.BY_VERSION)))


@router.get("/{job}/models/{version}", tags=["models"])
def get_model(session: SessionDep, job: JobPath, version: VersionPath) -> views.ModelVersion:
    """One model."""
    return there(models.model(session, job, version), f"model {version} of job {job}")


@router.get("/{job}/disputes", tags=["jobs"])
def list_disputes(session: SessionDep, job: JobPath) -> list[views.Dispute]:
    """What was disputed, and how it was answered."""
    _require_job(session, job)
    return models.disputes(session, job)


def _require_job(session: SessionDep, job: int) -> None:
    if not jobs.exists(session, job):
        raise NotFound(f"there is no job {job}")
