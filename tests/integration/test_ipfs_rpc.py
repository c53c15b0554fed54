"""KuboStore against a live daemon: js-ipfs, installed by `make test-ipfs-rpc`, or a Kubo at FEDMARKET_KUBO_URL."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedmarket.devnet import REPOSITORY
from market.protocol.errors import BlockNotFound, SourceUnavailable
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, SourcedStore, content_cid
from market.storage.cid import RAW
from market.storage.file_dag import CIDV0_PROFILE, build_file
from market.storage.kubo import KuboStore

URL = os.environ.get("FEDMARKET_KUBO_URL")
INSTALLED = REPOSITORY / "tools" / "ipfs-rpc"
DAEMON = INSTALLED / "node_modules" / "ipfs" / "src" / "cli.js"

pytestmark = pytest.mark.skipif(
    URL is None and not DAEMON.exists(),
    reason="no daemon: `make test-ipfs-rpc` installs one, or name a Kubo's RPC in FEDMARKET_KUBO_URL",
)


@contextmanager
def js_ipfs(repository: Path) -> Iterator[str]:
    """A daemon with an own repository, without any network, and the address of its RPC."""
    command = ["node", "--require", str(INSTALLED / "with-resolvers.cjs"), str(DAEMON)]
    environment = {**os.environ, "IPFS_PATH": str(repository)}
    subprocess.run(
        [*command, "init", "--profile", "test"], env=environment, check=True, capture_output=True, timeout=60
    )
    config = json.loads((repository / "config").read_text())
    anywhere = "/ip4/127.0.0.1/tcp/0"
    config["Addresses"] |= {"Swarm": [], "API": anywhere, "Gateway": anywhere, "RPC": anywhere}
    (repository / "config").write_text(json.dumps(config))
    with subprocess.Popen([*command, "daemon"], env=environment, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            yield _address(daemon)
        finally:
            daemon.kill()


def _address(daemon: subprocess.Popen[str]) -> str:
    assert daemon.stdout is not None
    url = ""
    for line in daemon.stdout:
        if found := re.search(r"HTTP API listening on /ip4/([\d.]+)/tcp/(\d+)", line):
            url = f"http://{found[1]}:{found[2]}"
        if "Daemon is ready" in line:
            return url
    raise AssertionError("the daemon has ended")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if URL is not None:
        yield URL
        return
    if shutil.which("node") is None:
        pytest.skip("no Node here")
    with js_ipfs(tmp_path_factory.mktemp("js-ipfs") / "repository") as address:
        yield address


@pytest.fixture
def kubo(url: str, tmp_path: Path) -> KuboStore:
    return KuboStore(url, tmp_path / "reasons", search_s=1.0)


@pytest.fixture
def own(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "own")


def test_it_says_its_version(kubo: KuboStore) -> None:
    assert re.match(r"\d+\.\d+", kubo.version())


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5_000_000])
def test_content_goes_there_and_back_under_the_cid_computed_here(
    kubo: KuboStore, tmp_path: Path, size_bytes: int
) -> None:
    data = secrets.token_bytes(size_bytes)
    cid = kubo.add_bytes(data)
    assert cid == content_cid(data)
    assert kubo.has(cid)
    assert kubo.verify(cid) == size_bytes
    kubo.copy_to(cid, tmp_path / "copy", size_bytes)
    assert (tmp_path / "copy").read_bytes() == data


def test_deep_tree_is_kept_and_pinned(kubo: KuboStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(secrets.token_bytes(175 * CHUNK_BYTES))
    with path.open("rb") as stream:
        cid = kubo.add(stream)
    kubo.pin(cid, "job 1")
    assert kubo.has_pinned(cid)
    kubo.unpin(cid, "job 1")
    assert not kubo.has_pinned(cid)


def test_blocks_of_version_0_keep_their_names(kubo: KuboStore, tmp_path: Path) -> None:
    data = secrets.token_bytes(CHUNK_BYTES + 1)
    (tmp_path / "file").write_bytes(data)
    blocks: list[tuple[Cid, bytes]] = []
    with (tmp_path / "file").open("rb") as stream:
        cid = build_file(stream, lambda block_cid, block: blocks.append((block_cid, block)), CIDV0_PROFILE)
    kubo.put_blocks(blocks)
    assert kubo.read(cid, len(data)) == data
    kubo.pin(cid, "job 1")
    assert kubo.has_pinned(cid)
    kubo.unpin(cid, "job 1")


def test_what_is_nowhere_is_not_found_in_time(kubo: KuboStore) -> None:
    cid = Cid.of_block(secrets.token_bytes(32), RAW)
    with pytest.raises(BlockNotFound):
        kubo.get_block(cid)
    with pytest.raises(BlockNotFound):
        kubo.held.get_block(cid)
    assert not kubo.has(cid)
    assert not kubo.has_pinned(cid)


def test_pin_of_one_store_is_fetched_by_another(kubo: KuboStore, own: EmbeddedStore, tmp_path: Path) -> None:
    data = secrets.token_bytes(20 * CHUNK_BYTES + 7)
    mine = SourcedStore(own, kubo=kubo)
    cid = mine.add_bytes(data)
    mine.pin(cid, "job 1 attempt 0 seat 3")
    assert kubo.has_pinned(cid)
    theirs = SourcedStore(EmbeddedStore(tmp_path / "theirs"), kubo=kubo)
    shown: list[tuple[int, int]] = []
    assert theirs.fetch(cid, lambda done, total: shown.append((done, total))) == len(data)
    assert shown[-1] == (len(data), len(data))
    assert theirs.local.read(cid, len(data)) == data
    mine.unpin(cid, "job 1 attempt 0 seat 3")
    assert not kubo.has_pinned(cid)


def test_damage_here_is_made_good_from_there(kubo: KuboStore, own: EmbeddedStore) -> None:
    data = secrets.token_bytes(3 * CHUNK_BYTES)
    mine = SourcedStore(own, kubo=kubo)
    cid = mine.add_bytes(data)
    mine.pin(cid, "job 1")
    path = own._blocks.path(cid)
    damaged = bytearray(path.read_bytes())
    damaged[10] ^= 1
    path.write_bytes(damaged)
    assert mine.read(cid, len(data)) == data
    assert own.verify(cid) == len(data)
    mine.unpin(cid, "job 1")


@pytest.mark.skipif(URL is not None, reason="another's daemon is not stopped")
def test_daemon_that_stops_is_told_and_what_is_here_stays(tmp_path: Path, own: EmbeddedStore) -> None:
    with js_ipfs(tmp_path / "repository") as address:
        mine = SourcedStore(own, kubo=KuboStore(address, tmp_path / "reasons"))
        first = mine.add_bytes(b"first")
        mine.pin(first, "job 1")
    second = mine.add_bytes(b"second")
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        mine.pin(second, "job 1")
    assert mine.pins() == {first: {"job 1"}, second: {"job 1"}}
    with js_ipfs(tmp_path / "repository 2") as address:
        mine = SourcedStore(own, kubo=KuboStore(address, tmp_path / "reasons 2"))
        assert mine.share_pins() == 1
