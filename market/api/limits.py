"""How often one address may ask, and how much it may send at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market.api.client_address import ClientAddresses, counted_as
from market.api.problems import KINDS, plain_kind, problem
from market.protocol.errors import TooLarge

JSON_LIMIT_BYTES = 64 * 1024
BODY_S = 30.0
"""How long such a body may take to come."""

MAX_ADDRESSES = 20_000
"""How many addresses are counted at a time; the one that asked longest ago is forgotten first."""

WINDOW_S = 60
READS = frozenset({"GET", "HEAD", "OPTIONS"})
BLOCKS_PREFIX = "/ipfs/"
BLOCKS_A_READ = 20
"""How many single blocks may be asked for in place of one other read: content is thousands of them."""
UNLIMITED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass
class _Bucket:
    tokens: float
    filled_s: float


@dataclass(frozen=True)
class Verdict:
    """Whether a request may be made.

    Attributes:
        allowed: whether.
        limit: how many may be made in a minute.
        left: how many more may be made at once.
        wait_s: when the next may be, in whole seconds.
    """

    allowed: bool
    limit: int
    left: int
    wait_s: int


class TokenBuckets:
    """A bucket an address: it holds a minute's requests, and fills as time goes by."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = a_minute, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> Verdict:
        """Ask for one request."""
        bucket = self._filled(name)
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= 1
        missing = max(0.0, 1 - bucket.tokens)
        wait_s = max(1, -(-int(missing * WINDOW_S * 1_000) // (self._limit * 1_000)))
        return Verdict(allowed, self._limit, int(bucket.tokens), wait_s)

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, name: str) -> _Bucket:
        now_s = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self._limit, now_s))
        self._buckets.move_to_end(name)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        gained = (now_s - bucket.filled_s) * self._limit / WINDOW_S
        bucket.tokens, bucket.filled_s = min(self._limit, bucket.tokens + gained), now_s
        return bucket


class RateLimits:
    """Refuses with 429 what comes too often; every answer says how much is left."""

    def __init__(self, app: ASGIApp, addresses: ClientAddresses, reads_a_minute: int, writes_a_minute: int) -> None:
        self._app, self._addresses = app, addresses
        self._reads, self._writes = TokenBuckets(reads_a_minute), TokenBuckets(writes_a_minute)
        self._blocks = TokenBuckets(BLOCKS_A_READ * reads_a_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED_PATHS:
            await self._app(scope, receive, send)
            return
        verdict = self._buckets(scope).take(counted_as(self._addresses.of(scope)))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Limit"] = str(verdict.limit)
                headers["RateLimit-Remaining"] = str(verdict.left)
                headers["RateLimit-Reset"] = str(verdict.wait_s)
            await send(message)

        if verdict.allowed:
            await self._app(scope, receive, send_with_headers)
            return
        detail = f"more than {verdict.limit} such requests a minute: the next may come in {verdict.wait_s} s"
        refusal = problem(scope, plain_kind(429), detail, headers={"Retry-After": str(verdict.wait_s)})
        await refusal(scope, receive, send_with_headers)

    def _buckets(self, scope: Scope) -> TokenBuckets:
        if scope["method"] not in READS:
            return self._writes
        return self._blocks if scope["path"].startswith(BLOCKS_PREFIX) else self._reads


class BodyLimit:
    """Refuses bodies that no JSON of this API needs (413), or that do not come (408); uploads are limited elsewhere."""

    def __init__(self, app: ASGIApp, streamed_prefix: str) -> None:
        self._app, self._streamed_prefix = app, streamed_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        is_stream = scope["type"] != "http" or (
            scope["method"] == "PUT" and scope["path"].startswith(self._streamed_prefix)
        )
        if is_stream:
            await self._app(scope, receive, send)
            return
        if _announced(scope) > JSON_LIMIT_BYTES:
            await self._refuse(scope, receive, send)
            return
        try:
            with anyio.fail_after(BODY_S):
                body = await _whole_body(receive)
        except TimeoutError:
            detail = f"the body did not come within {BODY_S:g} s"
            await problem(scope, plain_kind(408), detail, headers={"Connection": "close"})(scope, receive, send)
            return
        if body is None:
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"at most {JSON_LIMIT_BYTES} bytes are taken here"
        await problem(scope, KINDS[TooLarge], detail, headers={"Connection": "close"})(scope, receive, send)


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


async def _whole_body(receive: Receive) -> list[Message] | None:
    """The messages of a body; None where it is too long."""
    messages: list[Message] = []
    size_bytes = 0
    while True:
        message = await receive()
        messages.append(message)
        size_bytes += len(message.get("body", b""))
        if size_bytes > JSON_LIMIT_BYTES:
            return None
        if not message.get("more_body", False):
            return messages


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    pending = iter(messages)

    async def replay() -> Message:
        for message in pending:
            return message
        return await receive()

    return replay
