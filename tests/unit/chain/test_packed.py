from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.chain import packed
from market.chain.records import ExclusionReason, Ledger, RoundProof, Settlement
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


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=64))
def test_records_come_back_as_they_were_packed(records_q16: list[int]) -> None:
    array = packed.pack_records(records_q16)
    assert len(array) == 4 * len(records_q16)
    assert packed.unpack_records(array) == tuple(records_q16)


def test_records_are_in_twos_complement() -> None:
    assert packed.pack_records([-2, 1 << 16]) == b"\xff\xff\xff\xfe" + b"\0\1\0\0"


@pytest.mark.parametrize("value", [-(2**31) - 1, 2**31])
def test_a_record_out_of_range_is_refused_by_seat(value: int) -> None:
    with pytest.raises(InvalidInput, match=rf"record of seat 1 is {value}: expected -2\^31 to 2\^31 - 1"):
        packed.pack_records([0, value])


def test_entries_are_big_endian_without_padding() -> None:
    assert packed.pack_pays([1, 2]) == bytes(15) + b"\1" + bytes(15) + b"\2"
    assert packed.pack_lifetime([258]) == bytes(6) + b"\1\2"


@pytest.mark.parametrize("value", [-1, 2**128])
def test_pay_out_of_range_is_refused_by_seat(value: int) -> None:
    with pytest.raises(InvalidInput, match=f"pay of seat 1 is {value}"):
        packed.pack_pays([0, value])


@pytest.mark.parametrize(
    "unpack",
    [
        packed.unpack_pays,
        packed.unpack_lifetime,
        packed.unpack_weights,
        packed.unpack_scores,
        packed.unpack_records,
    ],
)
def test_truncated_array_is_refused(unpack: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a multiple of"):
        unpack(bytes(17))


def test_settlement_lists_reasons_by_seat_ascending() -> None:
    exclusions = {Seat(5): ExclusionReason.MISMATCH, Seat(0): ExclusionReason.UNREADABLE}
    settlement = Settlement(exclusions, b"gram", Digest(b"m" * 32), b"life")
    nothing = (b"", b"", b"", b"", b"", (b"", b"", b""))
    assert settlement.to_abi() == (0b100001, b"\2\3", 0, b"gram", b"m" * 32, b"life", b"", *nothing)


def test_settlement_says_why_an_exam_is_left_out() -> None:
    settlement = Settlement({}, b"gram", Digest(b"m" * 32), b"life", exam_reason=ExclusionReason.UNREADABLE)
    assert settlement.to_abi()[2] == 2


def test_settlement_brings_the_records_after_the_lifetime_scores() -> None:
    settlement = Settlement({}, b"gram", Digest(b"m" * 32), b"life", records=b"records")
    assert settlement.to_abi()[5:7] == (b"life", b"records")


def test_settlement_brings_its_proof_in_the_contracts_order() -> None:
    rows = (b"commitments", b"rows", b"exam", b"mask")
    proof = RoundProof((Seat(2), Seat(0)), *rows, b"sums", b"blinders", b"argument")
    settlement = Settlement({}, b"gram", Digest(b"m" * 32), b"life", proof)
    assert settlement.to_abi()[7:] == (b"\2\0", *rows, (b"sums", b"blinders", b"argument"))


def test_weights_and_scores_are_read_as_the_contract_packs_them() -> None:
    assert packed.unpack_weights(b"\0\0\0\1" + b"\0\4\0\0") == (1, 1 << 18)
    assert packed.unpack_scores(bytes(7) + b"\1" + b"\0\0\0\1" + bytes(4)) == (1, 1 << 32)
    assert packed.unpack_weights(b"") == packed.unpack_scores(b"") == ()


def test_pay_hash_is_the_first_24_bytes_of_the_hash_of_the_arrays_and_the_undos() -> None:
    pays = packed.pack_pays([1, 2, 3])
    undo = b"\x05" * 32
    assert packed.pay_hash(pays, undo) == packed.hash_of(packed.hash_of(pays) + undo)[:24]


def test_ledger_is_balanced_only_where_every_wei_is_accounted_for() -> None:
    amounts = [100, 10, 20, 30, 1, 2, 3, 4, 5, 9, 7, 9]
    ledger = Ledger.from_abi(amounts)
    assert ledger.locked_wei == 40
    assert ledger.is_balanced
    assert not Ledger.from_abi([101, *amounts[1:]]).is_balanced
