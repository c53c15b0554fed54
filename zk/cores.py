"""Work on all cores: kernels compiled once that release the interpreter's lock, and one pool of threads for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Item = TypeVar("Item")

_PIECES_PER_CORE = 4

_lock = threading.Lock()
_inside = threading.local()


def kernel(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function to machine code on its first call, without the interpreter's lock, and keep it on disk.

    The cache belongs to the function's own file: when a kernel that others call changes, remove `zk/__pycache__`.
    Where nothing can be written (neither beside the code nor in the user's cache), every process compiles anew.
    """
    try:
        compiled = numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(function, nogil=True, error_model="numpy")
    return cast("Callable[Arguments, Result]", compiled)


def core_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ranges(size: int, grain: int) -> Iterator[tuple[int, int]]:
    """Split 0..size into consecutive (start, stop): a few for every core, none shorter than `grain` but the last."""
    pieces = core_count() * _PIECES_PER_CORE
    step = max(grain, -(-size // pieces), 1)
    for start in range(0, size, step):
        yield start, min(start + step, size)


def on_all_cores(task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Apply a function to every item on all cores, and return the results in the items' order.

    Called from inside a task it works in that task's thread, so that tasks never wait for one another.
    """
    work = list(items)
    if len(work) < 2 or core_count() == 1 or getattr(_inside, "task", False):
        return [task(item) for item in work]
    return list(_Pool.shared().map(task, work))


class _Pool:
    """The process's threads, started on first use; a forked child starts its own."""

    _current: tuple[int, ThreadPoolExecutor] | None = None

    @classmethod
    def shared(cls) -> ThreadPoolExecutor:
        with _lock:
            if cls._current is None or cls._current[0] != os.getpid():
                cls._current = os.getpid(), ThreadPoolExecutor(core_count(), "zk", initializer=_enter)
            return cls._current[1]


def _enter() -> None:
    _inside.task = True
