"""Looking for blocks at several sources: in order, several blocks at once, and never for long in vain."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from itertools import count
from typing import NamedTuple

from market.protocol.errors import BlockNotFound, CorruptBlock, SourceUnavailable, StorageError
from market.storage.cid import Cid
from market.storage.source_standing import Standing

WORKERS = 8
"""How many blocks are asked for at once."""

FIRST_MISS_S, LONGEST_MISS_S = 1.0, 30.0
"""For how long it is believed that nobody has a block: first, and, doubled with every miss, at most."""

MISSES = 4_096
"""How many such blocks are remembered."""


DEEP_WORKERS = 4
"""How many blocks are looked for at once by those who would look for long."""

LOOK_S, SHORT_LOOK_S = 2.0, 0.2
"""For how long one waits for a block that nobody may have: and where one waited in vain for another a moment ago,"""

IN_VAIN_S = 10.0
"""which is so many seconds."""


class _Miss(NamedTuple):
    """Nobody had a block: until when that is believed, how long the next time, and what was said."""

    until_s: float
    next_s: float
    said: str
    corrupt: bool


class BlockSearch:
    """Asks sources for blocks, each block once at a time, whoever wants it. Threads may share it."""

    def __init__(self, standings: Sequence[Standing], deep: Sequence[Standing], here: str) -> None:
        """Nothing is asked yet.

        Args:
            standings: sources that say soon whether they have a block, in the order in which they are asked.
            deep: sources that are asked after all of those, since they look for long for what is nowhere.
            here: what messages call the place where a block was looked for before.
        """
        self.standings, self.deep, self._here = tuple(standings), tuple(deep), here
        self._crew, self._deep_crew = _Crew(WORKERS), _Crew(DEEP_WORKERS)
        self._lock = threading.Lock()
        self._under_way: dict[Cid, Future[bytes]] = {}
        self._misses: dict[Cid, _Miss] = {}
        self._in_vain_s = float("-inf")
        for crew in (self._crew, self._deep_crew):
            weakref.finalize(self, crew.stop)

    def begin(self, cid: Cid) -> Future[bytes]:
        """Ask for a block, unless that is being done already, or was done a moment ago in vain."""
        with self._lock:
            running = self._under_way.get(cid)
            if running is not None:
                return running
            found: Future[bytes] = Future()
            miss = self._misses.get(cid)
            if miss is not None and time.monotonic() < miss.until_s:
                found.set_exception(_error(cid, miss))
                return found
            self._under_way[cid] = found
        # Who names blocks that nobody has must not hold up others: those that were looked for in vain wait the longest.
        self._crew.do(lambda: self._search(cid, found), after_s=miss.next_s if miss else 0.0)
        return found

    def look(self, cid: Cid, keep: Callable[[Cid, bytes], None]) -> bytes:
        """One block, verified by its source, if it comes soon: for those who look again and again.

        Args:
            cid: which.
            keep: gets the block if it comes later than that.

        Raises:
            BlockNotFound: no source has it, or it has not come yet.
            CorruptBlock: those that have it sent other bytes.
        """
        is_new = cid not in self._under_way
        found = self.begin(cid)
        try:
            # Whoever looks again has waited once, and finds it here the moment that it has come.
            return found.result(self._patience_s() if is_new else 0)
        except FutureTimeout:
            self._in_vain_s = time.monotonic()
            if is_new:
                found.add_done_callback(lambda late: keep_late(cid, late, keep))
            where = f"{self._here}; it is still being looked for at {self._names()}"
            raise BlockNotFound(str(cid), where) from None

    def _patience_s(self) -> float:
        return SHORT_LOOK_S if time.monotonic() < self._in_vain_s + IN_VAIN_S else LOOK_S

    def _names(self) -> str:
        return ", ".join(dict.fromkeys(standing.source.name for standing in (*self.standings, *self.deep)))

    def _search(self, cid: Cid, found: Future[bytes]) -> None:
        said: dict[str, bool] = {self._here: False}
        with self._settling(cid, found):
            block = _ask(cid, self.standings, said)
            if block is None and self.deep:
                self._deep_crew.do(lambda: self._search_deep(cid, found, said))
            else:
                self._settle(cid, found, block, said)

    def _search_deep(self, cid: Cid, found: Future[bytes], said: dict[str, bool]) -> None:
        with self._settling(cid, found):
            self._settle(cid, found, _ask(cid, self.deep, said), said)

    def _settle(self, cid: Cid, found: Future[bytes], block: bytes | None, said: Mapping[str, bool]) -> None:
        with self._lock:
            before = self._misses.pop(cid, None)
            if block is None:
                miss = self._missed(cid, before, said)
            del self._under_way[cid]
        if block is None:
            found.set_exception(_error(cid, miss))
        else:
            found.set_result(block)

    @contextmanager
    def _settling(self, cid: Cid, found: Future[bytes]) -> Iterator[None]:
        """Whatever goes wrong is told to those who wait: a thread has nobody else to tell."""
        try:
            yield
        except Exception as problem:
            with self._lock:
                self._under_way.pop(cid, None)
            found.set_exception(problem)

    def _missed(self, cid: Cid, before: _Miss | None, said: Mapping[str, bool]) -> _Miss:
        believed_s = before.next_s if before else FIRST_MISS_S
        while len(self._misses) >= MISSES:
            del self._misses[next(iter(self._misses))]
        next_s = min(LONGEST_MISS_S, 2 * believed_s)
        self._misses[cid] = _Miss(time.monotonic() + believed_s, next_s, "; ".join(said), any(said.values()))
        return self._misses[cid]


def _ask(cid: Cid, standings: Sequence[Standing], said: dict[str, bool]) -> bytes | None:
    """The block from the first source that has it, or None, with what each said and whether that was a lie."""
    for standing in sorted(standings, key=lambda it: it.is_slow):
        name, left_out = standing.source.name, standing.left_out
        if left_out is not None:
            said[f"{name} ({left_out})"] = False
            continue
        began_s = time.monotonic()
        try:
            block = standing.source.get_block(cid)
        except BlockNotFound:
            standing.had_not()
            said[name] = False
        except CorruptBlock as lie:
            standing.lied(str(lie))
            said[f"{name} ({lie})"] = True
        except SourceUnavailable as problem:
            standing.failed(problem.problem)
            said[f"{name} ({problem.problem})"] = False
        else:
            standing.answered(time.monotonic() - began_s)
            return block
    return None


def keep_late(cid: Cid, late: Future[bytes], keep: Callable[[Cid, bytes], None]) -> None:
    """Keep a block that nobody waits for any more."""
    # Whoever asks next is told what is wrong.
    with suppress(StorageError):
        keep(cid, late.result())


def _error(cid: Cid, miss: _Miss) -> StorageError:
    return CorruptBlock(str(cid), miss.said) if miss.corrupt else BlockNotFound(str(cid), miss.said)


_Queue = queue.PriorityQueue[tuple[float, int, Callable[[], None] | None]]


class _Crew:
    """A few threads that do what they are given, what is urgent first. They do not keep the process from ending."""

    def __init__(self, size: int) -> None:
        self._size, self._started = size, False
        self._lock = threading.Lock()
        self._given, self._work = count(), _Queue()

    def do(self, work: Callable[[], None], after_s: float = 0.0) -> None:
        """Have something done soon, but after what has a smaller number; it may not raise."""
        with self._lock:
            if not self._started:
                for _ in range(self._size):
                    threading.Thread(target=_work_off, args=(self._work,), name="block-search", daemon=True).start()
                self._started = True
        self._work.put((after_s, next(self._given), work))

    def stop(self) -> None:
        """Let the threads end once they have done what they were given."""
        for _ in range(self._size):
            self._work.put((float("inf"), next(self._given), None))


def _work_off(given: _Queue) -> None:
    while (work := given.get()[2]) is not None:
        work()
        del work  # what it refers to may go while this waits
