"""What a contract says when it refuses: custom errors by name, with their arguments by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.exceptions import Web3Exception

from market.chain import artefacts
from market.chain.consensus_records import TaskPhase
from market.chain.records import ExclusionReason, Fact
from market.protocol.errors import ContractRevert
from market.protocol.rounds import Phase

CONTRACTS = ("JobMarket", "RoundRules", "GramVerifier", "Directory", "IOutputConsensus")
"""Of two errors with one selector that of the earlier contract is known."""

LIBRARY_ERRORS = (
    "Error(string message)",
    "Panic(uint256 code)",
    "ReentrancyGuardReentrantCall()",
    "SafeERC20FailedOperation(address token)",
    "SafeCastOverflowedUintDowncast(uint8 bits, uint256 value)",
    "ECDSAInvalidSignature()",
    "ECDSAInvalidSignatureLength(uint256 length)",
    "ECDSAInvalidSignatureS(bytes32 s)",
    "FailedCall()",
    "InsufficientBalance(uint256 balance, uint256 needed)",
    "AddressEmptyCode(address target)",
    "ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)",
    "ERC20InvalidSender(address sender)",
    "ERC20InvalidReceiver(address receiver)",
    "ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed)",
    "ERC20InvalidApprover(address approver)",
    "ERC20InvalidSpender(address spender)",
)
"""What the language, OpenZeppelin's libraries and its tokens raise: it bubbles up through the contracts."""

PANICS: Mapping[int, str] = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "no such member of an enumeration",
    0x22: "corrupt storage",
    0x31: "pop from an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialised function",
}

ENUMS: Mapping[str, type[IntEnum]] = {
    "enum Phase": Phase,
    "enum ExclusionReason": ExclusionReason,
    "enum Fact": Fact,
    "enum TaskPhase": TaskPhase,
}

NO_REASON = "NoReason"
"""The name under which a revert without data is reported."""
UNKNOWN = "UnknownError"
"""The name under which a revert is reported whose selector no contract of ours has."""

_EXECUTION_FAILED = re.compile(r"revert|invalid opcode|EVM error|out of gas|VM Exception", re.IGNORECASE)


@dataclass(frozen=True)
class ErrorSignature:
    """A custom error: its name, and the name, type and Solidity type of each argument."""

    name: str
    inputs: tuple[tuple[str, str, str], ...]

    @property
    def selector(self) -> bytes:
        """The first four bytes of the hash of the signature."""
        return keccak(text=f"{self.name}({','.join(kind for _, kind, _ in self.inputs)})")[:4]

    @classmethod
    def parse(cls, text: str) -> ErrorSignature:
        """Read "Name(type argument, type argument)"."""
        name, _, inputs = text.rstrip(")").partition("(")
        pairs = [entry.split() for entry in inputs.split(", ") if entry]
        return cls(name, tuple((argument, kind, kind) for kind, argument in pairs))

    @classmethod
    def of_abi(cls, abi: Iterable[Mapping[str, Any]]) -> list[ErrorSignature]:
        """All the errors of an ABI."""
        return [
            cls(entry["name"], tuple((i["name"], i["type"], i.get("internalType", "")) for i in entry["inputs"]))
            for entry in abi
            if entry["type"] == "error"
        ]

    def decode(self, arguments: bytes) -> ContractRevert:
        """Read the arguments that follow the selector.

        Raises:
            DecodingError: they are not of these types.
        """
        values = decode([kind for _, kind, _ in self.inputs], arguments)
        named = {
            name: _plain(value, kind, solidity)
            for (name, kind, solidity), value in zip(self.inputs, values, strict=True)
        }
        if self.name == "Panic":
            named["meaning"] = PANICS.get(named["code"], "unknown")
        return ContractRevert(self.name, named)


@cache
def known_errors() -> Mapping[bytes, ErrorSignature]:
    """Every error that a call of ours can meet, by selector."""
    signatures = [ErrorSignature.parse(text) for text in LIBRARY_ERRORS]
    for contract in CONTRACTS:
        signatures += ErrorSignature.of_abi(artefacts.load(contract).abi)
    return {signature.selector: signature for signature in reversed(signatures)}


def decode_revert(data: bytes) -> ContractRevert:
    """Name what a contract answered with.

    Args:
        data: the returned bytes, selector first.

    Returns:
        The error, not raised. An empty or unknown answer is one too: the contract refused all the same.
    """
    if not data:
        return ContractRevert(NO_REASON, {})
    signature = known_errors().get(data[:4])
    if signature is None:
        return ContractRevert(UNKNOWN, {"data": "0x" + data[:256].hex()})
    try:
        return signature.decode(data[4:])
    except (DecodingError, OverflowError, UnicodeDecodeError):
        return ContractRevert(UNKNOWN, {"data": "0x" + data[:256].hex()})


def from_web3(error: Web3Exception) -> ContractRevert | None:
    """The revert that web3.py wraps, in whichever way the node says it, or None where it is another complaint."""
    details = _rpc_error(error)
    for candidate in (getattr(error, "data", None), details.get("data")):
        data = _hex_data(candidate)
        if data is not None and (data or _EXECUTION_FAILED.search(f"{details.get('message', '')} {error}")):
            return decode_revert(data)
    words = str(details.get("message") or error)
    return ContractRevert(NO_REASON, {"message": words[:200]}) if _EXECUTION_FAILED.search(words) else None


def _rpc_error(error: Web3Exception) -> Mapping[str, Any]:
    response = getattr(error, "rpc_response", None) or {}
    details = response.get("error")
    return details if isinstance(details, dict) else {}


def _hex_data(unverified_data: object) -> bytes | None:
    """The returned bytes: a hex string from most nodes, a mapping with it as `result` from Ganache."""
    if isinstance(unverified_data, Mapping):
        unverified_data = unverified_data.get("result")
    if not isinstance(unverified_data, str) or not unverified_data.startswith("0x"):
        return None
    try:
        return bytes.fromhex(unverified_data[2:])
    except ValueError:
        return None


def _plain(value: Any, kind: str, solidity_type: str) -> Any:
    """A value as a person reads it: enumerations by name, addresses with checksum, bytes in hex."""
    if solidity_type in ENUMS:
        members = ENUMS[solidity_type]
        return members(value).name if value in members._value2member_map_ else value
    if kind == "address":
        return to_checksum_address(value)
    return "0x" + value.hex() if isinstance(value, bytes) else value
