"""Periods and moments of the chain's clock as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def duration(period_s: int) -> str:
    """A period in its two largest units: "4 min 12 s"."""
    if period_s < MINUTE_S:
        return f"{period_s} s"
    for large_s, large, small_s, small in (
        (DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", MINUTE_S, "min"),
        (MINUTE_S, "min", 1, "s"),
    ):
        if period_s >= large_s:
            whole, rest = divmod(period_s, large_s)
            return f"{whole} {large} {rest // small_s} {small}" if rest // small_s else f"{whole} {large}"
    return f"{period_s} s"


def moment(timestamp_s: int) -> str:
    """A block timestamp as date and time in UTC."""
    try:
        return datetime.fromtimestamp(timestamp_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"block timestamp {timestamp_s}"  # a job's terms may name any number of 40 bits
