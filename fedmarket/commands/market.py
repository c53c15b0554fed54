"""Services: rows made from the chain, and what serves them. They hold no keys and no funds, and can be made anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedmarket.commands.interruption import leaving
from fedmarket.commands.market_run import run
from fedmarket.commands.options import console, network_options
from fedmarket.connection import HOME, Network, NetworkOptions

if TYPE_CHECKING:
    from sqlalchemy import Engine

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_DATABASE = f"sqlite:///{HOME / 'market.db'}"
GOES_ON = "nothing is lost: the same command goes on where this one was"


@click.group(name="market")
def group() -> None:
    """Serve jobs to browsers and programs (services)."""


group.add_command(run)


def database_option(command: Command) -> Command:
    """Give a command `database`. Its default is not shown where it is set: the address may hold a password."""
    settings: dict[str, Any] = {"metavar": "URL", "envvar": "FEDMARKET_MARKET_DATABASE_URL", "show_envvar": True}
    help_text = f"sqlite:///PATH or postgresql://…; {DEFAULT_DATABASE} by default."
    return click.option("--database", default=DEFAULT_DATABASE, help=help_text, **settings)(command)


@group.command()
@database_option
@network_options
def reindex(database: str, options: NetworkOptions) -> None:
    """Make the database's rows anew from the chain.

    What is not the chain's (sign-ins, uploads) stays. Interrupted and called again, it goes on where it was.
    """
    from market.indexer import Indexer

    network = Network.connect(options)
    with _tables(database) as engine, leaving(lambda: GOES_ON), _progress("reading blocks") as progress:
        position = Indexer(engine, network.market, network.store).reindex(progress)
    console().print(f"rows made up to block {position.number:,}", soft_wrap=True)


@group.command()
@database_option
@click.option("--poll", "poll_s", default=1.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0.05, 60))
@click.option("--confirmations", default=0, show_default=True, metavar="N", type=click.IntRange(0, 1_000))
@network_options
def index(database: str, poll_s: float, confirmations: int, options: NetworkOptions) -> None:
    """Follow the chain into the database, without serving it to anybody."""
    from market.indexer import Indexer

    network, screen = Network.connect(options), console()
    settings: dict[str, Any] = {"poll_s": poll_s, "confirmations": confirmations}
    with _tables(database) as engine, leaving(lambda: GOES_ON, clean_status=os.EX_OK):
        screen.print(f"following chain {network.chain.chain_id} from {escape(network.chain.place)}", soft_wrap=True)

        def report(line: str) -> None:
            screen.print(escape(line), soft_wrap=True)

        Indexer(engine, network.market, network.store, report=report, **settings).run(lambda: False)


@contextmanager
def _tables(database: str) -> Iterator[Engine]:
    """The database, brought to this version."""
    from market.db.engine import connect
    from market.db.migrate import upgrade

    engine = connect(database)
    try:
        upgrade(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far it is, on a terminal only."""
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
