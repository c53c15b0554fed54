"""What an account does once, and how it is found again: by the call itself, unless it is meant once more."""

from __future__ import annotations

from typing import TypeVar

from eth_utils.crypto import keccak

from market.chain.calls import PreparedCall
from market.chain.consensus_events import ConsensusEvent
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import Receipt, TransactionSender
from market.protocol.errors import ChainError

E = TypeVar("E", bound=ConsensusEvent)


def fresh_key(sender: TransactionSender, name: str, call: PreparedCall, again: bool) -> str:
    """The intent to make this very call; another one each time that it is made again, but not for a retry.

    Args:
        sender: whose.
        name: what the call is for.
        call: the call.
        again: whether what was done before is to be done once more.
    """
    number, key = 0, f"{name}/{keccak(call.data).hex()}"
    unresolved = sender.unresolved()
    while again and sender.knows(key) and key not in unresolved:
        number += 1
        key = f"{name}/{keccak(call.data).hex()}/{number}"
    return key


def one_event(consensus: OutputConsensus, receipt: Receipt, kind: type[E]) -> E:
    """The event of this class that a transaction made.

    Raises:
        ChainError: it made none.
    """
    for event in consensus.events_in(receipt.logs):
        if isinstance(event, kind):
            return event
    raise ChainError(f"transaction 0x{receipt.transaction.hex()} made no {kind.__name__}")
