"""The acceptance rules: which updates are in the average. `docs/rules.md`, sections 3 and 4.

Every rule takes the evidence of a round and the rows still in, and returns those that it keeps, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from aggregator.centred_clipping import NO_CENTRE, Centre
from aggregator.projection import ExamRow
from market.protocol.gram_matrix import Integers
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms

Rows = tuple[int, ...]

CREDIT_SHIFT: Final = 3
"""Each exam takes an eighth of what the exams before came to, where that is to a seat's credit."""

DEBT_SHIFT: Final = 5
"""A debt fades four times as slowly: who was against the exam while there was much to learn is not let in later."""

LINE_SHIFT: Final = 16
"""From √T in Q32 to Q16."""


@dataclass(frozen=True)
class Evidence:
    """What the rules look at.

    Attributes:
        products: G, n x n inner products of the updates
        residual: R, n x n inner products of what is left once the public rows are projected out
        chance_q64: T, the square of the cosine above which a row says more than chance
        shift: e; a count of this round is 2^e base counts
        exam: what is left of the exam's r; None where the round has none that counts
        records_q16: what the exams before come to for each row's seat; empty where all are zero
        centre: what the updates have in common with the last aggregate
    """

    products: Integers
    residual: Integers
    chance_q64: int
    shift: int
    exam: ExamRow | None = None
    records_q16: Sequence[int] = ()
    centre: Centre = NO_CENTRE


def chance_q64(terms: RuleTerms) -> int:
    """Return T = max(⌈z²/d⌉, floor²) with 64 fractional bits.

    A random vector's cosine with anything is about N(0, 1/d): one above z/√d is z standard deviations from chance.

    >>> chance_q64(RuleTerms(dimension=900, significance_q8=3 << 8)) == -(-(1 << 64) // 100)
    True
    """
    significance = -(-(terms.significance_q8**2 << 48) // terms.dimension)
    return max(significance, terms.floor_q16**2 << 32)


def keep_all(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Keep everybody: an unused place in the sequence."""
    return rows


def norm_bound(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Keep i with b <= ‖q_i‖·2^e <= a.

    >>> norm_bound(Evidence([[25, 0], [0, 36]], [], 0, 0), (0, 1), Rule(RuleKind.NORM_BOUND, 5))
    (0,)
    >>> norm_bound(Evidence([[25, 0], [0, 36]], [], 0, 0), (0, 1), Rule(RuleKind.NORM_BOUND, 9, 6))
    (1,)
    """
    least = -(-(rule.b**2) >> 2 * evidence.shift)
    most = rule.a**2 >> 2 * evidence.shift
    return tuple(i for i in rows if least <= evidence.products[i][i] <= most)


def median_cosine(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Keep i if the (upper) median of its semi-partial cosines with the others is more than chance.

    A median held against a threshold is a count: #{j ≠ i : above(i | j)} >= ⌊m/2⌋ >= 1, half of the others.
    A group that agrees only with itself needs k - 1 >= ⌊m/2⌋: a majority.

    >>> same, other = [[9, 9, 0], [9, 9, 0], [0, 0, 9]], [[9, 9, 0], [9, 9, 0], [0, 0, 9]]
    >>> median_cosine(Evidence(same, other, 0, 0), (0, 1), Rule(RuleKind.MEDIAN_COSINE))
    (0, 1)
    """
    half = max(1, len(rows) // 2)
    return tuple(i for i in rows if sum(more_than_chance(evidence, i, j) for j in rows if j != i) >= half)


def more_than_chance(evidence: Evidence, i: int, j: int) -> bool:
    """Tell whether ⟨q_i⊥, q_j⊥⟩ / (‖q_i‖·‖q_j⊥‖), the semi-partial cosine of i given the public rows, exceeds √T."""
    shared, own, other = evidence.residual[i][j], evidence.residual[i][i], evidence.residual[j][j]
    if min(shared, own, other) <= 0:
        return False
    return shared**2 << 64 > evidence.chance_q64 * evidence.products[i][i] * other


def exam(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Keep i if its seat's record of exams, this one included, is more than chance, and it is not against this one.

    Where no exam counts, `median_cosine` decides.

    >>> ours, asked = [[9, 0], [0, 9]], ExamRow(square=4, products=(6, -6))
    >>> exam(Evidence(ours, ours, 0, 0, asked), (0, 1), Rule(RuleKind.EXAM))
    (0,)
    """
    if evidence.exam is None:
        return median_cosine(evidence, rows, rule)
    return tuple(i for i in rows if passes_exam(evidence, evidence.exam, i))


def passes_exam(evidence: Evidence, asked: ExamRow, i: int) -> bool:
    """Tell whether i's record exceeds 2·√T, or √T in the first exam of all, and its own cosine with r is not below -√T.

    By chance a record spreads up to 1/√(1 - (7/8)²), or twice, as wide as one mark. Newcomers are held to the same line
    as the others: else a stake that moves from seat to seat would be for ever new.
    """
    shared = asked.products[i]
    bar = evidence.chance_q64 * evidence.products[i][i] * asked.square
    is_against = shared < 0 and shared**2 << 64 > bar
    line = isqrt(evidence.chance_q64) >> LINE_SHIFT
    return record_q16(evidence, asked, i) > (2 * line if any(evidence.records_q16) else line) and not is_against


def record_q16(evidence: Evidence, asked: ExamRow, i: int) -> int:
    """Return the record of i's seat with this exam's mark: D' = D - ⌊D/8⌋ + c, or D - ⌊D/32⌋ + c where D is a debt."""
    before = evidence.records_q16[i] if evidence.records_q16 else 0
    return before - (before >> (DEBT_SHIFT if before < 0 else CREDIT_SHIFT)) + mark_q16(evidence, asked, i)


def mark_q16(evidence: Evidence, asked: ExamRow, i: int) -> int:
    """Return c, an update's semi-partial cosine with r, between minus one and one, rounded towards zero.

    >>> mark_q16(Evidence([[9]], [[9]], 0, 0), ExamRow(square=4, products=(-3,)), 0) / ONE_Q16
    -0.5
    """
    shared = asked.products[i]
    scale = isqrt(evidence.products[i][i] << 32) * isqrt(asked.square << 32)
    cosine = min(ONE_Q16, (abs(shared) << 48) // scale) if scale else 0
    return cosine if shared > 0 else -cosine


def multi_krum(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Keep the `b` rows (0: m - f) whose m - f - 2 nearest others are nearest; ties go to the lower row.

    Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries (Krum), NeurIPS 2017, arXiv:1703.02757.
    With f of m >= 2f + 3 faulty, the chosen are near the honest majority. Fewer than 2f + 3 rows: keeps nobody.

    >>> line = [0, 1, 2, 3, 100]  # five updates of one coordinate, the last far off
    >>> products = [[a * b for b in line] for a in line]
    >>> multi_krum(Evidence(products, [], 0, 0), (0, 1, 2, 3, 4), Rule(RuleKind.MULTI_KRUM, 1))
    (0, 1, 2, 3)
    """
    count, faults = len(rows), rule.a
    if count < 2 * faults + 3:
        return ()
    keep = rule.b if 0 < rule.b <= count - faults else count - faults
    ranked = sorted((sum(_distances(evidence.products, i, rows)[: count - faults - 2]), i) for i in rows)
    return tuple(sorted(i for _, i in ranked[:keep]))


def _distances(products: Integers, i: int, rows: Rows) -> list[int]:
    """Squared distances from i to the other rows, nearest first."""
    return sorted(products[i][i] + products[j][j] - 2 * products[i][j] for j in rows if j != i)


def three_sigma(evidence: Evidence, rows: Rows, rule: Rule) -> Rows:
    """Drop i if its distance to the mean is more than k standard deviations above the average distance.

    In integers, with t_i = m·‖q_i - mean‖: drop i if m·t_i > Σt and (m·t_i - Σt)² > k²·(m·Σt² - (Σt)²).

    >>> line = [0] * 15 + [100]
    >>> products = [[a * b for b in line] for a in line]
    >>> 15 in three_sigma(Evidence(products, [], 0, 0), tuple(range(16)), Rule(RuleKind.THREE_SIGMA, 3 << 8))
    False
    """
    count = len(rows)
    distances = _scaled_distances_to_mean(evidence.products, rows)
    total = sum(distances)
    spread = count * sum(t * t for t in distances) - total**2
    beyond = [count * t - total for t in distances]
    return tuple(i for i, b in zip(rows, beyond, strict=True) if b <= 0 or b**2 << 16 <= rule.a**2 * spread)


def _scaled_distances_to_mean(products: Integers, rows: Rows) -> Sequence[int]:
    """m·‖q_i - mean‖ for every row, rounded down."""
    count = len(rows)
    with_sum = [sum(products[i][j] for j in rows) for i in rows]
    sum_square = sum(with_sum)
    return [
        isqrt(max(0, count**2 * products[i][i] - 2 * count * dot + sum_square))
        for i, dot in zip(rows, with_sum, strict=True)
    ]


RULES: Final[dict[RuleKind, Callable[[Evidence, Rows, Rule], Rows]]] = {
    RuleKind.NONE: keep_all,
    RuleKind.NORM_BOUND: norm_bound,
    RuleKind.MEDIAN_COSINE: median_cosine,
    RuleKind.MULTI_KRUM: multi_krum,
    RuleKind.THREE_SIGMA: three_sigma,
    RuleKind.EXAM: exam,
}
"""Every rule that keeps rows, by its kind. Those that give shares are in `aggregator.sharing`."""
