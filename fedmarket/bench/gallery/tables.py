"""The gallery for people and programs: tables, one JSON document, pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fedmarket.bench.gallery.attacks import ATTACKS
from fedmarket.bench.gallery.summary import Line
from fedmarket.bench.report import Machine, package_versions

FORMAT = "fedmarket-bench-attacks/1"
PACKAGES = ("fedmarket", "numpy", "torch", "scikit-learn", "eth-account", "byzfl")
PANELS = (
    ("gap", "accuracy less that of FedAvg of the honest alone", "RdYlGn", -0.3, 0.3),
    ("cheat_weight", "cheats' share of the weight", "Reds", 0.0, 0.6),
    ("cheat_paid", "cheats' share of the rewards", "Reds", 0.0, 0.6),
)


def document(lines: Sequence[Line]) -> dict[str, Any]:
    """Return what `--json` prints."""
    machine = asdict(Machine.here())
    return {
        "format": FORMAT,
        "machine": machine,
        "versions": package_versions(PACKAGES),
        "lines": [line.to_json() for line in lines],
    }


def jobs(lines: Iterable[Line]) -> list[tuple[str, list[Line]]]:
    """The lines by data set, crowd and split, in the order in which they come."""

    def title(line: Line) -> str:
        return f"{line.corpus}, {line.honest} + {line.cheats}, Dirichlet {line.alpha:g}"

    ordered = sorted(lines, key=lambda line: (line.corpus, line.honest, line.alpha, line.cheats))
    return [(name, list(group)) for name, group in groupby(ordered, title)]


def show(lines: Sequence[Line], console: Console) -> None:
    """Print a table for each job, and what it was measured with."""
    for title, group in jobs(lines):
        console.print(_table(title, group))
    machine = Machine.here()
    versions = ", ".join(f"{name} {version}" for name, version in package_versions(PACKAGES).items())
    console.print(f"{machine.cores} cores, {machine.processor}; {versions}", highlight=False)


def _table(title: str, lines: Sequence[Line]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("attack")
    table.add_column("rule")
    for column in ("accuracy", "gap", "honest accepted", "honest paid", "cheats' weight", "cheats paid", "backdoor"):
        table.add_column(column, justify="right")
    for line in lines:
        shares = (line.honest_paid, line.cheat_weight, line.cheat_paid)
        table.add_row(
            ATTACKS[line.attack].title if line.cheats else "the honest alone",
            line.rule,
            f"{line.accuracy:.3f}",
            f"{100 * line.gap:+.1f}",
            f"{line.honest_accepted:.0%} / {line.honest_accepted_all:.0%}",
            *(f"{share:.1%}" for share in shares),
            "" if line.backdoor is None else f"{line.backdoor:.0%}",
        )
    return table


def markdown(lines: Sequence[Line]) -> str:
    """The tables as they stand in the documentation."""
    return "\n".join(_markdown_table(title, group) for title, group in jobs(lines))


def _markdown_table(title: str, lines: Sequence[Line]) -> str:
    rows = [
        f"**{title}** ({lines[0].seeds} seeds)\n",
        "| attack | rule | accuracy | gap | honest accepted before convergence / all | cheats' weight | cheats paid |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        what = ATTACKS[line.attack].title if line.cheats else "*the honest alone*"
        success = "" if line.backdoor is None else f"; backdoor {line.backdoor:.0%}"
        rows.append(
            f"| {what}{success} | {line.rule} | {line.accuracy:.3f} | {100 * line.gap:+.1f} "
            f"| {line.honest_accepted:.0%} / {line.honest_accepted_all:.0%} "
            f"| {line.cheat_weight:.1%} | {line.cheat_paid:.1%} |"
        )
    return "\n".join(rows) + "\n"


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write one picture a job: attacks down, rules across, colour for gap, weight and pay."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title, group in jobs(line for line in lines if line.cheats):
        attacks, rules = list(dict.fromkeys(e.attack for e in group)), list(dict.fromkeys(e.rule for e in group))
        size = (4 + 1.6 * len(rules) * len(PANELS), 1.8 + 0.3 * len(attacks))
        figure, axes = pyplot.subplots(1, len(PANELS), figsize=size, layout="constrained", sharey=True)
        for axis, (name, label, colours, low, high) in zip(axes, PANELS, strict=True):
            values = np.full((len(attacks), len(rules)), np.nan)
            for line in group:
                values[attacks.index(line.attack), rules.index(line.rule)] = getattr(line, name)
            axis.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
            for (row, column), value in np.ndenumerate(values):
                axis.text(column, row, f"{100 * value:.1f}", ha="center", va="center", fontsize=7)
            axis.set_title(f"{label}, %", fontsize=8)
            axis.set_xticks(range(len(rules)), rules, rotation=30, ha="right", fontsize=7)
            axis.set_yticks(range(len(attacks)), attacks, fontsize=7)
        figure.suptitle(title, fontsize=10)
        path = folder / (title.replace(", ", "-").replace(" + ", "+").replace(" ", "-").lower() + ".png")
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
        written.append(path)
    return written
