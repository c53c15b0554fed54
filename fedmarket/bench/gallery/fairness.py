"""Is pay fair? Pay shares of six unequal trainers beside their exact Shapley values of the held-out loss.

Shapley 1953; for data, Ghorbani and Zou 2019, arXiv:1904.02868. All 2^6 coalitions are trained anew, none is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import factorial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fedmarket.bench.gallery.contest import RULES, Cell, Contest
from fedmarket.bench.gallery.crowd import Holdings, Vector, one_thread
from fedmarket.bench.gallery.judges import Judge
from fedmarket.bench.gallery.plan import FIRST_SEED
from fedmarket.bench.processes import Progress
from market.protocol.errors import InvalidInput
from trainer_client.data import Dataset

FORMAT = "fedmarket-bench-fairness/1"
SIZES = (0.1, 0.2, 0.4, 0.4, 0.7, 1.0)
"""How much of an equal share of the samples each trainer has."""
WRONG_LABELS = (0.0, 0.4, 0.6, 0.0, 0.2, 0.0)
"""Part of each trainer's labels that are drawn at random."""
TRAINERS = len(SIZES)
ALPHA = 10.0

Coalition = frozenset[int]


@dataclass(frozen=True)
class Fairness:
    """One seed's comparison, one entry a trainer.

    Attributes:
        seed: of everything.
        pays: shares of the rewards.
        shapley: exact values: how much held-out loss each takes away.
        correlation: Spearman's, of the two.
    """

    seed: int
    pays: tuple[float, ...]
    shapley: tuple[float, ...]
    correlation: float


def unequal(parts: Sequence[Dataset], classes: int, seed: int) -> tuple[Dataset, ...]:
    """Cut the parts to unequal sizes, and give some of their labels at random."""
    random = np.random.default_rng([seed, 3])
    found = []
    for part, size, wrong in zip(parts, SIZES, WRONG_LABELS, strict=True):
        kept = part.subset(random.permutation(len(part))[: max(8, round(len(part) * size))])
        drawn = random.integers(0, classes, len(kept))
        labels = np.where(random.random(len(kept)) < wrong, drawn, kept.labels).astype(np.int64)
        found.append(Dataset(kept.inputs, labels))
    return tuple(found)


def fairness(seed: int, rule: str = "exam") -> Fairness:
    """Play one job of six unequal trainers, and compute the Shapley values by training every coalition."""
    contest = contest_of(seed, RULES[rule])
    values = {coalition: -loss(contest, coalition) for coalition in coalitions(TRAINERS)}
    worth = shapley(values, TRAINERS)
    pays = contest.play().pays
    return Fairness(seed, tuple(pays), worth, rank_correlation(pays, worth))


def compare(rule: str, seeds: int, progress: Progress) -> list[Fairness]:
    """One job a seed.

    Raises:
        InvalidInput: the rule is unknown.
    """
    if rule not in RULES:
        raise InvalidInput(f"rule {rule!r} is unknown, expected one of {', '.join(RULES)}")
    found = []
    with one_thread():
        for number in range(seeds):
            progress("jobs and their 64 coalitions", number, seeds)
            found.append(fairness(FIRST_SEED + number, rule))
    return found


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's: Pearson's of the ranks, ties at their mean.

    >>> rank_correlation([1, 2, 3], [10, 20, 40])
    1.0
    """
    return round(float(np.corrcoef(_ranks(left), _ranks(right))[0, 1]), 6)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    order = np.asarray(values)
    return np.array([(order < value).sum() + ((order == value).sum() + 1) / 2 for value in order])


def document(rule: str, found: Sequence[Fairness]) -> dict[str, Any]:
    """Return what `--json` prints."""
    middle = median(entry.correlation for entry in found)
    return {"format": FORMAT, "rule": rule, "median": middle, "seeds": [asdict(entry) for entry in found]}


def show(rule: str, found: Sequence[Fairness], console: Console) -> None:
    """Print a row a seed."""
    table = Table(title=f"Pay under `{rule}` beside exact Shapley values of the held-out loss", title_justify="left")
    for column in ("seed", "pay shares", "Shapley values", "rank correlation"):
        table.add_column(column, justify="right")
    for entry in found:
        cells = (" ".join(f"{value:.2f}" for value in values) for values in (entry.pays, entry.shapley))
        table.add_row(str(entry.seed), *cells, f"{entry.correlation:.2f}")
    console.print(table)
    console.print(f"median {median(entry.correlation for entry in found):.2f}")


def contest_of(seed: int, judge: Judge) -> Contest:
    """A job of six honest trainers, made unequal."""
    contest = Contest(Cell("digits", TRAINERS, 0, ALPHA, "honest", "exam", seed), judge)
    classes = int(contest.corpus.arguments["classes"])
    contest.ground = replace(contest.ground, parts=unequal(contest.ground.parts, classes, seed))
    return contest


def coalitions(count: int) -> list[Coalition]:
    """All subsets, the empty one first."""
    return [frozenset(chosen) for size in range(count + 1) for chosen in combinations(range(count), size)]


def loss(contest: Contest, coalition: Coalition) -> float:
    """Held-out loss after FedAvg among these trainers alone, for as many rounds as the job has."""
    parameters: Vector = contest.parameters
    members = sorted(coalition)
    if members:
        held = Holdings.of([contest.ground.parts[index] for index in members])
        for attempt in range(contest.cell.rounds):
            seeds = [contest.training_seed(attempt, index) for index in members]
            parameters = parameters + contest.learner.train_all(parameters, held, seeds).mean(axis=0)
    return contest.learner.evaluate(parameters, contest.ground.test).loss


def shapley(values: Mapping[Coalition, float], count: int) -> tuple[float, ...]:
    """Exact Shapley values: each one's mean marginal gain over all orders.

    >>> shapley({frozenset(): 0.0, frozenset({0}): 1.0, frozenset({1}): 3.0, frozenset({0, 1}): 4.0}, 2)
    (1.0, 3.0)
    """
    found = []
    for index in range(count):
        without = [coalition for coalition in values if index not in coalition]
        gains = (_share(len(c), count) * (values[c | {index}] - values[c]) for c in without)
        found.append(sum(gains))
    return tuple(found)


def _share(size: int, count: int) -> float:
    """How many of all orders have exactly such a coalition before a given player."""
    return factorial(size) * factorial(count - size - 1) / factorial(count)
