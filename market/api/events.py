"""The contract's events: as a list, and as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated

from anyio import sleep, to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from market.api.client_address import ClientAddresses, counted_as
from market.api.dependencies import ServiceDep, SessionDep, reading
from market.api.listening import Beat
from market.api.openapi import problems
from market.api.pagination import PageDep, page_of
from market.api.parameters import AddressQuery, JobQuery, there
from market.api.service import Service
from market.chain.events import EVENTS
from market.protocol.errors import InvalidInput
from market.queries import events, network
from market.queries.events import EventFilter, EventPlace
from market.queries.following import EventCursor
from market.views import ChainEvent, Network, Page

POLL_S = 0.25
HEARTBEAT_S = 15.0
"""After so long without news a comment is sent: proxies end what is silent."""

RETRY_MS = 2_000

router = APIRouter(prefix="/api/v1", tags=["events"], responses=problems())


def _known(kind: str | None) -> str | None:
    if kind is not None and kind not in EVENTS:
        raise ValueError(f"the contract has no event {kind!r}")
    return kind


KindQuery = Annotated[
    str | None,
    Query(description="Of this kind only.", json_schema_extra={"enum": sorted(EVENTS)}),
    AfterValidator(_known),
]


@router.get("/network", responses=problems(404))
def get_network(session: SessionDep) -> Network:
    """Which chain and contract this is, and up to where it was read."""
    return there(network.network(session), "block yet: the service has only begun to read the chain")


@router.get("/events")
def list_events(
    session: SessionDep, page: PageDep, job: JobQuery = None, account: AddressQuery = None, kind: KindQuery = None
) -> Page[ChainEvent]:
    """Events in the order of the chain."""
    return page_of(*events.events(session, EventFilter(job, account, kind), page.part(events.IN_ORDER)))


class EventStream(StreamingResponse):
    """A stream that gives its place back when it ends, however it does."""

    def __init__(self, lines: AsyncIterator[str], leave: Callable[[], None]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


@router.get(
    "/events/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems(503)},
)
def stream_events(
    request: Request,
    service: ServiceDep,
    job: JobQuery = None,
    account: AddressQuery = None,
    kind: KindQuery = None,
    after: Annotated[str | None, Query(max_length=80, description="Events after the one of this id.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=80, description="The same, as browsers say it.")] = None,
) -> StreamingResponse:
    """Events as they come (server-sent events), each under its kind; its id resumes after it.

    Without an id the stream begins now. Where a reorganisation took back what was sent, `reorganised` comes with
    `kept_block`, the last block that stayed, and what came in its place follows.
    """
    place = _place(last_event_id or after)
    with Session(reading(service.engine)) as session:
        cursor = EventCursor.begin(session, EventFilter(job, account, kind), place)
        begins_at = cursor.event_id(session)
    address = counted_as(ClientAddresses(service.settings.trusted_proxies).of(request.scope))
    service.listeners.admit(address)
    return EventStream(_lines(service, cursor, begins_at), lambda: service.listeners.leave(address))


def _place(unverified_id: str | None) -> EventPlace | None:
    if not unverified_id:
        return None
    try:
        return EventPlace.parse(unverified_id)
    except ValueError as error:
        raise InvalidInput(f"Last-Event-ID: {error}") from error


async def _lines(service: Service, cursor: EventCursor, begins_at: str) -> AsyncIterator[str]:
    # The id at once: whoever loses the connection before the first event goes on from here.
    yield f"retry: {RETRY_MS}\nid: {begins_at}\n\n"
    known: Beat | None = None
    silent_s = time.monotonic()
    while not service.stopping.is_set():
        beat = await service.pulse.beat(service.engine)
        texts = [] if beat == known else await to_thread.run_sync(_news, service, cursor)
        for text in texts:
            yield text
        if texts:
            silent_s = time.monotonic()
            continue  # there may be more
        known = beat
        if time.monotonic() - silent_s >= HEARTBEAT_S:
            silent_s = time.monotonic()
            yield ": nothing new\n\n"
        await sleep(POLL_S)


def _news(service: Service, cursor: EventCursor) -> list[str]:
    with Session(reading(service.engine)) as session:
        return list(_texts(session, cursor))


def _texts(session: Session, cursor: EventCursor) -> Iterator[str]:
    kept_block = cursor.take_back(session)
    if kept_block is not None:
        yield f'event: reorganised\nid: {cursor.event_id(session)}\ndata: {{"kept_block": {kept_block}}}\n\n'
    for event in cursor.advance(session):
        yield f"event: {event.kind}\nid: {event.id}\ndata: {event.model_dump_json()}\n\n"
