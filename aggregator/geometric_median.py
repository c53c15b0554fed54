"""The geometric median of the updates: the point with the smallest sum of distances. `docs/rules.md`, section 10.

Weiszfeld's iteration with smoothed distances, a fixed number of steps (Pillutla, Kakade, Harchaoui 2022, Robust
Aggregation for Federated Learning, arXiv:1912.13445). Every iterate is a convex combination of the updates, so that
inner products are all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Final

from aggregator.shares import ONE_Q32, Integers, Shares, products_with_sum

NEARNESS_BITS: Final = 100
"""A distance t is turned into the nearness ⌊2^100 / t⌋: t is at most 2^67."""


def geometric_median(products: Integers, steps: int) -> Shares:
    """Start at the mean of the rows, each clipped to the typical norm, and take so many steps.

    A step leads to Σ x_i/t_i : Σ 1/t_i, where t_i is the distance from the last point, at least one count. None adds
    to the sum of distances. So with h near rows and o < h arbitrary ones, ‖z‖ <= 2·(Σ_near ‖x_i‖ + m·τ) / (h - o) after
    any number of steps, however far off the others are; from the plain mean, a fixed number of steps would leave a part
    of their distance. τ is the lower median of the norms.

    Args:
        products: m x m inner products of the rows, m >= 1; entries below 2^68 in size
        steps: at least one

    >>> line = [0, 1, 2, 3, 1000]
    >>> shares = geometric_median([[a * b for b in line] for a in line], 16)
    >>> abs(sum(a * x for a, x in zip(shares.parts, line)) / shares.whole - 2) < 0.1
    True
    """
    squares = [max(0, row[i]) for i, row in enumerate(products)]
    norms = [_distance(square << 64) for square in squares]
    parts = _nearness_shares(norms, max(sorted(norms)[(len(norms) - 1) // 2], ONE_Q32))
    for _ in range(steps):
        whole = sum(parts)
        along, square_of_point = products_with_sum(products, parts)
        distances = [
            _distance(whole * whole * square - 2 * whole * x + square_of_point)
            for square, x in zip(squares, along, strict=True)
        ]
        parts = _nearness_shares(distances, whole)
    return Shares(tuple(parts), sum(parts))


def _distance(square: int) -> int:
    """Rounded down; no square of a distance is negative, but what an invented matrix gives for one may be."""
    return isqrt(max(0, square))


def _nearness_shares(distances: Sequence[int], least: int) -> list[int]:
    """a_i, Q32, in proportion to 1 / max(t_i, least)."""
    nearness = [(1 << NEARNESS_BITS) // max(distance, least) for distance in distances]
    total = sum(nearness)
    return [each * ONE_Q32 // total for each in nearness]
