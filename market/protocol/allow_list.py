"""Who may take a seat: a Merkle tree over accounts, its root in the job's terms, its leaves in the job's document.

With keccak256 as H:

    leaf = H(H(account, 32 bytes, as the ABI encodes it)),
    node = H(smaller child || larger child); a node without a neighbour moves up as it is.

That is what OpenZeppelin's `MerkleProof` verifies. A leaf is hashed twice, so that no node passes for one.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_utils.crypto import keccak

from market.protocol.errors import InvalidInput
from market.protocol.terms import NO_ROOT


def allow_root(accounts: Sequence[str]) -> bytes:
    """The root over these accounts, 32 bytes; zeros for none, which stands for everybody."""
    return _levels(accounts)[-1][0] if accounts else NO_ROOT


def allow_proof(accounts: Sequence[str], account: str) -> tuple[bytes, ...]:
    """What shows that an account is among them: siblings from its leaf up to the root; nothing where all may.

    Raises:
        InvalidInput: it is not.
    """
    if not accounts:
        return ()
    levels, node, siblings = _levels(accounts), _leaf(account), []
    if node not in levels[0]:
        raise InvalidInput(f"{account} is not among the {len(accounts)} accounts that may take a seat in this job")
    for level in levels[:-1]:
        place = level.index(node)
        if place ^ 1 < len(level):
            siblings.append(level[place ^ 1])
            node = _node(node, level[place ^ 1])
    return tuple(siblings)


def _leaf(account: str) -> bytes:
    return keccak(keccak(bytes(12) + bytes.fromhex(account.removeprefix("0x"))))


def _node(one: bytes, other: bytes) -> bytes:
    return keccak(min(one, other) + max(one, other))


def _levels(accounts: Sequence[str]) -> list[list[bytes]]:
    levels = [sorted({_leaf(account) for account in accounts})]
    while len(below := levels[-1]) > 1:
        pairs = [below[at : at + 2] for at in range(0, len(below), 2)]
        levels.append([_node(*pair) if len(pair) == 2 else pair[0] for pair in pairs])
    return levels
