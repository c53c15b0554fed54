"""Nearest-neighbour mixing: every update is replaced by the mean of those nearest to it, before another rule decides.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2023, Fixing by Mixing: A Recipe for Optimal Byzantine ML under
Heterogeneity, arXiv:2302.01772. `docs/rules.md`, section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.shares import Integers, Shares

Rows = tuple[int, ...]


@dataclass(frozen=True)
class Mixture:
    """Rows of which each is the sum of a row's m - f nearest.

    Attributes:
        neighbours: of every row, which rows its sum is of, in ascending order
        products: m x m inner products of the sums
    """

    neighbours: tuple[Rows, ...]
    products: Integers

    def unmixed(self, shares: Shares) -> Shares:
        """Return the parts that the rows themselves have where the sums have these."""
        size = len(self.neighbours)
        parts = [0] * size
        for part, chosen in zip(shares.parts, self.neighbours, strict=True):
            for j in chosen:
                parts[j] += part
        return Shares(tuple(parts), shares.whole * len(self.neighbours[0]))


def mix(products: Integers, faults: int) -> Mixture:
    """Add up, for every row, itself and the m - f - 1 others nearest to it; ties go to the lower row.

    Args:
        products: m x m inner products of the rows
        faults: f < m

    >>> line = [0, 1, 2, 100]
    >>> mix([[a * b for b in line] for a in line], 1).neighbours
    ((0, 1, 2), (0, 1, 2), (0, 1, 2), (1, 2, 3))
    """
    neighbours = tuple(_nearest(products, i, len(products) - faults) for i in range(len(products)))
    halfway = [[sum(row[j] for j in chosen) for row in products] for chosen in neighbours]
    return Mixture(neighbours, [[sum(row[k] for k in chosen) for chosen in neighbours] for row in halfway])


def _nearest(products: Integers, i: int, count: int) -> Rows:
    others = (j for j in range(len(products)) if j != i)
    ranked = sorted(others, key=lambda j: (products[i][i] + products[j][j] - 2 * products[i][j], j))
    return tuple(sorted((i, *ranked[: count - 1])))
