"""Contents by hand: keep them, fetch them, see what is pinned, and serve them to others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import FILE, store_options
from fedmarket.commands.serving import listening
from fedmarket.commands.storage_archive import export_job, import_contents
from market.protocol.errors import InvalidCid, InvalidInput, StorageError
from market.storage import GRACE_S, Cid, SourcedStore

BY_HAND = "by hand"


class CidType(click.ParamType[Cid]):
    """A content's name."""

    name = "cid"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Cid:
        """The CID; one line of error where it is none."""
        try:
            return value if isinstance(value, Cid) else Cid.parse(str(value))
        except InvalidCid as error:
            self.fail(str(error), param, ctx)


cid_argument = click.argument("cid", metavar="CID", type=CidType())
reason_option = click.option("--reason", metavar="TEXT", default=BY_HAND, show_default=True, help="Why it is pinned.")


@click.group(name="storage")
def group() -> None:
    """Keep, fetch and serve contents (anyone)."""


group.add_command(export_job)
group.add_command(import_contents)


@group.command()
@click.argument("file", metavar="FILE", type=FILE)
@reason_option
@store_options
def add(store: SourcedStore, file: Path, reason: str) -> None:
    """Keep FILE, pinned, and print its CID, which `ipfs add --cid-version=1` would give it."""
    try:
        with file.open("rb") as stream:
            cid = store.add(stream)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    store.pin(cid, reason)
    click.echo(str(cid))


@group.command()
@cid_argument
@click.argument("file", metavar="FILE", type=FILE)
@store_options
def get(store: SourcedStore, cid: Cid, file: Path) -> None:
    """Fetch content from wherever it is, every block checked, into FILE.

    Interrupted, it goes on where it was when it is started again.
    """
    _check_place(file)
    store = store.patient()
    with (
        leaving(lambda: "what came is kept: start it again to go on"),
        progress_bar(f"fetching {_short(cid)}") as progress,
    ):
        store.fetch(cid, progress)
        store.copy_to(cid, file)


@group.command()
@store_options
def pins(store: SourcedStore) -> None:
    """List what may not be removed, and why: a line a CID and reason."""
    for cid, reasons in sorted(store.pins().items(), key=lambda pin: str(pin[0])):
        for reason in sorted(reasons):
            click.echo(f"{cid}  {reason}")


@group.command()
@cid_argument
@reason_option
@store_options
def pin(store: SourcedStore, cid: Cid, reason: str) -> None:
    """Keep content from being removed, fetched first if it is not here."""
    with (
        leaving(lambda: "what came is kept: start it again to go on"),
        progress_bar(f"fetching {_short(cid)}") as progress,
    ):
        store.fetch(cid, progress)
        store.pin(cid, reason)


@group.command()
@cid_argument
@reason_option
@store_options
def unpin(store: SourcedStore, cid: Cid, reason: str) -> None:
    """Take a reason back; with its last, content may be removed."""
    if reason not in store.pins().get(cid, ()):
        raise InvalidInput(f"{cid} is not pinned for {reason!r}: see `fedmarket storage pins`")
    store.unpin(cid, reason)


@group.command()
@click.option(
    "--grace", metavar="SECONDS", type=click.FloatRange(min=0), default=GRACE_S, show_default=True, help="Spare newer."
)
@store_options
def gc(store: SourcedStore, grace: float) -> None:
    """Remove what no pin reaches, and was not added a moment ago."""
    collected = store.local.collect_garbage(grace)
    click.echo(f"removed {collected.blocks} blocks, {collected.size_bytes:,} bytes")


@group.command()
@click.argument("cids", metavar="[CID]...", type=CidType(), nargs=-1)
@store_options
def verify(store: SourcedStore, cids: tuple[Cid, ...]) -> None:
    """Read and check contents, all that are pinned by default. Damage is made good from the sources."""
    damaged = 0
    for cid in cids or sorted(store.pins(), key=str):
        try:
            click.echo(f"{cid}  whole, {store.verify(cid):,} bytes")
        except StorageError as problem:
            damaged += 1
            click.echo(f"{cid}  {problem}")
    if damaged:
        raise StorageError(f"{damaged} of the contents are not whole")


@group.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8480, show_default=True, help="0 for any that is free.")
@store_options
def serve(store: SourcedStore, host: str, port: int) -> None:
    """Serve the store's blocks to anyone, as an IPFS trustless gateway, until Ctrl-C.

    Whoever knows a CID can fetch it: there is no other key. Nothing is fetched for strangers.
    """
    if store.local.root.exists() and not store.local.root.is_dir():
        raise InvalidInput(f"{store.local.root} is a file: expected a store's folder")
    with leaving(lambda: "stopped", clean_status=0), listening(store.local, host, port) as server:
        click.echo(f"serving {store.local.root} at {server.url}")
        threading.Event().wait()


def _check_place(file: Path) -> None:
    """See that a file can be written there, before anything is fetched for it."""
    if file.exists() and not file.is_file():
        raise InvalidInput(f"{file} is no file: expected one, or nothing yet")
    if not file.parent.is_dir():
        raise InvalidInput(f"{file}: there is no folder {file.parent}")
    if not os.access(file.parent, os.W_OK):
        raise InvalidInput(f"{file}: there is no permission to write into {file.parent}")


def _short(cid: Cid) -> str:
    """A CID abbreviated, so that the bar has room beside it."""
    return f"{str(cid)[:8]}…{str(cid)[-4:]}"


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes of how many are done, on a terminal only."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    screen = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
