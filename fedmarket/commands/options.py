"""The options that commands share, and the console that they write to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from fedmarket.commands.amounts import parse_size
from fedmarket.connection import (
    DEFAULT_DEPLOYMENT,
    DEFAULT_RPC,
    DEFAULT_SRS,
    DEFAULT_STORE,
    AccountOptions,
    Actor,
    Network,
    NetworkOptions,
    address_of,
)
from fedmarket.own_store import SourceOptions, open_store
from market.protocol.errors import InvalidInput
from market.protocol.money import parse_amount

Command = TypeVar("Command", bound=Callable[..., Any])

PIPE_WIDTH = 140
"""Columns of output that does not go to a terminal: wide enough for every table."""

FILE = click.Path(path_type=Path)


class Amount(click.ParamType[int]):
    """An amount of the native coin, such as "1.5 ether"."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The amount in wei; one line of error where it is none."""
        try:
            return value if isinstance(value, int) else parse_amount(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """A number of bytes, such as "20GiB"."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes; one line of error where it is no size."""
        try:
            return value if isinstance(value, int) else parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


job_argument = click.argument("job_number", metavar="JOB", type=click.IntRange(min=0))
"""A job's number, from zero."""

to_option = click.option("--to", metavar="ADDRESS", help="Who gets the money; the account itself by default.")


def _option(name: str, help_text: str, **settings: Any) -> Callable[[Command], Command]:
    variable = "FEDMARKET_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_envvar=True, show_default=True, help=help_text, **settings)


deployment_option = _option(
    "--deployment", "The file that names the contracts.", type=FILE, metavar="FILE", default=DEFAULT_DEPLOYMENT
)
srs_option = _option("--srs", "Folder of the reference strings.", type=FILE, metavar="DIR", default=DEFAULT_SRS)
_STORE = (
    _option("--store", "Folder of the content store.", type=FILE, metavar="DIR", default=DEFAULT_STORE),
    _option("--store-quota", "What the store may hold, as in 20GiB; no limit by default.", type=Size(), metavar="SIZE"),
    _option("--kubo", "RPC of a Kubo daemon, asked for what is not in the store, and given what is.", metavar="URL"),
    _option("--kubo-auth-file", "bearer:TOKEN or basic:USER:PASSWORD for it.", type=FILE, metavar="FILE"),
    _option("--gateway", "IPFS gateway to ask after it; may be given again.", metavar="URL", multiple=True),
)
_NETWORK = (
    _option("--rpc", "Address of a node.", metavar="URL", default=DEFAULT_RPC),
    deployment_option,
    _option("--chain-id", "Expect this chain; the deployment's by default.", type=click.IntRange(min=1)),
    *_STORE,
    srs_option,
)
_ACCOUNT = (
    _option("--keystore", "The account's keystore file.", type=FILE, metavar="FILE"),
    _option("--password-file", "Its password in the first line; asked for by default.", type=FILE, metavar="FILE"),
    _option("--work", "What survives a restart; .fedmarket/work/ADDRESS by default.", type=FILE, metavar="DIR"),
)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the market is; it gets `options: NetworkOptions`."""

    @functools.wraps(command)
    def run(*, rpc: str, deployment: Path, chain_id: int | None, srs: Path, **rest: Any) -> Any:
        store, quota_bytes, sources = _stored(rest)
        options = NetworkOptions(rpc, deployment, chain_id, store, srs, sources, quota_bytes)
        return command(options=options, **rest)

    return _with(run, _NETWORK)


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `store: SourcedStore`, of those who have nothing to ask a chain."""

    @functools.wraps(command)
    def run(**rest: Any) -> Any:
        folder, quota_bytes, sources = _stored(rest)
        return command(store=open_store(folder, sources, quota_bytes), **rest)

    return _with(run, _STORE)


def _stored(given: dict[str, Any]) -> tuple[Path, int | None, SourceOptions]:
    """Take the store's options out of a command's: its folder, its quota, and who else has contents."""
    store: Path = given.pop("store")
    quota_bytes: int | None = given.pop("store_quota")
    return (
        store,
        quota_bytes,
        SourceOptions(given.pop("kubo"), given.pop("kubo_auth_file"), tuple(given.pop("gateway"))),
    )


def actor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command everything that acting takes; it gets `actor: Actor`, connected, and closed after it."""

    @functools.wraps(command)
    def run(
        *, options: NetworkOptions, keystore: Path | None, password_file: Path | None, work: Path | None, **rest: Any
    ) -> Any:
        network = Network.connect(options)
        with Actor.open(network, AccountOptions(keystore, password_file, work), ask_password) as actor:
            return command(actor=actor, **rest)

    return _with(network_options(run), _ACCOUNT)


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `account: AccountOptions`, of whoever signs something that is no transaction."""

    @functools.wraps(command)
    def run(*, keystore: Path | None, password_file: Path | None, **rest: Any) -> Any:
        return command(account=AccountOptions(keystore, password_file), **rest)

    return _with(run, _ACCOUNT[:2])


def address_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `options` and `address`, the one that the keystore states: reading needs no password."""

    @functools.wraps(command)
    def run(*, keystore: Path | None, **rest: Any) -> Any:
        return command(address=address_of(keystore), **rest)

    return _with(network_options(run), _ACCOUNT[:1])


def password_file_option(command: Command) -> Command:
    """Give a command `password_file`, alone."""
    return _ACCOUNT[1](command)


def _with(run: Callable[..., Any], options: tuple[Callable[[Any], Any], ...]) -> Callable[..., Any]:
    for option in reversed(options):
        run = option(run)
    return run


def ask_password(path: Path, confirm: bool = False) -> str:
    """Ask for a keystore's password at the terminal, unseen.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    try:
        return str(click.prompt(f"Password of {path}", hide_input=True, confirmation_prompt=confirm, err=True))
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        raise InvalidInput(
            f"no password for {path}: there is no terminal to ask at, name a file with --password-file"
        ) from error


def console() -> Console:
    """Where results go: as wide as the terminal, or wide enough."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
