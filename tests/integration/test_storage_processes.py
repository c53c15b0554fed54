"""The embedded store among killed processes, competing writers, full disks and large files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import multiprocessing
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from market.protocol.errors import StorageFull
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore
from market.storage.cid import RAW
from market.storage.flat_blocks import FlatBlocks

REPOSITORY = Path(__file__).parents[2]

ADD_STANDARD_INPUT = """
import sys
from pathlib import Path
from market.storage import EmbeddedStore
print(EmbeddedStore(Path(sys.argv[1])).add(sys.stdin.buffer))
"""

ADD_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from market.protocol.errors import StorageFull
from market.storage import CHUNK_BYTES, EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
kept = store.add_bytes(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_BYTES // 2, CHUNK_BYTES // 2))
try:
    store.add_bytes(b"large" * CHUNK_BYTES)
except StorageFull as error:
    print(f"full: {error}")
try:
    store.copy_to(kept, Path(sys.argv[1]) / "copy")
finally:
    print(store.read(store.add_bytes(b"small again"), 100).decode())
"""


class Numbered(io.RawIOBase):
    """A stream of distinct chunks, made as they are read."""

    def __init__(self, chunks: int, seed: bytes = b"") -> None:
        self._left = chunks
        self._seed = seed

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            return b""
        self._left -= 1
        return hashlib.sha256(self._seed + self._left.to_bytes(8, "big")).digest() * (CHUNK_BYTES // 32)


def python(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".*.part"))


def chunks_of(stream: Numbered) -> Iterator[bytes]:
    while chunk := stream.read():
        yield chunk


def kill_after_blocks(root: Path, blocks: int, seed: bytes) -> None:
    """Feed a writer until it has stored some blocks, and kill it while more are on their way."""
    process = python(ADD_STANDARD_INPUT, str(root))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for chunk in chunks_of(Numbered(10 * blocks, seed)):
            process.stdin.write(chunk)
            if len(list(root.glob("blocks/*/*.data"))) >= blocks:
                break
        process.kill()
        assert process.wait(timeout=30) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait(timeout=30)
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def test_a_writer_killed_midway_leaves_only_whole_blocks_and_its_content_can_be_added_again(tmp_path: Path) -> None:
    root = tmp_path / "store"
    kept = EmbeddedStore(root).add_bytes(b"kept")
    for blocks in (2, 5, 9):
        kill_after_blocks(root, blocks, seed=bytes([blocks]))
        for path in root.glob("blocks/*/*.data"):
            assert FlatBlocks(root / "blocks").path(Cid.of_block(path.read_bytes(), RAW)) == path

    store = EmbeddedStore(root)
    assert store.read(kept, 4) == b"kept"
    cid = store.add(Numbered(90, b"\x09"))  # type: ignore[arg-type]
    assert store.verify(cid) == 90 * CHUNK_BYTES
    assert leftovers(root) == []


def test_a_disk_that_is_full_is_told_and_changes_nothing(tmp_path: Path) -> None:
    process = python(ADD_WITH_LITTLE_ROOM, str(tmp_path / "store"))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    first, last = told.decode().splitlines()
    assert first.startswith("full: ")
    assert "the disk is full" in first
    assert last == "small again"
    assert leftovers(tmp_path) == []


def add_numbered(root: Path, chunks: int) -> str:
    store = EmbeddedStore(root)
    cid = store.add(Numbered(chunks))  # type: ignore[arg-type]
    store.pin(cid, f"{chunks} chunks")
    return str(cid)


def test_many_threads_may_add_the_same_content(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        cids = set(pool.map(lambda _: add_numbered(tmp_path / "store", 12), range(16)))
    store = EmbeddedStore(tmp_path / "store")
    (cid,) = cids
    assert store.verify(Cid.parse(cid)) == 12 * CHUNK_BYTES
    assert len(list(store.root.glob("blocks/*/*.data"))) == 13
    assert leftovers(store.root) == []


def test_many_processes_may_add_the_same_content(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        cids = set(pool.starmap(add_numbered, [(tmp_path / "store", 12)] * 6))
    (cid,) = cids
    assert EmbeddedStore(tmp_path / "store").verify(Cid.parse(cid)) == 12 * CHUNK_BYTES


def test_collecting_garbage_takes_nothing_from_writers_at_work(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store")
    done = threading.Event()

    def collect() -> int:
        rounds = 0
        while not done.is_set():
            EmbeddedStore(store.root).collect_garbage()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(5) as pool:
        collector = pool.submit(collect)
        try:
            cids = list(pool.map(lambda chunks: add_numbered(store.root, chunks), range(1, 20)))
        finally:
            done.set()
        assert collector.result(timeout=60) > 0
    store.collect_garbage(grace_s=0)
    assert [store.verify(Cid.parse(cid)) for cid in cids] == [n * CHUNK_BYTES for n in range(1, 20)]


def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    megabytes = 100
    store = EmbeddedStore(tmp_path / "store")
    tracemalloc.start()
    try:
        cid = store.add(Numbered(4 * megabytes))  # type: ignore[arg-type]
        store.copy_to(cid, tmp_path / "copy")
        assert store.verify(cid) == megabytes << 20
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "copy").stat().st_size == megabytes << 20
    assert peak_bytes < 8 << 20, "sixteen blocks may be on their way to the disk"


QUOTA_BYTES = 40 * CHUNK_BYTES


def fill(root: Path, who: int) -> int:
    """Add contents of one block until there is no room; returns how many."""
    store, number = EmbeddedStore(root, QUOTA_BYTES), 0
    while True:
        try:
            store.add_bytes(bytes([who]) + number.to_bytes(4, "big") * (CHUNK_BYTES // 4 - 1))
        except StorageFull:
            return number
        number += 1


def test_processes_that_add_together_never_exceed_the_quota(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        added = pool.starmap(fill, [(root, who) for who in range(3)])
    store = EmbeddedStore(root, QUOTA_BYTES)
    assert sum(added) == 40, "a block of three bytes less than a chunk, forty times: no more fit, and no fewer"
    assert store.used_bytes() == sum(path.stat().st_size for path in root.glob("blocks/*/*.data")) <= QUOTA_BYTES
