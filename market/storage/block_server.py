"""A store's blocks for anyone who asks by HTTP: an IPFS trustless gateway that serves what is here, and nothing else.

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from market.protocol.errors import BlockNotFound, CorruptBlock, FedmarketError, InvalidCid
from market.storage.cid import Cid
from market.storage.content_store import BlockStore
from market.storage.gateway import RAW_BLOCK

PLACES = 32
"""How many connections are open at once. Whoever comes then takes the place of who has asked for nothing for longest;
where all are being answered it is told to come again."""

OF_ONE = 12
"""How many of them one address may have, unless it is this machine: a proxy may be in front."""

REQUEST_S = 20.0
"""How long one request may take, from its first byte to the answer's last."""

IDLE_S = 10.0
"""How long a connection may wait for its next request."""

MAX_TARGET = 500
_REST = re.compile(r"[A-Za-z0-9._~/-]{0,200}")
_IMMUTABLE = "public, max-age=31536000, immutable"
_JSON = "application/json"
_THIS_MACHINE = "this machine"
_TEXT = "text/plain; charset=utf-8"

Route = Callable[[str], bytes | None]
"""Gets what follows the route's path, of letters, digits and `._~/-`; returns JSON, or None where there is nothing."""


class BlockServer:
    """Serves blocks read-only, in threads, for as long as it is open. Use it as a context manager.

    `GET` and `HEAD` of `/ipfs/CID?format=raw`, or with `Accept: application/vnd.ipld.raw`, answer with one block, of
    the store's own only: give it the embedded store, not one that fetches for strangers.
    """

    def __init__(
        self, store: BlockStore, *, host: str = "127.0.0.1", port: int = 0, routes: Mapping[str, Route] | None = None
    ) -> None:
        """Listen.

        Args:
            store: whose blocks are served, damaged ones never.
            host: the address to listen at; this machine alone by default.
            port: the port; 0 for any that is free.
            routes: further paths such as `/receipts/`, each with what answers all that begin with it.

        Raises:
            OSError: the address is taken, or none of this machine.
        """
        self._server = _Server(store, host, port, dict(routes or {}))
        self._thread = threading.Thread(target=self._server.serve_forever, name="block-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, on this machine."""
        host, port = self._server.server_address[:2]
        shown = str(host)
        return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

    def close(self) -> None:
        """Stop listening, and let whoever is being answered go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Place:
    """One connection's: whose, until when, and whether its request is here and being answered."""

    address: str
    until_s: float
    is_asking: bool = False


class _Server(HTTPServer):
    """One thread a connection, a bounded number of them, each for a bounded time."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, store: BlockStore, host: str, port: int, routes: Mapping[str, Route]) -> None:
        self.store, self.routes = store, routes
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._lock = threading.Lock()
        self._places: dict[socket.socket, _Place] = {}  # whose turn was the longest ago comes first
        super().__init__((host, port), _Asked)

    def server_bind(self) -> None:
        # HTTPServer would look its own name up, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is a place."""
        address = _counted_as(str(client_address[0]))
        if not self._admit(request, address):
            self._turn_away(request)
            return
        serving = threading.Thread(target=self._serve, args=(request, client_address), name="block-server", daemon=True)
        try:
            serving.start()
        except RuntimeError:  # there are no more threads
            self._leave(request)
            self._turn_away(request)

    def _admit(self, connection: socket.socket, address: str) -> bool:
        with self._lock:
            held = [it for it, place in self._places.items() if place.address == address != _THIS_MACHINE]
            if len(held) >= OF_ONE and not self._clear(held):
                return False
            if len(self._places) >= PLACES and not self._clear(list(self._places)):
                return False
            self._places[connection] = _Place(address, time.monotonic() + REQUEST_S)
            return True

    def _clear(self, connections: Sequence[socket.socket]) -> bool:
        """Take the place of who has been idle for longest; whether there was anybody."""
        for connection in connections:
            if not self._places[connection].is_asking:
                del self._places[connection]
                _cut(connection)
                return True
        return False

    def turn(self, connection: socket.socket, *, is_asking: bool) -> None:
        """Give a connection time: to be answered, or else for its next request."""
        with self._lock:
            place = self._places.pop(connection, None)
            if place is not None:
                until_s = place.until_s if is_asking else time.monotonic() + REQUEST_S
                self._places[connection] = replace(place, until_s=until_s, is_asking=is_asking)

    def service_actions(self) -> None:
        """Cut off whoever takes too long."""
        with self._lock:
            for connection, place in self._places.items():
                if time.monotonic() > place.until_s:
                    _cut(connection)

    def server_close(self) -> None:
        """Let go of everybody."""
        super().server_close()
        with self._lock:
            for connection in self._places:
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is nobody's mistake here."""

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # who asked has gone, or was cut off
        finally:
            self._leave(request)
            self.shutdown_request(request)

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._places.pop(connection, None)

    def _turn_away(self, request: socket.socket) -> None:
        try:
            request.setblocking(False)
            request.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        finally:
            self.shutdown_request(request)


class _Asked(BaseHTTPRequestHandler):
    """One connection's requests."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fedmarket", ""
    timeout = IDLE_S
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        """Take one request, within its time."""
        self.server.turn(self.connection, is_asking=False)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer with what is asked for."""
        self._answer()

    def do_HEAD(self) -> None:
        """The same, without its bytes."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Who asked for what is written down nowhere."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse, in a line of text, and end the connection: what else was sent is not read."""
        self.close_connection = True
        self._send(code, (message or "refused").encode(), _TEXT)

    def _answer(self) -> None:
        self.server.turn(self.connection, is_asking=True)
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.send_error(400, "a request without a body is expected")
            return
        parts = urlsplit(self.path) if len(self.path) <= MAX_TARGET and self.path.startswith("/") else None
        if parts is None or parts.netloc:
            self.send_error(400, "no path of this server")
        elif parts.path.startswith("/ipfs/"):
            self._answer_block(parts.path.removeprefix("/ipfs/"), parse_qs(parts.query).get("format", []))
        else:
            self._answer_route(parts.path)

    def _answer_block(self, unverified_name: str, formats: list[str]) -> None:
        try:
            cid = Cid.parse(unverified_name)
        except InvalidCid:
            self._send(400, b"expected /ipfs/CID of a sha2-256 block, raw or dag-pb", _TEXT)
            return
        if formats != ["raw"] and (formats or RAW_BLOCK not in self.headers.get("Accept", "")):
            self._send(406, f"only single blocks: ?format=raw, or Accept: {RAW_BLOCK}".encode(), _TEXT)
            return
        try:
            block = self.server.store.get_block(cid)
        except (BlockNotFound, CorruptBlock):
            self._send(404, b"not here", _TEXT)
            return
        except FedmarketError:
            self._send(500, b"it cannot be read now", _TEXT)
            return
        self._send_block(cid, block)

    def _send_block(self, cid: Cid, block: bytes) -> None:
        tag = f'"{cid}.raw"'
        headers = {
            "Cache-Control": _IMMUTABLE,
            "Content-Disposition": f'attachment; filename="{cid}.bin"',
            "ETag": tag,
            "Vary": "Accept",
            "X-Ipfs-Path": f"/ipfs/{cid}",
        }
        known = {it.strip().removeprefix("W/") for it in self.headers.get("If-None-Match", "").split(",")}
        if tag in known or "*" in known:
            self._send(304, b"", RAW_BLOCK, headers)
        else:
            self._send(200, block, RAW_BLOCK, headers)

    def _answer_route(self, path: str) -> None:
        for prefix, answer in self.server.routes.items():
            rest = path.removeprefix(prefix)
            if path.startswith(prefix) and _REST.fullmatch(rest) and ".." not in rest:
                self._send_json(answer, rest)
                return
        self._send(404, b"not here", _TEXT)

    def _send_json(self, answer: Route, rest: str) -> None:
        try:
            found = answer(rest)
        except FedmarketError:
            self._send(500, b"it cannot be said now", _TEXT)
            return
        if found is None:
            self._send(404, b"not here", _TEXT)
        else:
            self._send(200, found, _JSON, {"Cache-Control": "no-cache"})

    def _send(self, status: int, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)


def _counted_as(host: str) -> str:
    """Whose connections are counted together: an address, or a network of IPv6, where a household has 2^64."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return _THIS_MACHINE
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def _cut(connection: socket.socket) -> None:
    # Its thread is waiting in a read or a write, which ends with this; closing it is that thread's.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
