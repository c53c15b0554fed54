"""How the service itself is: for who starts it again, who sends it requests, and who draws its curves."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response

from market.api.client_address import ClientAddresses
from market.api.dependencies import ServiceDep
from market.api.openapi import problems
from market.api.problems import Kind, problem
from market.api.readiness import Wrong
from market.api.service import Service
from market.db.migrate import is_current
from market.db.tables import SyncRow
from market.protocol.errors import ChainError, FedmarketError, StorageError

NOT_READY = Kind(503, "not-ready", "The service is not ready")

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """That the process answers."""

    status: str


@router.get("/healthz", responses=problems())
def healthz() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses=problems(503))
async def readyz(service: ServiceDep, request: Request) -> Health | Response:
    """Whether the chain is reached and followed, the database current, and the storage writable, within a second."""
    wrong = await service.readiness.wrong(lambda: _look(service))
    if wrong:
        names = ", ".join(name for name, _ in wrong)
        return problem(request.scope, NOT_READY, f"not ready: {names}", wrong)
    return Health(status="ready")


@router.get("/metrics", include_in_schema=False)
def metrics(service: ServiceDep, request: Request) -> Response:
    """What is counted, in Prometheus' format."""
    addresses = ClientAddresses(service.settings.trusted_proxies)
    if not service.settings.public_metrics and not addresses.is_this_machine(request.scope):
        raise HTTPException(403, "only this machine is answered")
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def blocks_behind(service: Service) -> int | None:
    """How many blocks the rows are behind the chain; None where it is not known.

    Raises:
        ChainError: the node does not answer.
    """
    chain = service.chain
    head = int(chain.once(lambda: chain.web3.eth.block_number))
    try:
        with Session(service.engine) as session:
            known = session.scalar(select(SyncRow.block_number))
    except SQLAlchemyError:
        return None
    return None if known is None else max(0, head - known)


def lag_or_none(service: Service) -> int | None:
    """As `blocks_behind`, and None where the node does not answer."""
    try:
        return blocks_behind(service)
    except ChainError:
        return None


def _look(service: Service) -> Wrong:
    return [(name, said) for name, check in CHECKS.items() if (said := check(service)) is not None]


def _chain(service: Service) -> str | None:
    try:
        service.chain.once(lambda: service.chain.web3.eth.block_number)
    except ChainError as error:
        return str(error)
    return None


def _database(service: Service) -> str | None:
    try:
        return None if is_current(service.engine) else "its tables are those of another version"
    except (SQLAlchemyError, FedmarketError):
        return "it does not answer"  # what the driver says may name more than its reader should know


def _indexer(service: Service) -> str | None:
    behind = lag_or_none(service)
    allowed = service.settings.ready_lag_blocks + service.settings.confirmations
    if behind is None:
        return "the chain has not been read yet"
    return None if behind <= allowed else f"{behind} blocks behind the chain, expected at most {allowed}"


def _storage(service: Service) -> str | None:
    try:
        service.store.check_writable()
    except StorageError:
        return "nothing can be written"
    return None


CHECKS: dict[str, Callable[[Service], str | None]] = {
    "chain": _chain,
    "database": _database,
    "indexer": _indexer,
    "storage": _storage,
}
"""What has to be well, each with what it says where it is not."""
