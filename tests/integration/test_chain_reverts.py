"""Every way to refuse, as real nodes report it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_typing import HexStr
from eth_utils.crypto import keccak
from web3 import Web3
from web3.types import TxParams

from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.protocol.errors import ContractRevert

REFUSALS = {
    "customError()": ("WrongPhase", {"phase": "COMMIT", "expected": "SETTLE"}),
    "tokenError()": ("SafeERC20FailedOperation", {"token": "0x0000000000000000000000000000000000001234"}),
    "unknownError()": (
        "UnknownError",
        {"data": "0x" + keccak(text="NobodyKnowsThis(uint256)")[:4].hex() + f"{7:064x}"},
    ),
    "message()": ("Error", {"message": "not today"}),
    "panic(uint256)": ("Panic", {"code": 0x12, "meaning": "division by zero"}),
    "empty()": ("NoReason", {}),
}


@pytest.mark.parametrize("signature", REFUSALS)
@pytest.mark.parametrize("way", ["call", "estimate"])
def test_refusal_has_its_name_and_values(signature: str, way: str, faults: str, actors: Any, chain: Chain) -> None:
    data = keccak(text=signature)[:4] + bytes(32)
    transaction: TxParams = {"to": Web3.to_checksum_address(faults), "data": HexStr("0x" + data.hex())}
    ways = {
        "call": lambda: chain.read(lambda: chain.web3.eth.call(transaction)),
        "estimate": lambda: actors["alice"].send("refused", PreparedCall(faults, data, label=signature)),
    }
    with pytest.raises(ContractRevert) as caught:
        ways[way]()
    name, arguments = REFUSALS[signature]
    assert caught.value.name == name
    assert {key: caught.value.arguments.get(key) for key in arguments} == arguments
    assert "\n" not in str(caught.value)
