import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.money import MAX_AMOUNT, format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("1 ether", 10**18),
        ("1.5 ether", 15 * 10**17),
        ("20 gwei", 20 * 10**9),
        ("7 wei", 7),
        (7, 7),
        ("0", 0),
        ("0.000000000000000001 ether", 1),
    ],
)
def test_amounts_are_read_exactly(text: object, wei: int) -> None:
    assert parse_amount(text) == wei


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ether",
        "-1 wei",
        "1 eth",
        "1.5 wei",
        "0.0000000000000000001 ether",
        "nan ether",
        "inf",
        1.5,
        True,
        None,
        str(1 << 128),
        "1e999999999",
        "0.5e-999999999 ether",
        "0e999999999",
    ],
)
def test_what_is_no_amount_is_refused_with_its_value(text: object) -> None:
    with pytest.raises(ValueError, match="expected an amount"):
        parse_amount(text)


@given(st.integers(0, MAX_AMOUNT))
def test_a_shown_amount_loses_no_wei(wei: int) -> None:
    assert parse_amount(format_amount(wei, "ether")) == wei
