"""A job's money as one bar: what came in, cut into where it is."""

from __future__ import annotations

from dataclasses import dataclass

from market.views import Escrow

WIDTH = 1_000
"""Of the bar, in units of the drawing."""


@dataclass(frozen=True)
class Share:
    """One piece of the bar, in words and in place.

    Attributes:
        name: what it is called; also the name of its fill.
        meaning: what it is.
        amount_wei: how much.
        percent: of what came in, in text.
        x: where it begins.
        width: how long it is.
    """

    name: str
    meaning: str
    amount_wei: int
    percent: str
    x: float
    width: float


MEANINGS = (
    ("paid", "pay, fees and compensation that went out"),
    ("refunded", "stakes, bonds and unused reward that went back"),
    ("burned", "out of everybody's reach"),
    ("locked", "still in the contract"),
)


def shares(escrow: Escrow) -> list[Share]:
    """The pieces, from left to right; they fill the bar."""
    whole = escrow.deposited_wei
    made, x = [], 0.0
    for name, meaning in MEANINGS:
        amount_wei = getattr(escrow, f"{name}_wei")
        width = WIDTH * amount_wei / whole if whole else 0.0
        made.append(Share(name, meaning, amount_wei, _percent(amount_wei, whole), round(x, 2), round(width, 2)))
        x += width
    return made


def _percent(amount_wei: int, whole: int) -> str:
    if not whole or not amount_wei:
        return "0 %"
    percent = 100 * amount_wei / whole
    return "under 0.1 %" if percent < 0.1 else f"{percent:.1f} %".replace(".0 %", " %")
