"""Reads a range of blocks so that all of it is from one chain, however the chain changes meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from market.chain.connection import Chain, Header
from market.chain.events import Event, RoundSettled
from market.chain.job_market import JobMarket
from market.protocol.errors import ChainError, ChainUnreachable


@dataclass(frozen=True)
class BlockWindow:
    """What a range of blocks holds.

    Attributes:
        last: its last block.
        blocks: those that have events, by number.
        events: in the order of the chain.
        gas_used: by the transactions that settled, by their hashes.
    """

    last: Header
    blocks: Mapping[int, Header]
    events: tuple[Event, ...]
    gas_used: Mapping[bytes, int]


def read_window(market: JobMarket, before: bytes, first: int, last: int) -> BlockWindow | None:
    """The contract's events in these blocks; None where the chain changed while they were read.

    Args:
        market: the contract.
        before: hash of the block before the first.
        first: number of the first block.
        last: number of the last, which it may be as well.

    Raises:
        ChainUnreachable: the node is away.
        ChainError: it refuses.
    """
    chain = market.chain
    end = chain.header(last)
    if end is None:
        return None
    try:
        events = market.events(None, first, last)
    except ChainUnreachable:
        raise
    except ChainError:
        if chain.has_block(last, end.hash):
            raise
        return None  # what it asked for went away with a block
    blocks = _blocks(chain, events)
    gas_used = None if blocks is None else _gas_used(chain, events)
    if blocks is None or gas_used is None:
        return None
    # The first and the last block last: between them lies what was read.
    start = chain.header(first)
    if start is None or start.parent_hash != before or not chain.has_block(last, end.hash):
        return None
    return BlockWindow(end, blocks, tuple(events), gas_used)


def _blocks(chain: Chain, events: list[Event]) -> dict[int, Header] | None:
    blocks: dict[int, Header] = {}
    for event in events:
        header = blocks.get(event.block_number) or chain.header(event.block_number)
        if header is None or header.hash != event.block_hash:
            return None
        blocks[header.number] = header
    return blocks


def _gas_used(chain: Chain, events: list[Event]) -> dict[bytes, int] | None:
    used: dict[bytes, int] = {}
    for event in events:
        if isinstance(event, RoundSettled):
            gas = chain.gas_used(event.transaction, event.block_hash)
            if gas is None:
                return None
            used[event.transaction] = gas
    return used
