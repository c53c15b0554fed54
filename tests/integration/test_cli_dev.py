"""The development chain: it starts, funds, is found by the other commands, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.devnet import REPOSITORY
from market.chain import keystore

PASSWORD = "a password for tests"
ADDRESS = "0x" + "12" * 20

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `fedmarket dev chain` on a free port; returns the process and the chain's address once it is ready."""
    processes = []

    def start_chain(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "fedmarket", "dev", "chain", "--port", "0", *arguments]
        command += ["--deployment", str(tmp_path / "deployment.json")]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=unbuffered()
        )
        processes.append(process)
        return process, announced(process)

    yield start_chain
    for process in processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def unbuffered() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def announced(process: subprocess.Popen[str]) -> str:
    """Read until the chain says how to stop it; its address."""
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        url = found.group() if found else url
        if "Ctrl-C" in line:
            return url
    raise AssertionError(f"the chain did not start: {process.communicate()[1]}")


def run(tmp_path: Path, url: str, *arguments: object) -> Result:
    environment = {
        "FEDMARKET_RPC": url,
        "FEDMARKET_DEPLOYMENT": str(tmp_path / "deployment.json"),
        "FEDMARKET_STORE": str(tmp_path / "store"),
    }
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    keystore.create(tmp_path / "owner.json", PASSWORD, "scrypt-light")
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    return tmp_path / "owner.json"


def test_a_chain_funds_serves_and_leaves_nothing_behind(tmp_path: Path, start: Start, owner: Path) -> None:
    process, url = start("--fund", str(owner), "--fund", ADDRESS)

    assert run(tmp_path, url, "job", "list").stdout == "no job has been posted yet\n"
    assert "has 1005 ETH" in run(tmp_path, url, "dev", "fund", owner, "--amount", "5 ether").stdout
    assert "has 2000 ETH" in run(tmp_path, url, "dev", "fund", ADDRESS).stdout

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "the chain is stopped, and everything on it is gone\n")
    assert not (tmp_path / "deployment.json").exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_keys_and_coins_for_development_are_refused_elsewhere(tmp_path: Path, start: Start, owner: Path) -> None:
    _, url = start("--chain-id", "5")

    fund = run(tmp_path, url, "dev", "fund", owner)
    assert fund.exit_code == 2
    assert "is no development chain (chain 5): it gives no coins" in fund.stderr

    arguments = ("--keystore", owner, "--password-file", tmp_path / "password")
    close = run(tmp_path, url, "job", "close", 0, *arguments)
    assert close.exit_code == 2
    assert "is a light one, for development chains only" in close.stderr


def test_the_insecure_powers_of_tau_are_refused_off_development_chains(tmp_path: Path, start: Start) -> None:
    keystore.create(tmp_path / "strong.json", PASSWORD, "scrypt")
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "job.yaml").write_text((REPOSITORY / "fedmarket" / "examples" / "digits-median.yaml").read_text())
    _, url = start("--chain-id", "5", "--fund", str(tmp_path / "strong.json"))

    arguments = ("--keystore", tmp_path / "strong.json", "--password-file", tmp_path / "password")
    post = run(tmp_path, url, "job", "post", tmp_path / "job.yaml", "--srs", tmp_path / "srs", *arguments)

    assert post.exit_code == 2
    assert len(post.stderr.splitlines()) == 1
    assert "is insecure, everybody knows its tau, and chain 5 is no development chain" in post.stderr
    assert not (tmp_path / "srs").exists()
    assert run(tmp_path, url, "job", "list").stdout == "no job has been posted yet\n"


def test_a_second_chain_on_a_taken_port_says_so(tmp_path: Path, start: Start) -> None:
    process, url = start()
    before = (tmp_path / "deployment.json").read_bytes()

    second = run(tmp_path, url, "dev", "chain", "--port", url.rpartition(":")[2])

    assert second.exit_code == 1
    assert len(second.stderr.splitlines()) == 1
    assert "the local chain did not start" in second.stderr
    assert process.poll() is None
    assert (tmp_path / "deployment.json").read_bytes() == before


def test_a_keystore_to_fund_that_is_none_is_refused_before_the_chain_starts(tmp_path: Path) -> None:
    refused = run(tmp_path, "http://127.0.0.1:9", "dev", "chain", "--port", "0", "--fund", "nowhere.json")

    assert refused.exit_code == 2
    assert "keystore nowhere.json cannot be read" in refused.stderr
    assert not (tmp_path / "deployment.json").exists()


def test_a_marketplace_is_put_on_a_running_chain_once(tmp_path: Path, start: Start, owner: Path) -> None:
    _, url = start()
    (tmp_path / "deployment.json").rename(tmp_path / "first.json")

    first = run(tmp_path, url, "dev", "deploy", "--fund", owner)
    written = (tmp_path / "deployment.json").read_bytes()
    second = run(tmp_path, url, "dev", "deploy", "--fund", owner)

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert "JobMarket 0x" in first.stdout
    assert "is on the chain already" in second.stdout
    assert (tmp_path / "deployment.json").read_bytes() == written != (tmp_path / "first.json").read_bytes()
    assert "has 1005 ETH" in run(tmp_path, url, "dev", "fund", owner, "--amount", "5 ether").stdout


def test_a_marketplace_of_a_chain_that_is_gone_is_put_there_anew(tmp_path: Path, start: Start) -> None:
    first, _ = start()
    stale = (tmp_path / "deployment.json").read_bytes()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    _, url = start()
    (tmp_path / "deployment.json").write_bytes(stale.replace(b'"block": ', b'"block": 1'))

    again = run(tmp_path, url, "dev", "deploy")

    assert again.exit_code == 0, again.stderr
    assert "JobMarket 0x" in again.stdout


def test_a_marketplace_of_an_older_version_makes_room_for_a_new_one(tmp_path: Path, start: Start) -> None:
    _, url = start()
    file = tmp_path / "deployment.json"
    stated = json.loads(file.read_text())
    added = ("directory", "receipts", "claims", "task_endings", "consensus")
    older = {name: value for name, value in stated.items() if name not in added}
    file.write_text(json.dumps(older))

    refused = run(tmp_path, url, "job", "list")
    again = run(tmp_path, url, "dev", "deploy")

    assert refused.exit_code == 1
    told = "names no receipts and no claims and no directory and no task_endings and no consensus: an older version"
    assert told in refused.stderr
    assert again.exit_code == 0, again.stderr
    assert set(json.loads(file.read_text())) == set(stated)


def test_no_marketplace_is_put_on_a_chain_of_value(tmp_path: Path, start: Start) -> None:
    _, url = start("--chain-id", "5")

    refused = run(tmp_path, url, "dev", "deploy")

    assert refused.exit_code == 2
    assert "is no development chain (chain 5): deploy by hand" in refused.stderr
