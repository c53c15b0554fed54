"""Whole jobs as one file: a CAR with everything that an auditor needs of the storage."""

from __future__ import annotations

from pathlib import Path

import click

from fedmarket.commands.options import FILE, console, job_argument, network_options, store_options
from fedmarket.connection import Network, NetworkOptions
from market.job_contents import JobContent, JobContents, look_for
from market.job_history import JobHistory
from market.protocol.errors import StorageError
from market.protocol.identifiers import JobId
from market.storage import SourcedStore, car
from market.storage.durable_file import disk_errors, sync_folder, write_file

NAMED_AT_ONCE = 3
"""How many missing contents the last line names; each has a line of its own above."""


@click.command(name="export")
@job_argument
@click.argument("file", metavar="FILE", type=FILE)
@network_options
def export_job(job_number: int, file: Path, options: NetworkOptions) -> None:
    """Write everything that JOB has in storage to one CAR FILE.

    That is its document, every model that the chain names, every revealed update and exam, and what the exams'
    publication names: `fedmarket audit JOB --car FILE` needs nothing else but the chain. Any IPFS node reads it.

    What is not to be had is named, and the exit status is 1 then; the file has all the rest.
    """
    network, screen = Network.connect(options), console()
    job, store = JobId(job_number), network.patient().job_store(job_number)
    network.market.terms(job)  # says so if there is no such job
    with screen.status("looking through storage") as status:

        def show(content: JobContent) -> None:
            status.update(f"reading {content.name}")

        contents = look_for(JobHistory(network.market.events(job)), store, show)
        status.update(f"writing {file}")
        roots = [content.cid for content in contents.held]
        write_file(file, car.parts(roots, store))
        sync_folder(file.parent)
    screen.print(f"{len(roots)} contents of job {job}, {file.stat().st_size:,} bytes: {file}", soft_wrap=True)
    for content, reason in contents.missing:
        screen.print(f"missing: {content.name}: {reason}", soft_wrap=True)
    if contents.missing:
        raise StorageError(_lacking(file, job, contents))


@click.command(name="import")
@click.argument("file", metavar="FILE", type=FILE)
@store_options
def import_contents(store: SourcedStore, file: Path) -> None:
    """Keep what a CAR FILE holds, every block verified, and pin it.

    A file that is cut off, damaged or incomplete is refused. The whole blocks that came before are kept for a while:
    an import that was interrupted goes on from there.
    """
    screen = console()
    with screen.status(f"reading {file}"), disk_errors(file), file.open("rb") as stream:
        # What the file lacks is not fetched from elsewhere: it says of itself that it is whole.
        roots = tuple(dict.fromkeys(car.import_(stream, store.local)))
        for root in roots:
            store.pin(root, f"import of {file.name}")
    screen.print(f"{len(roots)} contents are in {store.local.root}, pinned", soft_wrap=True)


def _lacking(file: Path, job: JobId, contents: JobContents) -> str:
    names = [content.name for content, _ in contents.missing]
    more = f" and {len(names) - NAMED_AT_ONCE} more" if len(names) > NAMED_AT_ONCE else ""
    total = len(names) + len(contents.held)
    return f"{file} lacks {len(names)} of the {total} contents of job {job}: {'; '.join(names[:NAMED_AT_ONCE])}{more}"
