"""Follows the chain into the database: by block hash, through reorganisations, kills and gaps, and from nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from web3.types import BlockIdentifier

from market.chain.block_windows import read_window
from market.chain.connection import Header
from market.chain.job_market import JobMarket
from market.chain_rows import ChainRows, Position, Source
from market.job_documents import JobDocuments
from market.protocol.errors import ChainError, DatabaseInUse
from market.storage import ContentStore

FIRST_WINDOW_BLOCKS = 100
MOST_WINDOW_BLOCKS = 5_000
FEW_EVENTS, MANY_EVENTS = 1_000, 4_000
"""Of a window: the next one is twice as long below, and half as long above."""

LONGEST_PAUSE_S = 15.0
DOCUMENTS_S = 2.0
"""How often documents are looked for that are not in the store yet."""

ANSWER_S = 0.2
"""How long whoever wants it to end waits at most."""


class Step(Enum):
    """What a look at the chain led to."""

    MOVED = "moved"  # there may be more
    AGAIN = "again"  # the chain changed meanwhile
    IDLE = "idle"


class Indexer:
    """One chain's follower into one database."""

    def __init__(
        self,
        engine: Engine,
        market: JobMarket,
        store: ContentStore | None = None,
        *,
        confirmations: int = 0,
        poll_s: float = 1.0,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            engine: of a database whose tables are this version's.
            market: the contract, and the connection to the chain.
            store: where jobs' documents are; None keeps none of them.
            confirmations: how many blocks to stay behind.
            poll_s: pause between two looks at a chain that stands still.
            report: is told what is waited for, and of a job that is not understood, a line at a time.
        """
        self._engine, self._market, self._chain = engine, market, market.chain
        self._documents = None if store is None else JobDocuments(store)
        self._confirmations, self._poll_s, self._report = confirmations, poll_s, report
        self._window_blocks, self._documents_due_s = FIRST_WINDOW_BLOCKS, 0.0
        self._told, self._pause_s = "", poll_s
        self._head = 0
        self._source: Source | None = None

    # ------------------------------------------------------------------ how it runs

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Follow the chain until told to stop; a node, a database or a place as the one writer is waited for.

        Raises:
            InvalidInput: the rows are another chain's.
        """
        while not should_stop():
            try:
                with ChainRows.open(self._engine, self._report) as rows:
                    self._follow(rows, should_stop)
            except (ChainError, OperationalError, DatabaseInUse) as problem:
                self._wait_out(problem, should_stop)

    def catch_up(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Position:
        """Read up to the latest block, and return where that is.

        Args:
            progress: is told how many blocks were read, and of how many.

        Raises:
            DatabaseInUse: another process does.
            InvalidInput: the rows are another chain's.
            ChainError: the node is away, or refuses.
        """
        with ChainRows.open(self._engine, self._report) as rows:
            return self._catch_up(rows, self._begin(rows), progress)

    def reindex(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Position:
        """Drop what was made of the chain and make it again; one that was killed is gone on with.

        Arguments and errors as `catch_up`, but for rows of another chain: they are dropped, too.
        """
        with ChainRows.open(self._engine, self._report) as rows:
            position = rows.interrupted(self._here())
            return self._catch_up(rows, position or self._begin_anew(rows), progress)

    def _follow(self, rows: ChainRows, should_stop: Callable[[], bool]) -> None:
        position = self._begin(rows)
        while not should_stop():
            step, position = self._step(rows, position)
            self._told, self._pause_s = "", self._poll_s
            self._read_documents(rows)
            if step is not Step.MOVED:
                _sleep(self._poll_s if step is Step.IDLE else min(self._poll_s, ANSWER_S), should_stop)

    def _wait_out(self, problem: Exception, should_stop: Callable[[], bool]) -> None:
        told = (
            f"the database does not answer: {problem.orig}" if isinstance(problem, OperationalError) else str(problem)
        )
        if told != self._told:
            self._report(f"waiting: {' '.join(told.split())}")
        self._told = told
        _sleep(self._pause_s, should_stop)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _catch_up(self, rows: ChainRows, position: Position, progress: Callable[[int, int], None]) -> Position:
        first, step = self._market.first_block, Step.MOVED
        while step is not Step.IDLE:
            step, position = self._step(rows, position)
            progress(position.number + 1 - first, max(self._head, position.number) + 1 - first)
            if step is Step.AGAIN:
                time.sleep(ANSWER_S)
        if self._documents is not None:
            while self._documents.read(rows.connection):
                pass
        return position

    def _read_documents(self, rows: ChainRows) -> None:
        if self._documents is not None and time.monotonic() >= self._documents_due_s:
            self._documents.read(rows.connection)
            self._documents_due_s = time.monotonic() + DOCUMENTS_S

    # ------------------------------------------------------------------ where it begins

    def _here(self) -> Source:
        return Source(self._chain.chain_id, bytes(self._chain.block(0)["hash"]), self._market.address)

    def _begin(self, rows: ChainRows) -> Position:
        position = rows.position(self._here())
        return self._begin_anew(rows, rebuilding=False) if position is None else position

    def _begin_anew(self, rows: ChainRows, rebuilding: bool = True) -> Position:
        """Before the block in which the contract was deployed."""
        header = self._header(max(0, self._market.first_block - 1))
        position = Position.at(header, rebuilding)
        rows.begin(self._here(), position)
        return position

    def _header(self, block: BlockIdentifier) -> Header:
        header = self._chain.header(block)
        if header is None:
            raise ChainError(f"the node at {self._chain.place} has no block {block!r}: it is behind the deployment's")
        return header

    # ------------------------------------------------------------------ one step

    def _step(self, rows: ChainRows, position: Position) -> tuple[Step, Position]:
        """Look at the chain, and take one step after it."""
        head = self._header("latest")
        if not self._chain.has_block(position.number, position.hash):
            position = self._roll_back(rows, position)
            step = Step.MOVED
        else:
            step, position = self._advance(rows, position, head.number - self._confirmations)
        self._head = head.number
        return step, position

    def _advance(self, rows: ChainRows, position: Position, target: int) -> tuple[Step, Position]:
        if target <= position.number:
            return Step.IDLE, rows.finish(position) if position.rebuilding else position
        last = min(target, position.number + self._window_blocks)
        window = read_window(self._market, position.hash, position.number + 1, last)
        if window is None:
            return Step.AGAIN, position
        if len(window.events) < FEW_EVENTS:
            self._window_blocks = min(2 * self._window_blocks, MOST_WINDOW_BLOCKS)
        elif len(window.events) > MANY_EVENTS:
            self._window_blocks = max(1, self._window_blocks // 2)
        return Step.MOVED, rows.extend(position, window)

    def _roll_back(self, rows: ChainRows, position: Position) -> Position:
        """To the last stored block that the chain still has.

        Raises:
            InvalidInput: it is another chain.
        """
        rows.position(self._here())
        return rows.roll_back(position, self._last_kept(rows))

    def _last_kept(self, rows: ChainRows) -> Header:
        """If a block is still there, all before it are: looked for in ever longer strides, then in halves."""
        blocks = rows.blocks()
        gone, stride = -1, 1  # places in the list; every block up to `gone` is gone
        while gone + stride < len(blocks) and not self._chain.has_block(*blocks[gone + stride]):
            gone, stride = gone + stride, 2 * stride
        kept = min(gone + stride, len(blocks))
        while kept - gone > 1:
            middle = (kept + gone) // 2
            if self._chain.has_block(*blocks[middle]):
                kept = middle
            else:
                gone = middle
        if kept == len(blocks):
            return self._header(max(0, self._market.first_block - 1))
        header = self._chain.header(blocks[kept][0])
        if header is None or header.hash != blocks[kept][1]:
            return self._last_kept(rows)  # it has changed again
        return header


def _sleep(pause_s: float, should_stop: Callable[[], bool]) -> None:
    """Pause, and wake up early to end."""
    until_s = time.monotonic() + pause_s
    while not should_stop() and (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, ANSWER_S))
