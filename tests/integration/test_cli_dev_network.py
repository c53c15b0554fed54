"""A whole network in one command, for real: it settles a round, shows itself, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.connection import NetworkOptions
from fedmarket.devnet import REPOSITORY
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.events import ROUNDS
from market.client import MarketClient
from market.job_history import JobHistory
from market.protocol.identifiers import JobId

START_S, ROUND_S, STOP_S = 45, 100, 40
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `fedmarket dev up` on free ports in the test's folder; its log is in `log`."""
    processes = []

    def start_network(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "fedmarket", "dev", "up", "--rpc-port", "0", "--port", "0", *arguments]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment()
            )
        processes.append(process)
        return process

    yield start_network
    for process in processes:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_S)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDMARKET_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(main, list(arguments))


def log_of(folder: Path) -> str:
    return (folder / "log").read_text("utf-8")


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str], folder: Path, patience_s: float) -> Any:
    give_up_s = time.monotonic() + patience_s
    while not (found := condition()):
        assert process.poll() is None, f"it ended with {process.returncode}:\n{log_of(folder)[-4000:]}"
        assert time.monotonic() < give_up_s, f"waited {patience_s} s:\n{log_of(folder)[-4000:]}"
        time.sleep(0.3)
    return found


def the_page_is_up(folder: Path) -> bool:
    return "the page is at http://127.0.0.1:" in log_of(folder)


def record(folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / ".fedmarket" / "network.json").read_text("utf-8"))
    return answer


def everybody(process: subprocess.Popen[str], folder: Path) -> list[psutil.Process]:
    """All that descends from the network's process, and all that its record names."""
    named = [psutil.Process(role["pid"]) for role in record(folder)["roles"] if role["pid"]]
    return list({*psutil.Process(process.pid).children(recursive=True), *named})


def settlements(folder: Path) -> int:
    if not (folder / NetworkOptions().deployment).exists():
        return 0  # the chain has ended: whoever waits sees that its network has
    deployment = Deployment.load(folder / NetworkOptions().deployment)
    market = deployment.connect(Chain.connect(record(folder)["rpc_url"], deployment.chain_id))
    if not market.job_count():
        return 0
    return len(list(JobHistory(market.events(JobId(0), deployment.block, kinds=ROUNDS)).settlements()))


def are_measured(folder: Path) -> bool:
    """Whether a round is settled on the page, and every model measured: the initial one, and what rounds made."""
    with MarketClient(record(folder)["page_url"]) as client:
        settled = any(attempt.outcome == "settled" for attempt in client.attempts(0))
        return settled and len(evaluations(folder)) >= len(list(client.models(0)))


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """What the page has of the models' accuracy."""
    answer = requests.get(f"{record(folder)['page_url']}/api/v1/jobs/0/evaluations", timeout=5)
    told: list[dict[str, Any]] = answer.json() if answer.ok else []
    return told


def test_a_network_settles_its_first_round_and_ends_with_ctrl_c(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("--trainers", "3")
    wait_for(lambda: the_page_is_up(tmp_path), process, tmp_path, START_S)

    wait_for(lambda: settlements(tmp_path), process, tmp_path, ROUND_S)
    # Of three trainers an exam may fail one, whatever its slice holds: then the round makes no model.
    wait_for(lambda: are_measured(tmp_path), process, tmp_path, ROUND_S)
    shown = run(tmp_path, monkeypatch, "dev", "status")
    told = json.loads(run(tmp_path, monkeypatch, "dev", "status", "--json").stdout)
    second = run(tmp_path, monkeypatch, "dev", "up")
    running = everybody(process, tmp_path)

    assert shown.exit_code == 0, shown.output
    assert all(name in shown.stdout for name in ("chain", "market", "owner", "aggregator", "attestor", "trainer-2"))
    assert told["pid"] == process.pid
    assert {role["name"] for role in told["roles"] if role["state"] == "failed"} == set()
    assert told["health"]["market"]["well"]
    assert "block " in told["health"]["chain"]["says"]
    assert (second.exit_code, len(second.stderr.splitlines())) == (2, 1)
    assert f"a network runs in this folder already (process {process.pid})" in second.stderr
    assert requests.get(f"{told['page_url']}/healthz", timeout=5).ok

    process.send_signal(signal.SIGINT)

    assert process.wait(STOP_S) == 0, log_of(tmp_path)[-4000:]
    assert psutil.wait_procs(running, timeout=5)[1] == []
    assert not (tmp_path / ".fedmarket" / "network.json").exists()
    assert not (tmp_path / ".fedmarket" / "deployment.json").exists()
    assert "no network runs here" in run(tmp_path, monkeypatch, "dev", "status").stdout
    assert "Traceback" not in log_of(tmp_path)


def test_nothing_outlives_a_network_that_is_killed(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("--no-job")
    wait_for(lambda: the_page_is_up(tmp_path), process, tmp_path, START_S)
    running, rpc_url = everybody(process, tmp_path), record(tmp_path)["rpc_url"]
    assert requests.post(rpc_url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}, timeout=5).ok

    process.kill()
    process.wait()

    assert psutil.wait_procs(running, timeout=STOP_S)[1] == []
    with pytest.raises(requests.ConnectionError):
        requests.get(rpc_url, timeout=5)
    assert run(tmp_path, monkeypatch, "dev", "status").exit_code == 1


def test_what_a_network_keeps_is_its_users_alone_and_names_no_secret(tmp_path: Path, start: Start) -> None:
    process = start("--no-job")
    wait_for(lambda: the_page_is_up(tmp_path), process, tmp_path, START_S)
    own = tmp_path / ".fedmarket" / "network"
    password = (own / "password").read_text("utf-8").strip()
    secret_files = [own / "password", *(own / "keys").iterdir()]

    assert len(secret_files) == 4
    assert {path.stat().st_mode & 0o777 for path in secret_files} == {0o600}
    assert password not in json.dumps(record(tmp_path)) + log_of(tmp_path)
    assert all(password not in " ".join(one.cmdline()) for one in everybody(process, tmp_path))


def test_ports_in_use_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        refused = run(tmp_path, monkeypatch, "dev", "up", "--rpc-port", port)
        page = run(tmp_path, monkeypatch, "dev", "up", "--rpc-port", "0", "--port", port)

    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert f"port {port} of this machine is in use" in refused.stderr
    assert "--rpc-port" in refused.stderr
    assert "another with --port" in page.stderr
    assert not (tmp_path / ".fedmarket" / "network.json").exists()


def test_one_port_is_not_enough_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(tmp_path, monkeypatch, "dev", "up", "--rpc-port", "4000", "--port", "4000")

    assert refused.exit_code == 2
    assert "are both 4000: expected two ports" in refused.stderr


def test_a_folder_without_a_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = run(tmp_path, monkeypatch, "dev", "status")

    assert (status.exit_code, status.stdout) == (1, "no network runs here: `fedmarket dev up` starts one\n")
    assert json.loads(run(tmp_path, monkeypatch, "dev", "status", "--json").stdout) == {"running": False}
    assert list(tmp_path.iterdir()) == []
