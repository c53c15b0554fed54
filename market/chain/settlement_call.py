"""Reads a settlement's proof out of the input of the transaction that made it.

The input is read as the contract reads it, offset by offset. A strict decoder refuses what the contract takes (padding
that is not zero, parts that overlap or lie in another order), and an aggregator could so hide a settled round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_utils.abi import function_abi_to_4byte_selector
from web3.contract import Contract

WORD = 32
SELECTOR_BYTES = 4


@dataclass(frozen=True)
class ProvenRound:
    """What a call of `settleRound` carries that no event repeats.

    Attributes:
        job: the job's number.
        attempt: the attempt's.
        gram: the packed matrix.
        proof: the mask, A and the argument, one after the other.
    """

    job: int
    attempt: int
    gram: bytes
    proof: bytes


class SettlementCall:
    """The layout of `settleRound`, from the contract's own interface."""

    def __init__(self, contract: Contract) -> None:
        """Find the function and the places of the parts in it."""
        [function] = [abi for abi in contract.abi if abi["type"] == "function" and abi["name"] == "settleRound"]
        self._selector = bytes(function_abi_to_4byte_selector(function))
        settlement = function["inputs"][2]
        self._fields = _places(settlement)
        self._proof_fields = _places(settlement["components"][self._fields["proof"]])

    def read(self, call: bytes) -> ProvenRound | None:
        """The proof in a transaction's input; None where it calls something else."""
        if call[:SELECTOR_BYTES] != self._selector:
            return None
        data = call[SELECTOR_BYTES:]
        settlement = _offset(data, 0, 2)
        proof = _offset(data, settlement, self._fields["proof"])
        sums = _bytes(data, proof, self._proof_fields["sums"])
        parts = (
            _bytes(data, settlement, self._fields["mask"]),
            sums[: len(sums) // 2],
            _bytes(data, proof, self._proof_fields["argument"]),
        )
        gram = _bytes(data, settlement, self._fields["gram"])
        return ProvenRound(_word(data, 0), _word(data, WORD), gram, b"".join(parts))


def _places(struct: Any) -> dict[str, int]:
    return {component["name"]: index for index, component in enumerate(struct["components"])}


def _word(data: bytes, at: int, signed: bool = False) -> int:
    """The word there; what lies beyond the input is zero, as in the machine."""
    word = data[at : at + WORD] if 0 <= at < len(data) else b""
    return int.from_bytes(word.ljust(WORD, b"\0"), "big", signed=signed)


def _offset(data: bytes, base: int, place: int) -> int:
    """Where a dynamic part begins; the offset counts from the tuple that holds it, and may point back."""
    return base + _word(data, base + WORD * place, signed=True)


def _bytes(data: bytes, base: int, place: int) -> bytes:
    at = _offset(data, base, place)
    return data[max(at + WORD, 0) :][: _word(data, at)]
