"""What attestors sign when a fact is disputed: EIP-712 typed data, bound to one attempt of one job of one contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from market.chain.records import Dispute, Fact
from market.protocol.identifiers import JobId, Seat

_TYPES: dict[str, Any] = {
    "Answer": [
        {"name": "job", "type": "uint256"},
        {"name": "round", "type": "uint256"},
        {"name": "attempt", "type": "uint256"},
        {"name": "fact", "type": "uint8"},
        {"name": "seat", "type": "uint256"},
        {"name": "holds", "type": "bool"},
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
        domain = {
            "name": "fedmarket",
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": self.contract,
        }
        message = {
            "job": self.job,
            "round": self.round,
            "attempt": self.attempt,
            "fact": int(self.fact),
            "seat": self.seat,
            "holds": holds,
        }
        signed = account.sign_message(encode_typed_data(domain, _TYPES, message))
        return bytes(signed.signature)
