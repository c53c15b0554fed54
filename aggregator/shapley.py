"""Shapley values of the accepted updates in the game that the exam's r sets. `docs/rules.md`, section 5.

The worth of a coalition S is how much nearer its weighted sum X_S = Σ_{i∈S} w_i·q_i (residuals) comes to what the exam
asks for than nothing does: U(S) = |t|² - |t - X_S|². The target t = λ·r has the length at which the sum of all is the
nearest multiple of itself: λ = V / N_r. The game is quadratic, so that the mean over all orders of joining has a closed
form (Shapley 1953, A value for n-person games; Ghorbani and Zou 2019, Data Shapley, arXiv:1904.02868).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ONE_Q32: Final = 1 << 32


def shapley_q32(
    residual: Sequence[Sequence[int]], asked: Sequence[int], rows: Sequence[int], weights: Sequence[int]
) -> list[int]:
    """Return φ_i / V = w_i·(2·R_ir·V - (Rw)_i·N_r) / (N_r·V), the share of the whole sum's worth, zero where negative.

    Args:
        residual: R, n x n
        asked: R_ir of all n updates
        rows: those accepted
        weights: w_i of those accepted

    Returns:
        one share for each of `rows`, Q32, rounded down, at most one; all zero unless N_r = Σ w_i·R_ir and
        V = Σ w_i·w_j·R_ij are above zero

    >>> shapley_q32([[4, 0], [0, 4]], [2, 2], [0, 1], [1, 1]) == [ONE_Q32 // 2] * 2
    True
    """
    pairs = list(zip(rows, weights, strict=True))
    sums = [sum(w * residual[i][j] for j, w in pairs) for i in rows]
    square = sum(w * total for w, total in zip(weights, sums, strict=True))
    along = sum(w * asked[i] for i, w in pairs)
    if along <= 0 or square <= 0:
        return [0] * len(rows)
    worths = [w * (2 * asked[i] * square - total * along) for (i, w), total in zip(pairs, sums, strict=True)]
    return [min(ONE_Q32, max(0, worth) * ONE_Q32 // (along * square)) for worth in worths]
