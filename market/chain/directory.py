"""The directory's contract, typed: where a job's people announce keys and endpoints, and hand each other sealed bytes.

Anybody can write there: readers name the accounts that they want to hear of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import event_abi_to_log_topic
from web3.types import LogReceipt

from market.chain import artefacts
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.contract import Gateway, checked_address
from market.chain.log_windows import address_word, integer_word, logs_of, word
from market.protocol.errors import ChainError
from market.protocol.identifiers import JobId

ARTEFACT = "Directory"

MAX_ENDPOINT_BYTES = 200
MAX_DELIVERIES = 64
MAX_SEALED_BYTES = 256

MAX_NAMED = 500
"""How many accounts one query names: nodes refuse more than a thousand, and any number can enrol and leave again."""


@dataclass(frozen=True)
class Announcement:
    """How an account can be reached.

    Attributes:
        sealing_key: the X25519 public key to which what it alone may read is sealed, 32 bytes.
        endpoint: where it serves, as it says itself; empty where nowhere.
    """

    sealing_key: bytes
    endpoint: str


@dataclass(frozen=True)
class Delivery:
    """Bytes that were handed to somebody.

    Attributes:
        by: who sent them.
        sealed: to the key that the recipient announced.
    """

    by: str
    sealed: bytes


class Directory(Gateway):
    """Reads the contract's events, and prepares the calls that a `TransactionSender` sends."""

    def __init__(self, chain: Chain, address: str, first_block: int = 0) -> None:
        """Bind the gateway.

        Args:
            chain: the connection.
            address: the contract's.
            first_block: no event is looked for before it.
        """
        super().__init__(chain, address, artefacts.load(ARTEFACT).abi)
        self.first_block = first_block
        events = {abi["name"]: abi for abi in self._contract.abi if abi["type"] == "event"}
        self._topics = {name: word(bytes(event_abi_to_log_topic(abi))) for name, abi in events.items()}

    def announce(self, job: JobId, sealing_key: bytes, endpoint: str = "") -> PreparedCall:
        """Say for a job which key the sender has and where it serves, in place of what it said before.

        Args:
            job: the job's number.
            sealing_key: the public key, 32 bytes.
            endpoint: at most `MAX_ENDPOINT_BYTES` in UTF-8; empty for none.
        """
        return self._prepare("announce", job, sealing_key, endpoint)

    def announcements(self, job: JobId, accounts: Collection[str] | None = None) -> dict[str, Announcement]:
        """What each account announced last.

        Args:
            job: the job's number.
            accounts: only theirs are read: strangers can announce as much as they like. None for everybody's.
        """
        topics: list[Any] = [self._topics["Announced"], integer_word(job)]
        latest: dict[bytes, LogReceipt] = {}
        for named in [[]] if accounts is None else _named(accounts):
            # Who announces again and again costs its readers a log each time, and no more.
            latest |= {bytes(log["topics"][2]): log for log in self._logs([*topics, named] if named else topics)}
        return dict(map(_announced, latest.values()))

    def deliver(self, job: JobId, topic: bytes, to: Sequence[str], sealed: Sequence[bytes]) -> PreparedCall:
        """Hand each of these accounts its bytes, at most `MAX_DELIVERIES` in one call.

        Args:
            job: the job's number.
            topic: what it is about, 32 bytes.
            to: the recipients.
            sealed: for each, at most `MAX_SEALED_BYTES`.
        """
        return self._prepare("deliver", job, topic, [checked_address(account) for account in to], list(sealed))

    def deliveries(self, job: JobId, topic: bytes, to: str) -> list[Delivery]:
        """What was handed to an account, in the order of the chain; whom to believe is for the reader."""
        topics = [self._topics["Delivered"], integer_word(job), word(topic), address_word(to)]
        return [_delivered(log) for log in self._logs(topics)]

    def _logs(self, topics: Sequence[Any]) -> Iterator[LogReceipt]:
        return logs_of(self.chain, self.address, topics, self.first_block, self.chain.block_number())


def _announced(log: LogReceipt) -> tuple[str, Announcement]:
    """Who announced what. The contract takes any bytes for text: those that are none stand for no endpoint."""
    sealing_key, endpoint = _values(log, "bytes32", "bytes")
    with suppress(UnicodeDecodeError):
        return _account(log), Announcement(sealing_key, endpoint.decode("utf-8"))
    return _account(log), Announcement(sealing_key, "")


def _delivered(log: LogReceipt) -> Delivery:
    """Who handed over what. Strangers send any number: no more is made of each than what is asked for."""
    by, sealed = _values(log, "address", "bytes")
    return Delivery(checked_address(by), sealed)


def _values(log: LogReceipt, *types: str) -> tuple[Any, ...]:
    try:
        return decode(types, bytes(log["data"]))
    except DecodingError as error:
        raise ChainError(f"the node gave a log that the directory never makes: {error}") from error


def _account(log: LogReceipt) -> str:
    return checked_address("0x" + bytes(log["topics"][2])[-20:].hex())


def _named(accounts: Collection[str]) -> Iterator[list[str]]:
    """Topics that name these accounts, in as many queries as nodes take them in."""
    words = [address_word(account) for account in accounts]
    return (words[start : start + MAX_NAMED] for start in range(0, len(words), MAX_NAMED))
