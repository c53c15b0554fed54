"""The command line's root: finds commands without importing the others, and turns every error into one line.

Exit status: 0 done; 1 the chain, the storage or an audit says no; 2 a mistake in what was asked; 128 + n signal n.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from typing import Any

import click

from fedmarket.commands.refusals import sentence
from market.protocol.errors import FedmarketError, InvalidInput
from zk.errors import InvalidSrs, ZkError

PROGRAM = "fedmarket"
OWN_PACKAGES = frozenset({"aggregator", "fedmarket", "market", "trainer_client", "zk"})


@dataclass(frozen=True)
class LazyCommand:
    """Where a command is defined, and what the list of commands says of it."""

    module: str
    attribute: str
    summary: str


COMMANDS: Mapping[str, LazyCommand] = {
    "demo": LazyCommand("fedmarket.demo.command", "demo", "A whole job on this machine, from escrow to audit."),
    "job": LazyCommand("fedmarket.commands.job", "job", "Post, watch and close jobs (project owners)."),
    "owner": LazyCommand("fedmarket.commands.owner", "owner", "Set a job's exams, hand out its key (project owners)."),
    "trainer": LazyCommand("fedmarket.commands.trainer", "trainer", "Enrol, train and claim (trainers)."),
    "aggregator": LazyCommand("fedmarket.commands.aggregator", "aggregator", "Settle rounds (aggregators)."),
    "attestor": LazyCommand(
        "fedmarket.commands.attestor", "attestor", "Keep updates, sign receipts, answer disputes of fact (attestors)."
    ),
    "verifier": LazyCommand(
        "fedmarket.commands.verifier",
        "verifier",
        "Generate what tasks ask for, and be paid for agreeing (verifiers).",
    ),
    "dispute": LazyCommand("fedmarket.commands.dispute", "dispute", "Dispute what no proof shows (trainers, owners)."),
    "model": LazyCommand("fedmarket.commands.model", "model", "Check and measure models (anyone)."),
    "audit": LazyCommand("fedmarket.commands.audit", "audit", "Recompute a job from chain and storage (anyone)."),
    "verify": LazyCommand("fedmarket.commands.verify", "verify", "Have a model's outputs checked (anyone)."),
    "storage": LazyCommand("fedmarket.commands.storage", "group", "Keep, fetch and serve contents (anyone)."),
    "market": LazyCommand("fedmarket.commands.market", "group", "Serve jobs to browsers and programs (services)."),
    "srs": LazyCommand("fedmarket.commands.srs", "group", "Import and show reference strings for commitments."),
    "bench": LazyCommand("fedmarket.commands.bench", "bench", "Measure what the proofs cost here."),
    "keys": LazyCommand("fedmarket.commands.keys", "keys", "Make and read keystore files."),
    "data": LazyCommand("fedmarket.commands.data", "data", "See what data would be used; prepare example data."),
    "dev": LazyCommand("fedmarket.commands.dev", "dev", "Run a network or a development chain of one's own."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and reports errors as one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the order in which they are listed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = getattr(import_module(entry.module), entry.attribute)
        except ModuleNotFoundError as error:
            if error.name is None or not entry.module.startswith(error.name):
                raise
            raise InvalidInput(f"`{PROGRAM} {cmd_name}` is not part of this installation") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any: their modules take seconds to load."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line; standalone, end the process with its status."""
        run: Callable[..., Any] = partial(super().main, *args, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        sys.exit(_status(partial(run, prog_name=PROGRAM)))


def _status(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except click.exceptions.NoArgsIsHelpError as help_instead:
        help_instead.show()
        return 2
    except click.Abort:
        return _fail("interrupted", 128 + signal.SIGINT)
    except click.ClickException as error:
        return _fail(_usage(error), error.exit_code)
    except FedmarketError as error:
        return _fail(sentence(error), 2 if isinstance(error, InvalidInput) else 1)
    except ZkError as error:
        return _fail(str(error), 2 if isinstance(error, InvalidSrs) else 1)
    except ModuleNotFoundError as error:
        return _fail(_missing_package(error), 1)
    except MemoryError as error:
        return _fail(str(error) or "the memory of this machine does not hold this", 1)
    except OSError as error:
        return _fail(f"{error.filename or 'this machine'}: {error.strerror or error}", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, status: int) -> int:
    click.echo(f"{PROGRAM}: error: {' '.join(message.split())}", err=True)
    return status


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _missing_package(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package in OWN_PACKAGES:
        raise error  # part of the program itself is missing: not something that a user did
    return f"this command needs the package {package}: install fedmarket with the extra of your role"


def _show_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    try:
        click.echo(f"{PROGRAM} {metadata.version(PROGRAM)}")
    except metadata.PackageNotFoundError:
        click.echo(f"{PROGRAM}, run from its source")
    context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
def main() -> None:
    """A marketplace for federated learning.

    Owners lock a reward, trainers train on data that never leaves them, the contract pays by measured contribution,
    and anyone can audit every payout.
    """
