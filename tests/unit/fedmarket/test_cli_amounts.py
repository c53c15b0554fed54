"""Money and time as a person reads them."""

from __future__ import annotations

import pytest

from fedmarket.commands.amounts import duration, moment, money, parse_size, short


@pytest.mark.parametrize(
    ("period_s", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (252, "4 min 12 s"),
        (7200, "2 h"),
        (7260, "2 h 1 min"),
        (86400, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_a_period_is_told_in_its_two_largest_units(period_s: int, text: str) -> None:
    assert duration(period_s) == text


def test_no_wei_is_rounded_away() -> None:
    assert money(10**18 + 1) == "1.000000000000000001 ETH"


def test_a_token_of_unknown_decimals_is_counted_in_units() -> None:
    assert money(1_234_567, "0x" + "11" * 20) == "1,234,567 units"


def test_a_moment_beyond_the_calendar_is_still_told() -> None:
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert moment((1 << 40) - 1) == f"block timestamp {(1 << 40) - 1}"


def test_an_abbreviated_address_keeps_both_ends() -> None:
    assert short("0x2e1610cE227e940DEbb84378FB5319895E5d19f3") == "0x2e16…19f3"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("500 MB", 500_000_000),
        ("500mb", 500_000_000),
        ("20GiB", 20 << 30),
        ("1.5 GiB", 3 << 29),
        ("0.001k", 1),
        ("2T", 2 * 10**12),
    ],
)
def test_a_size_is_read_in_the_units_that_people_write(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "much", "-1", "1e9", "20 Gbit", "1,5 GB", "nan", "٣", "5i", "1" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
