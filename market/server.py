"""The service on a port: says when it serves, and ends when it is told to, whoever still listens to a stream."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import uvicorn

from market.api.service import Service
from market.app import create_app
from market.protocol.errors import InvalidInput
from market.settings import Settings

GRACE_S = 5
"""How long requests may take to end once the service is asked to."""

BACKLOG = 1_024
KEEP_ALIVE_S = 30
EXTRA = ("request_id", "method", "route", "status", "milliseconds")


class Server(uvicorn.Server):
    """Uvicorn, which tells streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: Service, on_serving: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._on_serving = service, on_serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_serving()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: when told to, and when the service cannot go on."""
        return await super().on_tick(counter) or self._service.stopping.is_set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end.

        Raises:
            FedmarketError: why the service could not go on.
        """
        super().run(sockets)
        for failure in self._service.failures:
            raise failure

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._service.stopping.set()
        await super().shutdown(sockets)


def prepare_server(settings: Settings, on_serving: Callable[[str], None]) -> tuple[Server, socket.socket]:
    """Take the port and put the service together; `server.run([socket])` serves until a signal or `should_exit`.

    Args:
        settings: what the service was told.
        on_serving: told the address once requests are answered.

    Raises:
        InvalidInput: the port is taken, or a setting is not safe on this chain.
        ChainError: no node answers, or the contracts are not there.
    """
    listening = bound(settings.host, settings.port)
    try:
        # Who took any port knows its own only now, and sign-ins name it.
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        app = create_app(settings)
    except BaseException:
        listening.close()
        raise
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the service has its own, without queries and with request ids
        proxy_headers=False,  # whose word is taken is in the settings
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",
        lifespan="on",
    )
    address = f"http://{settings.host}:{settings.port}"
    return Server(config, app.state.service, lambda: on_serving(address)), listening


def configure_logging(log_json: bool) -> None:
    """Send what the service says to stderr, one line an event."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_json else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("market").setLevel(logging.INFO)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in EXTRA if hasattr(record, name)},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """One line to read: moment, level, message, request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it where an error came from."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        took = f" {record.milliseconds:.1f} ms" if hasattr(record, "milliseconds") else ""
        request = f" [{record.request_id}]" if hasattr(record, "request_id") else ""
        line = f"{moment} {record.levelname.lower()} {record.name}: {record.getMessage()}{took}{request}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        InvalidInput: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on: an answer's body then waits 40 ms for its head's receipt.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise InvalidInput(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listening
