"""Amounts as a person writes them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from market.protocol.identifiers import Wei
from market.protocol.terms import NATIVE

UNITS = {"wei": 1, "gwei": 10**9, "ether": 10**18}
MAX_AMOUNT = (1 << 128) - 1
MAX_DIGITS = 60
"""More than any amount has, before the point or behind it."""


def parse_amount(text: object) -> Wei:
    """Read "1.5 ether", "20 gwei", "7 wei" or a whole number of wei. Exact: no amount is rounded.

    Raises:
        ValueError: the text is no amount, is negative, is finer than one wei, or does not fit in 128 bits.
    """
    expectation = f"expected an amount such as '1.5 ether' or a whole number of wei, got {text!r}"
    number, _, unit = str(text).strip().partition(" ")
    unit = unit.strip() or "wei"
    if unit not in UNITS:
        raise ValueError(f"{expectation}; known units are {', '.join(UNITS)}")
    try:
        decimal = Decimal(number)
        # Made a fraction, "1e999999999" has a thousand million digits.
        if abs(decimal.adjusted()) > MAX_DIGITS:
            raise ValueError(f"its exponent is beyond {MAX_DIGITS}")
        amount = Fraction(decimal) * UNITS[unit]
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError(expectation) from error
    if amount.denominator != 1 or not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"{expectation}; it must be a whole number of wei between 0 and 2^128 - 1")
    return Wei(int(amount))


def format_amount(wei: int, symbol: str = "ETH") -> str:
    """Show an amount in whole coins, exactly, without trailing zeros."""
    whole, rest = divmod(abs(wei), UNITS["ether"])
    fraction = f".{rest:018}".rstrip("0").rstrip(".")
    return f"{'-' if wei < 0 else ''}{whole}{fraction} {symbol}"


def money(amount_wei: int, token: str = NATIVE) -> str:
    """An amount, exactly: in coins where the token is the chain's own, else in the token's smallest unit."""
    return format_amount(amount_wei) if token == NATIVE else f"{amount_wei:,} units"
