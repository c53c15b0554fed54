"""`fedmarket verify`: outputs accepted by consensus. Its commands are imported when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

TASKS = "fedmarket.commands.verify_task"
COMMANDS: Mapping[str, tuple[str, str]] = {
    "calibrate": ("fedmarket.commands.verify_calibrate", "Choose a service's tolerance by measurement."),
    "models": ("fedmarket.commands.verify_models", "Train the example models by jobs of a market of one's own."),
    "pool": ("fedmarket.commands.verify_pool", "Open pools of verifiers for services, and show them."),
    "seal": ("fedmarket.commands.verify_open", "Commit to a worker's digests, for a task that is to be opened."),
    "open": ("fedmarket.commands.verify_open", "Ask a pool's verifiers for outputs, and lock their reward."),
    "show": ("fedmarket.commands.verify_show", "Show a task: its panels, distances, outcome and money."),
    "draw": (TASKS, "Draw the seats of a task's panel."),
    "canaries": (TASKS, "Show the answers that were known when a task was opened."),
    "claim": (TASKS, "Show a worker's digests."),
    "settle": (TASKS, "Decide a panel by what it revealed."),
    "appeal": (TASKS, "Ask for a panel of more than twice as many."),
    "finish": (TASKS, "Credit what a task's end brings."),
    "outputs": ("fedmarket.commands.verify_outputs", "Fetch the accepted outputs, checked."),
    "withdraw": (TASKS, "Take what was credited."),
    "replicate": ("fedmarket.commands.verify_replicate", "Ask a job's trainers for replicas, as its terms say."),
    "audit": ("fedmarket.commands.verify_audit", "Recompute a task from the chain's events alone."),
}
"""By name: module, and what the list of commands says."""

RENAMED = {"open": "open_task"}
"""Commands whose functions could not have their names."""


class VerifyGroup(click.Group):
    """PyTorch takes seconds to load, which who only reads the chain need not wait for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of a task's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command."""
        if cmd_name not in COMMANDS:
            return None
        name = RENAMED.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=VerifyGroup)
def verify() -> None:
    """Have a model's outputs checked (anyone).

    A pool's verifiers have staked on a service. A task asks them for outputs: those whose seats are drawn generate them
    on their own machines, seal digests, and reveal them; whom a majority agrees with is paid.
    """
