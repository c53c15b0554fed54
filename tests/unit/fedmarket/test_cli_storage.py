"""`fedmarket storage`: contents kept, fetched and served from a terminal."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedmarket.cli import main
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, content_cid
from market.storage.block_server import BlockServer
from tests.unit.storage.daemons import daemon
from tests.unit.storage.hostile_servers import behaving, silent

DATA = hashlib.shake_256(b"content").digest(2 * CHUNK_BYTES + 5)
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one command on the store `mine`."""

    def command(*arguments: str | Path) -> Result:
        line = ["storage", *map(str, arguments), "--store", str(tmp_path / "mine")]
        return CliRunner().invoke(main, line, env={"FEDMARKET_GATEWAY": "", "FEDMARKET_KUBO": ""})

    return command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "theirs")


def test_file_is_kept_pinned_and_comes_back(run: Run, file: Path, tmp_path: Path) -> None:
    cid = content_cid(DATA)
    assert run("add", file, "--reason", "a test").stdout == f"{cid}\n"
    assert run("pins").stdout == f"{cid}  a test\n"
    assert run("gc", "--grace", "0").stdout == "removed 0 blocks, 0 bytes\n"
    assert run("get", cid, tmp_path / "copy").exit_code == 0
    assert (tmp_path / "copy").read_bytes() == DATA


def test_what_is_unpinned_may_be_removed(run: Run, file: Path) -> None:
    cid = run("add", file).stdout.strip()
    assert run("unpin", cid, "--reason", "another").exit_code == 2
    assert run("unpin", cid).exit_code == 0
    assert run("gc").stdout == "removed 0 blocks, 0 bytes\n"
    assert re.match(r"removed \d+ blocks, 52\d,\d+ bytes", run("gc", "--grace", "0").stdout)


def test_content_is_fetched_from_the_first_gateway_that_has_it(run: Run, theirs: EmbeddedStore, tmp_path: Path) -> None:
    cid = theirs.add_bytes(DATA)
    with BlockServer(EmbeddedStore(tmp_path / "empty")) as empty, BlockServer(theirs) as full:
        gateways = ("--gateway", empty.url, "--gateway", full.url)
        assert run("get", cid, tmp_path / "copy", *gateways).exit_code == 0
        assert run("pin", cid, *gateways).exit_code == 0
    assert (tmp_path / "copy").read_bytes() == DATA
    assert run("pins").stdout == f"{cid}  by hand\n"


def test_what_nobody_has_names_whoever_was_asked(run: Run, theirs: EmbeddedStore, tmp_path: Path) -> None:
    with BlockServer(theirs) as server:
        result = run("get", content_cid(DATA), tmp_path / "copy", "--gateway", server.url)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert server.url in result.stderr
    assert not (tmp_path / "copy").exists()


def test_damage_is_named_and_made_good_where_another_has_the_content(
    run: Run, file: Path, theirs: EmbeddedStore, tmp_path: Path
) -> None:
    cid = run("add", file).stdout.strip()
    theirs.add_bytes(DATA)
    EmbeddedStore(tmp_path / "mine")._blocks.path(Cid.of_block(DATA[:CHUNK_BYTES], 0x55)).write_bytes(b"damaged")
    alone = run("verify")
    assert alone.exit_code == 1
    assert f"{cid}  block" in alone.stdout
    with BlockServer(theirs) as server:
        assert run("verify", "--gateway", server.url).stdout == f"{cid}  whole, {len(DATA):,} bytes\n"
    assert run("verify", cid).exit_code == 0


def test_pins_go_to_the_daemon_that_is_named(run: Run, file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("bearer:open-sesame\n")
    secret.chmod(0o600)
    with daemon() as told:
        cid = run("add", file, "--kubo", told.url, "--kubo-auth-file", secret).stdout.strip()
        assert told.pins == {cid}
        assert {headers["Authorization"] for headers in told.headers} == {"Bearer open-sesame"}


def test_trouble_with_the_daemon_is_told_and_the_own_copy_stays(run: Run, file: Path) -> None:
    with daemon() as told:
        told.refuse = lambda call: (500, "no space left on device")
        result = run("add", file, "--kubo", told.url)
    assert result.exit_code == 0
    assert "has no room: no space left on device; the own copy is kept" in result.stderr
    assert run("pins").stdout == f"{content_cid(DATA)}  by hand\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kubo", "nonsense"], "no address of a server"),
        (["--gateway", "ftp://example.org"], "no address of a server"),
        (["--kubo-auth-file", "secret"], "--kubo URL"),
        (["--kubo", "http://127.0.0.1:5001", "--kubo-auth-file", "missing"], "missing"),
    ],
)
def test_mistakes_are_told_in_a_line(run: Run, options: list[str], said: str) -> None:
    result = run("pins", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_authorization_that_others_can_read_is_refused(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("bearer:open-sesame\n")
    secret.chmod(0o644)
    result = run("pins", "--kubo", "http://127.0.0.1:5001", "--kubo-auth-file", secret)
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr
    assert "sesame" not in result.stderr


def test_file_that_is_not_there_is_a_mistake(run: Run, tmp_path: Path) -> None:
    assert run("add", tmp_path / "missing").exit_code == 2


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "fedmarket", "storage", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_store_is_served_until_it_is_interrupted(run: Run, file: Path, tmp_path: Path) -> None:
    cid = run("add", file).stdout.strip()
    with started("serve", "--port", "0", "--store", str(tmp_path / "mine")) as serving:
        assert serving.stdout is not None
        url = serving.stdout.readline().split()[-1]
        other = ["storage", "get", cid, str(tmp_path / "copy"), "--store", str(tmp_path / "other"), "--gateway", url]
        assert CliRunner().invoke(main, other).exit_code == 0
        serving.send_signal(signal.SIGINT)
        assert serving.wait(20) == 0
    assert (tmp_path / "copy").read_bytes() == DATA


def test_interrupted_fetch_ends_at_once_and_says_how_to_go_on(theirs: EmbeddedStore, tmp_path: Path) -> None:
    cid = theirs.add_bytes(DATA)
    root = theirs.get_block(cid)
    EmbeddedStore(tmp_path / "mine").put_blocks([(cid, root)])
    with behaving(silent) as url:
        place = ["--store", str(tmp_path / "mine"), "--gateway", url]
        with started("get", str(cid), str(tmp_path / "copy"), *place) as getting:
            with pytest.raises(subprocess.TimeoutExpired):
                getting.wait(5)
            getting.send_signal(signal.SIGINT)
            _, said = getting.communicate(timeout=20)
            assert getting.returncode == 130
    assert "start it again to go on" in said


def test_a_store_takes_no_more_than_its_quota(run: Run, file: Path, theirs: EmbeddedStore, tmp_path: Path) -> None:
    refused = run("add", file, "--store-quota", "0.4 MB")
    assert refused.exit_code == 1
    assert "400,000 are allowed" in refused.stderr
    assert run("pins").stdout == ""
    with BlockServer(theirs) as server:
        cid = theirs.add_bytes(DATA)
        fetching = ("get", cid, tmp_path / "copy", "--gateway", server.url)
        assert "400,000 are allowed" in run(*fetching, "--store-quota", "400kB").stderr
        assert run(*fetching, "--store-quota", "1 MiB").exit_code == 0


def test_a_quota_that_is_no_size_is_a_mistake(run: Run) -> None:
    result = run("pins", "--store-quota", "much")
    assert result.exit_code == 2
    assert "'much' is no size: expected a number of bytes, as in 500MB or 20GiB" in result.stderr


def test_the_quota_is_the_environments_too(file: Path, tmp_path: Path) -> None:
    line = ["storage", "add", str(file), "--store", str(tmp_path / "mine")]
    assert CliRunner().invoke(main, line, env={"FEDMARKET_STORE_QUOTA": "1kB"}).exit_code == 1
    assert CliRunner().invoke(main, line, env={"FEDMARKET_STORE_QUOTA": "1MB"}).exit_code == 0


def test_a_place_that_is_taken_is_a_mistake(run: Run, theirs: EmbeddedStore) -> None:
    with BlockServer(theirs) as server:
        port = server.url.rpartition(":")[2]
        result = run("serve", "--port", port)
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in result.stderr


def test_where_a_file_cannot_be_written_is_said_before_anything_is_fetched(
    run: Run, theirs: EmbeddedStore, tmp_path: Path
) -> None:
    cid = theirs.add_bytes(DATA)
    os.mkfifo(tmp_path / "pipe")
    places = {"pipe": "is no file", ".": "is no file", "missing/copy": "there is no folder"}
    with BlockServer(theirs) as server:
        for place, said in places.items():
            result = run("get", cid, tmp_path / place, "--gateway", server.url)
            assert result.exit_code == 2
            assert said in result.stderr
    assert (tmp_path / "pipe").is_fifo()
    assert not (tmp_path / "mine").exists()


def test_a_file_is_no_store_to_serve(run: Run, file: Path) -> None:
    file.rename(file.parent / "mine")
    result = run("serve", "--port", "0")
    assert result.exit_code == 2
    assert "expected a store's folder" in result.stderr
