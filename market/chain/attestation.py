"""What attestors sign: EIP-712 typed data, bound to one attempt of one job of one contract.

Answers, when a fact is disputed; and receipts for revealed updates that they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import EncodingError
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from market.chain.records import Dispute, Fact
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import JobId, Seat, seats_in

SIGNATURE_BYTES = 65
"""r, s and v."""

_ANSWER: dict[str, Any] = {
    "Answer": [
        {"name": "job", "type": "uint256"},
        {"name": "round", "type": "uint256"},
        {"name": "attempt", "type": "uint256"},
        {"name": "fact", "type": "uint8"},
        {"name": "seat", "type": "uint256"},
        {"name": "holds", "type": "bool"},
    ]
}

_RECEIPT: dict[str, Any] = {
    "Receipt": [
        {"name": "job", "type": "uint256"},
        {"name": "round", "type": "uint256"},
        {"name": "attempt", "type": "uint256"},
        {"name": "seats", "type": "uint64"},
        {"name": "seals", "type": "bytes32"},
        {"name": "heldUntil", "type": "uint40"},
    ]
}


@dataclass(frozen=True)
class Question:
    """A fact that can be disputed, at its place.

    Attributes:
        chain_id: of the chain.
        contract: the marketplace's address.
        job: the job's number.
        round: the attempt's round; of an exam, the job's when its exam was published.
        attempt: the attempt's number.
        fact: which.
        seat: whose exclusion it is, else zero.
    """

    chain_id: int
    contract: str
    job: JobId
    round: int
    attempt: int
    fact: Fact
    seat: Seat

    @classmethod
    def of_dispute(cls, chain_id: int, contract: str, job: JobId, dispute: Dispute) -> Question:
        """What an open dispute asks."""
        return cls(chain_id, contract, job, dispute.round, dispute.attempt, dispute.fact, dispute.seat)

    def sign(self, account: LocalAccount, holds: bool) -> bytes:
        """An attestor's answer: 65 bytes, r, s and v."""
        message = {
            "job": self.job,
            "round": self.round,
            "attempt": self.attempt,
            "fact": int(self.fact),
            "seat": self.seat,
            "holds": holds,
        }
        signed = account.sign_message(_typed(self.chain_id, self.contract, _ANSWER, message))
        return bytes(signed.signature)


@dataclass(frozen=True)
class HeldReceipt:
    """An attestor's promise that it holds what some seats revealed, and will for a while.

    Attributes:
        chain_id: of the chain.
        contract: the marketplace's address.
        job: the job's number.
        round: the attempt's round.
        attempt: the attempt's number.
        seats: whose updates, as a bit mask.
        seals: `seals_digest` of those seats' seals: they bind the content ids.
        held_until_s: until when they are held.
    """

    chain_id: int
    contract: str
    job: JobId
    round: int
    attempt: int
    seats: int
    seals: bytes
    held_until_s: int

    @property
    def held(self) -> list[Seat]:
        """The seats, ascending."""
        return seats_in(self.seats)

    @property
    def digest(self) -> bytes:
        """What is signed, 32 bytes: the contract's `receiptDigest`.

        Raises:
            InvalidInput: a field is out of the range that its type has.
        """
        message = self._message()
        return keccak(b"\x19" + message.version + message.header + message.body)

    def sign(self, account: LocalAccount) -> bytes:
        """The attestor's signature: 65 bytes, r, s and v.

        Raises:
            InvalidInput: a field is out of the range that its type has.
        """
        return bytes(account.sign_message(self._message()).signature)

    def signer(self, unverified_signature: bytes) -> str:
        """Whose signature of this receipt it is; whether that is an attestor is for the caller to ask.

        Raises:
            InvalidInput: it is nobody's, or a field is out of the range that its type has.
        """
        message = self._message()
        if len(unverified_signature) != SIGNATURE_BYTES:
            raise InvalidInput(f"a signature of {len(unverified_signature)} bytes, expected {SIGNATURE_BYTES}")
        try:
            return str(Account.recover_message(message, signature=unverified_signature))
        except (ValueError, BadSignature, ValidationError) as error:
            raise InvalidInput(f"0x{unverified_signature.hex()} is nobody's signature") from error

    def _message(self) -> SignableMessage:
        message = {
            "job": self.job,
            "round": self.round,
            "attempt": self.attempt,
            "seats": self.seats,
            "seals": self.seals,
            "heldUntil": self.held_until_s,
        }
        return _typed(self.chain_id, self.contract, _RECEIPT, message)


def seals_digest(seals: Iterable[bytes]) -> bytes:
    """What a receipt says of the seals of its seats, which are given in ascending order of the seats."""
    return keccak(b"".join(seals))


def _typed(chain_id: int, contract: str, types: dict[str, Any], message: dict[str, Any]) -> SignableMessage:
    domain = {"name": "fedmarket", "version": "1", "chainId": chain_id, "verifyingContract": contract}
    try:
        return encode_typed_data(domain, types, message)
    except (EncodingError, ValueError, TypeError) as error:
        raise InvalidInput(f"{next(iter(types))} {message}: {error}") from error
