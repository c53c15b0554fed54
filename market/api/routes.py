"""All routers, in the order in which the API describes them."""

from __future__ import annotations

from fastapi import APIRouter

from market.api import aggregators, content, evaluations, events, health, jobs, posting, sign_in, trainers

ROUTERS: tuple[APIRouter, ...] = (
    jobs.router,
    trainers.router,
    aggregators.router,
    events.router,
    evaluations.router,
    content.router,
    content.gateway,
    posting.router,
    sign_in.router,
    health.router,
)
"""Each has its whole path in itself: what is counted and logged of a request is its route's path."""
