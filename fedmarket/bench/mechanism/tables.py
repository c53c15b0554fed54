"""The simulation for people and programs: tables, and one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from math import inf
from typing import Any

from rich.console import Console
from rich.table import Table

from fedmarket.bench.mechanism.settings import SETTINGS
from fedmarket.bench.mechanism.strategies import STRATEGIES
from fedmarket.bench.mechanism.summary import Estimate, Line
from fedmarket.bench.report import Machine, package_versions

FORMAT = "fedmarket-bench-mechanism/1"
PACKAGES = ("fedmarket", "numpy", "web3")
COLUMNS = ("strategy", "the league gains", "the others gain", "the model gains", "griefing", "")


def document(lines: Sequence[Line]) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "format": FORMAT,
        "machine": asdict(Machine.here()),
        "versions": package_versions(PACKAGES),
        "lines": [line.to_json() for line in lines],
    }


def show(lines: Sequence[Line], console: Console) -> None:
    """Print a table for each setting."""
    for title, group in _by_setting(lines):
        table = Table(title=title, title_justify="left")
        for place, column in enumerate(COLUMNS):
            table.add_column(column, justify="left" if place in (0, len(COLUMNS) - 1) else "right")
        for line in group:
            table.add_row(*_cells(line))
        console.print(table)


def markdown(lines: Sequence[Line]) -> str:
    """The tables as they stand in the documentation."""
    parts = []
    for title, group in _by_setting(lines):
        rows = [f"**{title}**\n", f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|---|"]
        rows += [f"| {' | '.join(_cells(line))} |" for line in group]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _by_setting(lines: Iterable[Line]) -> list[tuple[str, list[Line]]]:
    """The lines by setting, in their order."""
    groups = groupby(lines, lambda line: (line.setting, line.seeds))
    return [(f"{SETTINGS[setting].title} ({seeds} seeds)", list(group)) for (setting, seeds), group in groups]


def _cells(line: Line) -> tuple[str, ...]:
    figures = (_percent(line.gain), _percent(line.others), _percent(line.model), _factor(line))
    return (f"`{line.strategy}`: {STRATEGIES[line.strategy].title}", *figures, _remark(line))


def _percent(estimate: Estimate) -> str:
    """A share of the round's reward, a round, and its standard error."""
    return f"{100 * estimate.mean:+.1f} ± {100 * estimate.error:.1f}"


def _factor(line: Line) -> str:
    if line.griefing == inf:
        return "∞"
    return f"{line.griefing:.1f}" if line.griefing else ""


def _remark(line: Line) -> str:
    """Whether it pays, and what is known about it."""
    return ": ".join(part for part in ("**pays**" if line.pays else "", line.known) if part)
