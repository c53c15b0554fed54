"""One connection to a node: checked when it is made, patient with what passes, plain about what does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BadResponseFormat,
    BlockNotFound,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import BlockData, BlockIdentifier, RPCEndpoint

from market.chain import reverts
from market.protocol.errors import ChainError, ChainUnreachable, NodeRefused, WrongChain

T = TypeVar("T")

READ_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1
DEVELOPMENT_CHAIN_IDS = frozenset({1337, 31337})
DEVELOPMENT_CLIENTS = ("anvil", "ganache", "hardhat")
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Header:
    """What identifies a block, and when it was made."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp_s: int


class Chain:
    """A node's JSON-RPC over HTTP. Each actor has its own; requests may come from several threads.

    Make it with `Chain.connect`. `web3` is for what this class does not wrap; what is called through it goes inside
    `read`, so that nothing but this project's errors comes out.
    """

    def __init__(self, web3: Web3, place: str, chain_id: int, client: str) -> None:
        self.web3 = web3
        self.place = place
        self.chain_id = chain_id
        self.client = client

    @classmethod
    def connect(cls, rpc_url: str, expected_chain_id: int | None = None, timeout_s: float = 10) -> Self:
        """Connect, and see that it is the chain that was meant.

        Args:
            rpc_url: http:// or https:// address of a node's JSON-RPC.
            expected_chain_id: the chain that the caller's contract lives on; None takes any.
            timeout_s: how long one request may take.

        Raises:
            ChainUnreachable: the address is none, nothing answers there, or what answers is not an Ethereum node.
            WrongChain: the node serves another chain.
        """
        place = _place(rpc_url)
        web3 = _web3(rpc_url, timeout_s)
        with translated(place):
            chain_id = _integer(web3.manager.request_blocking(RPCEndpoint("eth_chainId"), []), place)
            client = str(web3.client_version)
        if expected_chain_id not in (None, chain_id):
            raise WrongChain(f"the node at {place} serves chain {chain_id}, expected chain {expected_chain_id}")
        return cls(web3, place, chain_id, client)

    @property
    def is_development_chain(self) -> bool:
        """Whether this is a chain on somebody's desk: by its number and by what the node says that it is."""
        return self.chain_id in DEVELOPMENT_CHAIN_IDS and self.client.lower().startswith(DEVELOPMENT_CLIENTS)

    def read(self, request: Callable[[], T]) -> T:
        """Make a request that can be made twice; where the way to the node fails, try again a few times.

        Raises:
            ChainUnreachable: it failed READ_ATTEMPTS times.
            ContractRevert: a contract refused.
            ChainError: the node answered with another error.
        """
        pause_s = FIRST_PAUSE_S
        for _ in range(READ_ATTEMPTS - 1):
            try:
                return self.once(request)
            except ChainUnreachable:
                time.sleep(pause_s)
                pause_s *= 2
        return self.once(request)

    def once(self, request: Callable[[], T]) -> T:
        """Make a request, without a second attempt. Raises as `read` does."""
        with translated(self.place):
            return request()

    def block(self, block: BlockIdentifier = "latest") -> BlockData:
        """A block's header and its transactions' hashes.

        Raises:
            ChainError: there is no such block.
        """
        return self.read(lambda: self.web3.eth.get_block(block))

    def header(self, block: BlockIdentifier) -> Header | None:
        """The block that has this height now; None where the chain is shorter."""

        def canonical() -> Header | None:
            try:
                found = self.web3.eth.get_block(block)
            except BlockNotFound:
                return None
            number, moment_s = int(found["number"]), int(found["timestamp"])
            return Header(number, bytes(found["hash"]), bytes(found["parentHash"]), moment_s)

        return self.read(canonical)

    def has_block(self, number: int, block_hash: bytes) -> bool:
        """Whether the block of this height is, now, the one with this hash: false after a reorganisation."""
        header = self.header(number)
        return header is not None and header.hash == block_hash

    def gas_used(self, transaction: bytes, block_hash: bytes) -> int | None:
        """What a transaction of this block used; None where it is not in it, or no more."""

        def receipt() -> int | None:
            try:
                found = self.web3.eth.get_transaction_receipt(HexBytes(transaction))
            except TransactionNotFound:
                return None
            return int(found["gasUsed"]) if bytes(found["blockHash"]) == block_hash else None

        return self.read(receipt)

    def block_number(self) -> int:
        """The latest block's number."""
        return int(self.read(lambda: self.web3.eth.block_number))

    def timestamp(self) -> int:
        """The latest block's timestamp in seconds."""
        return int(self.block()["timestamp"])

    def balance_wei(self, address: str, block: BlockIdentifier = "latest") -> int:
        """An account's balance in the chain's native coin."""
        return int(self.read(lambda: self.web3.eth.get_balance(Web3.to_checksum_address(address), block)))

    def code(self, address: str) -> bytes:
        """The code at an address, empty where there is no contract."""
        return bytes(self.read(lambda: self.web3.eth.get_code(Web3.to_checksum_address(address))))

    def wait_for(self, timestamp_s: int, poll_s: float = 1.0, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a block has this timestamp or a later one.

        A chain that mines only on demand does not move while nobody sends: something else must make it mine.

        Args:
            timestamp_s: the moment, as a block timestamp.
            poll_s: how often to look.
            should_stop: asked before every look; true ends the waiting.

        Returns:
            Whether the moment came: false where `should_stop` ended the waiting.
        """
        while not should_stop():
            if self.timestamp() >= timestamp_s:
                return True
            time.sleep(poll_s)
        return False


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what requests and web3.py raise into this project's errors.

    Args:
        place: how messages call the node.

    Raises:
        ChainUnreachable: no answer, or one that is not JSON-RPC.
        ContractRevert: a contract refused.
        NodeRefused: the node did.
        ChainError: anything else that web3.py found wrong.
    """
    try:
        yield
    except requests.RequestException as error:
        raise ChainUnreachable(f"no node answers at {place}: {_cause(error)}") from error
    except (BadResponseFormat, json.JSONDecodeError) as error:
        raise ChainUnreachable(f"what answers at {place} does not speak JSON-RPC") from error
    except (ContractLogicError, Web3RPCError) as error:
        revert = reverts.from_web3(error)
        raise revert or NodeRefused(f"the node at {place} refused: {rpc_message(error)}") from error
    except BlockNotFound as error:
        raise NodeRefused(f"the node at {place} has no such block: {str(error)[:300]}") from error
    except Web3Exception as error:
        raise ChainError(f"the node at {place} gave no usable answer: {str(error)[:300]}") from error


def rpc_message(error: Web3Exception) -> str:
    """What the node said was wrong, in its own words."""
    response = getattr(error, "rpc_response", None) or {}
    details = response.get("error")
    return str(details.get("message", details) if isinstance(details, dict) else error)[:300]


def _place(unverified_url: str) -> str:
    """Scheme, host and port: what messages may show. Paths and user names of RPC addresses hold people's API keys."""
    try:
        parts = urlsplit(unverified_url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError as error:
        raise ChainUnreachable(f"{unverified_url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ChainUnreachable(f"{unverified_url!r} is no address of a node: expected http://HOST:PORT or https://HOST")
    return f"{parts.scheme}://{parts.hostname}{port}"


def _web3(rpc_url: str, timeout_s: float) -> Web3:
    settings: dict[str, Any] = {"timeout": timeout_s}
    if urlsplit(rpc_url).hostname in LOOPBACK_HOSTS:
        settings["proxies"] = {"http": "", "https": ""}  # the environment's proxy cannot reach this machine's own ports
    web3 = Web3(HTTPProvider(rpc_url, request_kwargs=settings, exception_retry_configuration=None))
    # Chains run by appointed signers put more into a header than web3.py otherwise accepts.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return web3


def _integer(unverified_quantity: object, place: str) -> int:
    try:
        return int(str(unverified_quantity), 0)
    except ValueError as error:
        raise ChainUnreachable(f"what answers at {place} is no Ethereum node: it gives no chain id") from error


def _cause(error: requests.RequestException) -> str:
    """A few words in place of the library's paragraph."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    known = ("Connection refused", "Name or service not known", "Connection reset", "nodename nor servname provided")
    return next((words.lower() for words in known if words in str(error)), type(error).__name__)
