"""The local chain: its time, its money, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet, DevnetOptions
from market.protocol.errors import ChainError, ChainUnreachable, InvalidInput

REPOSITORY = Path(__file__).resolve().parents[2]


def test_time_runs_as_fast_as_it_is_told(devnet: Devnet) -> None:
    start_s = devnet.timestamp()
    assert start_s + 86_400 <= devnet.advance(86_400) < start_s + 86_460


def test_time_never_runs_backwards(devnet: Devnet) -> None:
    later_s = devnet.advance(1_000)
    devnet.mine(3)
    assert devnet.timestamp() >= later_s
    assert devnet.advance_to(later_s - 500) >= later_s
    with pytest.raises(InvalidInput, match="forwards only"):
        devnet.advance(-1)
    with pytest.raises(InvalidInput, match="forwards only"):
        devnet.set_next_timestamp(later_s - 1)


def test_next_block_has_exactly_the_timestamp_that_was_set(devnet: Devnet) -> None:
    moment_s = devnet.timestamp() + 12_345
    devnet.set_next_timestamp(moment_s)
    devnet.mine()
    assert devnet.timestamp() == moment_s


def test_revert_restores_balances_and_time(devnet: Devnet) -> None:
    address = "0x" + "77" * 20
    before_s = devnet.timestamp()
    snapshot = devnet.snapshot()
    devnet.fund(address, 5)
    devnet.advance(10_000)
    assert devnet.balance_wei(address) == 5
    devnet.revert(snapshot)
    assert devnet.balance_wei(address) == 0
    assert devnet.timestamp() == before_s
    devnet.mine()
    assert devnet.timestamp() < before_s + 5_000
    with pytest.raises(ChainError):
        devnet.revert(snapshot)


def test_refused_request_says_why(devnet: Devnet) -> None:
    with pytest.raises(ChainError, match="refused no_such_method"):
        devnet.request("no_such_method")


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected anvil or ganache"):
        Devnet(DevnetOptions(kind="geth"))  # type: ignore[arg-type]


def test_blocks_come_by_themselves_with_a_block_time() -> None:
    with Devnet(DevnetOptions(block_time_s=1)) as running:
        first = running.timestamp()
        pause = threading.Event()
        for _ in range(100):
            if running.timestamp() > first:
                return
            pause.wait(0.1)
    pytest.fail("no block came")


def test_program_that_cannot_start_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDMARKET_ANVIL", str(tmp_path / "missing"))
    with pytest.raises(ChainUnreachable, match=r"cannot run .*missing: No such file"):
        Devnet()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho it is broken\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setenv("FEDMARKET_ANVIL", str(broken))
    with pytest.raises(ChainUnreachable, match="did not start: it is broken"):
        Devnet()


def test_closing_twice_is_closing_once() -> None:
    running = Devnet()
    running.close()
    running.close()
    with pytest.raises(ChainUnreachable):
        running.timestamp()


CHILD = """
import sys, time
from fedmarket.devnet import Devnet, DevnetOptions
running = Devnet(DevnetOptions(kind=sys.argv[1]))
print(running.url, flush=True)
time.sleep(60)
"""


def test_chain_ends_when_its_starter_is_killed(devnet: Any) -> None:
    arguments = [sys.executable, "-c", CHILD, devnet.options.kind]
    child = subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    port = int(child.stdout.readline().rsplit(":", 1)[1])
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert is_closed_soon(port), "the chain outlived its starter"


def test_chain_ends_when_whoever_guards_it_is_told_to(devnet: Any) -> None:
    """As by `pkill` with the project's folder, which names the guard and not what it guards."""
    running = Devnet(DevnetOptions(kind=devnet.options.kind))
    port = int(running.url.rsplit(":", 1)[1])
    try:
        running._process.terminate()
        running._process.wait(30)
        assert is_closed_soon(port), "the chain outlived its guard"
    finally:
        running.close()


def is_closed_soon(port: int) -> bool:
    pause = threading.Event()
    return any(not is_open(port) or pause.wait(0.05) for _ in range(200))


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
