"""Money, time and addresses as a person reads them."""

from __future__ import annotations

import re

from market.protocol.moments import duration as duration
from market.protocol.moments import moment as moment
from market.protocol.money import money as money

_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))? ?([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """A number of bytes, as in "500 MB" (10^6 bytes), "1.5GiB" (2^30) or "4096".

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[4] and not found[3]):
        raise ValueError(f"{text[:40]!r} is no size: expected a number of bytes, as in 500MB or 20GiB")
    unit: int = (1024 if found[4] else 1000) ** " kmgt".index(found[3].lower() or " ")
    return int(found[1]) * unit + int(int(found[2] or 0) * unit // 10 ** len(found[2] or ""))


def short(address: str) -> str:
    """An address abbreviated to what tells two apart."""
    return f"{address[:6]}…{address[-4:]}"
