"""Money, time and addresses as a person reads them."""

from __future__ import annotations

from market.protocol.moments import duration as duration
from market.protocol.moments import moment as moment
from market.protocol.money import format_amount
from market.protocol.terms import NATIVE


def money(amount_wei: int, token: str = NATIVE) -> str:
    """An amount, exactly: in coins where the token is the chain's own, else in the token's smallest unit."""
    return format_amount(amount_wei) if token == NATIVE else f"{amount_wei:,} units"


def short(address: str) -> str:
    """An address abbreviated to what tells two apart."""
    return f"{address[:6]}…{address[-4:]}"
