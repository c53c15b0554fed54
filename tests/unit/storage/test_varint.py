from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.storage.varint import decode_varint, encode_varint


@given(st.integers(0, 2**63 - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_what_is_encoded_decodes_wherever_it_stands(value: int, before: bytes, after: bytes) -> None:
    encoded = encode_varint(value)
    assert decode_varint(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


def test_encodings_of_the_specification() -> None:
    known = {0: "00", 127: "7f", 128: "8001", 300: "ac02", 16384: "808001"}
    assert {value: encode_varint(value).hex() for value in known} == known


@pytest.mark.parametrize("value", [-1, 2**63])
def test_values_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="not in"):
        encode_varint(value)


@pytest.mark.parametrize(
    ("encoded", "problem"),
    [(b"", "ends inside"), (b"\x80", "ends inside"), (b"\x81\x00", "shortest"), (b"\xff" * 9 + b"\x01", "63 bits")],
)
def test_damaged_encodings_are_refused(encoded: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_varint(encoded, 0)
