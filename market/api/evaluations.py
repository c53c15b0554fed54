"""How well a job's models do, by their owner's word."""

from __future__ import annotations

from fastapi import APIRouter

from market.api.dependencies import JSON_BODY, AccountDep, ServiceDep, SessionDep, WriteSessionDep
from market.api.openapi import problems
from market.api.parameters import VersionPath, there
from market.api.shapes import Measured
from market.db.service_tables import EvaluationRow
from market.parameters import JobPath
from market.protocol.errors import NotAllowed
from market.queries import evaluations
from market.views import Evaluation

router = APIRouter(prefix="/api/v1/jobs", tags=["models"])


@router.get("/{job}/evaluations", responses=problems(404))
def list_evaluations(session: SessionDep, job: JobPath) -> list[Evaluation]:
    """What a job's owner measured of its models. The chain says nothing of it, and nothing proves it."""
    there(evaluations.owner_of(session, job), f"job {job}")
    return evaluations.evaluations(session, job)


@router.put(
    "/{job}/models/{version}/evaluation",
    status_code=204,
    dependencies=[JSON_BODY],
    responses=problems(401, 403, 404, 415),
)
def report_evaluation(
    service: ServiceDep,
    session: SessionDep,
    writing: WriteSessionDep,
    account: AccountDep,
    job: JobPath,
    version: VersionPath,
    measured: Measured,
) -> None:
    """Say how well a model does: by the job's owner alone, and instead of what it said before."""
    owner = there(evaluations.owner_of(session, job), f"job {job}")
    if owner != account:
        raise NotAllowed(f"job {job} is {owner}'s, but {account} is signed in")
    content = there(evaluations.model_content(session, job, version), f"model {version} of job {job}")
    row = EvaluationRow(
        job=job,
        content=content,
        account=account,
        accuracy=measured.accuracy,
        loss=measured.loss,
        samples=measured.samples,
        measured_s=service.now(),
    )
    evaluations.record(writing, row)
