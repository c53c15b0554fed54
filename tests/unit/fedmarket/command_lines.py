"""Command lines that stand in files, read by click's own parser."""

from __future__ import annotations

from collections.abc import Sequence

import click

from fedmarket.cli import main


def parses(arguments: Sequence[str]) -> None:
    """Let click read a command line, down to the command's own options, without running it.

    Raises:
        click.UsageError: it is none.
    """
    command: click.Command = main
    rest = list(arguments)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            raise click.UsageError(f"no command {name!r} in {' '.join(arguments)}")
        command = found
    command.make_context(command.name, rest)
