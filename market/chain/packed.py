"""Arrays of one big-endian integer a seat or a row, without padding: as the contract hashes and emits them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eth_utils.crypto import keccak

from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Wei

PAY_BYTES = 16
PAY_HASH_BYTES = 24
LIFETIME_BYTES = 8
WEIGHT_BYTES = 4
SCORE_BYTES = 8
RECORD_BYTES = 4


def pack_pays(pays_wei: Sequence[int]) -> bytes:
    """One uint128 a seat.

    Raises:
        InvalidInput: an amount is negative or does not fit.
    """
    return _pack(pays_wei, PAY_BYTES, "pay")


def unpack_pays(unverified_pays: bytes) -> list[Wei]:
    """The pay of every seat, in wei.

    Raises:
        InvalidInput: the array is no whole number of entries.
    """
    return [Wei(pay_wei) for pay_wei in _unpack(unverified_pays, PAY_BYTES, "pay")]


def pack_lifetime(scores_q32: Sequence[int]) -> bytes:
    """One uint64 a seat: scores summed over paid rounds, with 32 fractional bits.

    Raises:
        InvalidInput: a score is negative or does not fit.
    """
    return _pack(scores_q32, LIFETIME_BYTES, "lifetime score")


def unpack_lifetime(unverified_lifetime: bytes) -> list[int]:
    """The lifetime score of every seat, with 32 fractional bits.

    Raises:
        InvalidInput: the array is no whole number of entries.
    """
    return list(_unpack(unverified_lifetime, LIFETIME_BYTES, "lifetime score"))


def unpack_weights(unverified_weights: bytes) -> tuple[int, ...]:
    """The weight of every row of a decision.

    Raises:
        InvalidInput: the array is no whole number of entries.
    """
    return tuple(_unpack(unverified_weights, WEIGHT_BYTES, "weight"))


def unpack_scores(unverified_scores: bytes) -> tuple[int, ...]:
    """The score of every row of a decision, with 32 fractional bits.

    Raises:
        InvalidInput: the array is no whole number of entries.
    """
    return tuple(_unpack(unverified_scores, SCORE_BYTES, "score"))


def pack_records(records_q16: Sequence[int]) -> bytes:
    """One int32 a seat: what its exams come to, with 16 fractional bits.

    Raises:
        InvalidInput: a record does not fit.
    """
    return _pack(records_q16, RECORD_BYTES, "record", signed=True)


def unpack_records(unverified_records: bytes) -> tuple[int, ...]:
    """The record of every seat, or of every row of a decision, signed, with 16 fractional bits.

    Raises:
        InvalidInput: the array is no whole number of entries.
    """
    return tuple(_unpack(unverified_records, RECORD_BYTES, "record", signed=True))


def hash_of(packed: bytes) -> bytes:
    """keccak256, with which the contract fixes lifetime scores and records of exams."""
    return keccak(packed)


def pay_hash(pays: bytes, undo: bytes) -> bytes:
    """The 24 bytes of keccak256 with which the contract fixes a pay array, and what undoing it would give back.

    Args:
        pays: the packed array.
        undo: `Undo.digest`, or `NO_UNDO`.
    """
    return keccak(keccak(pays) + undo)[:PAY_HASH_BYTES]


def _pack(values: Sequence[int], width: int, what: str, *, signed: bool = False) -> bytes:
    bits = 8 * width - signed
    least = -1 << bits if signed else 0
    for seat, value in enumerate(values):
        if not least <= value < 1 << bits:
            lowest = f"-2^{bits}" if signed else "0"
            raise InvalidInput(f"{what} of seat {seat} is {value}: expected {lowest} to 2^{bits} - 1")
    return b"".join(value.to_bytes(width, "big", signed=signed) for value in values)


def _unpack(packed: bytes, width: int, what: str, *, signed: bool = False) -> Iterable[int]:
    if len(packed) % width:
        raise InvalidInput(f"packed {what} array has {len(packed)} bytes: expected a multiple of {width}")
    places = range(0, len(packed), width)
    return (int.from_bytes(packed[at : at + width], "big", signed=signed) for at in places)
