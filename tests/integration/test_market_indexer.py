"""The indexer as a process: killed, stopped, alone, before another chain, and from the command line."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from fedmarket.devnet import Devnet, DevnetOptions
from market import projection
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.events import Event, JobOpened, RoundSettled
from market.chain.job_market import JobMarket
from market.chain_rows import ChainRows
from market.db.service_tables import DocumentRow
from market.db.tables import PROJECTED, EventRow, JobRow, SyncRow
from market.indexer import Indexer
from market.job_documents import JobDocuments
from market.projection import Rows
from market.protocol.errors import ChainError, DatabaseInUse, InvalidInput
from market.protocol.job_spec import JobDocument
from tests.integration.indexed import dump, follow, rows
from tests.integration.marketplace import ON_ANVIL, Marketplace

pytestmark = [ON_ANVIL, pytest.mark.timeout(300)]

SLOW_INDEXER = """
import os, signal, sys
from sqlalchemy import event
from market.chain.connection import Chain
from market.chain.job_market import JobMarket
from market.db.engine import connect
import market.indexer as indexer
indexer.FIRST_WINDOW_BLOCKS, indexer.MOST_WINDOW_BLOCKS = 1, 1
url, address, first, database, how, moments = sys.argv[1:]
market, engine = JobMarket(Chain.connect(url), address, first_block=int(first)), connect(database)
left = int(moments)

def count(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
    event.listen(engine, name, count)
getattr(indexer.Indexer(engine, market), how)()
print("is done", flush=True)
"""


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    """A job of which one round was played."""
    opened = Marketplace(devnet, deployed, actors, tmp_path).post().join(4)
    opened.play_round()
    return opened


def run_until_killed(place: Marketplace, engine: Engine, how: str, moments: int) -> bool:
    """An indexer in a process of its own, killed at the so manieth moment; returns whether it was done.

    Moments are counted and not timed: before, after and between its statements, on any machine.
    """
    market, database = place.market, engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    arguments = (place.devnet.url, market.address, str(market.first_block), database, how, str(moments))
    ended = subprocess.run(
        [sys.executable, "-c", SLOW_INDEXER, *arguments], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert ended.returncode in (0, -signal.SIGKILL)
    return "is done" in ended.stdout


@pytest.mark.parametrize("how", ["catch_up", "reindex"])
def test_killed_at_any_moment_it_goes_on_and_counts_nothing_twice(
    place: Marketplace, new_engine: Callable[[], Engine], how: str
) -> None:
    engine, whole, moments = new_engine(), new_engine(), random.Random(how)
    Indexer(whole, place.market).reindex()
    places = []
    for _ in range(40):
        done = run_until_killed(place, engine, how, moments.randint(1, 150))
        with engine.connect() as connection:
            places.append(connection.scalar(select(SyncRow.block_number)) or 0)
        if done:
            break
    assert places == sorted(places), "what was read was read again"
    assert len(set(places)) > 2, "it was never killed half-way"
    getattr(Indexer(engine, place.market), how)()
    assert dump(engine) == dump(whole)


def test_gaps_are_read_in_windows_smaller_than_they_are(
    place: Marketplace, new_engine: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, whole = new_engine(), new_engine()
    follow(engine, place.market)
    place.devnet.mine(40)
    place.play_round()
    monkeypatch.setattr("market.indexer.FIRST_WINDOW_BLOCKS", 7)
    monkeypatch.setattr("market.indexer.MOST_WINDOW_BLOCKS", 7)
    follow(engine, place.market)
    monkeypatch.undo()
    Indexer(whole, place.market).reindex()
    assert dump(engine) == dump(whole)
    assert dump(engine)["sync"][0]["block_number"] == place.market.chain.block_number()


def test_it_stays_behind_by_the_confirmations(place: Marketplace, database: Engine) -> None:
    position = Indexer(database, place.market, confirmations=5).catch_up()
    assert position.number == place.market.chain.block_number() - 5


def test_two_do_not_write_into_one_database(place: Marketplace, database: Engine) -> None:
    with ChainRows.open(database), pytest.raises(DatabaseInUse):
        Indexer(database, place.market).catch_up()
    Indexer(database, place.market).catch_up()
    told: list[str] = []
    looks = iter([False, False, True, True, True])
    with ChainRows.open(database):
        Indexer(database, place.market, poll_s=0.01, report=told.append).run(lambda: next(looks))
    assert len(told) == 1
    assert "another process" in told[0]


def test_rows_of_another_chain_are_refused_until_they_are_made_anew(place: Marketplace, database: Engine) -> None:
    Indexer(database, place.market).catch_up()
    with Devnet(DevnetOptions()) as other:
        other.mine(3)
        elsewhere = JobMarket(Chain.connect(other.url), place.market.address)
        with pytest.raises(InvalidInput, match="started anew: run `fedmarket market reindex`"):
            Indexer(database, elsewhere).catch_up()
        Indexer(database, elsewhere).reindex()
        assert dump(database)["jobs"] == []
    with pytest.raises(InvalidInput, match="reindex"):
        Indexer(database, place.market).catch_up()


def test_a_node_that_is_away_is_told_once_and_waited_for(place: Marketplace, database: Engine) -> None:
    with Devnet(DevnetOptions()) as other:
        market = JobMarket(Chain.connect(other.url, timeout_s=1), place.market.address)
    told: list[str] = []
    until_s = time.monotonic() + 4
    Indexer(database, market, poll_s=0.01, report=told.append).run(lambda: time.monotonic() > until_s)
    assert len(told) == 1
    assert "no node answers" in told[0]


def test_documents_are_kept_once_they_are_there_and_agree(place: Marketplace, database: Engine, tmp_path: Path) -> None:
    Indexer(database, place.market, place.store).catch_up()
    with database.connect() as connection:
        [row] = connection.execute(select(DocumentRow.job, DocumentRow.name, DocumentRow.architecture)).all()
    assert tuple(row) == (place.id, "tiny", "logistic_regression")
    first = place.id
    # The same document, opened with other terms by somebody else.
    terms = place.prepared.terms(place.devnet.timestamp())
    place.terms = replace(terms, round_reward_wei=terms.round_reward_wei // 2)
    place.send("passer-by", "copy", place.opening_call(place.prepared))
    Indexer(database, place.market, place.store).catch_up()
    assert len(dump(database)["jobs"]) == 2
    with database.connect() as connection:
        assert connection.scalars(select(DocumentRow.job)).all() == [first]


# ------------------------------------------------------------------ a job that nobody foresaw


def copy(place: Marketplace) -> int:
    """Open one more job with the same document; returns its number."""
    place.terms = place.prepared.terms(place.devnet.timestamp())
    receipt = place.send("passer-by", "copy", place.opening_call(place.prepared))
    [opened] = [event for event in place.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
    return opened.job


def _fails(events: Sequence[Event], rows: Rows) -> Rows:
    raise KeyError(events[-1].block_number)


def _does_not_fit(events: Sequence[Event], rows: Rows) -> Rows:
    return {**rows, JobRow: [{**rows[JobRow][0], "paid_wei": 1 << 128}]}


def _is_incomplete(events: Sequence[Event], rows: Rows) -> Rows:
    raise ChainError("events are missing")


@pytest.mark.parametrize("strange", [_fails, _does_not_fit, _is_incomplete])
def test_a_job_that_is_not_understood_stays_as_it_was_and_keeps_no_other_out(
    place: Marketplace,
    new_engine: Callable[[], Engine],
    monkeypatch: pytest.MonkeyPatch,
    strange: Callable[[Sequence[Event], Rows], Rows],
) -> None:
    [settled] = place.market.events(place.id, kinds=[RoundSettled])
    before, engine, again, whole = new_engine(), new_engine(), new_engine(), new_engine()
    follow(before, place.market, settled.block_number - 1)

    def rows_of(events: Sequence[Event], *more: Any) -> Rows:
        rows = projection.rows_of(events, *more)
        return strange(events, rows) if settled in events else rows

    monkeypatch.setattr("market.job_rows.rows_of", rows_of)
    told: list[str] = []
    indexer = Indexer(engine, place.market, report=told.append)
    indexer.catch_up()
    other = copy(place)
    indexer.catch_up()
    understood = [event.block_number for event in place.market.events(place.id, to_block=settled.block_number - 1)]
    assert [line.partition(",")[0] for line in told] == [f"job 0 is shown as of block {understood[-1]}"]
    of_job = {table.__tablename__: rows(engine, table, job=0) for table in PROJECTED}
    assert of_job == {table.__tablename__: rows(before, table, job=0) for table in PROJECTED}
    assert [row["job"] for row in dump(engine)["jobs"]] == [0, other]
    assert settled.block_number in [row["block_number"] for row in rows(engine, EventRow, job=0)]

    looks = iter([False, False, True, True, True])
    Indexer(again, place.market, poll_s=0.01).run(lambda: next(looks))
    Indexer(again, place.market).catch_up()
    assert dump(again) == dump(engine)
    Indexer(again, place.market).reindex()
    assert dump(again) == dump(engine), "however the chain was read, the rows are the same"

    monkeypatch.undo()
    place.worker("bob").bond()
    indexer.catch_up()
    Indexer(whole, place.market).reindex()
    assert dump(engine) == dump(whole), "with its next event it is understood"


def test_a_job_of_which_nothing_is_understood_is_not_shown(
    place: Marketplace, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy(place)

    def rows_of(events: Sequence[Event], *more: Any) -> Rows:
        if any(event.job == 0 for event in events):
            raise IndexError("tuple index out of range")
        return projection.rows_of(events, *more)

    monkeypatch.setattr("market.job_rows.rows_of", rows_of)
    told: list[str] = []
    Indexer(database, place.market, place.store, report=told.append).catch_up()
    assert told == ["job 0 is not shown, since what came next is not understood: IndexError: tuple index out of range"]
    assert [row["job"] for row in dump(database)["jobs"]] == [other]
    monkeypatch.undo()
    Indexer(database, place.market).reindex()
    assert [row["job"] for row in dump(database)["jobs"]] == [0, other]


def test_a_document_that_no_database_takes_keeps_no_other_out(
    place: Marketplace, new_engine: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy(place)
    keep, engine = JobDocuments._keep, new_engine()

    def kept(documents: JobDocuments, connection: Connection, row: dict[str, Any]) -> bool:
        return keep(documents, connection, {**row, "body": "\ud800"} if row["job"] == other else row)

    monkeypatch.setattr(JobDocuments, "_keep", kept)
    Indexer(engine, place.market, place.store).catch_up()
    with engine.connect() as connection:
        assert connection.scalars(select(DocumentRow.job)).all() == [0]


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), ValueError("x")])
def test_a_document_that_nobody_foresaw_is_not_kept(
    place: Marketplace, database: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def from_bytes(unverified_data: bytes) -> JobDocument:
        raise error

    monkeypatch.setattr(JobDocument, "from_bytes", from_bytes)
    Indexer(database, place.market, place.store).catch_up()
    assert dump(database)["jobs"]
    with database.connect() as connection:
        assert connection.scalars(select(DocumentRow.job)).all() == []


@pytest.mark.parametrize("said", ["\ud800", float("nan"), float("inf")])
def test_a_document_that_cannot_be_told_is_not_kept(
    place: Marketplace, database: Engine, monkeypatch: pytest.MonkeyPatch, said: object
) -> None:
    document, store = place.prepared.document, place.store
    monkeypatch.setattr(JobDocument, "from_bytes", lambda unverified_data: document)
    odd = json.dumps({**json.loads(document.to_bytes()), "x": said}).encode()
    monkeypatch.setattr(store, "read", lambda cid, most: odd)
    Indexer(database, place.market, store).catch_up()
    with database.connect() as connection:
        assert connection.scalars(select(DocumentRow.job)).all() == []


def test_reindex_from_the_command_line_gives_the_identical_database(
    place: Marketplace, deployment: Deployment, new_engine: Callable[[], Engine], tmp_path: Path
) -> None:
    engine = new_engine()
    follow(engine, place.market)
    before = dump(engine)
    deployment.save(tmp_path / "deployment.json")
    database = engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    options = ["--rpc", place.devnet.url, "--deployment", str(tmp_path / "deployment.json")]
    options += ["--store", str(tmp_path / "store"), "--database", database]
    command = [sys.executable, "-m", "fedmarket", "market", "reindex", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows made up to block" in done.stdout
    after = dump(engine)
    assert {**after, "sync": []} == {**before, "sync": []}
    assert after["sync"][0]["rebuilding"] is False
