"""Structured reference strings: what commitments are made with. One a ceremony, kept in a folder, found by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import FILE, console, srs_option

if TYPE_CHECKING:
    from zk.srs import Srs

NOTHING_WRITTEN = "nothing was written: start it again when you like"


@click.group(name="srs")
def group() -> None:
    """Import and show reference strings for commitments."""


@group.command()
@click.option("--points", required=True, type=int, metavar="N", help="How many: a vector's dimension and 12 more.")
@srs_option
def make(points: int, srs: Path) -> None:
    """Make the insecure SRS, for development chains.

    Its secret is public, and so it is the same everywhere. Commands that need it make it by themselves.
    """
    from zk.srs import INSECURE_FILE, make_insecure

    with leaving(lambda: NOTHING_WRITTEN), _progress("making points") as progress:
        made = make_insecure(srs / INSECURE_FILE, points, progress)
    _show(made)


@group.command(name="import")
@click.argument("file", metavar="FILE.ptau", type=FILE)
@click.option("--points", type=int, metavar="N", help="Take the first N points; all by default.")
@srs_option
def import_(file: Path, points: int | None, srs: Path) -> None:
    """Check a ceremony's powers-of-tau file completely, and keep what is needed of it."""
    from zk.srs import import_ptau, imported_file, read_id

    with leaving(lambda: NOTHING_WRITTEN), _progress("checking points") as progress:
        taken = import_ptau(file, imported_file(srs, read_id(file)), points, progress)
    _show(taken)


@group.command()
@click.argument("file", required=False, type=FILE)
@srs_option
def show(file: Path | None, srs: Path) -> None:
    """Show what SRS is in FILE, or all that are kept here."""
    from zk.errors import InvalidSrs
    from zk.srs import open_srs

    files = sorted(srs.glob("*.ptau")) if file is None else [file]
    if not files:
        click.echo(f"no SRS in {srs}: `fedmarket srs import FILE.ptau` takes one from a ceremony's file")
    problems = []
    for path in files:
        try:
            _show(open_srs(path))
        except InvalidSrs as error:
            problems.append(str(error))
    if problems:
        raise InvalidSrs("; ".join(problems))


def _show(srs: Srs) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(srs):
        table.add_row(name, value)
    console().print(table)


def _facts(srs: Srs) -> Iterator[tuple[str, str]]:
    yield "id", srs.id.hex()
    yield "file", escape(str(srs.path))
    yield "points", f"{len(srs.points):,}"
    yield "largest d", f"{max(0, srs.largest_chunk):,} a chunk"
    if srs.is_insecure:
        yield "secure", "[red]no[/red]: everybody knows its tau, so it is refused on all but development chains"
        yield "from", "made here, the same everywhere"
    else:
        yield "secure", "as long as one contributor to the ceremony forgot their part"
        yield "from", f"a ceremony of power {srs.ceremony_power}, checked when it was imported"


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far it is, on a terminal only."""
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
