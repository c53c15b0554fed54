"""Centred clipping: what lies far from the last aggregate moves it no further than what lies at the radius.

Karimireddy, He, Jaggi 2021, Learning from History for Byzantine Robust Optimization, arXiv:2012.10333.
`docs/rules.md`, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from aggregator.shares import ONE_Q32, Integers, Shares, products_with_sum

CENTRE_LIMIT: Final = 1 << 60
"""No inner product with what Σ w_i·q_i / rate of a true round can be is larger: those of updates are not, either."""


@dataclass(frozen=True)
class Centre:
    """v_0, the last aggregate divided by the server's rate: zero where there is none yet.

    Attributes:
        square: ⟨v_0, v_0⟩
        products: ⟨q_i, v_0⟩ of every row
    """

    square: int
    products: tuple[int, ...]


NO_CENTRE: Final = Centre(0, ())
"""Of no rows."""


def centre(aggregate_square: int, with_aggregate: Sequence[int], server_rate_q16: int) -> Centre:
    """Return the centre of p_-1 = rate·v_0, inner products rounded towards zero and cut at ±2^60.

    >>> centre(3 << 33, [-3 << 16], 1 << 17)
    Centre(square=1, products=(-1,))
    """

    def divided(product: int, divisor: int) -> int:
        magnitude = min(abs(product) // divisor, CENTRE_LIMIT)
        return magnitude if product >= 0 else -magnitude

    return Centre(
        divided(aggregate_square, server_rate_q16**2),
        tuple(divided(product, server_rate_q16) for product in with_aggregate),
    )


def centred_clipping(products: Integers, around: Centre, radius_q32: int, steps: int) -> Shares:
    """Take so many steps v + 1/m·Σ (q_i - v)·min(1, radius / ‖q_i - v‖) from the centre.

    A step adds to v a vector no longer than radius / m for every update. The part of the average that is the centre's
    own is left out: the parts sum to what the updates have in it.

    Args:
        products: m x m inner products of the rows
        around: the centre and its inner products with the same rows
        radius_q32: in counts of this round
        steps: at least one

    >>> twins = [[16, 16, 16], [16, 16, 16], [16, 16, 16]]  # three updates of norm 4, each clipped to norm 2
    >>> shares = centred_clipping(twins, Centre(0, (0, 0, 0)), 2 << 32, 1)
    >>> shares.parts == (ONE_Q32 // 6,) * 3
    True
    """
    matrix = [[around.square, *around.products]]
    matrix += [[along, *row] for along, row in zip(around.products, products, strict=True)]
    parts = [0] * len(products)
    for _ in range(steps):
        along, square_of_point = products_with_sum(matrix, [ONE_Q32 - sum(parts), *parts])
        distances = [
            isqrt(max(0, (row[i] << 64) - (x << 33) + square_of_point))
            for i, (row, x) in enumerate(zip(products, along[1:], strict=True))
        ]
        gains = [_clipped(distance, radius_q32) // len(products) for distance in distances]
        left = ONE_Q32 - sum(gains)
        parts = [(part * left >> 32) + gain for part, gain in zip(parts, gains, strict=True)]
    return Shares(tuple(parts), ONE_Q32)


def _clipped(distance_q32: int, radius_q32: int) -> int:
    """λ = min(1, radius / distance), Q32."""
    return ONE_Q32 if distance_q32 <= radius_q32 else (radius_q32 << 32) // distance_q32
