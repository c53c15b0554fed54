"""From options to the things that commands work with: chain, marketplace, store, and an account that sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from eth_account.signers.local import LocalAccount

from fedmarket.own_store import SourceOptions, open_store
from market.announced import AnnouncedBlocks, JobDirectory
from market.chain import keystore
from market.chain.connection import Chain
from market.chain.contract import checked_address
from market.chain.deployment import Deployment
from market.chain.directory import Directory
from market.chain.erc20 import Erc20
from market.chain.job_market import JobMarket
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import TransactionSender
from market.protocol.errors import InvalidInput, InvalidKeystore
from market.protocol.identifiers import JobId
from market.protocol.terms import NATIVE
from market.published_job import PublishedJob
from market.storage import EmbeddedStore, SourcedStore

if TYPE_CHECKING:
    from zk.srs import Srs

HOME = Path(".fedmarket")
DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_DEPLOYMENT = HOME / "deployment.json"
DEFAULT_STORE = HOME / "store"
DEFAULT_SRS = HOME / "srs"
DEFAULT_WORK = HOME / "work"

LIGHT_SCRYPT_N = 1 << 14
"""Keystores whose password is cheaper to guess than this are for development chains."""


@dataclass(frozen=True)
class NetworkOptions:
    """Where the marketplace and the storage are.

    Attributes:
        rpc_url: of a node.
        deployment: the file that names the contracts.
        chain_id: which chain is expected, in addition to the deployment's own.
        store: the content store's folder.
        srs: folder of SRS files.
        sources: who else has contents.
        store_quota: how many bytes of blocks the store may hold; None for as many as the disk has room for.
    """

    rpc_url: str = DEFAULT_RPC
    deployment: Path = DEFAULT_DEPLOYMENT
    chain_id: int | None = None
    store: Path = DEFAULT_STORE
    srs: Path = DEFAULT_SRS
    sources: SourceOptions = field(default_factory=SourceOptions)
    store_quota: int | None = None


@dataclass(frozen=True)
class AccountOptions:
    """Whose transactions are sent, and where is kept what must survive a restart.

    Attributes:
        keystore: the account's file.
        password_file: its password in the first line; None asks for it.
        work: folder of this account; None for one named after its address.
    """

    keystore: Path | None = None
    password_file: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class Network:
    """A marketplace on a chain, the store that its jobs' contents are in, and the folder of SRS files."""

    chain: Chain
    deployment: Deployment
    market: JobMarket
    store: SourcedStore
    srs_folder: Path

    @property
    def directory(self) -> Directory:
        """Where people announce keys and hand each other sealed bytes."""
        return self.deployment.directory_on(self.chain)

    @property
    def consensus(self) -> OutputConsensus:
        """Where verifiers decide what models give for prompts."""
        return self.deployment.consensus_on(self.chain)

    @classmethod
    def connect(cls, options: NetworkOptions) -> Network:
        """Connect to the node and recognise the contracts.

        Raises:
            InvalidInput: the deployment file is missing or is none, or a source's address.
            ChainUnreachable: no node answers.
            WrongChain: it serves another chain than the one expected.
            ChainError: the contracts are not there, or are others.
        """
        deployment = _deployment(options.deployment)
        expected = deployment.chain_id if options.chain_id is None else options.chain_id
        chain = Chain.connect(options.rpc_url, expected)
        store = open_store(options.store, options.sources, options.store_quota)
        return cls(chain, deployment, deployment.connect(chain), store, options.srs)

    def patient(self) -> Network:
        """The same for who looks once, and waits for contents for as long as they take to arrive."""
        return replace(self, store=self.store.patient())

    @property
    def own_store(self) -> EmbeddedStore:
        """What is on this machine's disk, alone."""
        return self.store.local

    def people(self, number: int, without: str | None = None) -> JobDirectory:
        """Those who have a part in a job, as far as they announced something; one of them, who asks, left out."""
        return JobDirectory(self.market, self.directory, JobId(number), without)

    def job_store(self, number: int, asked_by: str | None = None) -> SourcedStore:
        """Where a job's contents come from: the store and its sources, then whatever endpoints are announced for it."""
        return self.store.with_sources([AnnouncedBlocks(self.people(number, asked_by))])

    def job(self, number: int, cache: Path, asked_by: str | None = None) -> PublishedJob:
        """One job, with its document from where its contents come from; fetched vectors are kept in `cache`."""
        return PublishedJob(self.market, self.job_store(number, asked_by), JobId(number), cache, self.directory)

    def srs(self, dimension: int, chunks: int | None) -> Srs:
        """The powers of tau for vectors of this length.

        Args:
            dimension: d.
            chunks: into how many parts they are cut; None for whatever the file at hand asks for.

        Raises:
            InvalidInput: the folder has none that will do, or it may not be used on this chain.
        """
        # Imported here: the compiler behind it takes seconds to load, and most commands do without it.
        from fedmarket.powers_of_tau import market_srs
        from zk.commitment import Layout

        return market_srs(
            self.srs_folder,
            self.deployment.srs_id,
            Layout(dimension, chunks or 1),
            any_length=chunks is None,
            chain=(self.chain.chain_id, self.chain.is_development_chain),
        )

    def srs_of(self, job: PublishedJob) -> Srs:
        """The powers of tau of one job's commitments, as `srs`."""
        return self.srs(job.dimension, job.chunks)


class Actor:
    """An account at work in a marketplace. Use it as a context manager: one process an account and work folder."""

    def __init__(self, network: Network, account: LocalAccount, work: Path) -> None:
        """Take hold of the account's journal of transactions.

        Raises:
            InvalidInput: another process has it.
        """
        self.network, self.work = network, work
        # A development chain that was started anew has the same number and another first block.
        genesis = bytes(network.chain.block(0)["hash"]).hex()[:16]
        self.sender = TransactionSender(
            network.chain, account, work / "journal" / f"chain-{network.chain.chain_id}-{genesis}"
        )

    @classmethod
    def open(cls, network: Network, options: AccountOptions, ask_password: Callable[[Path], str]) -> Self:
        """Open the keystore and prepare to send.

        Raises:
            InvalidInput: no keystore was named, or the journal is in use.
            InvalidKeystore: it does not open, or is one for development chains and this is none.
        """
        account = account_of(network, options, ask_password)
        return cls(network, account, options.work or DEFAULT_WORK / str(account.address))

    @property
    def address(self) -> str:
        """The account's address."""
        return self.sender.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sender.close()

    def job(self, number: int) -> PublishedJob:
        """One job, with its document from storage."""
        return self.network.job(number, self.work / "cache", self.address)

    def people(self, number: int) -> JobDirectory:
        """Those who have a part in a job beside this account, as far as they announced something."""
        return self.network.people(number, self.address)

    def allow_deposit(self, token: str, amount_wei: int) -> None:
        """Let the marketplace take this much of a token; the chain's native coin needs no leave."""
        if token == NATIVE:
            return
        erc20 = Erc20(self.network.chain, token)
        spender = self.network.market.address
        if erc20.allowance(self.address, spender) < amount_wei:
            # Leave for the same amount, given twice, is leave given once: the key need not survive a crash.
            key = f"approve/{token}/{self.network.chain.block_number()}"
            self.sender.send(key, erc20.approve(spender, amount_wei))


def account_of(network: Network, options: AccountOptions, ask_password: Callable[[Path], str]) -> LocalAccount:
    """Open the keystore.

    Raises:
        InvalidInput: no keystore was named.
        InvalidKeystore: it does not open, or is one for development chains and this is none.
    """
    path = _named(options.keystore)
    if not network.chain.is_development_chain and is_light(path):
        raise InvalidKeystore(
            f"keystore {path} is a light one, for development chains only: its password is too cheap to guess"
        )
    return keystore.load(path, keystore.read_password(options.password_file, lambda: ask_password(path)))


def is_light(path: Path) -> bool:
    """Whether a keystore's password is cheap to guess: one that was made for development chains.

    Raises:
        InvalidKeystore: the file is missing, or no keystore.
    """
    keystore.address_in(path)  # says what is wrong with the file
    content = {name.lower(): value for name, value in json.loads(path.read_text("utf-8")).items()}
    parameters = content.get("crypto", {}).get("kdfparams", {})
    return isinstance(parameters, dict) and isinstance(n := parameters.get("n"), int) and n < LIGHT_SCRYPT_N


def address_of(path: Path | None) -> str:
    """The address that a keystore states.

    Raises:
        InvalidInput: no keystore was named, or it states none.
    """
    path = _named(path)
    stated = keystore.address_in(path)
    if stated is None:
        raise InvalidKeystore(f"keystore {path} does not state its address: `fedmarket keys new` makes one that does")
    return checked_address(stated)


def _named(path: Path | None) -> Path:
    if path is None:
        raise InvalidInput("no account: name a keystore with --keystore FILE, or in FEDMARKET_KEYSTORE")
    return path


def _deployment(path: Path) -> Deployment:
    if not path.exists():
        raise InvalidInput(
            f"there is no deployment file {path}: `fedmarket dev chain` writes one, or name the market's with "
            "--deployment FILE"
        )
    return Deployment.load(path)
