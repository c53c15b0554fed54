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
from fedmarket.bench.gallery.plan import SYBILS
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
    """The tables as they stand in the documentation: each job under the exam, then beside other rules; identities."""
    alone = {(line.corpus, line.honest, line.alpha, line.rule): line for line in lines if not line.cheats}
    parts = []
    for title, group in jobs(line for line in lines if line.cheats and line.attack not in SYBILS):
        heading = f"**{title}** ({group[0].seeds} seeds)"
        examined = [line for line in group if line.rule == "exam"]
        if examined:
            honest = alone.get((group[0].corpus, group[0].honest, group[0].alpha, "exam"))
            parts.append(_markdown_job(heading, honest, examined))
        if len(rules := list(dict.fromkeys(line.rule for line in group))) > 1:
            parts.append(_markdown_comparison(heading, rules, group))
    identities = [line for line in lines if line.attack in SYBILS]
    return "\n".join([*parts, *([_markdown_identities(identities)] if identities else [])])


def _markdown_job(heading: str, alone: Line | None, lines: Sequence[Line]) -> str:
    """A row an attack; those that changed nothing at all share one."""
    rows = [
        f"{heading}\n",
        "| attack | accuracy | gap | honest accepted before convergence / all | cheats' weight | paid |",
        "|---|---|---|---|---|---|",
    ]
    without = [line for line in lines if alone and _figures(line) == _figures(alone)]
    if alone:
        rows.append(_markdown_row("*the honest alone*", alone))
    if alone and without:
        rows.append(_markdown_row("; ".join(ATTACKS[line.attack].title for line in without), alone))
    for line in lines:
        if line not in without:
            success = "" if line.backdoor is None else f"; backdoor {line.backdoor:.0%}"
            rows.append(_markdown_row(ATTACKS[line.attack].title + success, line))
    return "\n".join(rows) + "\n"


def _figures(line: Line) -> tuple[float, ...]:
    return (line.accuracy, line.gap, line.honest_accepted, line.honest_accepted_all, line.cheat_weight, line.cheat_paid)


def _markdown_row(what: str, line: Line) -> str:
    return (
        f"| {what} | {line.accuracy:.3f} | {100 * line.gap:+.1f} "
        f"| {line.honest_accepted:.0%} / {line.honest_accepted_all:.0%} "
        f"| {line.cheat_weight:.1%} | {line.cheat_paid:.1%} |"
    )


def _markdown_comparison(heading: str, rules: Sequence[str], lines: Sequence[Line]) -> str:
    """A row an attack, a column a rule: gap in points; cheats' share of the weight; of the pay."""
    found = {
        (line.attack, line.rule): f"{100 * line.gap:+.1f}; {line.cheat_weight:.0%}; {line.cheat_paid:.0%}"
        for line in lines
    }
    rows = [
        f"{heading}: gap in points; cheats' weight; paid\n",
        "| attack | " + " | ".join(f"`{rule}`" for rule in rules) + " |",
        "|---|" + "---|" * len(rules),
    ]
    for attack in dict.fromkeys(attack for attack, rule in found if rule != "exam"):
        cells = " | ".join(found.get((attack, rule), "") for rule in rules)
        rows.append(f"| {ATTACKS[attack].title} | {cells} |")
    return "\n".join(rows) + "\n"


def _markdown_identities(lines: Sequence[Line]) -> str:
    """What k identities are paid, and how many times what one is: a row an attack and rule."""
    paid = {
        (line.attack, line.rule, line.cheats): line.cheat_paid / (line.cheat_paid + line.honest_paid) for line in lines
    }
    counts = sorted({line.cheats for line in lines})
    rows = [
        f"**k identities of one trainer** beside {lines[0].honest} others: what they get ({lines[0].seeds} seeds)\n",
        "| | | " + " | ".join(f"k = {k}" for k in counts) + " |",
        "|---|---|" + "---|" * len(counts),
    ]
    for attack, rule in dict.fromkeys((attack, rule) for attack, rule, _ in paid):
        one = paid.get((attack, rule, 1), float("nan"))
        shares = [paid.get((attack, rule, k), float("nan")) for k in counts]
        cells = " | ".join(f"{share:.1%} (×{share / one:.2f})" for share in shares)
        rows.append(f"| {ATTACKS[attack].title} | `{rule}` | {cells} |")
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
            picture = axis.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
            for row, column in np.argwhere(~np.isnan(values)):
                value = values[row, column]
                ink = "white" if _dark(picture.to_rgba(value)) else "black"
                axis.text(column, row, f"{100 * value:.1f}", ha="center", va="center", fontsize=7, color=ink)
            axis.set_title(f"{label}, %", fontsize=8)
            axis.set_xticks(range(len(rules)), rules, rotation=30, ha="right", fontsize=7)
            axis.set_yticks(range(len(attacks)), [ATTACKS[attack].title for attack in attacks], fontsize=7)
        figure.suptitle(title, fontsize=10)
        path = folder / (title.replace(", ", "-").replace(" + ", "+").replace(" ", "-").lower() + ".png")
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
        written.append(path)
    return written


def _dark(colour: tuple[float, float, float, float]) -> bool:
    """Is white the better ink on it? By relative luminance, ITU-R BT.709."""
    red, green, blue, _ = colour
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4
