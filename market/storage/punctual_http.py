"""HTTP with strangers: every exchange ends in time, answers are cut at a length, redirects are not followed.

httpx limits how long each single read may take, so that a server which sends a byte now and then can hold a request
for ever. Here httpx's engine, httpcore, runs over sockets that know when the whole exchange has to be over.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from market.protocol.errors import InvalidInput, SourceUnavailable
from market.storage.public_hosts import public_address

CONNECTIONS = 16
IDLE_S = 15.0
_SocketOptions = Iterable[httpcore.SOCKET_OPTION]


@dataclass(frozen=True)
class Answer:
    """What came: the status, headers by lower-case name, and the body, at most one byte longer than asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PunctualHttp:
    """One HTTP server, asked over kept connections. Threads may share it."""

    def __init__(
        self, url: str, name: str, headers: Mapping[str, str] | None = None, *, public_only: bool = False
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: scheme, host, port and a path that goes before every target.
            name: what errors call the server.
            headers: sent with every request; never shown.
            public_only: whether to connect to the public internet alone, and there directly: a stranger named it.

        Raises:
            InvalidInput: the address is none.
        """
        parts = checked_url(url)
        self._name, self._base = name, f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "fedmarket", **(headers or {})}
        self._limit = _TimeLimit()
        backend = _PunctualBackend(self._limit, public_address if public_only else _as_named)
        self._pool = _pool(parts, backend, direct=public_only or is_loopback(parts.hostname))
        weakref.finalize(self, self._pool.close)

    def exchange(
        self,
        method: str,
        target: str,
        *,
        timeout_s: float,
        limit_bytes: int,
        body_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request and read the answer, of any status.

        Args:
            method: of HTTP.
            target: path and query.
            timeout_s: for all of it: connecting, sending, and the answer's last byte.
            limit_bytes: a body that is longer is not read on: it comes with one byte more than this.
            body_s: how much longer the answer's body may take, once its head is here.
            headers: of this request.
            body: what is sent.

        Raises:
            SourceUnavailable: nothing answers in time, or no HTTP.
        """
        self._limit.at_s = time.monotonic() + timeout_s
        longest_s = timeout_s + body_s
        wait = {"connect": timeout_s, "read": longest_s, "write": timeout_s, "pool": timeout_s}
        sent = list({**self._headers, **(headers or {})}.items())
        try:
            with self._pool.stream(
                method, self._base + target, headers=sent, content=body or None, extensions={"timeout": wait}
            ) as response:
                self._limit.at_s += body_s
                return Answer(response.status, _headers(response.headers), _read(response, limit_bytes))
        except httpcore.TimeoutException as late:
            raise SourceUnavailable(
                self._name, f"no whole answer within {timeout_s + body_s:g} s", passing=True
            ) from late
        except httpcore.ConnectError as refused:
            raise SourceUnavailable(self._name, f"cannot be reached: {_short(refused)}", passing=True) from refused
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as broken:
            problem = f"the connection broke off: {_short(broken)}"
            raise SourceUnavailable(self._name, problem, passing=True) from broken


def checked_url(url: str) -> SplitResult:
    """The parts of a server's address.

    Raises:
        InvalidInput: it is none, or holds more than scheme, host, port and path.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except (ValueError, UnicodeError):
        valid = False
    if not valid or parts.query or parts.fragment or not url.isascii() or any(ch <= " " for ch in url):
        raise InvalidInput(f"{url[:200]!r} is no address of a server: expected http://HOST:PORT or https://HOST")
    if "@" in parts.netloc:
        raise InvalidInput("an address with a name and password in it: expected none, addresses are shown in messages")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether a host's name is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _pool(parts: SplitResult, backend: httpcore.NetworkBackend, *, direct: bool) -> httpcore.ConnectionPool:
    proxy = None if direct else getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.hostname or ""):
        return httpcore.ConnectionPool(max_connections=CONNECTIONS, keepalive_expiry=IDLE_S, network_backend=backend)
    return httpcore.HTTPProxy(proxy, max_connections=CONNECTIONS, keepalive_expiry=IDLE_S, network_backend=backend)


def _read(response: httpcore.Response, limit_bytes: int) -> bytes:
    body = bytearray()
    for part in response.iter_stream():
        body += part[: limit_bytes + 1 - len(body)]
        if len(body) > limit_bytes:
            break
    return bytes(body)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _short(error: Exception) -> str:
    return str(error)[:100] or type(error).__name__


class _TimeLimit(threading.local):
    """When the exchange of this thread has to be over, on the monotonic clock."""

    at_s = float("inf")

    def left_s(self, timeout_s: float | None) -> float:
        left_s = self.at_s - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the time for the whole exchange is over")
        return left_s if timeout_s is None else min(left_s, timeout_s)


def _as_named(host: str, port: int) -> str:
    return host


class _PunctualBackend(httpcore.NetworkBackend):
    """Connects, for what is left of the time."""

    def __init__(self, limit: _TimeLimit, locate: Callable[[str, int], str]) -> None:
        self._limit, self._locate, self._network = limit, locate, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        address, left_s = self._locate(host, port), self._limit.left_s(timeout)
        stream = self._network.connect_tcp(address, port, left_s, local_address, socket_options)
        return _PunctualStream(stream, self._limit)


class _PunctualStream(httpcore.NetworkStream):
    """A connection on which no read or write goes past the time."""

    def __init__(self, stream: httpcore.NetworkStream, limit: _TimeLimit) -> None:
        self._stream, self._limit = stream, limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._limit.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limit.left_s(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, self._limit.left_s(timeout))
        return _PunctualStream(secure, self._limit)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
