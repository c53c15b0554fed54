"""Refusals and failures as pages that a person can read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from market.protocol.errors import InvalidInput, NotFound
from market.web.rendering import page

LOGGER = logging.getLogger("market.web")
API_PREFIX = "/api/"

TITLES = {
    400: "That request makes no sense",
    404: "There is no such page",
    405: "That is not how this page is asked for",
    500: "The service failed",
    503: "The service is not ready",
}


class PageRoute(APIRoute):
    """A route whose every answer is a page, whatever goes wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with what it raises told in words."""
        handle = super().get_route_handler()

        async def handle_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except NotFound as error:
                return error_page(404, str(error))
            except InvalidInput as error:
                return error_page(400, str(error))
            except RequestValidationError as error:
                wrong = ", ".join(str(entry["loc"][-1]) for entry in error.errors())
                return error_page(400, f"not as this page takes it: {wrong}")
            except HTTPException as error:
                return error_page(error.status_code, str(error.detail))
            except Exception:
                # Whatever nobody foresaw: a person must not be shown a bare error, and the log has it.
                LOGGER.exception("page failed", extra={"path": request.url.path})
                return error_page(500, "the cause is in the service's log; the chain and `fedmarket` work without it")

        return handle_in_words


def error_page(status: int, detail: str) -> HTMLResponse:
    """A refusal or failure, in words."""
    title = TITLES.get(status, HTTPStatus(status).phrase)
    return page("error.html", status, code=status, title=title, detail=detail)


def answer_browsers_with_pages(app: FastAPI) -> None:
    """Let the framework's refusals outside the API be pages where a page is asked for; programs get what they got."""
    told: Any = app.exception_handlers[HTTPException]

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and _asks_for_page(request):
            return error_page(error.status_code, f"nothing answers {request.method} at {request.url.path[:200]}")
        response: Response = await told(request, error)
        return response

    app.add_exception_handler(HTTPException, answer)


def _asks_for_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(API_PREFIX)
