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

ONE_Q32: Final = 1 << 32
"""One of a score, with 32 fractional bits."""

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


MAX_MIXED_ROWS: Final = 16
"""Most seats of a job whose rules mix updates: it takes the cube of their number."""

MAX_MEDIAN_STEPS: Final = 32
MAX_CLIPPING_STEPS: Final = 8

MAX_SETTLEMENT_GAS: Final = 6_000_000
"""What settling a round may cost by the estimate of `settlement_gas`."""


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
        a: `norm_bound`: largest norm in base counts; `multi_krum`, `nearest_neighbour_mixing`: f, how many are faulty;
            `three_sigma`: k in Q8; `geometric_median`: steps; `centred_clipping`: radius in base counts
        b: `norm_bound`: least norm in base counts, 0 for none; `multi_krum`: how many updates are kept, 0 for all but
            f; `centred_clipping`: steps
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
    def accepts_by_exam(self) -> bool:
        """Whether a rule accepts whoever passes the round's exam."""
        return any(rule.kind is RuleKind.EXAM for rule in self.rules)

    @property
    def needs_exam(self) -> bool:
        """Whether a rule or the scoring asks for an exam: then a job must have one, and else must not."""
        return self.accepts_by_exam or self.scoring in EXAM_SCORINGS

    def check(self, minimum: int, seats: int) -> None:
        """Refuse terms under which a rule cannot work, in the order in which the contract does.

        Args:
            minimum: the fewest updates with which a round takes place
            seats: the most that it can have

        Raises:
            InvalidTerms: one sentence that begins with the term and says what was expected
        """
        _require(minimum >= MIN_ACCEPTED, "minimum", minimum, f"at least {MIN_ACCEPTED} updates")
        _require(0 <= seats <= MAX_ROWS, "seats", seats, f"at most {MAX_ROWS}")
        _check_ranges(self)
        _check_sequence(self)
        for rule in self.rules:
            RULE_CHECKS[rule.kind](rule, minimum, seats)
        if self.fallback_faults != NO_FALLBACK:
            most = f"0 to {MAX_FALLBACK_FAULTS}, or {NO_FALLBACK} for no fallback"
            _require(self.fallback_faults <= MAX_FALLBACK_FAULTS, "fallbackFaults", self.fallback_faults, most)
        _check_gas(self, seats)

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
    for stage in range(len(terms.rules)):
        _check_end(terms.rules, stage)
    by_rule = any(rule.kind in SHARE_KINDS for rule in terms.rules)
    expected = "2 (rule), as a rule gives shares" if by_rule else "0 (crowding) or 1 (equal), as no rule gives shares"
    _require((terms.weighting is Weighting.RULE) == by_rule, "weighting", terms.weighting, expected)


def _check_end(rules: tuple[Rule, ...], stage: int) -> None:
    """Rules that give shares end the sequence; mixing leaves that to the next one."""
    kind = rules[stage].kind
    after = [rule.kind for rule in rules[stage + 1 :]]
    if kind is RuleKind.NEAREST_NEIGHBOUR_MIXING:
        following = after[0] if after else RuleKind.NONE
        expected = "multi_krum (3) or geometric_median (7) directly after it"
        _require(following in MIXABLE_KINDS, "nearest_neighbour_mixing.next", following, expected)
    mixed = stage > 0 and rules[stage - 1].kind is RuleKind.NEAREST_NEIGHBOUR_MIXING
    if mixed or kind in SHARE_KINDS[1:]:
        behind = next((each for each in after if each is not RuleKind.NONE), RuleKind.NONE)
        _require(behind is RuleKind.NONE, f"{kind.name.lower()}.next", behind, "no rule after it")


def _check_norm_bound(rule: Rule, minimum: int, seats: int) -> None:
    _require(rule.a > 0, "norm_bound", rule.a, "a largest norm above 0")
    _require(rule.b < rule.a, "norm_bound.least", rule.b, f"a least norm below the largest, {rule.a}")


def _check_multi_krum(rule: Rule, minimum: int, seats: int) -> None:
    _check_krum_quorum("multi_krum", rule.a, minimum)


def _check_krum_quorum(term: str, faults: int, minimum: int) -> None:
    needed = 2 * faults + 3
    if minimum < needed:
        raise InvalidTerms(
            f"{term}: f = {faults} faulty updates need n >= 2f + 3 = {needed}, "
            f"but a round takes place with n = {minimum}"
        )


def _check_three_sigma(rule: Rule, minimum: int, seats: int) -> None:
    _require(rule.a > 0, "three_sigma", rule.a, "k above 0")
    if (minimum - 1) << 16 <= rule.a**2:
        raise InvalidTerms(
            f"three_sigma: k = {rule.a / 256:g} needs n > k² + 1 = {(rule.a / 256) ** 2 + 1:g} updates "
            f"to reject anybody, but a round takes place with n = {minimum}"
        )


def _check_nothing(rule: Rule, minimum: int, seats: int) -> None:
    """Rules without arguments hold with any number of updates."""


def _check_mixing(rule: Rule, minimum: int, seats: int) -> None:
    if minimum < 2 * rule.a + 1:
        raise InvalidTerms(
            f"nearest_neighbour_mixing: f = {rule.a} faulty updates need n >= 2f + 1 = {2 * rule.a + 1}, "
            f"but a round takes place with n = {minimum}"
        )
    expected = f"at most {MAX_MIXED_ROWS} seats where updates are mixed"
    _require(seats <= MAX_MIXED_ROWS, "nearest_neighbour_mixing.seats", seats, expected)


def _check_geometric_median(rule: Rule, minimum: int, seats: int) -> None:
    _require(0 < rule.a <= MAX_MEDIAN_STEPS, "geometric_median", rule.a, f"1 to {MAX_MEDIAN_STEPS} steps")


def _check_centred_clipping(rule: Rule, minimum: int, seats: int) -> None:
    _require(rule.a > 0, "centred_clipping", rule.a, "a radius above 0")
    _require(0 < rule.b <= MAX_CLIPPING_STEPS, "centred_clipping.steps", rule.b, f"1 to {MAX_CLIPPING_STEPS} steps")


def settlement_gas(terms: RuleTerms, seats: int) -> int:
    """Estimate from above what it costs to settle a round in which every seat is taken. The factors are measured."""
    gas = 250_000 + 1_200 * seats**2 + sum(_rule_gas(rule, seats) for rule in terms.rules)
    if terms.scoring is Scoring.SHAPLEY:
        gas += 70 * seats**2
    if terms.fallback_faults == NO_FALLBACK:
        return gas
    return gas + _rule_gas(Rule(RuleKind.MULTI_KRUM, terms.fallback_faults), seats)


def _rule_gas(rule: Rule, seats: int) -> int:
    if rule.kind is RuleKind.MULTI_KRUM:
        return seats * (200 * seats + 2_400 * (rule.a + 1))
    if rule.kind is RuleKind.THREE_SIGMA:
        return seats * (150 * seats + 1_000)
    if rule.kind is RuleKind.NEAREST_NEIGHBOUR_MIXING:
        return seats * 6_000 * seats
    if rule.kind is RuleKind.GEOMETRIC_MEDIAN:
        return seats * ((40 * seats + 1_800) * rule.a + 2_900)
    if rule.kind is RuleKind.CENTRED_CLIPPING:
        return seats * ((40 * seats + 1_900) * rule.b + 1_300)
    return 0


def _check_gas(terms: RuleTerms, seats: int) -> None:
    gas = settlement_gas(terms, seats)
    if gas > MAX_SETTLEMENT_GAS:
        sequence = ", ".join(f"{rule.kind.name.lower()}({rule.a}, {rule.b})" for rule in terms.rules)
        fallback = "" if terms.fallback_faults == NO_FALLBACK else f" and fallbackFaults = {terms.fallback_faults}"
        raise InvalidTerms(
            f"gas: {gas} for settling a round of {seats} seats with {sequence or 'no rule'}{fallback}, "
            f"expected at most {MAX_SETTLEMENT_GAS}"
        )


EXAM_SCORINGS: Final = (Scoring.EXAM, Scoring.SHAPLEY)
"""Scorings that measure by an exam."""

SHARE_KINDS: Final = (RuleKind.NEAREST_NEIGHBOUR_MIXING, RuleKind.GEOMETRIC_MEDIAN, RuleKind.CENTRED_CLIPPING)
"""Rules that give shares of the average."""

MIXABLE_KINDS: Final = (RuleKind.MULTI_KRUM, RuleKind.GEOMETRIC_MEDIAN)
"""Rules that can decide on mixed updates."""

RULE_CHECKS: Final[dict[RuleKind, Callable[[Rule, int, int], None]]] = {
    RuleKind.NONE: _check_nothing,
    RuleKind.NORM_BOUND: _check_norm_bound,
    RuleKind.MEDIAN_COSINE: _check_nothing,
    RuleKind.MULTI_KRUM: _check_multi_krum,
    RuleKind.THREE_SIGMA: _check_three_sigma,
    RuleKind.EXAM: _check_nothing,
    RuleKind.NEAREST_NEIGHBOUR_MIXING: _check_mixing,
    RuleKind.GEOMETRIC_MEDIAN: _check_geometric_median,
    RuleKind.CENTRED_CLIPPING: _check_centred_clipping,
}
