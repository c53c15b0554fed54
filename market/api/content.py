"""Contents by name: taken in as a stream, and only under the name that their bytes have; given out in ranges."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from itertools import chain, islice
from typing import Annotated, BinaryIO, Literal, cast

import anyio
from anyio import from_thread, to_thread
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from market.api.client_address import ClientAddresses, counted_as
from market.api.dependencies import AccountDep, ServiceDep, StoreDep
from market.api.openapi import problems
from market.api.service import Service
from market.api.shapes import HeldContent
from market.protocol.errors import BlockNotFound, InvalidInput, OverQuota, TooLarge
from market.storage import Cid, EmbeddedStore
from market.storage.gateway import RAW_BLOCK
from market.uploads import Uploads

PREFIX = "/api/v1/content"
OCTETS = "application/octet-stream"
IDLE_S = 30.0
"""How long an upload may stand still."""

SLOWEST_BYTES_A_S = 64 * 1024
"""How slow one may be: there are few places for uploads, and others wait for them. What came buys time for the rest."""

CACHE_CONTROL = "public, max-age=31536000, immutable"
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
EXAMPLE = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

router = APIRouter(prefix=PREFIX, tags=["content"])
gateway = APIRouter(prefix="/ipfs", tags=["content"])


def _cid(
    cid: Annotated[
        str, Path(pattern="^b[a-z2-7]{58}$", description="A CID of version 1 in base32.", examples=[EXAMPLE])
    ],
) -> Cid:
    return Cid.parse(cid)


CidDep = Annotated[Cid, Depends(_cid)]
RawDep = Annotated[
    Literal["raw"] | None, Query(alias="format", description=f"`raw` for the one block, as does Accept: {RAW_BLOCK}.")
]

BYTES_BODY = {
    "requestBody": {
        "required": True,
        "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}
BLOCK_ANSWER: dict[int | str, dict[str, object]] = {
    200: {"description": "The block.", "content": {RAW_BLOCK: {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "It is what you have: a block under a CID never changes."},
}
BYTES_ANSWER: dict[int | str, dict[str, object]] = {
    200: {
        "description": "All of it, or the block.",
        "content": {
            OCTETS: {"schema": {"type": "string", "format": "binary"}},
            RAW_BLOCK: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    206: {"description": "The range.", "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "It is what you have: content under a CID never changes."},
}


@router.put(
    "/{cid}",
    status_code=201,
    response_model=HeldContent,
    openapi_extra=BYTES_BODY,
    responses=problems(401, 408, 411, 415, 503, 507),
)
async def put_content(cid: CidDep, account: AccountDep, service: ServiceDep, request: Request) -> Response:
    """Upload content. It is kept if its bytes have this CID (`ipfs add --cid-version=1`), and nothing of it else."""
    announced_bytes = _announced_bytes(request, service)
    uploads = uploads_of(service)
    try:
        address = counted_as(ClientAddresses(service.settings.trusted_proxies).of(request.scope))
        async with service.upload_places.take(account, address):
            room_bytes = await to_thread.run_sync(uploads.room_bytes, account, cid, announced_bytes)
            body = _Body(request.stream(), service.settings.upload_limit_bytes, room_bytes)
            size_bytes = await to_thread.run_sync(
                uploads.take, account, cid, cast("BinaryIO", body), service.now(), limiter=service.upload_places.threads
            )
    except BaseException:
        service.metrics.refused_uploads.inc()
        raise
    service.metrics.uploads.inc()
    service.metrics.uploaded_bytes.inc(size_bytes)
    held = HeldContent(cid=str(cid), size_bytes=size_bytes)
    return JSONResponse(held.model_dump(), 201, {"Location": f"{PREFIX}/{cid}"})


@router.get("/{cid}", response_class=Response, responses={**BYTES_ANSWER, **problems(404, 416)})
def get_content(cid: CidDep, store: StoreDep, request: Request, form: RawDep = None) -> Response:
    """Download content, a range of it, or the one block of this name. Every block is checked before it is sent."""
    return block_response(request, store, cid) if _is_raw(request, form) else content_response(request, store, cid)


@router.head("/{cid}", response_class=Response, responses={**BYTES_ANSWER, **problems(404, 416)})
def head_content(cid: CidDep, store: StoreDep, request: Request, form: RawDep = None) -> Response:
    """Whether content, or the one block of this name, is held, and how long it is."""
    return block_response(request, store, cid) if _is_raw(request, form) else content_response(request, store, cid)


@gateway.get("/{cid}", response_class=Response, responses={**BLOCK_ANSWER, **problems(404, 406)})
def get_block(cid: CidDep, store: StoreDep, request: Request, form: RawDep = None) -> Response:
    """One block, as IPFS trustless gateways give it: whoever fetches content from several places asks here."""
    if not _is_raw(request, form):
        raise HTTPException(406, f"only single blocks: ?format=raw, or Accept: {RAW_BLOCK}")
    return block_response(request, store, cid)


@gateway.head("/{cid}", response_class=Response, responses={**BLOCK_ANSWER, **problems(404, 406)})
def head_block(cid: CidDep, store: StoreDep, request: Request, form: RawDep = None) -> Response:
    """Whether one block is held, and how long it is."""
    return get_block(cid, store, request, form)


def _is_raw(request: Request, form: str | None) -> bool:
    return form == "raw" or RAW_BLOCK in request.headers.get("accept", "")


def block_response(request: Request, store: EmbeddedStore, cid: Cid) -> Response:
    """The block that a request asks for.

    Raises:
        BlockNotFound: it is not held.
        CorruptBlock: it is damaged.
    """
    block = store.get_block(cid)
    headers = {**_headers(cid, f"{cid}.bin"), "ETag": f'"{cid}.raw"'}
    del headers["Accept-Ranges"]
    if headers["ETag"] in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(block))
    return Response(b"" if request.method == "HEAD" else block, 200, headers, RAW_BLOCK)


def uploads_of(service: Service) -> Uploads:
    """What takes uploads in."""
    return Uploads(service.engine, service.store, service.settings.upload_quota_bytes)


def content_response(request: Request, store: EmbeddedStore, cid: Cid, name: str | None = None) -> Response:
    """The bytes that a request asks for.

    Args:
        request: its method, `Range`, `If-Range` and `If-None-Match` are looked at.
        store: where the content is.
        cid: which.
        name: what a browser calls the file; the CID by default.

    Only what is sent is read: the length is the root's, and blocks that are missing further on end the answer early.
    `HEAD` alone sees whether all of it is held, since that is what it is asked for.

    Raises:
        BlockNotFound: it is not held.
        HTTPException: the range is beyond its end.
    """
    size_bytes = store.size(cid)
    if request.method == "HEAD" and not store.has(cid):
        raise BlockNotFound(str(cid), "this store")
    headers = _headers(cid, name)
    if headers["ETag"] in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    asked = _asked_range(request, headers["ETag"], size_bytes)
    first, last = asked or (0, size_bytes - 1)
    headers["Content-Length"] = str(last + 1 - first)
    if asked:
        headers["Content-Range"] = f"bytes {first}-{last}/{size_bytes}"
    status = 206 if asked else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=OCTETS)
    pieces = store.open_range(cid, first, last)
    begun = list(islice(pieces, 1))  # while it can still be said that it is missing
    return StreamingResponse(chain(begun, pieces), status, headers, OCTETS)


def _headers(cid: Cid, name: str | None) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": CACHE_CONTROL,
        "Content-Disposition": f'attachment; filename="{name or cid}"',
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "ETag": f'"{cid}"',
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }


def _tags(listed: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in listed.split(",")}


def _asked_range(request: Request, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte asked for; None for all of them, also where the header is none that is known here."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or asked[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    if asked[1] == "":
        first, last = max(0, size_bytes - int(asked[2])), size_bytes - 1
    else:
        first, last = int(asked[1]), min(size_bytes - 1, int(asked[2] or size_bytes))
        if asked[2] and int(asked[2]) < first:
            return None
    if first > last:
        raise HTTPException(416, f"there are {size_bytes} bytes", {"Content-Range": f"bytes */{size_bytes}"})
    return first, last


def _announced_bytes(request: Request, service: Service) -> int:
    """How long the upload says that it is, 0 where it does not; what can be seen before the first byte is seen here.

    Raises:
        TooLarge: it says that it is longer than the limit.
        HTTPException: it says that it is of another type, or compressed.
    """
    if request.headers.get("content-type", OCTETS).partition(";")[0].strip().lower() != OCTETS:
        raise HTTPException(415, f"expected Content-Type: {OCTETS}", {"Accept": OCTETS})
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "expected no Content-Encoding: a CID names the bytes as they are")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise InvalidInput("Content-Length is no number")
    if int(length) > service.settings.upload_limit_bytes:
        raise _too_large(service.settings.upload_limit_bytes)
    return int(length)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"at most {limit_bytes} bytes are taken in one upload")


class _Body:
    """A request's body as a file: read in a worker thread, fetched by the event loop, a piece of it in memory."""

    def __init__(self, chunks: AsyncIterator[bytes], limit_bytes: int, room_bytes: int) -> None:
        self._chunks, self._limit_bytes, self._room_bytes = chunks, limit_bytes, room_bytes
        self._piece, self._received, self._began_s = b"", 0, 0.0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            TooLarge: more came than are taken.
            HTTPException: nothing came for a while, or little.
        """
        self._began_s = self._began_s or time.monotonic()
        if not self._piece:
            self._piece = from_thread.run(self._next)
        taken, self._piece = self._piece[:size], self._piece[size:]
        return taken

    async def _next(self) -> bytes:
        slow_s = IDLE_S + self._received / SLOWEST_BYTES_A_S - (time.monotonic() - self._began_s)
        try:
            with anyio.fail_after(max(0.0, min(IDLE_S, slow_s))):
                piece = b""
                while not piece:  # an empty piece is no end
                    piece = await anext(self._chunks)
        except StopAsyncIteration:
            return b""
        except TimeoutError as error:
            why = (
                f"nothing came for {IDLE_S:g} s"
                if slow_s >= IDLE_S
                else f"slower than {SLOWEST_BYTES_A_S} bytes a second"
            )
            raise HTTPException(408, why, {"Connection": "close"}) from error
        self._received += len(piece)
        self._check()
        return piece

    def _check(self) -> None:
        if self._received > self._limit_bytes:
            raise _too_large(self._limit_bytes)
        if self._received > self._room_bytes:
            raise OverQuota(f"only {self._room_bytes} bytes of the account's quota are left")
