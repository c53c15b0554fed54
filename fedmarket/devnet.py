"""A blockchain of one's own on this machine: Anvil by default, Ganache on request. Never for real money."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Literal, Self

import requests

from fedmarket import process_guard
from market.protocol.errors import ChainError, ChainUnreachable, InvalidInput

Kind = Literal["anvil", "ganache"]

REPOSITORY = Path(__file__).resolve().parents[1]
CHAIN_ID = 31337
BLOCK_GAS_LIMIT = 30_000_000
STATES = 256  # of the last blocks, as full nodes keep them
START_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 30.0
PORT_ATTEMPTS = 5
DEVELOPMENT_POWERS_OF_TAU = bytes.fromhex(
    "20fa055e8fb7240f41da6bb509846cb4c181822ae05a9425904ea098155473ec"
    "1be1b4bd3ce531e8e466a0604979ca59c712dbf7e48c1ec4366a1f508a6934ac"
    "0cff348c5022a51144bdae508efd2b7b5f838aa61fe61d28528338e786c34d49"
    "0f2804fcd16d31af551cb0d79cdef4a1794ee818f32e27c631a890604ba1c112"
    "0990042fbb2116ad6b07a284d41a42307f1de06a18c73c82b38c1708a0161567"
    "0ed880172168353ad407a271184e91d23f9639caf977609a48667c7add1bef5d"
    "2e212706f0d7f3bdcc2d75ab8a518233fc7e17f72ec4487e6c325583ee4a730f"
    "1197d3dc3824bb4a2b92cc631fae2a185439b57982fd43ab56bf1364c02fe5ea"
    "0e9799fc06f24efd1f8f2a1383f1a17872f94e2158f1162051c6785d68aa5ff3"
    "17d25eedbd62bf78f3ae62985c62089fb00f1fdace252b7861ff8f317fe2053f"
)
"""Of the insecure SRS, [τ] in the first group, [τ] and [τ²] in the second. Everybody knows its τ."""

LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class DevnetOptions:
    """How the chain runs.

    Attributes:
        kind: "anvil" or "ganache".
        chain_id: what the chain calls itself.
        accounts: how many unlocked accounts with 10,000 coins each it has from the start; `fund` serves all others.
        block_time_s: a block every so many seconds; None mines a block for every transaction at once.
        port: where it listens on 127.0.0.1; 0 for any free port.
    """

    kind: Kind = "anvil"
    chain_id: int = CHAIN_ID
    accounts: int = 1
    block_time_s: int | None = None
    port: int = 0


class Devnet:
    """A running chain. Use it as a context manager: it ends with the block, and also when this process is killed.

    Time runs as fast as `advance` is called, never slower than the wall clock, and only `revert` turns it back.
    """

    def __init__(self, options: DevnetOptions | None = None) -> None:
        """Start the chain and wait until it listens.

        Raises:
            InvalidInput: the program is not installed, or the kind is unknown.
            ChainUnreachable: it does not start; the message carries what it printed.
        """
        self.options = options or DevnetOptions()
        command_for_port = _COMMANDS.get(self.options.kind)
        if command_for_port is None:
            raise InvalidInput(f"unknown kind of chain {self.options.kind!r}: expected {' or '.join(_COMMANDS)}")
        self._process, port = _start(lambda: command_for_port(self.options))
        self.url = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between this process and its own chain

    @property
    def chain_id(self) -> int:
        """The chain id that transactions are signed for."""
        return self.options.chain_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the chain and wait until it is gone. Closing twice is closing once."""
        self._session.close()
        _end(self._process)

    def request(self, method: str, *parameters: Any) -> Any:
        """Call one JSON-RPC method and return its result.

        Raises:
            ChainUnreachable: the chain does not answer.
            ChainError: it answers with an error.
        """
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        try:
            answer = self._session.post(self.url, json=body, timeout=REQUEST_TIMEOUT_S).json()
        except requests.RequestException as error:
            raise ChainUnreachable(f"the {self.options.kind} at {self.url} does not answer: {error}") from error
        if "error" in answer:
            raise ChainError(f"{self.options.kind} refused {method}: {answer['error'].get('message')}")
        return answer["result"]

    def timestamp(self) -> int:
        """The latest block's timestamp in seconds."""
        return int(self.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def advance(self, seconds: int) -> int:
        """Let so many seconds pass at once, mine a block after them, and return its timestamp.

        Raises:
            InvalidInput: time would run backwards.
        """
        if seconds < 0:
            raise InvalidInput(f"time runs forwards only: cannot advance by {seconds} s")
        return self.advance_to(self.timestamp() + seconds)

    def advance_to(self, timestamp_s: int) -> int:
        """Mine a block at this moment, or at the present one if that is later, and return its timestamp."""
        self.request("evm_mine")
        missing_s = timestamp_s - self.timestamp()
        if missing_s > 0:
            # An increase, not a setting: blocks that are being mined in the meantime cannot make it go backwards.
            self.request("evm_increaseTime", missing_s)
            self.request("evm_mine")
        return self.timestamp()

    def set_next_timestamp(self, timestamp_s: int) -> None:
        """Give the next block exactly this timestamp. On Ganache it holds for the rest of that second.

        Raises:
            InvalidInput: it is before the latest block's.
        """
        latest_s = self.timestamp()
        if timestamp_s < latest_s:
            raise InvalidInput(f"time runs forwards only: {timestamp_s} is before the latest block's {latest_s}")
        if self.options.kind == "anvil":
            self.request("evm_setNextBlockTimestamp", timestamp_s)
        else:
            self.request("evm_setTime", timestamp_s * 1000)

    def mine(self, blocks: int = 1) -> None:
        """Mine so many blocks."""
        for _ in range(blocks):
            self.request("evm_mine")

    def set_mining(self, on: bool) -> None:
        """Switch the block for every transaction on or off: while off, transactions wait for `mine`."""
        if self.options.kind == "anvil":
            self.request("evm_setAutomine", on)
        else:
            self.request("miner_start" if on else "miner_stop")

    def fund(self, address: str, balance_wei: int) -> None:
        """Set an account's balance."""
        method = "anvil_setBalance" if self.options.kind == "anvil" else "evm_setAccountBalance"
        self.request(method, address, hex(balance_wei))

    def balance_wei(self, address: str) -> int:
        """An account's balance in the chain's native coin."""
        return int(self.request("eth_getBalance", address, "latest"), 16)

    def snapshot(self) -> str:
        """Remember the chain as it is now."""
        return str(self.request("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot, its time included. It can be used once.

        Raises:
            ChainError: there is no such snapshot any more.
        """
        if not self.request("evm_revert", snapshot):
            raise ChainError(f"{self.options.kind} has no snapshot {snapshot}")


def _anvil_program() -> str:
    """The native program: npm's launcher would stand between it and the signals meant for it."""
    candidates = [*REPOSITORY.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")]
    found = os.environ.get("FEDMARKET_ANVIL") or next(map(str, candidates), None) or shutil.which("anvil")
    if found is None:
        raise InvalidInput("anvil is not installed: run `npm ci` in the repository, or set FEDMARKET_ANVIL to its path")
    return found


def _anvil_command(options: DevnetOptions) -> list[str]:
    command = [
        _anvil_program(),
        "--host",
        "127.0.0.1",
        "--port",
        str(options.port),
        "--chain-id",
        str(options.chain_id),
    ]
    command += ["--accounts", str(options.accounts), "--enable-tx-gas-limit", "--gas-limit", str(BLOCK_GAS_LIMIT)]
    # Older states it would write to the home folder, a megabyte a block, and leave there.
    command += ["--prune-history", str(STATES)]
    if options.block_time_s is not None:
        command += ["--block-time", str(options.block_time_s)]
    return command


def _ganache_program() -> str:
    script = REPOSITORY / "node_modules" / "ganache" / "dist" / "node" / "cli.js"
    found = os.environ.get("FEDMARKET_GANACHE") or (str(script) if script.exists() else None)
    if found is None:
        raise InvalidInput(
            "ganache is not installed: run `npm ci` in the repository, or set FEDMARKET_GANACHE to cli.js"
        )
    return found


def _ganache_command(options: DevnetOptions) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise InvalidInput("ganache needs Node 20 or newer, but there is no `node` on the PATH")
    command = [
        node,
        _ganache_program(),
        "--server.host",
        "127.0.0.1",
        "--server.port",
        str(options.port or _free_port()),
    ]
    command += ["--chain.chainId", str(options.chain_id), "--chain.hardfork", "shanghai"]
    command += ["--wallet.totalAccounts", str(max(1, options.accounts)), "--wallet.defaultBalance", "10000"]
    command += ["--miner.blockGasLimit", str(BLOCK_GAS_LIMIT), "--miner.callGasLimit", str(BLOCK_GAS_LIMIT)]
    if options.block_time_s is not None:
        command += ["--miner.blockTime", str(options.block_time_s)]
    return command


_COMMANDS: Mapping[str, Callable[[DevnetOptions], list[str]]] = {"anvil": _anvil_command, "ganache": _ganache_command}


def _free_port() -> int:
    """A port that is free now. Another may take it before it is used: `_start` tries again then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(command: Callable[[], Sequence[str]]) -> tuple[subprocess.Popen[bytes], int]:
    printed = ""
    for _ in range(PORT_ATTEMPTS):
        with TemporaryFile() as output:
            process = _spawn(command(), output)
            port = _listening_port(process, output)
            if port is not None:
                return process, port
            _end(process)
            printed = _printed(output)
        if "EADDRINUSE" not in printed:
            break
    last_line = printed.strip().splitlines()[-1:] or ["it printed nothing"]
    raise ChainUnreachable(f"the local chain did not start: {last_line[0][:500]}")


def _spawn(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """A session of its own: an interrupt at the terminal reaches the actors, who still need the chain to finish."""
    guard = [sys.executable, "-I", "-S", process_guard.__file__]
    return subprocess.Popen(
        [*guard, *command], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def _listening_port(process: subprocess.Popen[bytes], output: IO[bytes]) -> int | None:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s:
        ended = process.poll() is not None
        listening = LISTENING.search(_printed(output))
        if listening:
            return int(listening.group(1))
        if ended:
            return None
        time.sleep(0.01)
    return None


def _printed(output: IO[bytes]) -> str:
    """All that the program printed so far, read without moving the offset at which it writes on."""
    return os.pread(output.fileno(), process_guard.FORWARDED_BYTES, 0).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(process_guard.GRACE_S + 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
