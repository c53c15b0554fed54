"""How many bits honest digests may differ by: chosen for a stated error on one part of the samples, told on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from market.protocol.errors import CannotCalibrate, InvalidInput
from market.protocol.generation import Prompt
from trainer_client.calibration.distances import MOST_TOLERANCE, Pairs, against_accepted, between_inputs, same_input
from trainer_client.calibration.panels import (
    PANELS,
    Draw,
    HonestErrors,
    accepted_digests,
    check_machines,
    draw_panels,
    honest_errors,
    independent_undecided,
)
from trainer_client.calibration.rates import CONFIDENCE, Rate, percent
from trainer_client.calibration.samples import Input, Measured, Part, check_apart, check_part

HONEST_ERROR = 0.0011
"""A majority of three accepts an honest output at no less than 99.89 %."""

FALSE_ERROR = 0.000267
"""It accepts another output at no more than 0.0267 %. Both are the figures of arXiv:2307.01898's abstract."""


@dataclass(frozen=True)
class Wanted:
    """The errors asked for.

    Attributes:
        honest_error: largest chance that a panel of honest verifiers refuses an honest output.
        false_error: largest chance that it accepts one of another seed, prompt or model.
        verifiers: k, of the panel.
    """

    honest_error: float = HONEST_ERROR
    false_error: float = FALSE_ERROR
    verifiers: int = 3

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InvalidInput: an error is none, or no panel has so many verifiers.
        """
        for name, value in (("honest", self.honest_error), ("false", self.false_error)):
            if not 0 < value < 1:
                raise InvalidInput(f"the {name} error asked for is {value}, expected more than 0 and less than 1")
        if self.verifiers not in PANELS:
            raise InvalidInput(f"{self.verifiers} verifiers: expected one of {', '.join(map(str, PANELS))}")


@dataclass(frozen=True, eq=False)
class Distributions:
    """What was measured on one part of the samples.

    Attributes:
        same: distances between machines on the same input.
        between: between inputs, by what is different.
        draw: panels of honest machines.
        samples: how many.
    """

    same: Pairs
    between: Mapping[str, Pairs]
    draw: Draw
    samples: int

    @classmethod
    def of(cls, measured: Measured, verifiers: int, seed: int = 0) -> Distributions:
        """Compare all that there is to compare.

        Raises:
            CannotCalibrate: one machine, or fewer than two inputs.
        """
        check_machines(len(measured.machines))
        if len(measured) < 2:
            raise CannotCalibrate(f"{len(measured)} input: expected two or more, to tell one from another")
        return cls(
            same_input(measured), between_inputs(measured), draw_panels(measured, verifiers, seed), len(measured)
        )


@dataclass(frozen=True)
class Point:
    """The errors at one tolerance.

    Attributes:
        tolerance_bits: of the contract's pool.
        apart: two honest machines that are beyond it.
        refused: honest outputs that their panel refuses.
        accepted: of outputs that are other, by what is other, those within it of a machine's.
    """

    tolerance_bits: int
    apart: Rate
    refused: Rate
    accepted: Mapping[str, Rate]

    def worst(self, kinds: Sequence[str]) -> tuple[str, Rate]:
        """The kind of which most may be accepted."""
        return max(((kind, self.accepted[kind]) for kind in kinds), key=lambda pair: pair[1].upper)

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "tolerance_bits": self.tolerance_bits,
            "apart": self.apart.to_json(),
            "refused": self.refused.to_json(),
            "accepted": {kind: rate.to_json() for kind, rate in self.accepted.items()},
        }


def trade_off(found: Distributions) -> tuple[Point, ...]:
    """The errors at every tolerance that a pool may have."""
    return tuple(
        Point(
            tolerance,
            found.same.within(tolerance).complement,
            honest_errors(found.draw, tolerance).refused,
            {kind: pairs.within(tolerance) for kind, pairs in found.between.items()},
        )
        for tolerance in range(MOST_TOLERANCE + 1)
    )


@dataclass(frozen=True, eq=False)
class Choice:
    """A tolerance, and what it was chosen by.

    Attributes:
        tolerance_bits: a quarter of the way from the lowest to the highest that serve: machines that were not measured
            have room, and models that are nearly the service's have little.
        lowest, highest: the tolerances that serve.
        wanted: the errors asked for.
        kinds: what has to be told from the honest output.
        curve: the errors at every tolerance, on the samples that it was chosen by.
        found: distances of these.
        identities: of these samples: nothing may be reported on them.
    """

    tolerance_bits: int
    lowest: int
    highest: int
    wanted: Wanted
    kinds: tuple[str, ...]
    curve: tuple[Point, ...]
    found: Distributions
    identities: frozenset[Input | Prompt]


def choose_tolerance(measured: Measured, wanted: Wanted, *, beside: Sequence[str] = (), seed: int = 0) -> Choice:
    """Choose the tolerance at which neither error exceeds what was asked for, by their upper bounds.

    Args:
        measured: the samples to choose by.
        wanted: the errors asked for.
        beside: kinds that are measured but need not be told apart, such as a model that was barely changed.
        seed: of the panels' draw.

    Raises:
        CannotCalibrate: too few samples to show such errors, one machine only, or no tolerance serves.
    """
    check_part(measured, Part.CALIBRATION)
    found = Distributions.of(measured, wanted.verifiers, seed)
    kinds = tuple(kind for kind in found.between if kind not in beside)
    check_enough(found, kinds, wanted)
    curve = trade_off(found)
    honest = [point.tolerance_bits for point in curve if point.refused.upper > wanted.honest_error]
    other = [point.tolerance_bits for point in curve if point.worst(kinds)[1].upper > wanted.false_error]
    lowest, highest = max(honest, default=-1) + 1, min(other, default=MOST_TOLERANCE + 1) - 1
    if lowest > highest:
        raise Overlap(curve, found, kinds, wanted, lowest, highest)
    return Choice(lowest + (highest - lowest) // 4, lowest, highest, wanted, kinds, curve, found, measured.identities())


class Overlap(CannotCalibrate):
    """Honest digests lie as far apart as those of other outputs come near: no tolerance serves.

    Attributes:
        curve, found, wanted: what shows it.
    """

    def __init__(
        self,
        curve: tuple[Point, ...],
        found: Distributions,
        kinds: Sequence[str],
        wanted: Wanted,
        lowest: int,
        highest: int,
    ) -> None:
        self.curve, self.found, self.wanted = curve, found, wanted
        super().__init__(_overlap(curve, kinds, wanted, lowest, highest))


def _overlap(curve: Sequence[Point], kinds: Sequence[str], wanted: Wanted, lowest: int, highest: int) -> str:
    asked = f"an honest output refused at <= {percent(wanted.honest_error)}"
    if lowest > MOST_TOLERANCE:
        last = curve[-1]
        return (
            f"no tolerance serves: {asked} was asked for, but a panel of {wanted.verifiers} refuses "
            f"{last.refused} of them even at {last.tolerance_bits} bits: this digest does not suit these outputs"
        )
    kind, rate = curve[lowest].worst(kinds)
    below = f"takes at most {highest} bits" if highest >= 0 else "is not reached even at 0 bits"
    return (
        f"no tolerance serves, the distributions overlap: {asked} takes at least {lowest} bits, another output "
        f"accepted at <= {percent(wanted.false_error)} {below}; at {lowest} bits another {kind} is accepted at {rate}: "
        "choose another digest, or ask for less"
    )


def check_enough(found: Distributions, kinds: Sequence[str], wanted: Wanted) -> None:
    """Even without a single error seen, so few samples could not show that errors are as rare as asked for.

    Raises:
        CannotCalibrate: says how many it takes.
    """
    if not kinds:
        raise CannotCalibrate("nothing to tell the outputs from: expected other seeds, other prompts or another model")
    panels = found.draw.bits.shape[1] * found.samples
    needed = _needed(wanted.honest_error)
    if panels < needed:
        short = -(-needed // found.draw.bits.shape[1])
        raise CannotCalibrate(
            f"{found.samples} samples to choose by: to show an honest error of {percent(wanted.honest_error)} takes "
            f"{short} at least: more prompts, or more samples of each"
        )
    for kind in kinds:
        if found.between[kind].total < (needed := _needed(wanted.false_error)):
            raise CannotCalibrate(
                f"{found.between[kind].total:,} pairs of another {kind}: to show that at most "
                f"{percent(wanted.false_error)} are accepted takes {needed:,}: more prompts, or more samples of each"
            )


def _needed(error: float) -> int:
    """Trials without an event that show an error: the rule of three, exactly."""
    return int(np.ceil(np.log1p(-CONFIDENCE) / np.log1p(-error)))


@dataclass(frozen=True)
class FalseErrors:
    """Outputs of one other kind, put before panels of honest verifiers.

    Attributes:
        accepted: of all pairs of a panel and such an output. They are not independent.
        accepted_apart: of pairs of which no two share a sample: what its bounds say holds.
    """

    accepted: Rate
    accepted_apart: Rate

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {"accepted": self.accepted.to_json(), "accepted_apart": self.accepted_apart.to_json()}


@dataclass(frozen=True, eq=False)
class Outcome:
    """The errors at a tolerance, on samples that it was not chosen by.

    Attributes:
        tolerance_bits: as chosen.
        verifiers: of the panel.
        apart: two honest machines beyond it, of all pairs and of independent ones.
        honest: panels of honest machines, whole ones, drawn sample by sample.
        honest_apart: one panel a sample: independent.
        independent_undecided: what independence would make of the upper bound of `apart`.
        false: by what is other.
        found: the distances.
        curve: the errors at every tolerance.
    """

    tolerance_bits: int
    verifiers: int
    apart: Rate
    apart_apart: Rate
    honest: HonestErrors
    honest_apart: HonestErrors
    independent_undecided: float
    false: Mapping[str, FalseErrors]
    found: Distributions
    curve: tuple[Point, ...]

    @property
    def pairs(self) -> int:
        """Pairs of different outputs that were compared."""
        return sum(each.accepted.trials for each in self.false.values())


def report_on(measured: Measured, choice: Choice, seed: int = 1) -> Outcome:
    """Tell the errors of a tolerance on other samples than those that it was chosen by.

    Raises:
        CannotCalibrate: some are the same.
    """
    check_apart(choice.identities, measured)
    found = Distributions.of(measured, choice.wanted.verifiers, seed)
    return outcome_at(measured, found, choice.tolerance_bits, choice.wanted.verifiers)


def outcome_at(measured: Measured, found: Distributions, tolerance: int, verifiers: int) -> Outcome:
    """The errors at a tolerance."""
    apart = found.same.within(tolerance).complement
    return Outcome(
        tolerance_bits=tolerance,
        verifiers=verifiers,
        apart=apart,
        apart_apart=found.same.within_apart(tolerance).complement,
        honest=honest_errors(found.draw, tolerance),
        honest_apart=honest_errors(found.draw.first(), tolerance),
        independent_undecided=independent_undecided(apart.upper, verifiers),
        false=_false_errors(measured, found, tolerance),
        found=found,
        curve=trade_off(found),
    )


def _false_errors(measured: Measured, found: Distributions, tolerance: int) -> dict[str, FalseErrors]:
    """Each panel's medoid against outputs that are not its own: claimed as they are by a machine, by turns."""
    pairs = against_accepted(measured, *accepted_digests(measured, found.draw, tolerance))
    return {kind: FalseErrors(each.within(tolerance), each.within_apart(tolerance)) for kind, each in pairs.items()}
