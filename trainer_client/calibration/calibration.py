"""A service's calibration: the document that it refers to, from measurement to tolerance, slack and their errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market.protocol.generation import ServiceDocument
from trainer_client.calibration.batches import Slack, disagreeing_batches, propose_slack
from trainer_client.calibration.distances import Counts, Pairs, model_kind, same_input
from trainer_client.calibration.figures import Picture, draw
from trainer_client.calibration.measuring import Plan, Progress, measure, told
from trainer_client.calibration.panels import (
    PANELS,
    HonestErrors,
    draw_panels,
    honest_errors,
    independent_undecided,
)
from trainer_client.calibration.rates import CONFIDENCE, Rate
from trainer_client.calibration.samples import Measured, Part
from trainer_client.calibration.tolerance import (
    Choice,
    Outcome,
    Overlap,
    Point,
    Wanted,
    choose_tolerance,
    report_on,
)

FORMAT = "fedmarket/calibration/1"


@dataclass(frozen=True)
class Prediction:
    """What panels of one size do where everybody is honest.

    Attributes:
        whole: counted over whole panels, drawn sample by sample: machines that err together are there as they are.
        independent: undecided panels if all pairs erred independently, each as often as its upper bound says.
    """

    whole: HonestErrors
    independent: float

    def to_json(self) -> dict[str, Any]:
        """For the document."""
        return {"whole_panels": self.whole.to_json(), "undecided_if_independent": self.independent}


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a tolerance was chosen by, and what it does on other samples.

    Attributes:
        plan: what was measured.
        chosen_by, reported_on: the samples.
        choice: the tolerance.
        outcome: its errors.
        slack: for the service's batches.
        batches: batches of the report's samples that honest machines disagree on, with that slack.
        predictions: for panels of each size, on the report's samples.
    """

    plan: Plan
    chosen_by: Measured
    reported_on: Measured
    choice: Choice
    outcome: Outcome
    slack: Slack
    batches: Rate
    predictions: Mapping[int, Prediction]

    def to_json(self) -> dict[str, Any]:
        """The document's fields."""
        return {
            "format": FORMAT,
            "service": _identity(self.plan.service),
            "decoding": self.plan.settings,
            "machines": list(self.plan.machine_names()),
            "confidence": CONFIDENCE,
            "wanted": {
                "honest_error": self.choice.wanted.honest_error,
                "false_error": self.choice.wanted.false_error,
                "verifiers": self.choice.wanted.verifiers,
            },
            "tolerance_bits": self.choice.tolerance_bits,
            "tolerances_that_serve": [self.choice.lowest, self.choice.highest],
            "told_apart": list(self.choice.kinds),
            "slack": self.slack.to_json(),
            "calibration": _samples(self.chosen_by) | _distributions(self.choice.found.same, self.choice.found.between),
            "report": _samples(self.reported_on)
            | _distributions(self.outcome.found.same, self.outcome.found.between)
            | self._errors(),
            "curve": _curve(self.outcome.curve),
        }

    def to_bytes(self) -> bytes:
        """The document, as storage keeps it: the same measurements give the same bytes."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def _errors(self) -> dict[str, Any]:
        return {
            "pairs_of_other_outputs": self.outcome.pairs,
            "apart": self.outcome.apart.to_json(),
            "apart_independent": self.outcome.apart_apart.to_json(),
            "honest": self.outcome.honest.to_json(),
            "honest_independent": self.outcome.honest_apart.to_json(),
            "false": {kind: each.to_json() for kind, each in self.outcome.false.items()},
            "disagreeing_batches": self.batches.to_json(),
            "panels": {str(k): each.to_json() for k, each in self.predictions.items()},
        }


def _identity(service: ServiceDocument) -> dict[str, Any]:
    """The service without what a calibration decides."""
    return service.model_dump(
        mode="json", exclude_none=True, exclude={"tolerance_bits", "slack_permille", "calibration"}
    )


def _samples(measured: Measured) -> dict[str, Any]:
    return {
        "samples": len(measured),
        "inputs": measured.fingerprint(),
        "seeds": sorted({each.seed for each in measured.inputs}) if measured.seeded else [],
        "prompts": len(set(measured.prompt_numbers().tolist())),
    }


def _distributions(same: Pairs, between: Mapping[str, Pairs]) -> dict[str, Any]:
    return {
        "distances": {"same": _listed(same.counts), **{name: _listed(each.counts) for name, each in between.items()}}
    }


def _listed(counts: Counts) -> list[int]:
    """Pairs by distance, as far as there are any."""
    values: list[int] = counts.tolist()
    while values and not values[-1]:
        values.pop()
    return values


def _curve(curve: Sequence[Point]) -> dict[str, Any]:
    """Events at each tolerance from 0 on, and of how many trials."""
    rates: dict[str, list[Rate]] = {"apart": [point.apart for point in curve]}
    rates["refused"] = [point.refused for point in curve]
    for kind in curve[0].accepted:
        rates[kind] = [point.accepted[kind] for point in curve]
    return {name: {"events": [r.events for r in each], "trials": each[0].trials} for name, each in rates.items()}


def beside_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds of pairs of models that need not be told apart."""
    return tuple(model_kind(name) for name in names)


def calibrate(
    plan: Plan,
    wanted: Wanted,
    folder: Path,
    *,
    beside: Sequence[str] = (),
    pictures: Path | None = None,
    progress: Callable[[Part], Progress] | None = None,
) -> Calibration:
    """Measure, choose, and report on other samples.

    Args:
        plan: what to measure; the tolerance is for the first of its digests.
        wanted: the errors asked for.
        folder: keeps what was measured.
        beside: names of other models that need not be told apart.
        pictures: folder for the two pictures, which are there also where no tolerance serves.
        progress: for each part, what is told how far it is.

    Raises:
        CannotCalibrate: too few samples, or no tolerance serves.
    """
    kind = told(plan.kinds[0])
    kinds = beside_kinds(beside)
    chosen_by = _measured(plan, Part.CALIBRATION, folder, progress)[kind]
    try:
        choice = choose_tolerance(chosen_by, wanted, beside=kinds, seed=plan.seed)
    except Overlap as overlap:
        if pictures is not None:
            draw(
                Picture(_title(plan), "samples to choose by", overlap.found, overlap.curve, wanted, None, kinds),
                pictures,
            )
        raise
    samples = plan.service.limits.samples
    slack = propose_slack(chosen_by, choice.tolerance_bits, samples, wanted.honest_error, plan.seed)
    reported_on = _measured(plan, Part.REPORT, folder, progress)[kind]
    outcome = report_on(reported_on, choice, plan.seed + 1)
    if pictures is not None:
        picture = Picture(
            _title(plan), "other samples than it was chosen by", outcome.found, outcome.curve, wanted,
            choice.tolerance_bits, kinds,
        )  # fmt: skip
        draw(picture, pictures)
    return Calibration(
        plan, chosen_by, reported_on, choice, outcome, slack,
        disagreeing_batches(reported_on, choice.tolerance_bits, slack, plan.seed + 1),
        predict(reported_on, choice.tolerance_bits, plan.seed + 1),
    )  # fmt: skip


def predict(measured: Measured, tolerance: int, seed: int) -> dict[int, Prediction]:
    """What panels of three, five and seven do where everybody is honest."""
    apart = same_input(measured).within(tolerance).complement.upper
    return {
        seats: Prediction(
            honest_errors(draw_panels(measured, seats, seed), tolerance), independent_undecided(apart, seats)
        )
        for seats in PANELS
    }


def _measured(
    plan: Plan, part: Part, folder: Path, progress: Callable[[Part], Progress] | None
) -> Mapping[str, Measured]:
    return measure(plan, part, folder, progress(part) if progress else None)


def _title(plan: Plan) -> str:
    name = plan.service.generator if plan.service.name == "unnamed" else plan.service.name
    return f"{name.replace('_', ' ')}, {told(plan.kinds[0])}"
