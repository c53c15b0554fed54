"""Anyone: measure on this machine what the proofs cost, what the rules withstand, and what cheating earns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import console, srs_option

if TYPE_CHECKING:
    from fedmarket.bench.processes import Progress


PLAN_NAMES = ("quick", "bounds", "close", "compared", "full")
GAME_PLANS = ("quick", "full")


@click.group()
def bench() -> None:
    """Measure what the proofs cost here, what the rules withstand, and what cheating earns."""


@bench.command()
@click.option("--dimension", type=int, required=True, metavar="D", help="Coordinates of an update.")
@click.option("--trainers", type=int, required=True, metavar="N", help="Updates of the round, 3 to 64.")
@click.option("--chunks", type=int, default=1, show_default=True, metavar="C", help="Pieces that a row is cut into.")
@click.option("--repeat", type=int, default=3, show_default=True, metavar="R", help="Proofs; times are medians.")
@srs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def proof(dimension: int, trainers: int, chunks: int, repeat: int, srs: Path, as_json: bool) -> None:
    """Prove a round of random updates and measure every stage of it.

    Rows are on disk, as an aggregator has them, in the folder for temporary files (TMPDIR); each stage is a process of
    its own, whose peak memory is measured; the contract verifies the proof on a chain of its own. The SRS is one whose
    secret everybody knows: it costs the same.
    """
    # Imported here: the list of commands has no need of the compiler.
    from fedmarket.bench.measurement import measure
    from fedmarket.bench.workload import Workload
    from zk.srs import INSECURE_FILE

    work = Workload(dimension, trainers, chunks, repeat, str((srs / INSECURE_FILE).absolute()))
    with leaving(lambda: "nothing is kept of this measurement but the SRS"), _progress() as progress:
        report = measure(work, progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        report.show(console())


@bench.command()
@click.option("--plan", "name", type=click.Choice(PLAN_NAMES), default="quick", show_default=True, help="How much.")
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Only these of the plan's attacks.")
@click.option("--rule", "rules", multiple=True, metavar="NAME", help="Only these of the plan's rules.")
@click.option("--seeds", type=click.IntRange(1), help="Only so many of the plan's seeds.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("attacks.jsonl"),
    show_default=True,
    help="What is finished; the next run goes on from there.",
)
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Folder for a picture of every job.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def attacks(
    name: str,
    attacks: tuple[str, ...],
    rules: tuple[str, ...],
    seeds: int | None,
    journal: Path,
    plots: Path | None,
    markdown: bool,
    as_json: bool,
) -> None:
    """Play whole jobs against cheats: the real rules on real integer updates, only the training is in one process.

    Every finished job is a line of the journal, so that an interrupted gallery goes on where it was. The rules of ByzFL
    are left out where it is not installed.
    """
    # Imported here: PyTorch takes seconds to load.
    from fedmarket.bench.gallery import tables
    from fedmarket.bench.gallery.journal import Journal
    from fedmarket.bench.gallery.playing import play_all, selected
    from fedmarket.bench.gallery.summary import summarise

    kept, chosen = Journal(journal), selected(name, attacks, rules, seeds)
    with (
        leaving(lambda: f"{journal} has what is finished: the same command goes on from there"),
        _progress() as progress,
    ):
        play_all(chosen, kept, progress)
    lines = summarise(chosen, kept)
    if plots:
        tables.draw(lines, plots)
    if as_json:
        click.echo(json.dumps(tables.document(lines), indent=2))
    elif markdown:
        click.echo(tables.markdown(lines))
    else:
        tables.show(lines, console())


@bench.command()
@click.option("--plan", "name", type=click.Choice(GAME_PLANS), default="quick", show_default=True, help="How much.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="Only these strategies.")
@click.option("--setting", "settings", multiple=True, metavar="NAME", help="Only these kinds of job.")
@click.option("--seeds", type=click.IntRange(1), help="Only so many of the plan's seeds.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Games at a time.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("mechanism.jsonl"),
    show_default=True,
    help="What is finished; the next run goes on from there.",
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def mechanism(
    name: str,
    strategies: tuple[str, ...],
    settings: tuple[str, ...],
    seeds: int | None,
    workers: int,
    journal: Path,
    markdown: bool,
    as_json: bool,
) -> None:
    """Play whole jobs between agents with strategies: real contracts and proofs, made-up updates.

    A strategy's profit is held against what the same accounts earn by honesty on the same seed. Every finished game is
    a line of the journal, so that an interrupted run goes on where it was.
    """
    # Imported here: the list of commands has no need of the compiler.
    from fedmarket.bench.mechanism import tables
    from fedmarket.bench.mechanism.plan import Journal, selected
    from fedmarket.bench.mechanism.playing import play_all
    from fedmarket.bench.mechanism.summary import summarise

    kept, chosen = Journal(journal), selected(name, strategies, settings, seeds)
    with (
        leaving(lambda: f"{journal} has what is finished: the same command goes on from there"),
        _progress() as progress,
    ):
        play_all(chosen, kept, progress, workers)
    lines = summarise(chosen, kept)
    if as_json:
        click.echo(json.dumps(tables.document(lines), indent=2))
    elif markdown:
        click.echo(tables.markdown(lines))
    else:
        tables.show(lines, console())


@bench.command()
@click.option("--draws", "count", type=click.IntRange(2), default=50, show_default=True, help="Draws of every case.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def draws(count: int, markdown: bool, as_json: bool) -> None:
    """Draw seats, and count what more stakes, more names, or the choice of the deciding block bring.

    The contract draws, on a chain of its own, and everybody who has drawn a seat takes it.
    """
    # Imported here: the list of commands has no need of the compiler.
    from fedmarket.bench.mechanism import draws as drawing

    with leaving(lambda: "nothing is kept of this measurement"), _progress() as progress:
        found = drawing.measure(count, progress)
    if as_json:
        click.echo(json.dumps(drawing.document(found), indent=2))
    elif markdown:
        click.echo(drawing.markdown(found))
    else:
        drawing.show(found, console())


@bench.command()
@click.option("--rule", default="exam", show_default=True, metavar="NAME", help="One of the gallery's.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Jobs, each on another split.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fairness(rule: str, seeds: int, as_json: bool) -> None:
    """Hold the pay of six unequal trainers against their exact Shapley values of the held-out loss.

    Every one of the 64 coalitions is trained anew; the correlation is Spearman's.
    """
    from fedmarket.bench.gallery.fairness import compare, document, show

    with leaving(lambda: "nothing is kept of this measurement"), _progress() as progress:
        found = compare(rule, seeds, progress)
    if as_json:
        click.echo(json.dumps(document(rule, found), indent=2))
    else:
        show(rule, found, console())


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show on a terminal what is being done; it goes to stderr, and is gone at the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
