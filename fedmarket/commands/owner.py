"""Project owners at work: set the exams of a job with one, and show them at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmarket.commands.closing import close_when_due, take_refund
from fedmarket.commands.interruption import leaving
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.options import FILE, actor_options, console, job_argument
from fedmarket.connection import Actor
from fedmarket.exam_folder import ExamFolder, exam_of_job
from fedmarket.key_session import KeySession
from fedmarket.replicator import ReplicaSession
from market.chain.contract import checked_address
from market.published_job import PublishedJob

if TYPE_CHECKING:
    from fedmarket.examiner import ExamSession


@click.group()
def owner() -> None:
    """Set a job's exams, hand out its key (project owners)."""


@owner.command()
@job_argument
@click.option("--exam", "folder", type=FILE, metavar="DIR", help="The exam's folder; found under --work by default.")
@click.option(
    "--to", "named", multiple=True, metavar="ADDRESS", help="Give the key of sealed models to this account, too."
)
@click.option("--close", is_flag=True, help="When the exams are published, wait, close the job and take the refund.")
@actor_options
def run(job_number: int, folder: Path | None, named: tuple[str, ...], close: bool, actor: Actor) -> None:
    """Set the exam of each of JOB's rounds, open it after the reveals, and publish all of them at the end.

    Stop and start it at any time: an exam that was sent is never set a second time. A round whose exam is not opened in
    time costs one deposit, and its round pays nobody.

    Another machine can do this, with an account of its own: name the account in the spec as exam.examiner, and copy the
    exam's folder there, by a way that nobody else can read. Let only one machine run at a time: an exam can be opened
    from nowhere but where it was set.

    Where JOB's models are sealed, their key is given to whoever bonds, enrols or attests while this runs, also in a job
    without an exam. Name the aggregators that may have it before they bond with --to.

    Where JOB's terms ask for replicas of its training, their tasks are opened as they come due, and paid for.
    """
    job = actor.job(job_number)
    monitor = JobMonitor(job, console(), f"job {job.id}")
    replicas = _replicas(job, actor, monitor.report)
    session = _session(job, actor, folder, [checked_address(address) for address in named], replicas, monitor.report)

    def should_stop() -> bool:
        monitor.poll()
        if replicas is not None:
            replicas.tend()
        return False

    due = f"before the exam phase of job {job.id} ends" if job.terms.exam.is_set else f"to go on with job {job.id}"
    again = f"stopped; run the same command again {due}"
    with leaving(lambda: again):
        with monitor.showing():
            session.run(should_stop)
        if close:
            close_when_due(actor, job.id, lambda: False)
    _tell(job, actor, close)


def _replicas(job: PublishedJob, actor: Actor, report: Callable[[str], None]) -> ReplicaSession | None:
    if job.document.spec.replication is None:
        return None
    return ReplicaSession(job, actor.network.consensus, actor.sender, report=report)


def _session(
    job: PublishedJob,
    actor: Actor,
    folder: Path | None,
    named: list[str],
    replicas: ReplicaSession | None,
    report: Callable[[str], None],
) -> ExamSession | KeySession | ReplicaSession:
    if job.models.are_sealed and not job.terms.exam.is_set:
        return KeySession(job, actor.sender, named=named, report=report)
    if replicas is not None and not job.terms.exam.is_set:
        return replicas
    from fedmarket.examiner import ExamSession

    exam = ExamFolder.open(folder) if folder else exam_of_job(actor.work, job)
    return ExamSession(job, exam, actor.sender, actor.network.srs_of(job), named=named, report=report)


def _tell(job: PublishedJob, actor: Actor, close: bool) -> None:
    state = job.market.state(job.id)
    if not job.terms.exam.is_set and not job.models.are_sealed:
        click.echo(f"every interval of job {job.id} that its terms want replicated has its task")
    elif not job.terms.exam.is_set:
        click.echo(f"the rounds of job {job.id} are over: nobody needs the key of its models any more")
    elif not state.exam_published:
        click.echo(f"job {job.id} was closed before its exams were published: the deposits are lost")
    elif not state.closed:
        click.echo(
            f"the exams of job {job.id} are published; `fedmarket job close {job.id}` once the last pay has vested"
        )
    if close and state.owner == actor.address:
        take_refund(actor, job.id, actor.address)
