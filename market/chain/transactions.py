"""Sends transactions so that a crash, a restart, a lost answer or a reorganisation never makes two of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_account.signers.local import LocalAccount
from eth_typing import HexStr
from web3 import Web3
from web3.exceptions import TransactionIndexingInProgress, TransactionNotFound, Web3RPCError
from web3.types import LogReceipt, TxParams, TxReceipt, Wei

from market.chain.calls import PreparedCall
from market.chain.connection import Chain, rpc_message
from market.chain.fees import Fees, gas_limit
from market.chain.journal import Entry, Journal, JournalOwner, SignedVersion, Status
from market.chain.reverts import NO_REASON
from market.protocol.errors import ChainError, ChainTimeout, ContractRevert, InvalidInput, TransactionLost

ALREADY_KNOWN = ("already known", "known transaction", "already imported")
NONCE_TAKEN = ("nonce too low", "underpriced", "nonce is too low", "already exists")
"""Answers after which only the chain can say whose transaction has the nonce: ours, or another's."""


@dataclass(frozen=True)
class Finality:
    """When a block is believed: both must hold.

    Attributes:
        blocks: how many blocks there must be from the transaction's own to the latest, both included; at least 1.
        period_s: how much later the latest block's timestamp must be: a job's `confirmation_period_s`.
    """

    blocks: int = 1
    period_s: int = 0


@dataclass(frozen=True)
class SendPolicy:
    """How patiently a sender waits.

    Attributes:
        finality: when a transaction counts as done.
        timeout_s: how long one `send` may take; the transaction lives on in the journal.
        poll_s: how often the chain is asked.
        reprice_after_s: a transaction that is not mined by then is sent again with higher fees, and so on.
    """

    finality: Finality = Finality()
    timeout_s: float = 300.0
    poll_s: float = 0.5
    reprice_after_s: float = 45.0


@dataclass(frozen=True)
class Receipt:
    """A transaction that succeeded, in a block that is believed."""

    key: str
    label: str
    transaction: bytes
    block_number: int
    block_hash: bytes
    gas_used: int
    fee_wei: int
    contract: str | None
    logs: Sequence[LogReceipt]


class TransactionSender:
    """Sends one account's transactions over one chain. Threads may share it; each `send` waits for its own.

    Every intent has a key that its caller chooses ("commit/JOB/ATTEMPT"). What a key once sent is what it stands for:
    sending it again, in this process or a later one, returns the first transaction's receipt, whatever the call is now.
    Only what certainly had no effect (reverted, or lost to another transaction with the same nonce) is sent anew.
    """

    def __init__(self, chain: Chain, account: LocalAccount, journal: Path, policy: SendPolicy | None = None) -> None:
        """Open the journal; nothing is sent yet.

        Args:
            chain: where to send.
            account: whose transactions.
            journal: a folder of this account's own.
            policy: how patiently to wait.

        Raises:
            InvalidInput: another process uses the journal, or it is another account's.
            WrongChain: the journal was kept on another chain.
        """
        self.chain = chain
        self.account = account
        self.policy = policy or SendPolicy()
        genesis = "0x" + bytes(chain.block(0)["hash"]).hex()
        self._journal = Journal(journal, JournalOwner(chain.chain_id, genesis, account.address))
        self._mutex = threading.RLock()

    @property
    def address(self) -> str:
        """The account's address."""
        return str(self.account.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the journal."""
        self._journal.close()

    def knows(self, key: str) -> bool:
        """Whether this intent was signed at some time, and may have had an effect or have one still."""
        entry = self._journal.get(key)
        return entry is not None and entry.status in (Status.SENT, Status.DONE)

    def unresolved(self) -> list[str]:
        """Keys of the intents whose fate is not known yet, in the order of their nonces."""
        return [entry.key for entry in self._journal.unresolved()]

    def recover(self) -> list[str]:
        """Hand the nodes again whatever was signed and is not resolved: the very same bytes. Call it after a start.

        Returns:
            The keys of the intents that are still unresolved; `send` or `wait` gives their receipts.

        Raises:
            ChainUnreachable: the node does not answer.
        """
        with self._mutex:
            for entry in self._journal.unresolved():
                if self._mined(entry) is None:
                    self._broadcast(entry.versions[-1])
        return self.unresolved()

    def send(
        self, key: str, call: PreparedCall, finality: Finality | None = None, timeout_s: float | None = None
    ) -> Receipt:
        """Send an intent once, and wait until it is believed.

        Args:
            key: the intent's name, unique for this account and chain.
            call: what to send, if the key is new.
            finality: in place of the policy's.
            timeout_s: in place of the policy's.

        Raises:
            ContractRevert: the contract refuses; before anything was spent where it already does so now.
            InvalidInput: the account cannot pay for it.
            TransactionLost: another transaction of this account took its nonce. The same key can be sent anew.
            ChainTimeout: not believed in time. Sending the same key again goes on waiting.
            ChainUnreachable: the node does not answer.
        """
        with self._mutex:
            entry = self._journal.get(key)
            if entry is None or entry.status in (Status.REVERTED, Status.LOST):
                self.recover()
                self._sign_and_broadcast(key, call)
        return self.wait(key, finality, timeout_s)

    def wait(self, key: str, finality: Finality | None = None, timeout_s: float | None = None) -> Receipt:
        """Wait for an intent that was signed before. Raises as `send` does, and InvalidInput for an unknown key."""
        finality = finality or self.policy.finality
        patience_s = self.policy.timeout_s if timeout_s is None else timeout_s
        give_up_s = time.monotonic() + patience_s
        reprice_s = time.monotonic() + self.policy.reprice_after_s
        while True:
            entry = self._entry(key)
            receipt = self._mined(entry)
            if receipt is not None and self._is_final(receipt, finality):
                return self._conclude(entry, receipt)
            if receipt is None:
                self._look_after(entry, finality)
            if time.monotonic() >= give_up_s:
                raise ChainTimeout(_timeout_message(entry, receipt, patience_s))
            if receipt is None and time.monotonic() >= reprice_s:
                self._reprice(key)
                reprice_s = time.monotonic() + self.policy.reprice_after_s
            time.sleep(self.policy.poll_s)

    # ------------------------------------------------------------------ signing

    def _sign_and_broadcast(self, key: str, call: PreparedCall) -> None:
        fees = Fees.current(self.chain)
        gas = self._gas(call, fees)
        nonce = max(self._account_nonce("pending"), self._journal.next_nonce())
        entry = Entry(
            key,
            call.label,
            nonce,
            call.to,
            "0x" + call.data.hex(),
            call.value_wei,
            gas,
            status=Status.SENT,
            versions=(),
        )
        entry = entry.with_version(self._sign(entry, fees))
        self._journal.put(entry)
        refusal = self._broadcast(entry.versions[0])
        if refusal is not None:
            self._journal.remove(key)  # no node ever took it: its nonce is free
            raise ChainError(f"the node at {self.chain.place} did not take {call.label or key}: {refusal}")

    def _gas(self, call: PreparedCall, fees: Fees) -> int:
        balance_wei = self.chain.balance_wei(self.address, "pending")
        self._require_balance(call, balance_wei, call.value_wei)
        parameters = _parameters(self.address, call.to, call.data, call.value_wei)
        estimate = self.chain.read(lambda: self.chain.web3.eth.estimate_gas(parameters, "pending"))
        gas = gas_limit(int(estimate), int(self.chain.block()["gasLimit"]))
        self._require_balance(call, balance_wei, call.value_wei + gas * fees.cap_wei)
        return gas

    def _require_balance(self, call: PreparedCall, balance_wei: int, needed_wei: int) -> None:
        if balance_wei < needed_wei:
            what = call.label or "the transaction"
            raise InvalidInput(f"account {self.address} has {balance_wei} wei, but {what} may need {needed_wei} wei")

    def _sign(self, entry: Entry, fees: Fees) -> SignedVersion:
        content: dict[str, Any] = {
            "chainId": self.chain.chain_id,
            "nonce": entry.nonce,
            "gas": entry.gas,
            "value": entry.value_wei,
            "data": entry.data,
            **fees.fields(),
        }
        if entry.to is not None:
            content["to"] = entry.to
        signed = self.account.sign_transaction(content)
        return SignedVersion(_hex(signed.hash), _hex(signed.raw_transaction), fees.cap_wei, fees.tip_wei)

    def _reprice(self, key: str) -> None:
        """Sign the same transaction with higher fees, where the account can pay them."""
        with self._mutex:
            entry = self._entry(key)
            last = entry.versions[-1]
            fees = Fees.current(self.chain).replacing(last.fee_cap_wei, last.tip_wei)
            if self.chain.balance_wei(self.address) < entry.value_wei + entry.gas * fees.cap_wei:
                return
            entry = entry.with_version(self._sign(entry, fees))
            self._journal.put(entry)
            self._broadcast(entry.versions[-1])

    def _broadcast(self, version: SignedVersion) -> str | None:
        """Give the node a signed transaction that it does not have. Returns why it is refused, if it is.

        Asking first is not for speed: Ganache executes a transaction as often as it is given.
        """

        def submit() -> str | None:
            try:
                if self._holds(version.hash):
                    return None
                self.chain.web3.eth.send_raw_transaction(HexStr(version.raw))
            except Web3RPCError as error:
                return rpc_message(error)
            return None

        message = self.chain.read(submit)
        harmless = message is None or any(words in message.lower() for words in (*ALREADY_KNOWN, *NONCE_TAKEN))
        return None if harmless else message

    # ------------------------------------------------------------------ watching

    def _entry(self, key: str) -> Entry:
        entry = self._journal.get(key)
        if entry is None:
            raise InvalidInput(f"no transaction was ever signed for {key!r}")
        return entry

    def _account_nonce(self, block: Any) -> int:
        return int(self.chain.read(lambda: self.chain.web3.eth.get_transaction_count(self.account.address, block)))

    def _mined(self, entry: Entry) -> TxReceipt | None:
        """The receipt of whichever version was mined, in a block that is canonical now."""
        for version in reversed(entry.versions):
            receipt = self.chain.read(partial(self._receipt_or_none, version.hash))
            if receipt is not None and self.chain.has_block(receipt["blockNumber"], bytes(receipt["blockHash"])):
                return receipt
        return None

    def _receipt_or_none(self, transaction: str) -> TxReceipt | None:
        try:
            return self.chain.web3.eth.get_transaction_receipt(HexStr(transaction))
        except (TransactionNotFound, TransactionIndexingInProgress):
            return None

    def _is_final(self, receipt: TxReceipt, finality: Finality) -> bool:
        latest = self.chain.block()
        if latest["number"] - receipt["blockNumber"] + 1 < finality.blocks:
            return False
        mined_s = self.chain.block(receipt["blockNumber"])["timestamp"] if finality.period_s else 0
        waited = not finality.period_s or latest["timestamp"] - mined_s >= finality.period_s
        # The block is asked for again last: the waiting is over only if it is still part of the chain now.
        return waited and self.chain.has_block(receipt["blockNumber"], bytes(receipt["blockHash"]))

    def _look_after(self, entry: Entry, finality: Finality) -> None:
        """See that an unmined transaction can still be mined: hand it in again if the node dropped it.

        Raises:
            TransactionLost: its nonce is used by another transaction, as many blocks deep as finality asks.
        """
        next_nonce = self._account_nonce("latest")
        if next_nonce <= entry.nonce:
            self._mark(entry.key, Status.SENT)  # it may have been done, in a block that is no longer part of the chain
            # Those before it may have gone the same way, and nobody may want them any more: it would wait for ever.
            for earlier in self._journal.in_order(next_nonce, entry.nonce):
                self._broadcast(earlier.versions[-1])
            self._broadcast(entry.versions[-1])
            return
        # In a chain that is shorter nothing is settled yet; its first block may not even be there to be asked.
        settled = self.chain.block_number() - finality.blocks + 1
        if settled > 0 and self._account_nonce(settled) > entry.nonce and self._mined(entry) is None:
            self._mark(entry.key, Status.LOST)
            raise TransactionLost(
                f"{entry.label or entry.key}: another transaction of {self.address} used nonce {entry.nonce}; "
                "nothing of it happened, send it again"
            )

    def _holds(self, transaction: str) -> bool:
        """Whether the node has a transaction: waiting, or in a block that is canonical now."""
        try:
            found = self.chain.web3.eth.get_transaction(HexStr(transaction))
        except (TransactionNotFound, TransactionIndexingInProgress):
            return False
        block_hash = found.get("blockHash")
        return block_hash is None or self.chain.has_block(found["blockNumber"], bytes(block_hash))

    def _conclude(self, entry: Entry, receipt: TxReceipt) -> Receipt:
        if receipt["status"] != 1:
            self._mark(entry.key, Status.REVERTED)
            raise self._reason(entry, receipt)
        self._mark(entry.key, Status.DONE)
        return _receipt(entry, receipt)

    def _mark(self, key: str, status: Status) -> None:
        with self._mutex:
            entry = self._entry(key)
            if entry.status is not status:
                self._journal.put(entry.with_status(status))

    def _reason(self, entry: Entry, receipt: TxReceipt) -> ContractRevert:
        """Why a mined transaction failed: the same call again, after its block and before it."""
        parameters = _parameters(self.address, entry.to, bytes.fromhex(entry.data[2:]), entry.value_wei)
        parameters["gas"] = entry.gas
        for block in (receipt["blockNumber"], receipt["blockNumber"] - 1):
            try:
                self.chain.read(partial(self.chain.web3.eth.call, parameters, block, ccip_read_enabled=False))
            except ContractRevert as revert:
                return revert
        gas: Mapping[str, Any] = {"gasUsed": receipt["gasUsed"], "gasLimit": entry.gas}
        return ContractRevert(NO_REASON, {"transaction": entry.versions[-1].hash, **gas})


def _parameters(sender: str, to: str | None, data: bytes, value_wei: int) -> TxParams:
    parameters: TxParams = {
        "from": Web3.to_checksum_address(sender),
        "data": HexStr(_hex(data)),
        "value": Wei(value_wei),
    }
    if to is not None:
        parameters["to"] = Web3.to_checksum_address(to)
    return parameters


def _receipt(entry: Entry, receipt: TxReceipt) -> Receipt:
    return Receipt(
        key=entry.key,
        label=entry.label,
        transaction=bytes(receipt["transactionHash"]),
        block_number=int(receipt["blockNumber"]),
        block_hash=bytes(receipt["blockHash"]),
        gas_used=int(receipt["gasUsed"]),
        fee_wei=int(receipt["gasUsed"]) * int(receipt.get("effectiveGasPrice", 0)),
        contract=receipt.get("contractAddress"),
        logs=receipt["logs"],
    )


def _timeout_message(entry: Entry, receipt: TxReceipt | None, timeout_s: float) -> str:
    what = f"{entry.label or entry.key} (transaction {entry.versions[-1].hash})"
    state = "not mined" if receipt is None else f"mined in block {receipt['blockNumber']} but not confirmed"
    return f"{what} is {state} after {timeout_s:g} s; it is kept, and sending it again goes on waiting"


def _hex(data: bytes) -> str:
    return "0x" + bytes(data).hex()
