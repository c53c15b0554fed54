"""Weights and scores of the accepted updates: how much each counts, and what each contributed.

Norms, cosines and shares have 16 fractional bits, scores 32. `docs/rules.md`, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Final

from aggregator.rules import Evidence, Rows
from market.protocol.rule_terms import ONE_Q16, RuleTerms, Scoring, Weighting


@dataclass(frozen=True)
class Standing:
    """One accepted update among the accepted.

    Attributes:
        norm_q16: ‖q‖
        damping_q16: h = min(1, ‖q‖/τ); small updates earn and weigh little
        clipping_q16: b = min(1, τ/‖q‖); large updates weigh no more than typical ones
        crowding_q16: k, how many times the same thing was said, itself included
    """

    norm_q16: int
    damping_q16: int
    clipping_q16: int
    crowding_q16: int


@dataclass(frozen=True)
class Pull:
    """An update's residual against a weighted sum of residuals: inner product N, and square E of that sum."""

    product: int
    square: int


def standings(evidence: Evidence, rows: Rows, terms: RuleTerms) -> list[Standing]:
    """Measure the accepted rows against each other.

    Returns:
        one for each of `rows`; empty if every norm that could count is zero, and then nobody is accepted
    """
    norms = [isqrt(evidence.products[i][i] << 32) for i in rows]
    lower_median = sorted(norms)[(len(norms) - 1) // 2]
    full = max(lower_median, (terms.norm_floor << 16) >> evidence.shift)
    if full == 0:
        return []
    return [
        Standing(
            norm_q16=norm,
            damping_q16=min(ONE_Q16, (norm << 16) // full),
            clipping_q16=ONE_Q16 if norm <= full else (full << 16) // norm,
            crowding_q16=crowding,
        )
        for norm, crowding in zip(norms, crowding_q16(evidence, rows), strict=True)
    ]


def crowding_q16(evidence: Evidence, rows: Rows) -> list[int]:
    """k_i = 1 + Σ_{j ≠ i} max(0, partial cosine of i and j), each at most one.

    >>> twins = [[4, 4, 0], [4, 4, 0], [0, 0, 4]]
    >>> [k / ONE_Q16 for k in crowding_q16(Evidence(twins, twins, 0, 0), (0, 1, 2))]
    [2.0, 2.0, 1.0]
    """
    norms = {i: isqrt(evidence.residual[i][i] << 32) for i in rows}

    def likeness(i: int, j: int) -> int:
        shared, scale = evidence.residual[i][j], norms[i] * norms[j]
        return min(ONE_Q16, (shared << 48) // scale) if shared > 0 and scale > 0 else 0

    return [ONE_Q16 + sum(likeness(i, j) for j in rows if j != i) for i in rows]


def weights(among: list[Standing], terms: RuleTerms) -> list[int]:
    """Integer weights of the average, rounded down so that they sum to at most the server's rate.

    Returns:
        one a row; empty if nobody has any weight, and then nobody is accepted
    """
    return WEIGHTINGS[terms.weighting](among, terms.server_rate_q16)


def _crowding_weights(among: list[Standing], rate_q16: int) -> list[int]:
    """w_i ∝ h_i·b_i / k_i: whoever says the same thing shares one voice."""
    shares = [((s.damping_q16 * s.clipping_q16) << 16) // s.crowding_q16 for s in among]
    total = sum(shares)
    return [rate_q16 * share // total for share in shares] if total else []


def _equal_weights(among: list[Standing], rate_q16: int) -> list[int]:
    """McMahan et al.: Federated averaging with equal parts, arXiv:1602.05629."""
    return [rate_q16 // len(among)] * len(among)


WEIGHTINGS: Final[dict[Weighting, Callable[[list[Standing], int], list[int]]]] = {
    Weighting.CROWDING: _crowding_weights,
    Weighting.EQUAL: _equal_weights,
}


def scores_q32(
    evidence: Evidence, rows: Rows, among: list[Standing], row_weights: list[int], terms: RuleTerms
) -> list[int]:
    """s_i = min(c_i, cap)²·h_i / k_i, what each accepted update is paid by; rounded down."""
    contributions = contributions_q16(evidence, rows, among, row_weights, terms.scoring)
    return [
        min(c, terms.cap_q16) ** 2 * s.damping_q16 // s.crowding_q16 for c, s in zip(contributions, among, strict=True)
    ]


def contributions_q16(
    evidence: Evidence, rows: Rows, among: list[Standing], row_weights: list[int], scoring: Scoring
) -> list[int]:
    """c_i: the cosine of q_i⊥ with the weighted sum of the accepted residuals, over the whole norm of q_i.

    What of an update lies in the span of the public rows adds to its norm and to nothing else: replaying earns nothing.
    """
    if scoring is Scoring.EQUAL:
        return [ONE_Q16] * len(rows)
    pulls = PULLS[scoring](evidence, rows, row_weights)
    return [_cosine_q16(pull, s.norm_q16) for pull, s in zip(pulls, among, strict=True)]


def _cosine_q16(pull: Pull, norm_q16: int) -> int:
    if pull.product <= 0 or pull.square <= 0 or norm_q16 == 0:
        return 0
    return min(ONE_Q16, (pull.product << 48) // (norm_q16 * isqrt(pull.square << 32)))


def _to_mean(evidence: Evidence, rows: Rows, row_weights: list[int]) -> list[Pull]:
    """N = S_i = Σ_j w_j·R_ij and E = V = Σ_i w_i·S_i: everybody's sum, i's own part included."""
    pairs = list(zip(rows, row_weights, strict=True))
    products = [sum(w * evidence.residual[i][j] for j, w in pairs) for i in rows]
    square = sum(w * product for w, product in zip(row_weights, products, strict=True))
    return [Pull(product, square) for product in products]


def _leave_one_out(evidence: Evidence, rows: Rows, row_weights: list[int]) -> list[Pull]:
    """N = S_i - w_i·R_ii and E = V - 2·w_i·S_i + w_i²·R_ii: the sum of all others."""
    return [
        Pull(
            product=mean.product - w * evidence.residual[i][i],
            square=mean.square - 2 * w * mean.product + w * w * evidence.residual[i][i],
        )
        for mean, i, w in zip(_to_mean(evidence, rows, row_weights), rows, row_weights, strict=True)
    ]


PULLS: Final[dict[Scoring, Callable[[Evidence, Rows, list[int]], list[Pull]]]] = {
    Scoring.LEAVE_ONE_OUT_COSINE: _leave_one_out,
    Scoring.COSINE_TO_MEAN: _to_mean,
}


def mean_likeness_q16(among: list[Standing]) -> int:
    """Mean partial cosine over all ordered pairs of the accepted, negative ones counted as zero; rounded down."""
    return sum(s.crowding_q16 - ONE_Q16 for s in among) // (len(among) * (len(among) - 1))
