"""What the API says of itself: each route with its refusals, so that no answer comes that was not announced."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from market.api.problems import KIND_PREFIX, MEDIA_TYPE
from market.api.shapes import Problem

PROBLEM = {"$ref": "#/components/schemas/Problem"}
EVERYWHERE = (400, 408, 413, 422, 429, 500)
"""Any request can be answered so: unreadable, standing still, refused, coming too often, or the service fails."""

TAGS = [
    {"name": "jobs", "description": "What owners asked for, and how far it is."},
    {"name": "rounds", "description": "What came of each attempt: updates, scores, the matrix, proof and pay."},
    {"name": "trainers", "description": "Who trains, and what it earned."},
    {"name": "aggregators", "description": "Who settles rounds."},
    {"name": "models", "description": "The models that a job went through."},
    {"name": "events", "description": "What the contract says, as it says it."},
    {"name": "content", "description": "Bytes by the name that follows from them, a CID."},
    {"name": "posting", "description": "From a spec to the transaction that opens a job; the owner's wallet signs it."},
    {"name": "account", "description": "Sign-in with Ethereum (EIP-4361)."},
    {"name": "service", "description": "How the service itself is."},
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can refuse with these statuses, and with those that every route has."""
    return {status: _refusal(status) for status in sorted({*statuses, *EVERYWHERE})}


def operation_id(route: APIRoute) -> str:
    """A route's name in generated clients: its function's."""
    return route.name


def describe(app: FastAPI) -> None:
    """Have the problem's schema among the others."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, schema in {**problem.pop("$defs"), "Problem": problem}.items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _refusal(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    example = {
        "type": KIND_PREFIX + phrase.lower().replace(" ", "-"),
        "title": phrase,
        "status": status,
        "detail": "what is wrong, in a sentence",
        "instance": "/api/v1/jobs",
        "request_id": "0f8e6c1d2b3a4958",
    }
    return {"description": phrase, "content": {MEDIA_TYPE: {"schema": PROBLEM, "example": example}}}
