"""The rows that are made from the chain: one writer a database, and each step of it whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from market.chain.block_windows import BlockWindow
from market.chain.connection import Header
from market.chain.events import Event, JobOpened, RoundProven, RoundSettled
from market.db.event_codec import from_text, to_text
from market.db.service_tables import DocumentRow, OrphanRow
from market.db.tables import CHAIN_TABLES, BlockRow, EventRow, SyncRow
from market.job_rows import JobRows, job_rows
from market.protocol.errors import DatabaseInUse, InvalidInput
from market.protocol.identifiers import JobId
from market.row_changes import Keyed, RowChanges, stored
from market.storage.durable_file import locked

ADVISORY_LOCK = 0x66656D69
SYNC = 1
"""The one row's key."""

REMEMBERED_EVENTS = 40_000
"""Of all jobs together: a job of 50 rounds of 64 trainers has some 10,000."""

ACCOUNTS = ("owner", "trainer", "aggregator", "by", "attestor")
"""Arguments that say whose doing an event is; the first that it has."""


@dataclass(frozen=True)
class Source:
    """Whose events they are.

    Attributes:
        chain_id: of the chain.
        genesis: hash of its first block.
        contract: the marketplace's address.
    """

    chain_id: int
    genesis: bytes
    contract: str


@dataclass(frozen=True)
class Position:
    """Up to where the chain has been read.

    Attributes:
        number: of the last block.
        hash: its hash.
        timestamp_s: its timestamp.
        rebuilding: whether a reindex has not come to its end.
    """

    number: int
    hash: bytes
    timestamp_s: int
    rebuilding: bool = False

    @classmethod
    def at(cls, header: Header, rebuilding: bool = False) -> Position:
        """At this block."""
        return cls(header.number, header.hash, header.timestamp_s, rebuilding)

    def columns(self) -> dict[str, Any]:
        """As the `sync` row has it."""
        place = {"block_number": self.number, "block_hash": self.hash, "timestamp_s": self.timestamp_s}
        return {**place, "rebuilding": self.rebuilding}


@dataclass
class _Job:
    """What is kept of a job between its events: all that its next rows are made from."""

    events: list[Event] = field(default_factory=list)
    moments_s: dict[int, int] = field(default_factory=dict)
    gas_used: dict[bytes, int] = field(default_factory=dict)
    rows: Keyed = field(default_factory=dict)


class ChainRows:
    """Writes the rows, through a connection of its own. Make it with `ChainRows.open`."""

    def __init__(self, connection: Connection, report: Callable[[str], None]) -> None:
        self.connection, self._report = connection, report
        self._jobs: dict[int, _Job] = {}
        self._strange: set[int] = set()

    @classmethod
    @contextmanager
    def open(cls, engine: Engine, report: Callable[[str], None] = lambda line: None) -> Iterator[ChainRows]:
        """Become the one writer.

        Args:
            engine: of the database.
            report: is told of a job whose rows cannot be made to the end, once.

        Raises:
            DatabaseInUse: there is one.
        """
        with _alone(engine), engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.detach()  # the lock is the session's: it has to end with the connection
                _lock(connection)
            yield cls(connection, report)

    # ------------------------------------------------------------------ where the rows are

    def position(self, source: Source) -> Position | None:
        """Up to where the chain has been read; None where it has not been.

        Raises:
            InvalidInput: the rows were read from another chain, or from another contract.
        """
        with self.connection.begin():
            row = self.connection.execute(select(SyncRow.__table__)).mappings().one_or_none()
        if row is None:
            return None
        if (row["chain_id"], row["genesis"], row["contract"]) != (source.chain_id, source.genesis, source.contract):
            raise InvalidInput(_not_of(row, source))
        return Position(row["block_number"], row["block_hash"], row["timestamp_s"], row["rebuilding"])

    def interrupted(self, source: Source) -> Position | None:
        """Where a reindex of this chain was killed; None where none was."""
        try:
            position = self.position(source)
        except InvalidInput:
            return None
        return position if position and position.rebuilding else None

    def begin(self, source: Source, position: Position) -> None:
        """Drop all rows, and begin after this block. What another chain's were told of goes with them."""
        self._jobs.clear()
        with self.connection.begin():
            was = self.connection.execute(delete(SyncRow).returning(SyncRow.genesis, SyncRow.contract)).one_or_none()
            for table in reversed(CHAIN_TABLES):
                self.connection.execute(delete(table))
            self.connection.execute(delete(DocumentRow))
            if was is not None and tuple(was) != (source.genesis, source.contract):
                self.connection.execute(delete(OrphanRow))
            place = {"chain_id": source.chain_id, "genesis": source.genesis, "contract": source.contract}
            self.connection.execute(insert(SyncRow), [{"id": SYNC, **place, **position.columns()}])

    def blocks(self) -> list[tuple[int, bytes]]:
        """Number and hash of the stored blocks, the newest first."""
        statement = select(BlockRow.number, BlockRow.hash).order_by(BlockRow.number.desc())
        with self.connection.begin():
            return [(number, block_hash) for number, block_hash in self.connection.execute(statement)]

    # ------------------------------------------------------------------ steps

    def extend(self, position: Position, window: BlockWindow) -> Position:
        """Take in what comes after a position, and return the next one.

        Raises:
            DatabaseInUse: the rows are not at that position any more.
        """
        reached = Position.at(window.last, position.rebuilding)
        with self._step(position, reached):
            if window.events:
                self.connection.execute(insert(BlockRow), [_block(header) for header in window.blocks.values()])
                self.connection.execute(insert(EventRow), [_row(event, window.gas_used) for event in window.events])
            changes = RowChanges()
            for job, events in _by_job(window.events).items():
                self._extend_job(job, events, window, changes)
            changes.write(self.connection)
        self._forget_oldest()
        return reached

    def roll_back(self, position: Position, kept: Header) -> Position:
        """Take back what came after a block, and return the position there. Raises as `extend`."""
        reached = Position.at(kept, position.rebuilding)
        gone = EventRow.block_number > kept.number
        with self._step(position, reached):
            jobs = list(self.connection.scalars(select(EventRow.job).where(gone).distinct()))
            self._remember_orphans(kept.number)
            reopened = select(EventRow.job).where(gone, EventRow.kind == JobOpened.__name__)
            self.connection.execute(delete(DocumentRow).where(DocumentRow.job.in_(reopened)))
            self.connection.execute(delete(EventRow).where(gone))
            self.connection.execute(delete(BlockRow).where(BlockRow.number > kept.number))
            changes = RowChanges()
            for job in jobs:
                self._load(job, changes)
            changes.write(self.connection)
        self._jobs = {job: kept_job for job, kept_job in self._jobs.items() if kept_job.events}
        return reached

    def finish(self, position: Position) -> Position:
        """Note that a reindex has come to its end. Raises as `extend`."""
        reached = Position(position.number, position.hash, position.timestamp_s)
        with self._step(position, reached):
            return reached

    @contextmanager
    def _step(self, position: Position, reached: Position) -> Iterator[None]:
        """One transaction; what is remembered is forgotten where it fails."""
        try:
            with self.connection.begin():
                # A write comes first: SQLite lets nobody write who has read what was written since.
                at = (SyncRow.block_number == position.number, SyncRow.block_hash == position.hash)
                moved = self.connection.execute(update(SyncRow).where(*at).values(reached.columns()))
                if moved.rowcount != 1:
                    raise DatabaseInUse("another process has written the rows of this database meanwhile")
                yield
        except BaseException:
            self._jobs.clear()
            raise

    def _remember_orphans(self, kept: int) -> None:
        """Who was told of these blocks is told that they went."""
        gone = select(BlockRow.number, BlockRow.hash).where(BlockRow.number > kept).order_by(BlockRow.number)
        orphans = [
            {"block_number": number, "block_hash": block_hash, "kept_block": kept}
            for number, block_hash in self.connection.execute(gone)
        ]
        if orphans:
            self.connection.execute(insert(OrphanRow), orphans)

    # ------------------------------------------------------------------ one job

    def _extend_job(self, job: JobId, events: Sequence[Event], window: BlockWindow, changes: RowChanges) -> None:
        known = self._jobs.pop(job, None)
        if known is None:
            self._load(job, changes)  # the new events are among those that are stored
            return
        known.events += events
        known.moments_s.update((event.block_number, window.blocks[event.block_number].timestamp_s) for event in events)
        known.gas_used.update(window.gas_used)
        self._derive(job, known, known.rows, changes)

    def _load(self, job: int, changes: RowChanges) -> None:
        """Make a job's rows from what is stored of it."""
        loaded = _Job()
        for event, moment_s, gas in self._stored_events(job):
            loaded.events.append(event)
            loaded.moments_s[event.block_number] = moment_s
            if gas is not None:
                loaded.gas_used[event.transaction] = gas
        self._derive(job, loaded, stored(self.connection, job), changes)

    def _derive(self, job: int, known: _Job, before: Keyed, changes: RowChanges) -> None:
        made = job_rows(known.events, known.moments_s, known.gas_used)
        self._tell_strange(job, made)
        known.rows = made.rows
        changes.add(before, known.rows)
        self._jobs[job] = known  # the last one: what was not touched for longest is forgotten first

    def _tell_strange(self, job: int, made: JobRows) -> None:
        """Say of which job something is missing: its events are kept, and tried again with the next ones."""
        if made.strange is None:
            self._strange.discard(job)
            return
        if job not in self._strange:
            where = "not shown" if made.block is None else f"shown as of block {made.block}"
            problem = " ".join(f"{type(made.strange).__name__}: {made.strange}".split())
            self._report(f"job {job} is {where}, since what came next is not understood: {problem:.300}")
        self._strange.add(job)

    def _stored_events(self, job: int) -> Iterable[tuple[Event, int, int | None]]:
        rows = self.connection.execute(
            select(EventRow.__table__, BlockRow.hash, BlockRow.timestamp_s)
            .join(BlockRow, BlockRow.number == EventRow.block_number)
            .where(EventRow.job == job)
            .order_by(EventRow.block_number, EventRow.log_index, EventRow.part)
        )
        for row in rows.mappings():
            place = {name: row[name] for name in ("block_number", "transaction", "log_index")}
            place["block_hash"] = row["hash"]
            yield from_text(row["kind"], place, row["body"]), row["timestamp_s"], row["gas_used"]

    def _forget_oldest(self) -> None:
        kept = sum(len(job.events) for job in self._jobs.values())
        while kept > REMEMBERED_EVENTS and len(self._jobs) > 1:
            oldest = next(iter(self._jobs))
            kept -= len(self._jobs.pop(oldest).events)


def _block(header: Header) -> dict[str, Any]:
    return {"number": header.number, "hash": header.hash, "timestamp_s": header.timestamp_s}


def _row(event: Event, gas_used: Mapping[bytes, int]) -> dict[str, Any]:
    return {
        "block_number": event.block_number,
        "log_index": event.log_index,
        "part": 0 if isinstance(event, RoundProven) else 1,
        "transaction": event.transaction,
        "job": event.job,
        "kind": type(event).__name__,
        "attempt": getattr(event, "attempt", None),
        "account": next((getattr(event, name) for name in ACCOUNTS if hasattr(event, name)), None),
        "body": to_text(event),
        "gas_used": gas_used.get(event.transaction) if isinstance(event, RoundSettled) else None,
    }


def _by_job(events: Iterable[Event]) -> dict[JobId, list[Event]]:
    jobs: dict[JobId, list[Event]] = defaultdict(list)
    for event in events:
        jobs[event.job].append(event)
    return jobs


def _not_of(row: Any, source: Source) -> str:
    if row["chain_id"] != source.chain_id:
        what = f"of chain {row['chain_id']}, this is chain {source.chain_id}"
    elif row["genesis"] != source.genesis:
        what = (
            f"of a chain that began with block 0x{row['genesis'].hex()[:16]}…, this one is another or was started anew"
        )
    else:
        what = f"of the marketplace at {row['contract']}, expected {source.contract}"
    return f"the database has the rows {what}: run `fedmarket market reindex`, or name another database"


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """For SQLite: a lock beside the file, which the system drops when this process ends."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        yield
        return
    with locked(Path(f"{database}.indexer"), exclusive=True, wait=False) as held:
        if not held:
            raise DatabaseInUse(f"another process follows the chain into {database}")
        yield


def _lock(connection: Connection) -> None:
    """For PostgreSQL: a lock of the session."""
    with connection.begin():
        held = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK}).scalar_one()
    if not held:
        raise DatabaseInUse("another process follows the chain into this database")
