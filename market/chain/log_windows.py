"""Fetches a contract's logs in windows that nodes accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from web3 import Web3
from web3.types import FilterParams, LogReceipt

from market.chain.connection import Chain
from market.chain.contract import checked_address
from market.protocol.errors import ChainError, ChainUnreachable

WINDOW_BLOCKS = 5_000
"""How many blocks are asked for at once: most public nodes refuse more than this or 10,000."""


def windows(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The blocks from `first` to `last`, both included, as ranges of at most `WINDOW_BLOCKS`."""
    for start in range(first, last + 1, WINDOW_BLOCKS):
        yield start, min(start + WINDOW_BLOCKS - 1, last)


def logs_of(chain: Chain, address: str, topics: Sequence[Any], first: int, last: int) -> Iterator[LogReceipt]:
    """The logs of one contract in these blocks, both included, in the order of the chain.

    Args:
        chain: the connection.
        address: the contract's.
        topics: as nodes take them: a word, or a list of which one has to match, for each topic.
        first: number of the first block.
        last: number of the last.

    Raises:
        ChainUnreachable: the node is away.
        ChainError: it refuses.
    """
    for window in windows(first, last):
        yield from logs_in(chain, address, topics, window)


def logs_in(chain: Chain, address: str, topics: Sequence[Any], window: tuple[int, int]) -> list[LogReceipt]:
    """The logs of one window; in halves where the node finds it too much."""
    first, last = window
    place = Web3.to_checksum_address(address)
    query: FilterParams = {"address": place, "topics": topics, "fromBlock": first, "toBlock": last}
    try:
        return list(chain.read(lambda: chain.web3.eth.get_logs(query)))
    except ChainError as error:
        if first >= last or isinstance(error, ChainUnreachable):
            raise
    middle = (first + last) // 2
    return logs_in(chain, address, topics, (first, middle)) + logs_in(chain, address, topics, (middle + 1, last))


def word(value: bytes) -> str:
    """At most 32 bytes as a topic."""
    return "0x" + value.rjust(32, b"\0").hex()


def integer_word(value: int) -> str:
    """A number as a topic."""
    return word(value.to_bytes(32, "big"))


def address_word(address: str) -> str:
    """An address as a topic."""
    return word(bytes.fromhex(checked_address(address)[2:]))
