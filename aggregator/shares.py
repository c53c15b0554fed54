"""What part of the average each update makes up where the rule itself says so: `Weighting.RULE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Integers = Sequence[Sequence[int]]

ONE_Q32: Final = 1 << 32
"""The whole of an average, with 32 fractional bits."""


@dataclass(frozen=True)
class Shares:
    """Parts of an average. The rows are those of the matrix that the rule was given.

    Attributes:
        parts: one a row, none negative
        whole: what they are parts of, at least their sum and above zero
    """

    parts: tuple[int, ...]
    whole: int


def products_with_sum(products: Integers, parts: Sequence[int]) -> tuple[list[int], int]:
    """Return ⟨x_i, z⟩ of every row and ‖z‖², for z = Σ_j a_j·x_j, from the rows' inner products alone.

    >>> products_with_sum([[1, 0], [0, 4]], [3, 1])
    ([3, 4], 13)
    """
    along = [sum(a * product for a, product in zip(parts, row, strict=True)) for row in products]
    return along, sum(a * x for a, x in zip(parts, along, strict=True))
