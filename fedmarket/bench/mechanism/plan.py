"""Which games are played, and what of them a journal has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmarket.bench.journal import KeyedJournal
from fedmarket.bench.mechanism.edition import edition
from fedmarket.bench.mechanism.game import Result
from fedmarket.bench.mechanism.settings import SETTINGS
from fedmarket.bench.mechanism.strategies import STRATEGIES
from market.protocol.errors import InvalidInput

SEEDS = range(300, 305)
QUICK = ("absent", "noise", "copies-2", "silent", "excludes-all", "false-alarm")
PLANS: Mapping[str, tuple[Sequence[str], Sequence[int]]] = {
    "quick": (QUICK, SEEDS[:1]),
    "full": (tuple(STRATEGIES), SEEDS),
}
"""Every plan by name: its strategies, each in all its settings, and its seeds."""


@dataclass(frozen=True)
class Cell:
    """One game.

    Attributes:
        setting: the kind of job.
        strategy: what the league plays.
        seed: of every draw.
    """

    setting: str
    strategy: str
    seed: int

    @property
    def key(self) -> str:
        """Its name in the journal."""
        return f"{self.setting}/{self.strategy}/{self.seed}"

    @property
    def baseline(self) -> Cell:
        """The game that it is held against."""
        return Cell(self.setting, STRATEGIES[self.strategy].baseline, self.seed)


class Journal(KeyedJournal[Result]):
    """Finished games.

    Raises:
        InvalidInput: the file is no journal, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, edition(), Result.from_json)

    def __contains__(self, cell: Cell) -> bool:
        return cell.key in self.found

    def __getitem__(self, cell: Cell) -> Result:
        return self.found[cell.key]

    def add(self, cell: Cell, result: Result) -> None:
        """Append one game: a single write, and on disk before it returns."""
        self.append(cell.key, asdict(cell), result.to_json())


def cells(strategies: Sequence[str], settings: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """Every game of these strategies in those of their settings, and the games that they are held against before them.

    Raises:
        InvalidInput: a strategy or a setting is unknown.
    """
    _check("strategy", strategies, list(STRATEGIES))
    _check("setting", settings, list(SETTINGS))
    found: dict[Cell, None] = {}
    for seed in seeds:
        for name in strategies:
            for setting in STRATEGIES[name].settings:
                if not settings or setting in settings:
                    cell = Cell(setting, name, seed)
                    found.update({cell.baseline: None, cell: None})
    return list(found)


def selected(plan: str, strategies: Sequence[str], settings: Sequence[str], seeds: int | None) -> list[Cell]:
    """A plan's games, narrowed down. Raises as `cells` does."""
    names, numbers = PLANS[plan]
    return cells(strategies or names, settings, numbers if seeds is None else numbers[:seeds])


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(f"{kind} {unknown[0]!r} is unknown, expected one of {', '.join(known)}")
