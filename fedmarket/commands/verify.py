"""`fedmarket verify`: outputs accepted by consensus. Its commands are imported when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "calibrate": (
        "fedmarket.commands.verify_calibrate",
        "calibrate",
        "Choose a service's tolerance by measurement.",
    ),
    "models": (
        "fedmarket.commands.verify_models",
        "models",
        "Train the example models by jobs of a market of one's own.",
    ),
}
"""By name: module, attribute, and what the list of commands says."""


class VerifyGroup(click.Group):
    """PyTorch takes seconds to load, which who only reads the chain need not wait for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=VerifyGroup)
def verify() -> None:
    """Have generative outputs verified (anyone)."""
