"""The draw for seats and cohorts: each ticket, or seat, has a number that a block's hash decides, and the lowest sit.

`contracts/src/libraries/Draws.sol` is the same functions.
"""

from __future__ import annotations

from collections.abc import Collection

from eth_abi.abi import encode
from eth_utils.crypto import keccak

DELAY_BLOCKS = 128
"""From the call that asks for the draw to the block that decides it."""

REACH_BLOCKS = 256
"""How long the contract can see that block's hash."""

MAX_TICKETS = 64

LATE = (1 << 256) - 1
"""The number of whoever staked once the draw had begun: higher than any other."""


def drawn_number(seed: bytes, trainer: str, tickets: int) -> int:
    """The lowest of a trainer's numbers; at most `MAX_TICKETS` tickets count.

    Args:
        seed: the hash of the block that decides, 32 bytes.
        trainer: the account.
        tickets: how many times the least stake it has put down; at least one.
    """
    count = min(tickets, MAX_TICKETS)
    return min(_number(seed, trainer, ticket) for ticket in range(count))


def in_cohort(seed: bytes, attempt: int, seat: int, staked: Collection[int], cohort: int) -> bool:
    """Whether a seat is among those of an attempt's cohort.

    Args:
        seed: the hash of the block that decides, 32 bytes; zeros or none before the draw, when every seat is.
        attempt: the attempt's number.
        seat: the seat's.
        staked: the seats whose stakes are in place, to draw from.
        cohort: how many are drawn; 0 for all.
    """
    if not cohort or not any(seed) or len(staked) <= cohort:
        return True
    own = _cohort_number(seed, attempt, seat)
    return sum(_cohort_number(seed, attempt, other) < own for other in staked) < cohort


def _cohort_number(seed: bytes, attempt: int, seat: int) -> int:
    return int.from_bytes(keccak(encode(["bytes32", "uint256", "uint256"], [seed, attempt, seat])), "big")


def _number(seed: bytes, trainer: str, ticket: int) -> int:
    return int.from_bytes(keccak(encode(["bytes32", "address", "uint256"], [seed, trainer, ticket])), "big")
