"""The embedded store after kill -9: at 200 random steps of adding, pinning, collecting garbage and importing."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from market.protocol.errors import BlockNotFound
from market.storage import Cid, EmbeddedStore, car
from market.storage.cid import RAW
from market.storage.flat_blocks import FlatBlocks
from tests.integration.killed_store import QUOTA_BYTES, material

REPOSITORY = Path(__file__).parents[2]
KILLS = 50
"""For each of the four kinds of work."""

Kill = Callable[[dict[str, Any]], dict[str, int]]


@contextmanager
def killer() -> Iterator[Kill]:
    """Has work done in children that die at a step."""
    command = [sys.executable, "-m", "tests.integration.killed_store"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def kill(task: dict[str, Any]) -> dict[str, int]:
            print(json.dumps(task), file=stdin, flush=True)
            answer: dict[str, int] = json.loads(stdout.readline())
            return answer

        yield kill


@dataclass
class Victim:
    """A store whose writers are killed, and what must be in it whatever happens."""

    root: Path
    counting: bool
    pinned: dict[Cid, set[str]]

    def open(self) -> EmbeddedStore:
        return EmbeddedStore(self.root, QUOTA_BYTES if self.counting else None)

    def prepare(self, work: str, seed: int) -> dict[str, Any]:
        """Put in place what the work takes, and say what it is."""
        task: dict[str, Any] = {"root": str(self.root), "counting": self.counting, "work": work, "seed": seed}
        if work in ("pin", "gc"):
            task["cid"] = str(self.open().add_bytes(material(seed)))
        if work == "import":
            source = EmbeddedStore(self.root.parent / "source")
            path = self.root.parent / "some.car"
            with path.open("wb") as out:
                car.export([source.add_bytes(material(seed)), source.add_bytes(b"small %d" % seed)], source, out)
            task["car"] = str(path)
        return task

    def check(self) -> None:
        """The store opens, every pinned content is whole, every block is its own, and nothing else lies about."""
        store = self.open()
        store.add_bytes(b"the first write of a new process")
        assert {cid: set(reasons) for cid, reasons in store.pins().items()}.items() >= self.pinned.items()
        for cid in store.pins():
            store.verify(cid)
        self.check_files(store)

    def check_files(self, store: EmbeddedStore) -> None:
        blocks = FlatBlocks(self.root / "blocks")
        for path in self.root.glob("blocks/*/*"):
            assert blocks.path(Cid.of_block(path.read_bytes(), RAW)) == path
        known = {"SHARDING"} | {path.name for path in self.root.glob("blocks/*") if path.is_dir()}
        assert {path.name for path in (self.root / "blocks").iterdir()} == known
        assert {path.suffix for path in (self.root / "pins").iterdir()} <= {".json"}
        usage = {"usage"} if self.counting else set()
        assert {path.name for path in self.root.iterdir()} - {"taken"} == {"blocks", "pins", "lock"} | usage
        assert store.used_bytes() == sum(path.stat().st_size for path in self.root.glob("blocks/*/*.data"))


@pytest.mark.parametrize("work", ["add", "pin", "gc", "import"])
def test_a_store_is_whole_after_kill_9_at_any_step(work: str, tmp_path: Path) -> None:
    seed = 20_261_122
    print(f"{work}: {KILLS} kills, seed {seed}")
    generator = random.Random(f"{work} {seed}")
    kept = EmbeddedStore(tmp_path / "store").add_bytes(material(0))
    victim = Victim(tmp_path / "store", work in ("add", "gc"), {kept: {"kept"}})
    victim.open().pin(kept, "kept")
    with killer() as kill:
        alive = kill(victim.prepare(work, 1) | {"step": 0})
        assert alive["status"] == 0
        killed, number = 0, 1
        while killed < KILLS:
            number += 1
            task = victim.prepare(work, number) | {"step": generator.randrange(1, alive["steps"] + 1)}
            ended = kill(task)
            # No two take the same number of steps: some are done before it comes to the step.
            assert ended["status"] in (0, -signal.SIGKILL), task
            killed += ended["status"] == -signal.SIGKILL
            victim.check()
        # The work goes on where it was cut off.
        assert kill(task | {"step": 0})["status"] == 0
        victim.check()


def add_and_pin(root: Path, who: int, until_s: float) -> list[str]:
    """Add and pin without a pause; begin again where unpinned blocks were collected before they were pinned."""
    store, pinned, number = EmbeddedStore(root), [], 0
    while time.monotonic() < until_s or not pinned:
        number += 1
        try:
            cid = store.add_bytes(f"{who} {number}".encode() * 50)
            store.pin(cid, f"worker {who}")
        except BlockNotFound:
            continue
        pinned.append(str(cid))
    return pinned


def collect_without_a_pause(root: Path, until_s: float) -> int:
    removed = 0
    while time.monotonic() < until_s:
        removed += EmbeddedStore(root).collect_garbage(grace_s=0).blocks
    return removed


def test_collecting_garbage_takes_nothing_that_other_processes_have_pinned(tmp_path: Path) -> None:
    root, until_s = tmp_path / "store", time.monotonic() + 3
    EmbeddedStore(root).add_bytes(b"garbage from before")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        workers = [pool.apply_async(add_and_pin, (root, who, until_s)) for who in range(2)]
        collector = pool.apply_async(collect_without_a_pause, (root, until_s))
        pinned = [cid for worker in workers for cid in worker.get(timeout=60)]
        assert collector.get(timeout=60) > 0
    store = EmbeddedStore(root)
    assert {str(cid) for cid in store.pins()} == set(pinned)
    for cid in store.pins():
        store.verify(cid)
