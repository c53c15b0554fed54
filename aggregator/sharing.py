"""Rules that say by themselves what part of the average each update is: how a sequence under `Weighting.RULE` ends.

`docs/rules.md`, section 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aggregator.centred_clipping import Centre, centred_clipping
from aggregator.geometric_median import geometric_median
from aggregator.mixing import mix
from aggregator.rules import Evidence, Rows, multi_krum
from aggregator.shares import Integers, Shares
from market.protocol.rule_terms import Rule, RuleKind

NOBODY: Final = Shares((), 1)


def share(evidence: Evidence, rows: Rows, sequence: Sequence[Rule]) -> Shares:
    """Apply the rules that end a sequence.

    Args:
        evidence: of all rows
        rows: those that the rules before left
        sequence: the first rule of `SHARE_RULES` and what follows it

    Returns:
        one part for each of `rows`; all zero, or none at all, where nobody is kept
    """
    if not rows:
        return NOBODY
    return SHARE_RULES[sequence[0].kind](evidence, rows, sequence)


def _among(evidence: Evidence, rows: Rows) -> Integers:
    return [[evidence.products[i][j] for j in rows] for i in rows]


def _geometric_median(evidence: Evidence, rows: Rows, sequence: Sequence[Rule]) -> Shares:
    return geometric_median(_among(evidence, rows), sequence[0].a)


def _centred_clipping(evidence: Evidence, rows: Rows, sequence: Sequence[Rule]) -> Shares:
    """The radius is in base counts, so that it is a/2^e counts of this round."""
    everywhere = evidence.centre
    around = Centre(everywhere.square, tuple(everywhere.products[i] for i in rows))
    radius_q32 = sequence[0].a << 32 >> evidence.shift
    return centred_clipping(_among(evidence, rows), around, radius_q32, sequence[0].b)


def _mixed(evidence: Evidence, rows: Rows, sequence: Sequence[Rule]) -> Shares:
    """Mix, apply the next rule to the sums, and give every row the parts of the sums that it is in."""
    faults, after = sequence[0].a, sequence[1]
    if len(rows) < 2 * faults + 1:
        return NOBODY
    mixture = mix(_among(evidence, rows), faults)
    everybody = tuple(range(len(rows)))
    if after.kind is RuleKind.GEOMETRIC_MEDIAN:
        return mixture.unmixed(geometric_median(mixture.products, after.a))
    kept = multi_krum(Evidence(mixture.products, [], 0, 0), everybody, after)
    if not kept:
        return NOBODY
    return mixture.unmixed(Shares(tuple(int(i in kept) for i in everybody), len(kept)))


SHARE_RULES: Final[dict[RuleKind, Callable[[Evidence, Rows, Sequence[Rule]], Shares]]] = {
    RuleKind.NEAREST_NEIGHBOUR_MIXING: _mixed,
    RuleKind.GEOMETRIC_MEDIAN: _geometric_median,
    RuleKind.CENTRED_CLIPPING: _centred_clipping,
}
"""Every rule that gives shares, by its kind."""
