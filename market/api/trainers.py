"""Who trains, and what came of it."""

from __future__ import annotations

from fastapi import APIRouter

from market import views
from market.api.dependencies import SessionDep
from market.api.openapi import problems
from market.api.pagination import PageDep, page_of
from market.api.parameters import there
from market.parameters import AddressPath
from market.queries import trainers
from market.views import Page

router = APIRouter(prefix="/api/v1/trainers", tags=["trainers"], responses=problems(404))


@router.get("")
def list_trainers(session: SessionDep, page: PageDep) -> Page[views.TrainerSummary]:
    """Everybody who ever had a seat, by address."""
    return page_of(*trainers.trainers(session, page.part(trainers.BY_ADDRESS)))


@router.get("/{address}")
def get_trainer(session: SessionDep, address: AddressPath) -> views.TrainerSummary:
    """One trainer over all jobs."""
    return there(trainers.trainer(session, address), f"trainer {address}: it never had a seat")


@router.get("/{address}/seats")
def list_trainer_seats(session: SessionDep, address: AddressPath, page: PageDep) -> Page[views.Sitting]:
    """A trainer's history: each seat that it has or had, of the newest job first."""
    return page_of(*trainers.history(session, address, page.part(trainers.BY_SITTING)))
