"""A process that forks others, each of which works on a store until it is killed at a counted step of the store's code.

A step is any call from `market.storage` into the interpreter's C functions, or its return: reads, writes, renames,
locks, hashes. Reads lines of JSON: what to do, with what, and at which step to die (0 for never). Answers each with the
child's end, and the steps that it took if it lived.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, car

CODE = str(Path("market") / "storage")
QUOTA_BYTES = 1 << 40


def material(seed: int) -> bytes:
    """Content of three leaves, different for every seed."""
    return random.Random(seed).randbytes(2 * CHUNK_BYTES + 100)


def store_at(task: dict[str, Any]) -> EmbeddedStore:
    return EmbeddedStore(Path(task["root"]), QUOTA_BYTES if task["counting"] else None)


def add(task: dict[str, Any]) -> None:
    store_at(task).add_bytes(material(task["seed"]))


def pin(task: dict[str, Any]) -> None:
    store_at(task).pin(Cid.parse(task["cid"]), f"job {task['seed']}")


def collect(task: dict[str, Any]) -> None:
    store_at(task).collect_garbage(grace_s=0)


def import_car(task: dict[str, Any]) -> None:
    with Path(task["car"]).open("rb") as stream:
        store, reason = store_at(task), f"import {task['seed']}"
        for root in car.import_(stream, store):
            store.pin(root, reason)


WORK: dict[str, Callable[[dict[str, Any]], None]] = {
    "add": add,
    "pin": pin,
    "gc": collect,
    "import": import_car,
}


def die_at(step: int) -> Callable[[], int]:
    """Count steps from now on, and die at one; returns how to read the count."""
    taken = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal taken
        if event in ("c_call", "c_return", "c_exception") and CODE in frame.f_code.co_filename:
            taken += 1
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    sys.setprofile(count)
    return lambda: taken


def run(task: dict[str, Any]) -> dict[str, int]:
    """Do the work in a child, to its end or to its death."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        steps = die_at(task["step"])
        WORK[task["work"]](task)
        sys.setprofile(None)
        os.write(writer, str(steps()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        steps_taken = int(told.read() or 0)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "steps": steps_taken}


def tasks() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    for asked in tasks():
        print(json.dumps(run(asked)), flush=True)
