"""Weights and scores of the accepted updates: how much each counts, and what each contributed.

Norms, cosines and shares have 16 fractional bits, scores 32. `docs/rules.md`, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from aggregator.projection import ExamRow
from aggregator.rules import Evidence, Rows
from aggregator.shapley import shapley_q32
from aggregator.shares import Shares
from market.protocol.rule_terms import ONE_Q16, RuleTerms, Scoring, Weighting


@dataclass(frozen=True)
class Standing:
    """One accepted update among the accepted.

    Attributes:
        norm_q16: ‖q‖
        damping_q16: h = min(1, ‖q‖/τ); small updates earn and weigh little
        clipping_q16: b = min(1, 5/4·τ/‖q‖): what is left of large updates
        crowding_q16: k, how many times the same thing was said, itself included
    """

    norm_q16: int
    damping_q16: int
    clipping_q16: int
    crowding_q16: int


def standings(evidence: Evidence, rows: Rows, terms: RuleTerms) -> list[Standing]:
    """Measure the accepted rows against each other.

    Returns:
        one for each of `rows`; empty if every norm that could count is zero, and then nobody is accepted
    """
    norms = [isqrt(evidence.products[i][i] << 32) for i in rows]
    full = max(
        _typical(norms, by_exam=terms.accepts_by_exam and evidence.exam is not None),
        (terms.norm_floor << 16) >> evidence.shift,
    )
    if full == 0:
        return []
    most = full + (full >> 2)
    return [
        Standing(
            norm_q16=norm,
            damping_q16=min(ONE_Q16, (norm << 16) // full),
            clipping_q16=ONE_Q16 if norm <= most else (most << 16) // norm,
            crowding_q16=crowding,
        )
        for norm, crowding in zip(norms, crowding_q16(evidence, rows), strict=True)
    ]


def _typical(norms: Sequence[int], *, by_exam: bool) -> int:
    """Return the lower median of the accepted's norms, which are mostly honest; if by an exam, the lower quartile.

    An exam lets in whoever passes, and that may be a majority of cheats.

    >>> [_typical([3, 1, 2, 9, 9, 9], by_exam=by_exam) for by_exam in (False, True)]
    [3, 2]
    """
    return sorted(norms)[(len(norms) - 1) // (4 if by_exam else 2)]


def likeness_q16(evidence: Evidence, rows: Rows) -> list[list[int]]:
    """κ_ij: the partial cosine of every two rows, zero where it is negative, at most one. κ_ii is left at zero.

    >>> twins = [[4, 4, 0], [4, 4, 0], [0, 0, 4]]
    >>> [k / ONE_Q16 for k in likeness_q16(Evidence(twins, twins, 0, 0), (0, 1, 2))[0]]
    [0.0, 1.0, 0.0]
    """
    norms = {i: isqrt(evidence.residual[i][i] << 32) for i in rows}

    def likeness(i: int, j: int) -> int:
        shared, scale = evidence.residual[i][j], norms[i] * norms[j]
        return min(ONE_Q16, (shared << 48) // scale) if i != j and shared > 0 and scale > 0 else 0

    return [[likeness(i, j) for j in rows] for i in rows]


def crowding_q16(evidence: Evidence, rows: Rows) -> list[int]:
    """k_i = 1 + Σ_{j ≠ i} κ_ij: how many times the same thing was said.

    >>> twins = [[4, 4, 0], [4, 4, 0], [0, 0, 4]]
    >>> [k / ONE_Q16 for k in crowding_q16(Evidence(twins, twins, 0, 0), (0, 1, 2))]
    [2.0, 2.0, 1.0]
    """
    return [ONE_Q16 + sum(likenesses) for likenesses in likeness_q16(evidence, rows)]


def weights(among: list[Standing], terms: RuleTerms, shares: Shares | None = None) -> list[int]:
    """Integer weights of the average, rounded down so that they sum to at most the server's rate.

    Args:
        among: the accepted
        terms: the job's
        shares: their parts, where the job's rules gave any; they are the weights then

    Returns:
        one a row; empty if nobody has any weight, and then nobody is accepted
    """
    if shares is not None:
        return [terms.server_rate_q16 * part // shares.whole for part in shares.parts]
    return WEIGHTINGS[terms.weighting](among, terms.server_rate_q16)


def _crowding_weights(among: list[Standing], rate_q16: int) -> list[int]:
    """w_i = rate·b_i·(h_i / k_i) / Σ h / k: whoever says the same thing shares one voice.

    What clipping takes from large updates goes to nobody: the average is no longer than the norm they are clipped to.
    """
    shares = [(s.damping_q16 << 32) // s.crowding_q16 for s in among]
    kept = [share * s.clipping_q16 >> 16 for share, s in zip(shares, among, strict=True)]
    return [rate_q16 * part // sum(shares) for part in kept] if any(kept) else []


def _equal_weights(among: list[Standing], rate_q16: int) -> list[int]:
    """McMahan et al.: Federated averaging with equal parts, arXiv:1602.05629."""
    return [rate_q16 // len(among)] * len(among)


WEIGHTINGS: Final[dict[Weighting, Callable[[list[Standing], int], list[int]]]] = {
    Weighting.CROWDING: _crowding_weights,
    Weighting.EQUAL: _equal_weights,
    Weighting.RULE: _equal_weights,
}
"""Under `RULE` this is for the fallback alone, whose choice has no shares."""


def scores_q32(
    evidence: Evidence, rows: Rows, among: list[Standing], row_weights: list[int], terms: RuleTerms
) -> list[int]:
    """What each accepted update is paid by, rounded down: s_i = min(c_i, cap)²·h_i / k_i, or its Shapley value.

    Scorings that ask for an exam score everybody zero where none counts.
    """
    scoring, asked = terms.scoring, evidence.exam
    if scoring not in (Scoring.EXAM, Scoring.SHAPLEY):
        contributions = contributions_q16(evidence, rows, among, row_weights, scoring)
    elif asked is None:
        return [0] * len(rows)
    elif scoring is Scoring.SHAPLEY:
        return shapley_q32(evidence.residual, asked.products, rows, row_weights)
    else:
        contributions = exam_marks_q16(asked, rows, among)
    return [
        min(c, terms.cap_q16) ** 2 * s.damping_q16 // s.crowding_q16 for c, s in zip(contributions, among, strict=True)
    ]


def exam_marks_q16(asked: ExamRow, rows: Rows, among: list[Standing]) -> list[int]:
    """c_i = R_ir / (‖q_i‖·√R_rr): how far an update points where the exam asks, zero where it points away."""
    length = isqrt(asked.square << 32)
    return [_cosine_q16(asked.products[i], length * s.norm_q16) for i, s in zip(rows, among, strict=True)]


def contributions_q16(
    evidence: Evidence, rows: Rows, among: list[Standing], row_weights: list[int], scoring: Scoring
) -> list[int]:
    """c_i = N_i / (‖q_i‖·√V): how far an update points where the weighted sum of the accepted residuals points.

    V is the square of that sum. What of an update lies in the span of the public rows adds to its norm and to nothing
    else: replaying earns nothing.
    """
    if scoring is Scoring.EQUAL:
        return [ONE_Q16] * len(rows)
    pairs = list(zip(rows, row_weights, strict=True))
    square = sum(v * w * evidence.residual[i][j] for i, v in pairs for j, w in pairs)
    length = isqrt(square << 32) if square > 0 else 0
    pulls = PULLS[scoring](evidence, rows, row_weights)
    return [_cosine_q16(pull, length * s.norm_q16) for pull, s in zip(pulls, among, strict=True)]


def _cosine_q16(product: int, scale: int) -> int:
    return min(ONE_Q16, (product << 48) // scale) if product > 0 and scale > 0 else 0


def _to_mean(evidence: Evidence, rows: Rows, row_weights: list[int]) -> list[int]:
    """N_i = Σ_j w_j·R_ij: everybody's sum, i's own part included."""
    pairs = list(zip(rows, row_weights, strict=True))
    return [sum(w * evidence.residual[i][j] for j, w in pairs) for i in rows]


def _leave_one_out(evidence: Evidence, rows: Rows, row_weights: list[int]) -> list[int]:
    """N_i = Σ_{j ≠ i} w_j·(1 - κ_ij)·R_ij: what others bring to the sum, and the less of it the more they are like i.

    Without the discount a copy would be a witness for its original, and k seats with one update earned up to 6 times
    its pay (`make bench`, copies).
    """
    pulls = []
    for i, likenesses in zip(rows, likeness_q16(evidence, rows), strict=True):
        others = zip(rows, row_weights, likenesses, strict=True)
        pulls.append(sum(w * (ONE_Q16 - k) * evidence.residual[i][j] for j, w, k in others if j != i) >> 16)
    return pulls


PULLS: Final[dict[Scoring, Callable[[Evidence, Rows, list[int]], list[int]]]] = {
    Scoring.LEAVE_ONE_OUT_COSINE: _leave_one_out,
    Scoring.COSINE_TO_MEAN: _to_mean,
}
"""What is held against the sum."""


def mean_likeness_q16(among: list[Standing]) -> int:
    """Mean partial cosine over all ordered pairs of the accepted, negative ones counted as zero; rounded down."""
    return sum(s.crowding_q16 - ONE_Q16 for s in among) // (len(among) * (len(among) - 1))
