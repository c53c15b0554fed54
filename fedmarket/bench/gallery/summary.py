"""Medians and means over the seeds of a cell, held against FedAvg of the honest alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any

from fedmarket.bench.gallery.contest import Cell, Outcome
from fedmarket.bench.gallery.journal import Journal
from fedmarket.bench.gallery.plan import BASELINE

LAST_ROUNDS = 3
"""The final accuracy is their mean: one round's goes up and down."""
CONVERGED = 0.02
"""Distance from the best accuracy that counts as converged."""


@dataclass(frozen=True)
class Line:
    """One attack under one rule, over all seeds.

    Attributes:
        corpus, honest, cheats, alpha, attack, rule: of the cell.
        seeds: how many were played.
        accuracy: median final accuracy, held out.
        gap: median of the difference to FedAvg of the honest alone, same seed.
        honest_accepted: share of the honest updates that were averaged, before convergence.
        honest_accepted_all: the same over all rounds.
        honest_paid: share of the rewards that the honest got.
        cheat_weight: the cheats' mean share of the weight, over the rounds with a new model.
        cheat_paid: share of all rewards that the cheats got.
        backdoor: mean share of patched samples that the last model takes for the backdoor's class.
    """

    corpus: str
    honest: int
    cheats: int
    alpha: float
    attack: str
    rule: str
    seeds: int
    accuracy: float
    gap: float
    honest_accepted: float
    honest_accepted_all: float
    honest_paid: float
    cheat_weight: float
    cheat_paid: float
    backdoor: float | None

    def to_json(self) -> dict[str, Any]:
        """Rounded to four digits."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def final_accuracy(outcome: Outcome) -> float:
    """Mean over the last rounds, held out."""
    return fmean(outcome.accuracy[-LAST_ROUNDS:])


def rounds_to_convergence(baseline: Outcome) -> int:
    """How many rounds FedAvg of the honest alone takes until it is within two points of the best that it reaches.

    >>> rounds_to_convergence(Outcome(1, 0.5, accuracy=[0.7, 0.89, 0.9]))
    2
    """
    best = max(baseline.accuracy)
    return next(k for k, accuracy in enumerate(baseline.accuracy, start=1) if accuracy >= best - CONVERGED)


def summarise(cells: Iterable[Cell], journal: Journal) -> list[Line]:
    """One line for each attack and rule of which all seeds' cells and baselines have been played."""
    groups: dict[Cell, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(replace(cell, seed=0), []).append(cell)
    return [_line(group, journal) for group in groups.values() if all(_ready(cell, journal) for cell in group)]


def baseline(cell: Cell) -> Cell:
    """FedAvg of the honest alone, for this cell's crowd, split and seed."""
    attack, rule = BASELINE
    return replace(cell, cheats=0, attack=attack, rule=rule)


def _ready(cell: Cell, journal: Journal) -> bool:
    return cell in journal and baseline(cell) in journal


def _line(group: Sequence[Cell], journal: Journal) -> Line:
    cell, outcomes = group[0], [journal[entry] for entry in group]
    alone = [journal[baseline(entry)] for entry in group]
    early = [rounds_to_convergence(entry) for entry in alone]
    backdoors = [outcome.backdoor for outcome in outcomes if outcome.backdoor is not None]
    return Line(
        corpus=cell.corpus,
        honest=cell.honest,
        cheats=cell.cheats,
        alpha=cell.alpha,
        attack=cell.attack,
        rule=cell.rule,
        seeds=len(group),
        accuracy=median(final_accuracy(outcome) for outcome in outcomes),
        gap=median(final_accuracy(o) - final_accuracy(a) for o, a in zip(outcomes, alone, strict=True)),
        honest_accepted=fmean(fmean(o.honest_accepted[:k]) / cell.honest for o, k in zip(outcomes, early, strict=True)),
        honest_accepted_all=fmean(fmean(o.honest_accepted) / cell.honest for o in outcomes),
        honest_paid=fmean(sum(o.pays[: cell.honest]) for o in outcomes),
        cheat_weight=fmean(_weight(o) for o in outcomes),
        cheat_paid=fmean(sum(o.pays[cell.honest :]) for o in outcomes),
        backdoor=fmean(backdoors) if backdoors else None,
    )


def _weight(outcome: Outcome) -> float:
    """Mean over the rounds that made a new model."""
    pairs = zip(outcome.honest_accepted, outcome.cheat_weight, strict=True)
    made = [weight for accepted, weight in pairs if accepted or weight]
    return fmean(made) if made else 0.0
