"""What the gateways share: calling and encoding through one contract's ABI, with this project's errors only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eth_typing import HexStr
from web3 import Web3
from web3.contract import Contract
from web3.types import BlockIdentifier, TxParams, Wei

from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.protocol.errors import ContractRevert, InvalidInput

Abi = Sequence[Mapping[str, Any]]


class Gateway:
    """One contract at one address, read as of one block."""

    def __init__(self, chain: Chain, address: str, abi: Abi, block: BlockIdentifier = "latest") -> None:
        """Bind an ABI to an address; nothing is sent.

        Raises:
            InvalidInput: the address is none.
        """
        self.chain = chain
        self.address = checked_address(address)
        self.block = block
        self._contract: Contract = chain.web3.eth.contract(address=Web3.to_checksum_address(address), abi=list(abi))

    def _read(self, function: str, *arguments: Any) -> Any:
        call = self.chain.once(lambda: self._contract.functions[function](*arguments))
        # Without an offchain lookup: a contract must not send this machine to addresses of its choice.
        return self.chain.read(lambda: call.call(block_identifier=self.block, ccip_read_enabled=False))

    def refusal(self, call: PreparedCall, sender: str) -> ContractRevert | None:
        """What the contract would say to a call by this account in this block; None where it would do it."""
        parameters: TxParams = {
            "from": Web3.to_checksum_address(sender),
            "to": Web3.to_checksum_address(self.address),
            "data": HexStr("0x" + call.data.hex()),
            "value": Wei(call.value_wei),
        }
        try:
            self.chain.read(lambda: self.chain.web3.eth.call(parameters, self.block, ccip_read_enabled=False))
        except ContractRevert as refused:
            return refused
        return None

    def _prepare(self, function: str, *arguments: Any, value_wei: int = 0) -> PreparedCall:
        data = self.chain.once(lambda: self._contract.encode_abi(function, args=list(arguments)))
        return PreparedCall(self.address, bytes.fromhex(data[2:]), value_wei, function)


def checked_address(unverified_address: str) -> str:
    """The address with its checksum.

    Raises:
        InvalidInput: it is none, or its checksum is wrong.
    """
    if not Web3.is_address(unverified_address):
        raise InvalidInput(f"{unverified_address!r} is no address: expected 0x and 40 hexadecimal digits")
    return str(Web3.to_checksum_address(unverified_address))


def function_abi(signature: str, returns: str) -> Mapping[str, Any]:
    """The ABI entry of a plain function, from "name(type,type)" and its one return type."""
    name, _, kinds = signature.rstrip(")").partition("(")
    inputs = [{"name": f"argument{place}", "type": kind} for place, kind in enumerate(kinds.split(","))]
    return {
        "type": "function",
        "name": name,
        "inputs": inputs,
        "outputs": [{"name": "", "type": returns}],
        "stateMutability": "nonpayable",
    }
