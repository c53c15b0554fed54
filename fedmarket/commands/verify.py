"""Everybody: outputs of a model, accepted by consensus of those who generate them again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "calibrate": ("fedmarket.commands.verify_calibrate", "Choose a service's tolerance by measurement."),
}
"""Where each command is defined, under its own name, and what the list of commands says of it."""


class VerifyGroup(click.Group):
    """Generating takes PyTorch, which takes seconds to load: a command is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=VerifyGroup)
def verify() -> None:
    """Have a model's outputs checked by consensus (anyone)."""
