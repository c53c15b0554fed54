"""Who settles rounds, and how they ended."""

from __future__ import annotations

from fastapi import APIRouter

from market import views
from market.api.dependencies import SessionDep
from market.api.openapi import problems
from market.api.pagination import PageDep, page_of
from market.api.parameters import there
from market.parameters import AddressPath
from market.queries import aggregators
from market.views import Page

router = APIRouter(prefix="/api/v1/aggregators", tags=["aggregators"], responses=problems(404))


@router.get("")
def list_aggregators(session: SessionDep, page: PageDep) -> Page[views.AggregatorSummary]:
    """Everybody who ever bonded, by address."""
    return page_of(*aggregators.aggregators(session, page.part(aggregators.BY_ADDRESS)))


@router.get("/{address}")
def get_aggregator(session: SessionDep, address: AddressPath) -> views.AggregatorSummary:
    """One aggregator over all jobs."""
    return there(aggregators.aggregator(session, address), f"aggregator {address}: it never bonded")


@router.get("/{address}/bonds")
def list_aggregator_bonds(session: SessionDep, address: AddressPath, page: PageDep) -> Page[views.Bond]:
    """An aggregator's bonds, of the newest job first."""
    return page_of(*aggregators.bonds(session, address, page.part(aggregators.BY_JOB)))
