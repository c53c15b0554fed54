"""Accounts that are contracts: what they take for a signature (https://eips.ethereum.org/EIPS/eip-1271)."""

from __future__ import annotations

from eth_abi.abi import encode
from eth_typing import HexStr
from web3 import Web3
from web3.types import TxParams

from market.chain.connection import Chain
from market.protocol.errors import ChainError, ChainUnreachable

SELECTOR = bytes.fromhex("1626ba7e")
"""Of isValidSignature(bytes32,bytes), and what it returns where it is one."""

GAS = 1_000_000
"""What a contract may use up to answer."""


def accepts(chain: Chain, address: str, digest: bytes, signature: bytes) -> bool:
    """Whether there is a contract at the address that takes this for its signature of the digest, now.

    Raises:
        ChainUnreachable: the node does not answer.
    """
    if not chain.code(address):
        return False
    parameters: TxParams = {
        "to": Web3.to_checksum_address(address),
        "data": HexStr("0x" + (SELECTOR + encode(["bytes32", "bytes"], [digest, signature])).hex()),
        "gas": GAS,
    }
    try:
        answer = bytes(chain.read(lambda: chain.web3.eth.call(parameters, ccip_read_enabled=False)))
    except ChainUnreachable:
        raise
    except ChainError:
        return False
    return len(answer) >= 32 and answer[:32] == SELECTOR.ljust(32, b"\0")
