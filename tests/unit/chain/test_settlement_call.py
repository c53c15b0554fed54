"""A settlement's proof, read from the input of its transaction as the machine reads it, however it was encoded."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3 import Web3

from market.chain import artefacts
from market.chain.settlement_call import ProvenRound, SettlementCall

CONTRACT = Web3().eth.contract(abi=artefacts.load("JobMarket").abi)
CALL = SettlementCall(CONTRACT)

GRAM, MASK, ARGUMENT = b"\x01" * 528, b"\x02" * 64, b"\x05" * 224
COMBINED, AGGREGATE = b"\x03" * 64, b"\x04" * 64
PROVEN = ProvenRound(7, 9, GRAM, MASK + COMBINED + ARGUMENT)

TYPES = "(uint64,bytes,uint8,bytes,bytes32,bytes,bytes,bytes,bytes,bytes,bytes,bytes,(bytes,bytes,bytes))"
PROOF = (COMBINED + AGGREGATE, bytes(192), ARGUMENT)
SETTLEMENT = (0, b"", 0, GRAM, b"\x06" * 32, b"", b"", b"\0\1\2", b"", b"", b"\x07" * 64, MASK, PROOF)


def encoded() -> bytearray:
    selector = keccak(text=f"settleRound(uint256,uint256,{TYPES})")[:4]
    return bytearray(selector + encode(["uint256", "uint256", TYPES], [7, 9, SETTLEMENT]))


def word_at(call: bytes, position: int) -> int:
    return int.from_bytes(call[4 + position : 36 + position], "big")


def test_the_proof_is_found_in_an_ordinary_call() -> None:
    assert CALL.read(bytes(encoded())) == PROVEN


def test_padding_that_is_not_zero_hides_nothing() -> None:
    call = encoded()
    end = call.index(GRAM) + len(GRAM)
    call[end : end + 16] = b"\xff" * 16
    with pytest.raises(Exception, match="Padding"):
        CONTRACT.decode_function_input(bytes(call))  # a strict decoder would have been fooled
    assert CALL.read(bytes(call)) == PROVEN


def test_parts_in_another_order_are_followed() -> None:
    call = encoded()
    base = word_at(call, 64)
    mask_offset = base + 11 * 32
    moved = len(call) - 4 - base
    call += (64).to_bytes(32, "big") + b"\x0a" * 64
    call[4 + mask_offset : 36 + mask_offset] = moved.to_bytes(32, "big")
    found = CALL.read(bytes(call))
    assert found is not None
    assert found.proof == b"\x0a" * 64 + COMBINED + ARGUMENT


def test_an_offset_may_point_back_before_the_tuple_that_holds_it() -> None:
    call = encoded()
    base = word_at(call, 64)
    selector, words = bytes(call[:4]), bytes(call[4:])
    hidden = (64).to_bytes(32, "big") + b"\x0b" * 64
    shifted = bytearray(selector + words[:64] + (base + len(hidden)).to_bytes(32, "big") + hidden + words[96:])
    mask_offset = 4 + base + len(hidden) + 11 * 32
    back = (96 - (base + len(hidden))) % (1 << 256)
    shifted[mask_offset : mask_offset + 32] = back.to_bytes(32, "big")
    found = CALL.read(bytes(shifted))
    assert found is not None
    assert (found.gram, found.proof) == (GRAM, b"\x0b" * 64 + COMBINED + ARGUMENT)


def test_what_lies_beyond_the_input_reads_as_zero() -> None:
    call = bytes(encoded())[: 4 + 96]
    assert CALL.read(call) == ProvenRound(7, 9, b"", b"")


def test_another_call_carries_no_proof() -> None:
    assert CALL.read(b"\x12\x34\x56\x78" + bytes(encoded())[4:]) is None
    assert CALL.read(b"") is None
