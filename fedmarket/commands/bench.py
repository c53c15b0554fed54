"""Anyone: measure on this machine what the proofs cost."""

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


@click.group()
def bench() -> None:
    """Measure what the proofs cost here."""


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
