"""What a transaction offers for its gas, and how much gas it may use."""

from __future__ import annotations

from dataclasses import dataclass

from web3.exceptions import Web3RPCError

from market.chain.connection import Chain
from market.protocol.errors import ChainError

TRANSACTION_GAS_CAP = 1 << 24
"""16,777,216: what one transaction may use since EIP-7825."""

GAS_MARGIN_PERCENT = 25
FALLBACK_TIP_WEI = 10**9
BUMP_EIGHTHS = 9
"""A replacement offers at least 9/8 of what it replaces: 12.5 % more, where nodes ask for 10 %."""


@dataclass(frozen=True)
class Fees:
    """An offer a unit of gas, in wei.

    Attributes:
        cap_wei: most that it may cost.
        tip_wei: what of it goes to the block's proposer.
        has_base_fee: whether the chain has EIP-1559's fee market; without it the cap is the price.
    """

    cap_wei: int
    tip_wei: int
    has_base_fee: bool = True

    @classmethod
    def current(cls, chain: Chain) -> Fees:
        """What the chain asks now: twice the base fee, which outlasts five full blocks in a row, and the tip."""
        base_fee_wei = chain.block().get("baseFeePerGas")
        if base_fee_wei is None:
            price_wei = int(chain.read(lambda: chain.web3.eth.gas_price))
            return cls(price_wei, price_wei, has_base_fee=False)
        tip_wei = chain.read(lambda: _tip_wei(chain))
        return cls(2 * int(base_fee_wei) + tip_wei, tip_wei)

    def replacing(self, cap_wei: int, tip_wei: int) -> Fees:
        """An offer that nodes take in place of one with these fees."""
        least_cap_wei, least_tip_wei = (-(-fee_wei * BUMP_EIGHTHS // 8) for fee_wei in (cap_wei, tip_wei))
        return Fees(max(self.cap_wei, least_cap_wei), max(self.tip_wei, least_tip_wei), self.has_base_fee)

    def fields(self) -> dict[str, int]:
        """The transaction's fields."""
        if not self.has_base_fee:
            return {"gasPrice": self.cap_wei}
        return {"type": 2, "maxFeePerGas": self.cap_wei, "maxPriorityFeePerGas": self.tip_wei}


def gas_limit(estimate: int, block_gas_limit: int) -> int:
    """The estimate and a margin for what other transactions change first, within what one transaction may use.

    Raises:
        ChainError: it cannot fit.
    """
    cap = min(TRANSACTION_GAS_CAP, block_gas_limit)
    if estimate > cap:
        raise ChainError(f"the transaction needs {estimate} gas, more than the {cap} that one may use here")
    return min(estimate * (100 + GAS_MARGIN_PERCENT) // 100, cap)


def _tip_wei(chain: Chain) -> int:
    try:
        return int(chain.web3.eth.max_priority_fee)
    except Web3RPCError:
        return FALLBACK_TIP_WEI
