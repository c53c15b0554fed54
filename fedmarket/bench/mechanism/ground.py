"""A chain of the simulation's own with the real contracts on it, on which every account can be played."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, cast

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3 import HTTPProvider
from web3.types import TxParams, Wei

from fedmarket.devnet import DEVELOPMENT_POWERS_OF_TAU, Devnet
from fedmarket.powers_of_tau import development_srs
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.deployment import deploy
from market.chain.job_market import JobMarket
from market.chain.transactions import SendPolicy, TransactionSender
from market.protocol.errors import ChainError, ContractRevert
from zk.srs import Srs

GIFT_WEI = 10**24
GAS_LIMIT = 10_000_000
"""Of every transaction: more than any settlement here takes."""


@dataclass
class Purse:
    """One account's gas since its game began.

    Attributes:
        gas: used by transactions that succeeded.
        fees_wei: what the chain took for all of them, which is not counted: gas has a price of its own here.
    """

    gas: int = 0
    fees_wei: int = 0


@dataclass
class Ground:
    """A marketplace on an Anvil that ends with the context. Games are played one after the other, each from the start.

    Whoever acts asks the node first: a call that would be refused costs no gas.
    """

    purses: dict[str, Purse] = field(default_factory=dict)
    srs: Srs = field(init=False)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.devnet = stack.enter_context(Devnet())
            folder = Path(stack.enter_context(TemporaryDirectory()))
            self.srs = development_srs(folder, SRS_POINTS)
            self.market = self._deployed(folder)
            self.devnet.request("anvil_autoImpersonateAccount", True)
            self._start = self.devnet.snapshot()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Take the chain back to where no game was played."""
        self.devnet.revert(self._start)
        self._start = self.devnet.snapshot()
        self.purses.clear()

    def account(self, name: str) -> str:
        """The address that belongs to a name, with more than enough money."""
        address = str(to_checksum_address(keccak(text=f"fedmarket/simulation/{name}")[12:]))
        self.open_purse(address)
        return address

    def open_purse(self, address: str) -> None:
        """Count what an account earns from now on, and give it more than enough money."""
        if address not in self.purses:
            self.purses[address] = Purse()
            self.devnet.fund(address, GIFT_WEI)

    def send(self, sender: str, call: PreparedCall) -> None:
        """Have a transaction mined at once.

        Raises:
            ContractRevert: the contract refuses.
        """
        content = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "value": hex(call.value_wei)}
        receipt = self.devnet.request("eth_sendTransactionSync", {**content, "gas": hex(GAS_LIMIT)})
        gas, purse = int(receipt["gasUsed"], 16), self.purses[sender]
        purse.fees_wei += gas * int(receipt["effectiveGasPrice"], 16)
        if int(receipt["status"], 16) != 1:
            raise self._refusal(sender, call)
        purse.gas += gas

    def mine(self, blocks: int) -> None:
        """Mine so many empty blocks at once."""
        self.devnet.request("anvil_mine", hex(blocks))

    def earned_wei(self, address: str) -> int:
        """What came in less what went out since the game began, gas aside."""
        return self.devnet.balance_wei(address) - GIFT_WEI + self.purses[address].fees_wei

    def _refusal(self, sender: str, call: PreparedCall) -> ContractRevert:
        """What the contract says: the call again, without a trace."""
        chain = self.market.chain
        parameters: TxParams = {"from": to_checksum_address(sender), "data": call.data, "value": Wei(call.value_wei)}
        if call.to is not None:
            parameters["to"] = to_checksum_address(call.to)
        try:
            chain.read(lambda: chain.web3.eth.call(parameters))
        except ContractRevert as refusal:
            return refusal
        raise ChainError(f"{call.label} failed, and does not when it is asked again")

    def _deployed(self, folder: Path) -> JobMarket:
        deployer = Account.create()
        self.devnet.fund(deployer.address, GIFT_WEI)
        chain = Chain.connect(self.devnet.url, self.devnet.chain_id)
        # Else web3.py asks for the chain's number before every read.
        cast(HTTPProvider, chain.web3.provider).cache_allowed_requests = True
        with TransactionSender(chain, deployer, folder / "deployer", SendPolicy(poll_s=0.02)) as sender:
            return deploy(sender, DEVELOPMENT_POWERS_OF_TAU).connect(chain)


SRS_POINTS = 1_100
"""More than a vector of the simulation's dimension takes, its blinders included."""
