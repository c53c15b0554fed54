"""Events as they come: none lost, none twice, across broken connections and reorganisations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from market.api.dependencies import reading
from market.api.listening import LOOK_S, MOST_OF_ONE
from market.db.service_tables import OrphanRow
from market.db.tables import BlockRow, EventRow
from market.queries import following
from market.queries.events import EventFilter
from market.queries.following import EventCursor
from tests.served import reader, served
from tests.unit.market.api.conftest import filled, statements

STREAM = "/api/v1/events/stream"
WAIT_S = 20.0


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[Engine]:
    made = filled(new_database(), jobs=2, rounds=2, trainers=3)
    yield made
    made.dispose()


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    with served(reader(engine, tmp_path)) as address, httpx.Client(base_url=address, timeout=WAIT_S) as asking:
        yield asking


@contextmanager
def listening(client: httpx.Client, after: str | None = None, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The messages of a stream, one after the other."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", STREAM, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        assert next(lines).startswith("id: ")
        yield _messages(lines)


def _messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    message: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in ("event", "id", "data"):
            message[name] = json.loads(value) if name == "data" else value
        elif not line and message:
            yield message
            message = {}


def mine(engine: Engine, number: int, salt: bytes = b"\0", events: int = 2) -> list[int]:
    """Write a block of copies of the first event, as an indexer would."""
    with Session(engine) as session, session.begin():
        first = session.scalars(select(EventRow).limit(1)).one()
        copied = {c.key: getattr(first, c.key) for c in EventRow.__table__.columns}
        session.add(BlockRow(number=number, hash=salt + number.to_bytes(31, "big"), timestamp_s=number))
        session.flush()
        session.add_all(EventRow(**{**copied, "block_number": number, "log_index": index}) for index in range(events))
    return list(range(events))


def reorganise(engine: Engine, kept_block: int) -> None:
    """Take back every block after this one, as an indexer would."""
    with Session(engine) as session, session.begin():
        for block in session.scalars(select(BlockRow).where(BlockRow.number > kept_block)):
            session.add(OrphanRow(block_number=block.number, block_hash=block.hash, kept_block=kept_block))
        session.execute(delete(BlockRow).where(BlockRow.number > kept_block))


def head(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.max(BlockRow.number))) or 0


def place(message: dict[str, Any]) -> tuple[int, int]:
    return message["data"]["block_number"], message["data"]["log_index"]


def test_a_stream_begins_now_and_brings_what_comes(engine: Engine, client: httpx.Client) -> None:
    last = head(engine)
    with listening(client) as messages:
        mine(engine, last + 3)
        mine(engine, last + 4)
        found = [next(messages) for _ in range(4)]
    assert [place(message) for message in found] == [(last + 3, 0), (last + 3, 1), (last + 4, 0), (last + 4, 1)]
    assert all(
        message["event"] == message["data"]["kind"] and message["id"] == message["data"]["id"] for message in found
    )


def test_a_stream_goes_on_after_the_last_event_that_was_seen(engine: Engine, client: httpx.Client) -> None:
    every = client.get("/api/v1/events?limit=200").json()["items"]
    for seen in (0, len(every) // 2, len(every) - 3):
        with listening(client, after=every[seen]["id"]) as messages:
            following = [next(messages)["data"] for _ in range(len(every) - seen - 1)]
        assert following == every[seen + 1 :]


def test_a_stream_of_one_job_has_no_event_of_another(client: httpx.Client) -> None:
    every = client.get("/api/v1/events?limit=200").json()["items"]
    expected = [event for event in every if event["job"] == 1][1:]
    with listening(client, after=next(e["id"] for e in every if e["job"] == 1), job=1) as messages:
        assert [next(messages)["data"] for _ in expected] == expected


def test_a_listener_is_told_what_a_reorganisation_took_back(engine: Engine, client: httpx.Client) -> None:
    last = head(engine)
    mine(engine, last + 1)
    with listening(client) as messages:
        mine(engine, last + 2, b"a")
        assert [place(next(messages)) for _ in range(2)] == [(last + 2, 0), (last + 2, 1)]
        reorganise(engine, last + 1)
        mine(engine, last + 2, b"b", events=1)
        told = next(messages)
        assert (told["event"], told["data"]) == ("reorganised", {"kept_block": last + 1})
        assert place(next(messages)) == (last + 2, 0)


def test_who_comes_back_with_an_event_that_was_taken_back_is_told_so(engine: Engine, client: httpx.Client) -> None:
    last = head(engine)
    mine(engine, last + 1)
    with listening(client) as messages:
        mine(engine, last + 2, b"a")
        seen = next(messages)["id"]
    reorganise(engine, last + 1)
    mine(engine, last + 2, b"b")
    reorganise(engine, last)
    mine(engine, last + 1, b"c", events=1)
    with listening(client, after=seen) as messages:
        assert next(messages)["data"] == {"kept_block": last}
        assert place(next(messages)) == (last + 1, 0)


def test_what_replaces_a_seen_event_has_another_id(engine: Engine, client: httpx.Client) -> None:
    last = head(engine)
    ids = []
    for salt in (b"a", b"b"):
        mine(engine, last + 1, salt, events=1)
        ids.append(client.get("/api/v1/events?limit=200").json()["items"][-1]["id"])
        reorganise(engine, last)
    assert ids[0] != ids[1]


def test_who_comes_with_an_event_that_nobody_knows_is_told_everything_again(
    engine: Engine, client: httpx.Client
) -> None:
    with listening(client, after="7-0011223344556677-0-1") as messages:
        assert next(messages)["data"] == {"kept_block": -1}
        assert next(messages)["data"] == client.get("/api/v1/events?limit=1").json()["items"][0]


def test_the_end_of_the_service_ends_its_streams(engine: Engine, tmp_path: Path) -> None:
    app = reader(engine, tmp_path)
    with (
        served(app) as address,
        httpx.Client(base_url=address, timeout=WAIT_S) as asking,
        listening(asking) as messages,
    ):
        app.state.service.stopping.set()
        assert list(messages) == []


def test_no_more_listen_than_are_served_and_who_goes_gives_the_place_back(engine: Engine, tmp_path: Path) -> None:
    app = reader(engine, tmp_path)
    listeners = app.state.service.listeners
    with served(app) as address, httpx.Client(base_url=address, timeout=WAIT_S) as asking:
        with ExitStack() as open_streams:
            for _ in range(MOST_OF_ONE):
                open_streams.enter_context(listening(asking))
            refused = asking.get(STREAM)
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert refused.headers["Retry-After"]
        deadline_s = time.monotonic() + WAIT_S
        while len(listeners) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert len(listeners) == 0
        with listening(asking):
            assert len(listeners) == 1


def test_however_many_listen_the_database_is_asked_no_more_often(engine: Engine, tmp_path: Path) -> None:
    with served(reader(engine, tmp_path)) as address, httpx.Client(base_url=address, timeout=WAIT_S) as asking:
        counts = []
        for listeners in (1, 10):
            with ExitStack() as open_streams:
                for _ in range(listeners):
                    open_streams.enter_context(listening(asking))
                time.sleep(2 * LOOK_S)  # each has looked once
                with statements(engine) as asked:
                    time.sleep(4 * LOOK_S)
                counts.append(len(asked))
        assert counts[1] <= counts[0] + 4, counts


def test_who_loses_a_stream_before_its_first_event_goes_on_from_where_it_began(
    engine: Engine, client: httpx.Client
) -> None:
    last = head(engine)
    with client.stream("GET", STREAM) as answer:
        lines = answer.iter_lines()
        next(lines)
        begun = next(lines).removeprefix("id: ")
    mine(engine, last + 1)
    with listening(client, after=begun) as messages:
        assert [place(next(messages)) for _ in range(2)] == [(last + 1, 0), (last + 1, 1)]


def test_before_the_first_event_a_stream_has_an_id_too(new_database: Callable[[], str], tmp_path: Path) -> None:
    empty, full = (
        filled(new_database(), jobs=0, rounds=0, trainers=3),
        filled(new_database(), jobs=1, rounds=1, trainers=3),
    )
    with (
        served(reader(empty, tmp_path)) as address,
        httpx.Client(base_url=address) as asking,
        asking.stream("GET", STREAM) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        begun = next(lines).removeprefix("id: ")
    with served(reader(full, tmp_path)) as address, httpx.Client(base_url=address, timeout=WAIT_S) as asking:
        first = asking.get("/api/v1/events?limit=1").json()["items"][0]
        with listening(asking, after=begun) as messages:
            assert next(messages)["data"] == first
    empty.dispose()
    full.dispose()


def test_what_is_taken_back_while_somebody_looks_is_told_at_the_next_look(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = head(engine)
    for number in (1, 2, 3):
        mine(engine, last + number)
    with Session(reading(engine)) as session:
        cursor = EventCursor.begin(session, EventFilter(), None)
    reorganise(engine, last + 2)
    asked = following.last_orphan

    def deeper(session: Session) -> int:
        reorganise(engine, last + 1)  # between two of its statements
        return asked(session)

    monkeypatch.setattr(following, "last_orphan", deeper)
    with Session(reading(engine)) as session:
        assert cursor.take_back(session) == last + 2
    monkeypatch.setattr(following, "last_orphan", asked)
    with Session(reading(engine)) as session:
        assert cursor.take_back(session) == last + 1
