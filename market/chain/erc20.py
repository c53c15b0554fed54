"""The little of ERC-20 that a job paid in a token needs."""

from __future__ import annotations

from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.contract import Gateway, function_abi
from market.protocol.identifiers import Wei

ABI = (
    function_abi("balanceOf(address)", "uint256"),
    function_abi("allowance(address,address)", "uint256"),
    function_abi("approve(address,uint256)", "bool"),
    function_abi("transfer(address,uint256)", "bool"),
)


class Erc20(Gateway):
    """A token. Amounts are in its smallest unit."""

    def __init__(self, chain: Chain, address: str) -> None:
        super().__init__(chain, address, ABI)

    def balance(self, owner: str) -> Wei:
        """What an account has."""
        return Wei(self._read("balanceOf", owner))

    def allowance(self, owner: str, spender: str) -> Wei:
        """What `spender` may take from `owner`."""
        return Wei(self._read("allowance", owner, spender))

    def approve(self, spender: str, amount: int) -> PreparedCall:
        """Allow `spender` to take up to this much from the sender."""
        return self._prepare("approve", spender, amount)

    def transfer(self, to: str, amount: int) -> PreparedCall:
        """Give from the sender's."""
        return self._prepare("transfer", to, amount)
