"""Work that goes ahead of whoever waits for it, in threads: hashing, compressing and writing let others compute.

The order is that of the items, and no more than a few of them are held at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

THREADS = 2
"""At work at a time."""

DEPTH = 8
"""Items that may wait to be asked for."""

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], threads: int = THREADS, depth: int = DEPTH
) -> Iterator[R]:
    """What the function makes of each item, in order. What it, or making an item, raises is raised when its turn is.

    Args:
        function: called in threads, on several items at once.
        items: asked for in the caller's own thread.
        threads: how many.
        depth: how many items may be under way.
    """
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[R]] = deque()
        failure: Exception | None = None
        remaining = iter(items)
        try:
            while True:
                try:
                    item = next(remaining)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                under_way.append(pool.submit(function, item))
                if len(under_way) >= depth:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
            if failure is not None:
                raise failure
        finally:
            for future in under_way:
                future.cancel()


def run_ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """The same items, made in a thread of their own before they are asked for; what making them raises is raised here.

    Args:
        items: asked for in that thread alone.
        depth: how many may wait.
    """
    made: Queue[tuple[T] | BaseException | None] = Queue(depth)
    stopped = Event()

    def put(it: tuple[T] | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                made.put(it, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item,)):
                    return
        except BaseException as error:
            put(error)
        else:
            put(None)

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while (it := made.get()) is not None:
            if isinstance(it, BaseException):
                raise it
            yield it[0]
    finally:
        stopped.set()
        thread.join()
