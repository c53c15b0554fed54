"""What is around every request: its id, its line in the log, what is counted of it, and the headers of its answer."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market.api.metrics import Metrics
from market.api.problems import INTERNAL, problem

LOGGER = logging.getLogger("market.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
GONE = 499
"""Logged where whoever asked did not wait for the answer."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STRICT_TRANSPORT = {"Strict-Transport-Security": "max-age=31536000"}


class Envelope:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, is_https: bool) -> None:
        self._app, self._metrics = app, metrics
        self._headers = {**SECURITY_HEADERS, **(STRICT_TRANSPORT if is_https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began_s = time.perf_counter()
        status = GONE

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answered(scope, receive, send_with_headers, lambda: status != GONE)
        finally:
            self._note(scope, status, time.perf_counter() - began_s)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, has_begun: Callable[[], bool]) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception:
            # Whatever nobody foresaw: the log has it, the client the id to ask by.
            LOGGER.exception("request failed", extra={"request_id": scope["state"]["request_id"]})
            if has_begun():
                raise  # half an answer is out: all that is left is to cut it off
            await problem(scope, INTERNAL, "the cause is in the service's log, under this request's id")(
                scope, receive, send
            )

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.count(method, route, status, seconds)
        # The path and not the query; headers and bodies never: tokens and signatures are in them.
        LOGGER.info(
            "%s %s %d",
            method,
            scope["path"][:200].encode("unicode_escape").decode("ascii"),
            status,
            extra={
                "request_id": scope["state"]["request_id"],
                "method": method,
                "route": route,
                "status": status,
                "milliseconds": round(seconds * 1_000, 2),
            },
        )


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
