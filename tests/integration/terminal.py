"""The command line as people use it: a folder with keystores and data, commands in it, a chain that goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.devnet import REPOSITORY, Devnet
from market.chain import keystore
from market.chain.deployment import Deployment
from market.protocol.identifiers import JobId
from tests.integration.marketplace import srs_folder

PASSWORD = "a password for tests"
COIN = 10**18
JOB = JobId(0)
TRAINERS = ("trainer-0", "trainer-1", "trainer-2")
PATIENCE_S = 90

SPEC = """
name: three blobs
model: {architecture: logistic_regression, arguments: {features: 4, classes: 3}}
training: {epochs: 2, batch_size: 16, learning_rate: 0.1}
rules: {accept: [], score: equal}
rounds: 1
seats: 3
periods:
  enrol_s: 1000
  commit_s: 1000
  reveal_s: 1000
  settle_s: 1000
  vesting_s: 500
  deadline_s: 100000
  confirmations: 1
  block_time_s: 1
money: {round_reward: 3 ether, aggregator_fee: 0.1 ether, trainer_stake: 6 ether, aggregator_bond: 3 ether}
"""


class Mining:
    """Mines a block every so often, as a chain does: clients wait for confirmations. It can be held up."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet, self._going, self._ended = devnet, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._mine, daemon=True)
        self._thread.start()

    def _mine(self) -> None:
        while not self._ended.wait(0.2):
            with self._going:
                self._devnet.mine()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        with self._going:
            self._devnet.set_mining(False)
            try:
                yield
            finally:
                self._devnet.set_mining(True)
                self._devnet.mine()


class Running(subprocess.Popen[str]):
    """A command in a process of its own; what it prints can be read while it runs."""

    def __init__(self, command: list[str], printed: Path, environment: dict[str, str]) -> None:
        self._output, self._errors = printed.with_suffix(".out"), printed.with_suffix(".err")
        with self._output.open("w") as output, self._errors.open("w") as errors:
            super().__init__(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=errors)

    def said(self) -> str:
        """What it printed so far."""
        return self._output.read_text()

    def complained(self) -> str:
        """What it printed so far of errors."""
        return self._errors.read_text()


@dataclass
class Terminal:
    """A folder in which people with keystores run `fedmarket`, in this process or in one of its own."""

    folder: Path
    url: str
    mining: Mining
    running: list[Running] = field(default_factory=list)

    def environment(self, who: str | None) -> dict[str, str]:
        settings = {
            "FEDMARKET_RPC": self.url,
            "FEDMARKET_DEPLOYMENT": str(self.folder / "deployment.json"),
            "FEDMARKET_STORE": str(self.folder / "store"),
            "FEDMARKET_SRS": str(srs_folder()),
            "FEDMARKET_PASSWORD_FILE": str(self.folder / "password"),
        }
        if who is not None:
            settings |= {
                "FEDMARKET_KEYSTORE": str(self.folder / f"{who}.json"),
                "FEDMARKET_WORK": str(self.folder / "work" / who),
            }
        return settings

    def run(self, *arguments: object, who: str | None = None) -> Result:
        """Run a command to its end, in this process."""
        return CliRunner(env=self.environment(who)).invoke(main, [str(a) for a in arguments])

    def told(self, *arguments: object, who: str | None = None) -> str:
        """What a command that has to succeed prints."""
        result = self.run(*arguments, who=who)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def start(self, *arguments: object, who: str) -> Running:
        """Start a command in a process of its own."""
        process = Running(
            [sys.executable, "-m", "fedmarket", *map(str, arguments)],
            self.folder / f"{who}-{len(self.running)}",
            {**os.environ, **self.environment(who), "OMP_NUM_THREADS": "1"},
        )
        self.running.append(process)
        return process

    def train(self, who: str) -> Running:
        return self.start("trainer", "run", JOB, "--data", self.folder / f"{who}.npz", "--device", "cpu", who=who)

    def aggregate(self) -> Running:
        return self.start("aggregator", "run", JOB, who="aggregator")

    def address(self, who: str) -> str:
        return self.told("keys", "show", self.folder / f"{who}.json").strip()


def kill_all(processes: Iterable[Running]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def furnish(folder: Path, devnet: Devnet, deployment: Deployment, mining: Mining) -> Terminal:
    """A terminal in a folder with a funded keystore and a data set for everybody."""
    deployment.save(folder / "deployment.json")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    (folder / "job.yaml").write_text(SPEC)
    opened = Terminal(folder, devnet.url, mining)
    for number, who in enumerate(("owner", "aggregator", *TRAINERS)):
        made = keystore.create(folder / f"{who}.json", PASSWORD, "scrypt-light")
        devnet.fund(made.address, 100 * COIN)
        write_blobs(folder / f"{who}.npz", seed=number)
    return opened


def write_blobs(path: Path, seed: int) -> None:
    """Three clouds of points in four dimensions, one a class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    inputs = 3.0 * np.eye(4)[labels] + generator.normal(size=(60, 4))
    np.savez(path, inputs=inputs.astype(np.float32), labels=labels)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.1)


def ended(process: Running) -> tuple[int, str, str]:
    return process.wait(PATIENCE_S), process.said(), process.complained()


def transactions(devnet: Devnet, address: str) -> int:
    """How many of an account's transactions were mined."""
    return int(devnet.request("eth_getTransactionCount", address, "latest"), 16)


def waiting(devnet: Devnet, address: str) -> int:
    """How many of an account's transactions wait to be mined."""
    pool = devnet.request("txpool_content")
    by_account = [entry for state in ("pending", "queued") for entry in pool[state].items()]
    return sum(len(entries) for account, entries in by_account if account.lower() == address.lower())


def refuses(result: Result, status: int, words: str, what: str) -> None:
    lines = result.stderr.splitlines()
    assert (len(lines), result.exit_code) == (1, status), (what, result.stderr, result.exception)
    assert lines[0].startswith("fedmarket: error: "), what
    assert words in lines[0], (what, lines[0])
