"""All routers, in the order in which the API describes them."""

from __future__ import annotations

from fastapi import APIRouter

from market.api import aggregators, events, health, jobs, trainers

ROUTERS: tuple[APIRouter, ...] = (
    jobs.router,
    trainers.router,
    aggregators.router,
    events.router,
    health.router,
)
"""Each has its whole path in itself: what is counted and logged of a request is its route's path."""
