"""The demo's outcome for a person: tables and a plot in the terminal, and the plot as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aggregator.audit import AuditReport
from fedmarket.demo.marks import ExamMark
from fedmarket.demo.result import DemoResult, TrainerResult
from fedmarket.demo.scenario import Behaviour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 10
"""Lines of the terminal's plot."""
WIDTH = 72
"""Characters of its columns together."""
EIGHTHS = " ▁▂▃▄▅▆▇█"
PASSED, FAILED, ABSENT = "+", "-", "·"
HONEST = Behaviour.HONEST.value
HONEST_COLOUR, CHEAT_COLOUR = "tab:green", "tab:red"


def show(result: DemoResult, console: Console) -> None:
    """Print everything, in the order in which a person asks."""
    console.print(plot_lines(result))
    console.print(_trainers(result))
    if result.examined:
        _exams(result, console)
    for table in (_escrow(result), gas_table("Gas", result.gas)):
        console.print(table)
    _proofs(result, console)
    _audit(result, console)


def plot_lines(result: DemoResult) -> str:
    """The held-out accuracy after every round as columns, the initial model's first; at most 80 characters wide."""
    values = [result.initial_accuracy, *(entry.accuracy for entry in result.rounds)]
    low = max(0.0, min(values) - 0.1)
    width = max(1, min(6, WIDTH // len(values)))
    bar = max(1, width - 2)
    lines = ["", "Accuracy on held-out digits, after each round"]
    for level in range(HEIGHT - 1, -1, -1):
        label = f"{low + (1 - low) * (level + 1) / HEIGHT:5.0%} " if level % 3 == 0 else " " * 6
        lines.append(label + "│" + "".join((_cell(value, low, level) * bar).center(width) for value in values))
    lines.append(" " * 6 + "└" + "─" * width * len(values))
    if width > 3:
        names = ["-", *(str(entry.round) for entry in result.rounds)]
        lines.append(" " * 7 + "".join(f"{value:.0%}".center(width) for value in values))
        lines.append(" round " + "".join(name.center(width) for name in names))
    return "\n".join(lines)


def _cell(value: float, low: float, level: int) -> str:
    filled = (value - low) / (1 - low) * HEIGHT - level
    return EIGHTHS[max(0, min(8, round(filled * 8)))]


def draw(result: DemoResult, path: Path) -> None:
    """Write the accuracy of every round, everybody's record of exams, and what each was paid as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = 3 if result.examined else 2
    figure, axes = pyplot.subplots(1, panels, figsize=(5.5 * panels, 4), layout="constrained")
    left, right = axes[0], axes[-1]
    rounds = [entry.round for entry in result.rounds]
    left.plot([-1, *rounds], [result.initial_accuracy, *(entry.accuracy for entry in result.rounds)], marker="o")
    left.set(xlabel="round", ylabel="accuracy on held-out digits", title="The job's model")
    left.set_xticks([-1, *rounds], ["start", *map(str, rounds)])
    left.grid(alpha=0.3)
    if result.examined:
        _draw_records(result, axes[1])
    names = [f"{trainer.seat}\n{trainer.behaviour}" for trainer in result.trainers]
    colours = [HONEST_COLOUR if trainer.behaviour == HONEST else CHEAT_COLOUR for trainer in result.trainers]
    right.bar(names, [trainer.paid_wei / 10**18 for trainer in result.trainers], color=colours)
    right.set(ylabel="paid, ETH", title="Pay follows contribution")
    right.tick_params(axis="x", labelsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _trainers(result: DemoResult) -> Table:
    table = Table(title="Trainers", title_justify="left")
    for column in ("seat", "trainer", "behaviour"):
        table.add_column(column, no_wrap=True)
    for column in ("accepted", "score", "paid, ETH", "lost, ETH"):
        table.add_column(column, justify="right")
    for trainer in result.trainers:
        style = "" if trainer.behaviour == HONEST else "red"
        table.add_row(*_cells(trainer, len(result.rounds)), style=style)
    return table


def _cells(trainer: TrainerResult, rounds: int) -> Sequence[str]:
    address = f"{trainer.address[:6]}…{trainer.address[-4:]}"
    accepted = f"{len(trainer.accepted_rounds)} of {rounds}"
    paid = f"{trainer.paid_wei / 10**18:.4f}"
    lost = f"{trainer.stake_forfeited_wei / 10**18:.4f}" if trainer.stake_forfeited_wei else ""
    return (str(trainer.seat), address, trainer.behaviour, accepted, f"{trainer.contribution:.4f}", paid, lost)


def _exams(result: DemoResult, console: Console) -> None:
    """The marks of everybody, and why those who failed did, each by the last exam that it failed."""
    table = Table(title="The owner's exam", title_justify="left")
    for column in ("seat", "behaviour", "rounds"):
        table.add_column(column, no_wrap=True)
    for column in ("passed", "mean mark", "record"):
        table.add_column(column, justify="right")
    reasons = []
    for trainer in result.trainers:
        marks = exam_marks(result, trainer)
        table.add_row(*_exam_cells(trainer, marks), style="" if trainer.behaviour == HONEST else "red")
        rounds = [entry.round for entry in result.rounds]
        failed = [(number, mark) for number, mark in zip(rounds, marks, strict=True) if mark and not mark.passed]
        reasons += [
            f"seat {trainer.seat} ({trainer.behaviour}), round {number}: {mark.reason}" for number, mark in failed[-1:]
        ]
    console.print(table)
    console.print(f"{PASSED} passed, {FAILED} failed, {ABSENT} handed nothing in, or no exam. Why, the last time:")
    for reason in reasons:
        console.print(reason, highlight=False)
    idle = [str(entry.round) for entry in result.rounds if not entry.accepted]
    if idle:
        console.print(
            f"In round {', '.join(idle)} the exam and the bounds on norms left fewer than three: "
            "the model stays, and the reward carries over."
        )


def exam_marks(result: DemoResult, trainer: TrainerResult) -> list[ExamMark | None]:
    """A trainer's mark in each round; None where it handed nothing in, or no exam counted."""
    return [entry.exam.marks.get(trainer.address) if entry.exam else None for entry in result.rounds]


def _exam_cells(trainer: TrainerResult, marks: Sequence[ExamMark | None]) -> Sequence[str]:
    taken = [mark for mark in marks if mark]
    row = "".join(ABSENT if mark is None else PASSED if mark.passed else FAILED for mark in marks)
    passed = f"{sum(mark.passed for mark in taken)} of {len(taken)}"
    if not taken:
        return (str(trainer.seat), trainer.behaviour, row, passed, "", "")
    mean = f"{fmean(mark.mark for mark in taken):+.4f}"
    return (str(trainer.seat), trainer.behaviour, row, passed, mean, f"{taken[-1].record:+.4f}")


def _draw_records(result: DemoResult, axes: Axes) -> None:
    """Every seat's record after each exam, and the line above which it is accepted."""
    rounds = [entry.round for entry in result.rounds]
    for trainer in result.trainers:
        records = [mark.record if mark else float("nan") for mark in exam_marks(result, trainer)]
        colour = HONEST_COLOUR if trainer.behaviour == HONEST else CHEAT_COLOUR
        axes.plot(rounds, records, marker=".", color=colour, alpha=0.8)
    lines = [2 * entry.exam.line for entry in result.rounds if entry.exam]
    if lines:
        axes.axhline(max(lines), color="black", linestyle="--", linewidth=1, label="accepted above")
        axes.legend(loc="upper left")
    axes.set(xlabel="round", ylabel="record", title="Marks in the owner's exams, summed up")
    axes.set_xticks(rounds)
    axes.grid(alpha=0.3)


def _escrow(result: DemoResult) -> Table:
    table = Table(title="Escrow, to the wei", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    ledger = result.ledger
    for name in ("deposited", "paid", "refunded", "burned", "locked"):
        amount_wei = getattr(ledger, f"{name}_wei")
        table.add_row(name, f"{amount_wei:,} wei")
    table.add_row("balanced", "yes" if ledger.is_balanced else "NO")
    return table


def gas_table(title: str, gas: Mapping[str, Sequence[int]]) -> Table:
    """What calls cost, by their name, the dearest first."""
    table = Table(title=title, title_justify="left")
    table.add_column("call")
    for column in ("calls", "median", "largest"):
        table.add_column(column, justify="right")
    for call, used in sorted(gas.items(), key=lambda entry: -max(entry[1])):
        table.add_row(call, str(len(used)), f"{int(median(used)):,}", f"{max(used):,}")
    return table


def _proofs(result: DemoResult, console: Console) -> None:
    proofs = result.proofs
    console.print(
        f"Proofs: {proofs.verified} of {len(result.rounds)} verified on-chain; "
        f"median {proofs.prove_s:.1f} s to prove, {proofs.settle_gas:,} gas to settle"
    )


def _audit(result: DemoResult, console: Console) -> None:
    audits = (
        ("Audit", result.audit, "chain and storage, updates opened with the aggregator's key"),
        ("Without a key", result.audit_without_key, "chain and storage alone"),
    )
    for name, report, sources in audits:
        mismatch = report.first_mismatch
        if mismatch is None:
            console.print(
                f"[green]{name}: {len(report.checks)} checks from {sources}: all hold{_trust(report)}.[/green]"
            )
        else:
            console.print(f"[red]{name}: {mismatch.name} of {mismatch.subject} does not hold: {mismatch.detail}[/red]")


def _trust(report: AuditReport) -> str:
    """What a report takes on whose word."""
    unproven = [check.name for check in report.checks if check.verdict == "unproven"]
    sealed = unproven.count("updates")
    told = [f", {sealed} of them (sealed updates open their commitments) on the aggregator's word"] if sealed else []
    if others := len(unproven) - sealed:
        told.append(f", {others} of them on trust")
    return "".join(told)
