"""The tree over who may take a seat: everybody on the list has a proof, nobody else one that leads to the root."""

from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.allow_list import allow_proof, allow_root
from market.protocol.errors import InvalidInput
from market.protocol.terms import NO_ROOT

accounts = st.binary(min_size=20, max_size=20).map(to_checksum_address)
lists = st.lists(accounts, min_size=1, max_size=40, unique=True)


def leads_to(account: str, proof: tuple[bytes, ...]) -> bytes:
    """As OpenZeppelin's MerkleProof goes up."""
    node = keccak(keccak(bytes(12) + bytes.fromhex(account[2:])))
    for sibling in proof:
        node = keccak(b"".join(sorted((node, sibling))))
    return node


@given(allowed=lists, stranger=accounts)
def test_each_of_the_list_leads_to_the_root_and_a_stranger_with_anybodys_proof_does_not(
    allowed: list[str], stranger: str
) -> None:
    root = allow_root(allowed)
    for account in allowed:
        assert leads_to(account, allow_proof(allowed, account)) == root
        assert stranger in allowed or leads_to(stranger, allow_proof(allowed, account)) != root


@given(allowed=lists, random=st.randoms())
def test_the_root_is_of_the_set_whatever_the_order(allowed: list[str], random: object) -> None:
    shuffled = [*allowed]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert allow_root(shuffled) == allow_root(allowed)


@given(allowed=lists, stranger=accounts)
def test_another_set_has_another_root(allowed: list[str], stranger: str) -> None:
    if stranger not in allowed:
        assert allow_root([*allowed, stranger]) != allow_root(allowed)


def test_no_list_is_open_to_everybody() -> None:
    assert allow_root(()) == NO_ROOT
    assert allow_proof((), "0x" + "11" * 20) == ()


def test_who_is_not_on_the_list_is_told_so() -> None:
    listed, stranger = ("0x" + digits * 20 for digits in ("11", "22"))
    with pytest.raises(InvalidInput, match=f"{stranger} is not among the 1 accounts that may take a seat"):
        allow_proof([listed], stranger)
