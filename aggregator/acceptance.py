"""Which updates are in a round's average: the job's sequence of rules, and where it keeps nobody, the fallback."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.rules import RULES, Evidence, Rows, multi_krum
from aggregator.shares import Shares
from aggregator.sharing import SHARE_RULES, share
from market.protocol.rule_terms import NO_FALLBACK, Rule, RuleKind, RuleTerms


@dataclass(frozen=True)
class Acceptance:
    """What the rules come to.

    Attributes:
        rows: those accepted, in their order
        paid: False for rows that only the fallback accepted
        shares: one part for each of `rows`, all above zero; None where no rule gave any
    """

    rows: Rows
    paid: bool = True
    shares: Shares | None = None


def accept(terms: RuleTerms, evidence: Evidence) -> Acceptance:
    """Apply the job's sequence of rules; where it keeps nobody, the fallback, which is not paid."""
    everybody: Rows = tuple(range(len(evidence.products)))
    acceptance = _apply(terms, evidence, everybody)
    if acceptance.rows or terms.fallback_faults == NO_FALLBACK:
        return acceptance
    return Acceptance(multi_krum(evidence, everybody, Rule(RuleKind.MULTI_KRUM, terms.fallback_faults)), paid=False)


def _apply(terms: RuleTerms, evidence: Evidence, rows: Rows) -> Acceptance:
    """Each rule sees what the one before left. The first that gives shares, and what follows it, ends the sequence."""
    for stage, rule in enumerate(terms.rules):
        if rule.kind in SHARE_RULES:
            return _shared(rows, share(evidence, rows, terms.rules[stage:]))
        rows = RULES[rule.kind](evidence, rows, rule)
    return Acceptance(rows)


def _shared(rows: Rows, shares: Shares) -> Acceptance:
    """Whoever has no part of the average is not in it."""
    parts = {i: part for i, part in zip(rows, shares.parts, strict=False) if part}
    return Acceptance(tuple(parts), shares=Shares(tuple(parts.values()), shares.whole))
