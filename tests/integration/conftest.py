"""Real chains for the integration tests: one Anvil (or Ganache) a session, taken back to its start after every test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import solcx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedmarket.devnet import DEVELOPMENT_POWERS_OF_TAU, REPOSITORY, Devnet, DevnetOptions
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.deployment import Deployment, deploy
from market.chain.job_market import JobMarket
from market.chain.transactions import SendPolicy, TransactionSender
from tests.integration.terminal import Mining, Terminal, furnish, kill_all

KINDS = ("anvil", pytest.param("ganache", marks=pytest.mark.ganache))
BALANCE_WEI = 1_000 * 10**18
POLICY = SendPolicy(timeout_s=30, poll_s=0.02)


@pytest.fixture(scope="session", params=KINDS)
def shared_devnet(request: pytest.FixtureRequest) -> Iterator[Devnet]:
    """The session's chain. Tests take `devnet`, which cleans up after them."""
    with Devnet(DevnetOptions(kind=request.param)) as running:
        yield running


@pytest.fixture(scope="session")
def deployment(shared_devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A marketplace, deployed once a session."""
    owner = account("deployer")
    shared_devnet.fund(owner.address, BALANCE_WEI)
    journal = tmp_path_factory.mktemp("deployer")
    with TransactionSender(Chain.connect(shared_devnet.url), owner, journal, POLICY) as sender:
        return deploy(sender, DEVELOPMENT_POWERS_OF_TAU)


@pytest.fixture
def devnet(shared_devnet: Devnet, deployment: Deployment) -> Iterator[Devnet]:
    """The session's chain with a marketplace on it; what a test does to it is undone."""
    snapshot = shared_devnet.snapshot()
    yield shared_devnet
    shared_devnet.set_mining(True)
    shared_devnet.revert(snapshot)


@pytest.fixture
def chain(devnet: Devnet) -> Chain:
    """A connection to the session's chain."""
    return Chain.connect(devnet.url, devnet.chain_id)


@pytest.fixture
def deployed(deployment: Deployment, chain: Chain) -> JobMarket:
    """The marketplace on the session's chain."""
    return deployment.connect(chain)


@dataclass
class Actors:
    """Funded accounts by name, each with a connection, a journal and a sender of its own."""

    devnet: Devnet
    folder: Path
    policy: SendPolicy = POLICY
    senders: dict[str, TransactionSender] = field(default_factory=dict)

    def __getitem__(self, name: str) -> TransactionSender:
        if name not in self.senders:
            self.devnet.fund(self.account(name).address, BALANCE_WEI)
            self.senders[name] = self.open(name)
        return self.senders[name]

    def account(self, name: str) -> LocalAccount:
        """The actor's key: another in every test, since nodes remember transactions beyond a revert."""
        return account(f"{self.folder}/{name}")

    def open(self, name: str) -> TransactionSender:
        """A sender on the actor's journal, as a new process has it."""
        return TransactionSender(Chain.connect(self.devnet.url), self.account(name), self.folder / name, self.policy)

    def restart(self, name: str) -> TransactionSender:
        """Close the actor's sender and open another."""
        self[name].close()
        self.senders[name] = self.open(name)
        return self.senders[name]

    def close(self) -> None:
        """Give all journals back."""
        for sender in self.senders.values():
            sender.close()


@pytest.fixture
def actors(devnet: Devnet, tmp_path: Path) -> Iterator[Actors]:
    """Funded accounts by name: `actors["owner"]` is a sender."""
    opened = Actors(devnet, tmp_path)
    yield opened
    opened.close()


def account(name: str) -> LocalAccount:
    """The same account for the same name, always."""
    return Account.from_key(hashlib.sha256(name.encode()).digest())


@pytest.fixture(scope="session")
def compile_solidity() -> Callable[[str], bytes]:
    """Creation code of a contract in tests/integration/contracts, by its name."""

    def compile_contract(name: str) -> bytes:
        source = Path(__file__).parent / "contracts" / f"{name}.sol"
        request = {
            "language": "Solidity",
            "sources": {source.name: {"content": source.read_text("utf-8")}},
            "settings": {"evmVersion": "shanghai", "outputSelection": {source.name: {name: ["evm.bytecode.object"]}}},
        }
        answer = solcx.compile_standard(request, solc_binary=REPOSITORY / "tools" / "solc")
        return bytes.fromhex(answer["contracts"][source.name][name]["evm"]["bytecode"]["object"])

    return compile_contract


@pytest.fixture(scope="session")
def faults_code(compile_solidity: Callable[[str], bytes]) -> bytes:
    """Creation code of the contract that fails in every way."""
    return compile_solidity("Faults")


@pytest.fixture
def faults(faults_code: bytes, actors: Actors) -> str:
    """Address of a contract that fails in every way, and counts."""
    receipt = actors["deployer of faults"].send("faults", PreparedCall(None, faults_code, label="deploy Faults"))
    assert receipt.contract is not None
    return receipt.contract


@pytest.fixture
def mining(devnet: Devnet) -> Iterator[Mining]:
    """Blocks go on by themselves."""
    going = Mining(devnet)
    yield going
    going.end()


@pytest.fixture
def terminal(tmp_path: Path, devnet: Devnet, deployment: Deployment, mining: Mining) -> Iterator[Terminal]:
    """A folder in which everybody has a keystore, and runs commands."""
    opened = furnish(tmp_path, devnet, deployment, mining)
    yield opened
    kill_all(opened.running)
