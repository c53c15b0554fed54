"""The rules in a job's spec: how a round is decided, as a person writes it and as the contract holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from market.protocol.errors import InvalidJobSpec
from market.protocol.rule_terms import NO_FALLBACK, ONE_Q16, Rule, RuleKind, RuleTerms, Scoring, StepRule, Weighting
from market.protocol.spec_fields import Fraction, PositiveFraction, Section

AUTO = "auto"
"""Written for the arguments of a norm bound that the posting of a job with an exam chooses."""


class NormBound(Section):
    """Drop updates longer than `norm` base counts, and those shorter than `least`."""

    norm: Annotated[int, Field(ge=1, lt=1 << 32)] | None
    """None until it is chosen, where the spec says `auto`."""
    least: Annotated[int, Field(ge=0, lt=1 << 32)] = 0

    @classmethod
    def around(cls, norm: int) -> NormBound:
        """The bounds for a job whose updates have about this norm: from a tenth of it to six times as much."""
        largest = (1 << 32) - 1
        return cls(norm=min(6 * norm, largest), least=min(norm, largest) // 10)


def _norm_bound(unverified_bound: Any) -> Any:
    return {"norm": None} if unverified_bound == AUTO else unverified_bound


class MedianCosine(Section):
    """Keep updates whose median semi-partial cosine with the others is more than chance."""


class NearestNeighbourMixing(Section):
    """Let the next rule decide on means of the nearest; it is `multi_krum` or `geometric_median`."""

    faults: Annotated[int, Field(ge=0, le=7)]


class GeometricMedian(Section):
    """Average at the point with the smallest sum of distances; two steps come within a thousandth of it."""

    steps: Annotated[int, Field(ge=1, le=32)] = 2


class CentredClipping(Section):
    """Clip updates to so many base counts around the last aggregate."""

    radius: Annotated[int, Field(ge=1, lt=1 << 32)]
    steps: Annotated[int, Field(ge=1, le=8)] = 1


class MultiKrum(Section):
    """Keep the updates closest to their neighbours (Blanchard et al. 2017)."""

    faults: Annotated[int, Field(ge=0, le=30)]
    keep: Annotated[int, Field(ge=0, le=64)] = 0


class ThreeSigma(Section):
    """Drop updates further from the mean than so many standard deviations."""

    deviations: Annotated[float, Field(gt=0, le=8)] = 3.0


class Exam(Section):
    """Keep updates whose semi-partial cosine with the round's exam is more than chance."""


class AcceptRule(Section):
    """One rule: exactly one of its names is given."""

    norm_bound: Annotated[NormBound | None, BeforeValidator(_norm_bound)] = None
    median_cosine: MedianCosine | None = None
    nearest_neighbour_mixing: NearestNeighbourMixing | None = None
    geometric_median: GeometricMedian | None = None
    centred_clipping: CentredClipping | None = None
    multi_krum: MultiKrum | None = None
    three_sigma: ThreeSigma | None = None
    exam: Exam | None = None

    def to_rule(self) -> Rule:
        """The rule as the contract holds it."""
        if self.norm_bound:
            return _norm_bound_rule(self.norm_bound)
        if self.nearest_neighbour_mixing:
            return Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, self.nearest_neighbour_mixing.faults)
        if self.geometric_median:
            return Rule(RuleKind.GEOMETRIC_MEDIAN, self.geometric_median.steps)
        if self.centred_clipping:
            return Rule(RuleKind.CENTRED_CLIPPING, self.centred_clipping.radius, self.centred_clipping.steps)
        if self.multi_krum:
            return Rule(RuleKind.MULTI_KRUM, self.multi_krum.faults, self.multi_krum.keep)
        if self.three_sigma:
            return Rule(RuleKind.THREE_SIGMA, round(self.three_sigma.deviations * 256))
        if self.exam:
            return Rule(RuleKind.EXAM)
        return Rule(RuleKind.MEDIAN_COSINE)


def _norm_bound_rule(bound: NormBound) -> Rule:
    if bound.norm is None:
        raise InvalidJobSpec("rules.accept", f"norm_bound is {AUTO}, expected the norms that its posting chose")
    return Rule(RuleKind.NORM_BOUND, bound.norm, bound.least)


def _one_rule(unverified_rule: Any) -> Any:
    """Let a rule without arguments be written as its bare name, and name what is known where it is not."""
    known = ", ".join(AcceptRule.model_fields)
    rule = {unverified_rule: {}} if isinstance(unverified_rule, str) else unverified_rule
    if not isinstance(rule, Mapping) or len(rule) != 1 or next(iter(rule)) not in AcceptRule.model_fields:
        raise ValueError(f"expected one rule of {known}, got {unverified_rule!r}")
    name, arguments = next(iter(rule.items()))
    return {name: arguments or {}}


class StepSection(Section):
    """How the next round's step follows from this one."""

    rule: Literal["constant", "decay", "agreement"] = "constant"
    factor: PositiveFraction = 1.0
    threshold: Fraction = 0.0


class RulesSection(Section):
    """How a round is decided; docs/rules.md says what each value does."""

    accept: Annotated[tuple[Annotated[AcceptRule, BeforeValidator(_one_rule)], ...], Field(max_length=3)] = (
        AcceptRule(median_cosine=MedianCosine()),
    )
    significance: Annotated[float, Field(ge=0, lt=256)] = 3.0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    score: Literal["leave_one_out_cosine", "cosine_to_mean", "equal", "exam", "shapley"] = "leave_one_out_cosine"
    cap: PositiveFraction = 1.0
    weighting: Literal["crowding", "equal", "rule"] = "crowding"
    server_rate: Annotated[float, Field(gt=0, le=4)] = 1.0
    norm_floor: Annotated[int, Field(ge=0, lt=1 << 32)] | None = None
    """In base counts; none is 0, but for a job with an exam, whose posting puts one training's norm there."""
    fallback_faults: Annotated[int, Field(ge=0, le=30)] | None = None
    """f of the unpaid Multi-Krum that stands in where a round would accept nobody; none: the model stays."""
    step: StepSection = StepSection()

    @property
    def needs_exam(self) -> bool:
        """Whether a rule or the score asks for an exam."""
        return self.score in ("exam", "shapley") or any(rule.exam for rule in self.accept)

    @property
    def needs_norm(self) -> bool:
        """Whether a norm bound is yet to be chosen."""
        return any(rule.norm_bound is not None and rule.norm_bound.norm is None for rule in self.accept)

    def with_norm(self, norm: int) -> RulesSection:
        """These rules, with what they leave open about norms chosen for updates of about this norm, in base counts."""
        accept = tuple(
            AcceptRule(norm_bound=NormBound.around(norm))
            if rule.norm_bound is not None and rule.norm_bound.norm is None
            else rule
            for rule in self.accept
        )
        floor = min(norm, (1 << 32) - 1) if self.norm_floor is None else self.norm_floor
        return self.model_copy(update={"accept": accept, "norm_floor": floor})

    def to_terms(self, dimension: int) -> RuleTerms:
        """The rules as the contract holds them; fractions are rounded to the nearest representable value.

        Raises:
            InvalidJobSpec: a norm bound is yet to be chosen.
        """
        return RuleTerms(
            dimension=dimension,
            scoring=Scoring[self.score.upper()],
            weighting=Weighting[self.weighting.upper()],
            significance_q8=round(self.significance * 256),
            floor_q16=round(self.floor * ONE_Q16),
            cap_q16=round(self.cap * ONE_Q16),
            server_rate_q16=round(self.server_rate * ONE_Q16),
            norm_floor=self.norm_floor or 0,
            fallback_faults=NO_FALLBACK if self.fallback_faults is None else self.fallback_faults,
            step_rule=StepRule[self.step.rule.upper()],
            step_factor_q16=round(self.step.factor * ONE_Q16),
            step_threshold_q16=round(self.step.threshold * ONE_Q16),
            rules=tuple(rule.to_rule() for rule in self.accept),
        )
