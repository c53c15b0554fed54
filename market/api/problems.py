"""Every refusal as `application/problem+json` (RFC 9457): the project's errors, the framework's, the unforeseen."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from market.protocol import errors
from market.protocol.errors import FedmarketError, InvalidJobSpec

MEDIA_TYPE = "application/problem+json"
KIND_PREFIX = "urn:fedmarket:problem:"
RETRY_S = 5
"""After how long a client may ask again where the chain does not answer."""

LOGGER = logging.getLogger("market.api")


@dataclass(frozen=True)
class Kind:
    """A kind of refusal: its status, its name, and what it says in general."""

    status: int
    name: str
    title: str


KINDS: Mapping[type[FedmarketError], Kind] = {
    errors.InvalidInput: Kind(422, "invalid-input", "What was asked cannot be done as asked"),
    errors.InvalidJobSpec: Kind(422, "invalid-job-spec", "The job's spec is wrong"),
    errors.InvalidTerms: Kind(422, "invalid-terms", "The job's terms cannot hold together"),
    errors.InvalidModel: Kind(422, "invalid-model", "The model is not one of this job"),
    errors.InvalidUpdate: Kind(422, "invalid-update", "The update is not one of this job"),
    errors.InvalidExam: Kind(422, "invalid-exam", "The exam is not what was committed to"),
    errors.InvalidCid: Kind(422, "invalid-cid", "That names no content"),
    errors.InvalidContent: Kind(422, "invalid-content", "The content is not the one that was named"),
    errors.BlockNotFound: Kind(404, "content-not-held", "This store does not hold that content"),
    errors.StorageFull: Kind(507, "storage-full", "The service has no room left"),
    errors.StorageError: Kind(500, "storage-error", "The service's storage failed"),
    errors.ChainUnreachable: Kind(503, "chain-unreachable", "The service does not reach the chain"),
    errors.ChainTimeout: Kind(503, "chain-timeout", "The chain takes too long"),
    errors.ContractRevert: Kind(422, "contract-refuses", "The contract would refuse this"),
    errors.ChainError: Kind(502, "chain-refuses", "The chain's node refused"),
    errors.NotFound: Kind(404, "not-found", "There is no such thing here"),
    errors.NotSignedIn: Kind(401, "not-signed-in", "This takes a sign-in"),
    errors.SignInRefused: Kind(401, "sign-in-refused", "The sign-in is refused"),
    errors.NotAllowed: Kind(403, "not-allowed", "This concerns another account"),
    errors.TooLarge: Kind(413, "too-large", "That is too long"),
    errors.OverQuota: Kind(413, "over-quota", "The account's quota is used up"),
    errors.PhaseClosed: Kind(409, "phase-closed", "It is too late for this, or too early"),
    FedmarketError: Kind(500, "internal", "The service failed"),
}
"""The nearest class of an error's line of descent decides."""

INTERNAL = KINDS[FedmarketError]


def add_problem_handlers(app: FastAPI) -> None:
    """Let every error that an endpoint raises be answered as a problem."""
    app.add_exception_handler(FedmarketError, _of_project)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _of_validation)


def problem(
    scope: Mapping[str, Any],
    kind: Kind,
    detail: str,
    fields: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer that says what is wrong.

    Args:
        scope: the request's.
        kind: what it is in general.
        detail: what it is here.
        fields: each field at fault, and what is wrong with it.
        headers: more of them.
    """
    body: dict[str, Any] = {
        "type": KIND_PREFIX + kind.name,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": scope["path"],
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    if fields:
        body["errors"] = [{"field": name, "detail": wrong} for name, wrong in fields]
    return JSONResponse(body, kind.status, {**(headers or {}), "Cache-Control": "no-store"}, MEDIA_TYPE)


def plain_kind(status: int) -> Kind:
    """The kind of a refusal that HTTP has a name for."""
    phrase = HTTPStatus(status).phrase
    return Kind(status, phrase.lower().replace(" ", "-"), phrase)


def kind_of(error: FedmarketError) -> Kind:
    """What kind of refusal an error is."""
    return next(KINDS[ancestor] for ancestor in type(error).__mro__ if ancestor in KINDS)


async def _of_project(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, FedmarketError):
        raise error
    kind = kind_of(error)
    if kind.status == 500:
        LOGGER.error("request failed", exc_info=error, extra={"request_id": request.state.request_id})
        return problem(request.scope, kind, "the cause is in the service's log, under this request's id")
    fields = [(error.field, error.problem)] if isinstance(error, InvalidJobSpec) else []
    return problem(request.scope, kind, str(error), fields, _headers(kind.status))


def _headers(status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="fedmarket"'}
    return {"Retry-After": str(RETRY_S)} if status == 503 else {}


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return problem(request.scope, plain_kind(error.status_code), str(error.detail), headers=error.headers)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    fields = [(_place(wrong["loc"]), _message(wrong)) for wrong in error.errors()]
    return problem(request.scope, KINDS[errors.InvalidInput], "the request is not as described", fields)


def _place(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location)


def _message(wrong: Mapping[str, Any]) -> str:
    # What was sent is not repeated: it may be long, or a signature.
    reason = wrong.get("ctx", {}).get("error", "")
    return json.dumps(f"{wrong['msg']} ({reason})" if wrong["type"] == "json_invalid" else wrong["msg"])[1:-1][:300]
