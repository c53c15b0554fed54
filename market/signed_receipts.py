"""Receipts as attestors show them: that they hold what was revealed in an attempt, until when, and their signature."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from eth_account.signers.local import LocalAccount

from market.chain.attestation import SIGNATURE_BYTES, HeldReceipt
from market.chain.contract import checked_address
from market.protocol.errors import FedmarketError, InvalidReceipt, SourceUnavailable
from market.protocol.identifiers import JobId
from market.protocol.json_text import parse_json
from market.storage.punctual_http import PunctualHttp

MAX_RECEIPT_BYTES = 4_096
"""Of a receipt as it is shown: several times what any has."""

TIMEOUT_S = 5.0
"""How long an attestor may take to show one."""

_WORD_BITS, _SEATS_BITS, _MOMENT_BITS = 256, 64, 40
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Of secp256k1's group, rounded down."""

_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")


RECEIPTS = "/receipts/"
"""What precedes job and attempt in the address of a receipt."""


def receipt_path(job: JobId, attempt: int) -> str:
    """Where an attestor's endpoint shows its receipt of an attempt."""
    return f"{RECEIPTS}{job}/{attempt}"


@dataclass(frozen=True)
class SignedReceipt:
    """One attestor's receipt.

    Attributes:
        receipt: what it says.
        attestor: whose signature it is.
        signature: 65 bytes.
    """

    receipt: HeldReceipt
    attestor: str
    signature: bytes

    @classmethod
    def sign(cls, receipt: HeldReceipt, account: LocalAccount) -> SignedReceipt:
        """Sign a receipt."""
        return cls(receipt, str(account.address), receipt.sign(account))

    def to_bytes(self) -> bytes:
        """As it is shown and kept."""
        entry = {
            "chain_id": self.receipt.chain_id,
            "contract": self.receipt.contract,
            "job": self.receipt.job,
            "round": self.receipt.round,
            "attempt": self.receipt.attempt,
            "seats": [seat for seat in range(_SEATS_BITS) if self.receipt.seats >> seat & 1],
            "seals": f"0x{self.receipt.seals.hex()}",
            "held_until_s": self.receipt.held_until_s,
            "attestor": self.attestor,
            "signature": f"0x{self.signature.hex()}",
        }
        return json.dumps(entry).encode("ascii")

    @classmethod
    def parse(cls, unverified: bytes) -> SignedReceipt:
        """Read a receipt that somebody showed.

        Raises:
            InvalidReceipt: it is none, or was not signed by whom it names.
        """
        if len(unverified) > MAX_RECEIPT_BYTES:
            raise InvalidReceipt(f"a receipt of {len(unverified)} bytes, expected at most {MAX_RECEIPT_BYTES}")
        try:
            signed = _parse(parse_json(unverified))
            signer = signed.receipt.signer(signed.signature)
        except (ValueError, FedmarketError) as error:
            raise InvalidReceipt(f"{unverified!r:.100} is no receipt: {error}") from error
        if signer != signed.attestor:
            raise InvalidReceipt(f"a receipt that names {signed.attestor} was signed by {signer}")
        return signed


_FIELDS = frozenset(
    ("chain_id", "contract", "job", "round", "attempt", "seats", "seals", "held_until_s", "attestor", "signature")
)


def _parse(unverified: Any) -> SignedReceipt:
    if not isinstance(unverified, dict) or unverified.keys() != _FIELDS:
        raise ValueError(f"expected {', '.join(sorted(_FIELDS))}")
    receipt = HeldReceipt(
        chain_id=_number(unverified["chain_id"], _WORD_BITS),
        contract=_address(unverified["contract"]),
        job=JobId(_number(unverified["job"], _WORD_BITS)),
        round=_number(unverified["round"], _WORD_BITS),
        attempt=_number(unverified["attempt"], _WORD_BITS),
        seats=_mask(unverified["seats"]),
        seals=_bytes(unverified["seals"], 32),
        held_until_s=_number(unverified["held_until_s"], _MOMENT_BITS),
    )
    return SignedReceipt(receipt, _address(unverified["attestor"]), _signature(unverified["signature"]))


def _signature(unverified: Any) -> bytes:
    """Whoever has one signature can write it in other ways, which the contract refuses, and all that comes with it."""
    signature = _bytes(unverified, SIGNATURE_BYTES)
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    if s > _HALF_ORDER or v not in (27, 28):
        raise ValueError("expected a signature with the lower s, and v of 27 or 28")
    return signature


def _number(unverified: Any, bits: int) -> int:
    if type(unverified) is not int or not 0 <= unverified < 1 << bits:
        raise ValueError(f"{unverified!r:.100} is no whole number of {bits} bits")
    return unverified


def _mask(unverified_seats: Any) -> int:
    if not isinstance(unverified_seats, list):
        raise ValueError(f"{unverified_seats!r:.100} is no list of seats")
    seats = [_number(seat, 6) for seat in unverified_seats]
    if seats != sorted(set(seats)):
        raise ValueError(f"seats {seats}: expected each once, ascending")
    return sum(1 << seat for seat in seats)


def _address(unverified: Any) -> str:
    if not isinstance(unverified, str):
        raise ValueError(f"{unverified!r:.100} is no address")
    return checked_address(unverified)


def _bytes(unverified: Any, length: int) -> bytes:
    if not isinstance(unverified, str) or not _HEX.fullmatch(unverified) or len(unverified) != 2 + 2 * length:
        raise ValueError(f"{unverified!r:.200} is no string of 0x and {length} bytes in hexadecimal")
    return bytes.fromhex(unverified[2:])


def fetch_receipt(
    endpoint: str, job: JobId, attempt: int, *, public_only: bool, timeout_s: float = TIMEOUT_S
) -> SignedReceipt | None:
    """An attestor's receipt of an attempt, from where it says that it serves; None where it has none.

    Args:
        endpoint: its address.
        job: the job's number.
        attempt: the attempt's.
        public_only: whether to go to the public internet alone.
        timeout_s: how long it may take.

    Raises:
        InvalidReceipt: what is there is none.
        SourceUnavailable: it is down, too slow, redirects or refuses.
    """
    http = PunctualHttp(endpoint, endpoint, {"Accept": "application/json"}, public_only=public_only)
    answer = http.exchange("GET", receipt_path(job, attempt), timeout_s=timeout_s, limit_bytes=MAX_RECEIPT_BYTES)
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    if answer.status != HTTPStatus.OK:
        raise SourceUnavailable(endpoint, f"it answers with status {answer.status}, expected 200")
    return SignedReceipt.parse(answer.body)
