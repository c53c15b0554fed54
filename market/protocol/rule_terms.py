"""The terms by which a round is decided: which rules accept, how contributions are measured, how the step changes.

The same struct as `RuleTerms` in `contracts/src/interfaces/IRoundRules.sol`. Names end in the number of their
fractional bits: 1.5 is 384 in Q8 and 98304 in Q16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from market.protocol.errors import InvalidTerms
from market.protocol.manifest import MAX_DIMENSION

ONE_Q16: Final = 1 << 16
"""One, with 16 fractional bits. Also the first round's step."""

MAX_ROWS: Final = 64
"""Most updates that a round can have."""

MAX_RULES: Final = 3
"""Most rules that a job can apply one after the other."""

MAX_SERVER_RATE_Q16: Final = 4 * ONE_Q16
"""Largest server learning rate: four."""

MIN_ACCEPTED: Final = 3
"""With fewer accepted updates there is no new model: an average of two would show either to the other."""

NO_FALLBACK: Final = 255
"""The value of `fallback_faults` for a job without the unpaid Multi-Krum fallback."""

MAX_FALLBACK_FAULTS: Final = (MAX_ROWS - 3) // 2
"""With more, 2f + 3 is above every number of updates. Below, a round with too few for the fallback leaves the model."""


class RuleKind(IntEnum):
    """One stage of a job's sequence of acceptance rules."""

    NONE = 0
    NORM_BOUND = 1
    MEDIAN_COSINE = 2
    MULTI_KRUM = 3
    THREE_SIGMA = 4
    EXAM = 5
    NEAREST_NEIGHBOUR_MIXING = 6
    GEOMETRIC_MEDIAN = 7
    CENTRED_CLIPPING = 8


class Scoring(IntEnum):
    """How an accepted update's contribution is measured."""

    LEAVE_ONE_OUT_COSINE = 0
    COSINE_TO_MEAN = 1
    EQUAL = 2
    EXAM = 3
    SHAPLEY = 4


class Weighting(IntEnum):
    """How the accepted updates share the average."""

    CROWDING = 0
    EQUAL = 1
    RULE = 2


class StepRule(IntEnum):
    """How the next round's step follows from this one."""

    CONSTANT = 0
    DECAY = 1
    AGREEMENT = 2


@dataclass(frozen=True)
class Rule:
    """One acceptance rule and its arguments.

    Attributes:
        kind: which rule
        a: `norm_bound`: largest norm in base counts; `multi_krum`: f, how many are faulty; `three_sigma`: k in Q8
        b: `multi_krum`: how many updates are kept, 0 for all but f
    """

    kind: RuleKind
    a: int = 0
    b: int = 0


@dataclass(frozen=True)
class RuleTerms:
    """Everything that a decision depends on beside the Gram matrix.

    Attributes:
        dimension: d, the length of an update, 1 to 2^30
        significance_q8: z; a cosine above z/√d is more than chance
        floor_q16: a cosine must also exceed this
        cap_q16: contributions are cut here, at most one
        server_rate_q16: η, what the integer weights sum to at most
        norm_floor: the norm that counts in full is never below this many base counts
        fallback_faults: f of the unpaid Multi-Krum fallback, or NO_FALLBACK
        step_factor_q16: what the step is multiplied by where it shrinks, at most one
        step_threshold_q16: Agreement: mean cosine of the accepted below which the step shrinks
        rules: applied in this order, each to what the one before left; at most three
    """

    dimension: int
    scoring: Scoring = Scoring.LEAVE_ONE_OUT_COSINE
    weighting: Weighting = Weighting.CROWDING
    significance_q8: int = 3 << 8
    floor_q16: int = 0
    cap_q16: int = ONE_Q16
    server_rate_q16: int = ONE_Q16
    norm_floor: int = 0
    fallback_faults: int = NO_FALLBACK
    step_rule: StepRule = StepRule.CONSTANT
    step_factor_q16: int = ONE_Q16
    step_threshold_q16: int = 0
    rules: tuple[Rule, ...] = (Rule(RuleKind.MEDIAN_COSINE),)

    @property
    def needs_exam(self) -> bool:
        """Whether a rule or the scoring asks for an exam: then a job must have one, and else must not."""
        return self.scoring in EXAM_SCORINGS or any(rule.kind is RuleKind.EXAM for rule in self.rules)

    def check(self, minimum: int, seats: int) -> None:
        """Refuse terms under which a rule cannot work, in the order in which the contract does.

        Args:
            minimum: the fewest updates with which a round takes place
            seats: the most that it can have

        Raises:
            InvalidTerms: one sentence that begins with the term and says what was expected
        """
        _require(minimum >= MIN_ACCEPTED, "minimum", minimum, f"at least {MIN_ACCEPTED} updates")
        _check_ranges(self)
        _check_sequence(self)
        for rule in self.rules:
            RULE_CHECKS[rule.kind](rule, minimum)
        if self.fallback_faults != NO_FALLBACK:
            most = f"0 to {MAX_FALLBACK_FAULTS}, or {NO_FALLBACK} for no fallback"
            _require(self.fallback_faults <= MAX_FALLBACK_FAULTS, "fallbackFaults", self.fallback_faults, most)

    def to_abi(self) -> tuple[Any, ...]:
        """Return the struct as nested tuples in the field order of the contract, the rules padded to three."""
        padding = (Rule(RuleKind.NONE),) * (MAX_RULES - len(self.rules))
        return (
            self.dimension,
            int(self.scoring),
            int(self.weighting),
            self.significance_q8,
            self.floor_q16,
            self.cap_q16,
            self.server_rate_q16,
            self.norm_floor,
            self.fallback_faults,
            int(self.step_rule),
            self.step_factor_q16,
            self.step_threshold_q16,
            tuple((int(rule.kind), rule.a, rule.b) for rule in self.rules + padding),
        )

    @classmethod
    def from_abi(cls, fields: tuple[Any, ...]) -> RuleTerms:
        """Read the struct back from nested tuples; unused places at the end of the sequence are left out.

        Raises:
            InvalidTerms: an enumeration has no such member
        """
        try:
            rules = [Rule(RuleKind(kind), a, b) for kind, a, b in fields[12]]
            scoring, weighting, step_rule = Scoring(fields[1]), Weighting(fields[2]), StepRule(fields[9])
        except ValueError as error:
            raise InvalidTerms(f"terms: {error}") from error
        while rules and rules[-1].kind is RuleKind.NONE:
            rules.pop()
        return cls(
            dimension=fields[0],
            scoring=scoring,
            weighting=weighting,
            significance_q8=fields[3],
            floor_q16=fields[4],
            cap_q16=fields[5],
            server_rate_q16=fields[6],
            norm_floor=fields[7],
            fallback_faults=fields[8],
            step_rule=step_rule,
            step_factor_q16=fields[10],
            step_threshold_q16=fields[11],
            rules=tuple(rules),
        )


def _require(condition: bool, term: str, value: int, expected: str) -> None:
    if not condition:
        raise InvalidTerms(f"{term}: {value} is refused, expected {expected}")


def _check_ranges(terms: RuleTerms) -> None:
    ranges = (
        ("dimension", terms.dimension, 1, MAX_DIMENSION),
        ("capQ16", terms.cap_q16, 1, ONE_Q16),
        ("serverRateQ16", terms.server_rate_q16, 1, MAX_SERVER_RATE_Q16),
        ("stepFactorQ16", terms.step_factor_q16, 1, ONE_Q16),
        ("stepThresholdQ16", terms.step_threshold_q16, 0, ONE_Q16),
        # What follows has no other bound than its width in the contract.
        ("significanceQ8", terms.significance_q8, 0, 2**16 - 1),
        ("floorQ16", terms.floor_q16, 0, 2**16 - 1),
        ("normFloor", terms.norm_floor, 0, 2**32 - 1),
        ("fallbackFaults", terms.fallback_faults, 0, 2**8 - 1),
        ("rules", len(terms.rules), 0, MAX_RULES),
        *((f"{rule.kind.name.lower()}: a", rule.a, 0, 2**32 - 1) for rule in terms.rules),
        *((f"{rule.kind.name.lower()}: b", rule.b, 0, 2**32 - 1) for rule in terms.rules),
    )
    for term, value, least, most in ranges:
        _require(least <= value <= most, term, value, f"{least} to {most}")


def _check_sequence(terms: RuleTerms) -> None:
    """What holds of the rules together, and of what they go with."""
    exams = sum(rule.kind is RuleKind.EXAM for rule in terms.rules)
    _require(exams <= 1, "exam", exams, "at most one such rule")
    _require(terms.weighting is not Weighting.RULE, "weighting", terms.weighting, "0 or 1")
    for rule in terms.rules:
        _require(rule.kind <= RuleKind.EXAM, "rules", rule.kind, f"kinds up to {RuleKind.EXAM:d}")


def _check_norm_bound(rule: Rule, minimum: int) -> None:
    _require(rule.a > 0, "norm_bound", rule.a, "a largest norm above 0")


def _check_multi_krum(rule: Rule, minimum: int) -> None:
    _check_krum_quorum("multi_krum", rule.a, minimum)


def _check_krum_quorum(term: str, faults: int, minimum: int) -> None:
    needed = 2 * faults + 3
    if minimum < needed:
        raise InvalidTerms(
            f"{term}: f = {faults} faulty updates need n >= 2f + 3 = {needed}, "
            f"but a round takes place with n = {minimum}"
        )


def _check_three_sigma(rule: Rule, minimum: int) -> None:
    _require(rule.a > 0, "three_sigma", rule.a, "k above 0")
    if (minimum - 1) << 16 <= rule.a**2:
        raise InvalidTerms(
            f"three_sigma: k = {rule.a / 256:g} needs n > k² + 1 = {(rule.a / 256) ** 2 + 1:g} updates "
            f"to reject anybody, but a round takes place with n = {minimum}"
        )


def _check_nothing(rule: Rule, minimum: int) -> None:
    """Rules without arguments hold with any number of updates."""


EXAM_SCORINGS: Final = (Scoring.EXAM, Scoring.SHAPLEY)
"""Scorings that measure by an exam."""

RULE_CHECKS: Final[dict[RuleKind, Callable[[Rule, int], None]]] = {
    RuleKind.NONE: _check_nothing,
    RuleKind.NORM_BOUND: _check_norm_bound,
    RuleKind.MEDIAN_COSINE: _check_nothing,
    RuleKind.MULTI_KRUM: _check_multi_krum,
    RuleKind.THREE_SIGMA: _check_three_sigma,
    RuleKind.EXAM: _check_nothing,
}
