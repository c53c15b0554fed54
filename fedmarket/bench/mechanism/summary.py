"""What a strategy gained over honesty on the same seeds, and what it cost everybody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import inf, sqrt
from statistics import fmean, stdev
from typing import Any

from fedmarket.bench.mechanism.game import Result
from fedmarket.bench.mechanism.plan import Cell, Journal
from fedmarket.bench.mechanism.settings import REWARD_WEI, ROUNDS, SETTINGS
from fedmarket.bench.mechanism.strategies import STRATEGIES

NOTHING = 0.001
"""A thousandth of a round's reward a round: less is neither gain nor loss."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its standard error, in shares of a round's reward, a round."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Mean and standard error; of a single value the error is zero.

        >>> Estimate.of([1.0, 3.0])
        Estimate(mean=2.0, error=1.0)
        """
        error = stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(fmean(values), error)

    @property
    def is_positive(self) -> bool:
        """Whether it is above nothing by more than chance.

        >>> Estimate(0.05, 0.01).is_positive, Estimate(0.05, 0.04).is_positive, Estimate(0.0004, 0.0).is_positive
        (True, False, False)
        """
        return self.mean - 2 * self.error > NOTHING


@dataclass(frozen=True)
class Comparison:
    """One game beside the one that it is held against, in shares of a round's reward, a round.

    Attributes:
        gain: what the league earned more, gas and work deducted.
        others: what everybody else earned more: a loss is negative.
        model: what the last model was worth more to the owner.
    """

    gain: float
    others: float
    model: float


@dataclass(frozen=True)
class Line:
    """One strategy in one setting, over all seeds.

    Attributes:
        setting, strategy: of the cells.
        seeds: how many were played.
        gain: the league's, without what the model is worth.
        others: everybody else's, likewise; a loss is negative.
        model: the owner's, in the worth of the model.
        griefing: what the victims lost over what the league lost, the owner's loss in the model counted on its side;
            infinite where the league lost nothing, zero where nobody else did.
        known: why this is not prevented, where it is known not to be.
    """

    setting: str
    strategy: str
    seeds: int
    gain: Estimate
    others: Estimate
    model: Estimate
    griefing: float
    known: str

    @property
    def pays(self) -> bool:
        """Whether the league earned more than by honesty, by more than chance."""
        return self.gain.is_positive

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite factor is null."""
        return {**asdict(self), "griefing": None if self.griefing == inf else self.griefing, "pays": self.pays}


def summarise(cells: Iterable[Cell], journal: Journal) -> list[Line]:
    """One line for each strategy and setting of which games have been played, baselines aside."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for cell in cells:
        if cell.baseline != cell and cell in journal and cell.baseline in journal:
            found = compare(cell.strategy, journal[cell], journal[cell.baseline])
            groups.setdefault((cell.setting, cell.strategy), []).append(found)
    order = list(STRATEGIES)
    keys = sorted(groups, key=lambda key: (list(SETTINGS).index(key[0]), order.index(key[1])))
    return [_line(*key, groups[key]) for key in keys]


def compare(strategy: str, result: Result, baseline: Result) -> Comparison:
    """Hold one game against another of the same seed, by the parties' names."""
    plays = STRATEGIES[strategy].plays

    def earned(played: Result, league: bool) -> int:
        return sum(account.profit_wei for name, account in played.accounts.items() if plays(name) is league)

    unit = REWARD_WEI * ROUNDS
    return Comparison(
        gain=(earned(result, True) - earned(baseline, True)) / unit,
        others=(earned(result, False) - earned(baseline, False)) / unit,
        model=(result.model_wei - baseline.model_wei) / unit,
    )


def griefing_factor(gain: float, others: float, model: float, owner_plays: bool) -> float:
    """What the victims lost over what the league lost.

    >>> griefing_factor(gain=-0.5, others=-1.0, model=0.0, owner_plays=False)
    2.0
    >>> griefing_factor(gain=0.1, others=-1.0, model=0.0, owner_plays=False)
    inf
    """
    league, victims = (gain + model, others) if owner_plays else (gain, others + model)
    if victims > -NOTHING:
        return 0.0
    return victims / league if league < -NOTHING else inf


def _line(setting: str, strategy: str, found: Sequence[Comparison]) -> Line:
    gain, others, model = (Estimate.of([getattr(each, name) for each in found]) for name in ("gain", "others", "model"))
    played = STRATEGIES[strategy]
    factor = griefing_factor(gain.mean, others.mean, model.mean, played.owner_plays)
    return Line(setting, strategy, len(found), gain, others, model, factor, played.known_in(setting))
