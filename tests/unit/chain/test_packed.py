from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.chain import packed
from market.chain.records import ExclusionReason, Ledger, Settlement
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Digest, Seat


@given(st.lists(st.integers(0, 2**128 - 1), max_size=64))
def test_pays_come_back_as_they_were_packed(pays_wei: list[int]) -> None:
    array = packed.pack_pays(pays_wei)
    assert len(array) == 16 * len(pays_wei)
    assert packed.unpack_pays(array) == pays_wei


@given(st.lists(st.integers(0, 2**64 - 1), max_size=64))
def test_lifetime_scores_come_back_as_they_were_packed(scores: list[int]) -> None:
    assert packed.unpack_lifetime(packed.pack_lifetime(scores)) == scores


def test_entries_are_big_endian_without_padding() -> None:
    assert packed.pack_pays([1, 2]) == bytes(15) + b"\1" + bytes(15) + b"\2"
    assert packed.pack_lifetime([258]) == bytes(6) + b"\1\2"


@pytest.mark.parametrize("value", [-1, 2**128])
def test_pay_out_of_range_is_refused_by_seat(value: int) -> None:
    with pytest.raises(InvalidInput, match=f"pay of seat 1 is {value}"):
        packed.pack_pays([0, value])


@pytest.mark.parametrize("unpack", [packed.unpack_pays, packed.unpack_lifetime])
def test_truncated_array_is_refused(unpack: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a multiple of"):
        unpack(bytes(17))


def test_settlement_lists_reasons_by_seat_ascending() -> None:
    exclusions = {Seat(5): ExclusionReason.MISMATCH, Seat(0): ExclusionReason.UNREADABLE}
    settlement = Settlement(exclusions, b"gram", Digest(b"m" * 32), b"life")
    assert settlement.to_abi() == (0b100001, b"\2\3", b"gram", b"m" * 32, b"life")


def test_ledger_is_balanced_only_where_every_wei_is_accounted_for() -> None:
    amounts = [100, 10, 20, 30, 1, 2, 3, 4, 5, 25]
    ledger = Ledger.from_abi(amounts)
    assert ledger.locked_wei == 40
    assert ledger.is_balanced
    assert not Ledger.from_abi([101, *amounts[1:]]).is_balanced
