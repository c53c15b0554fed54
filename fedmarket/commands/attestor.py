"""Attestors: keep what disputes may be about, and answer them."""

from __future__ import annotations

import click

from fedmarket.commands.interruption import leaving
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.options import actor_options, console, job_argument
from fedmarket.connection import Actor


@click.group()
def attestor() -> None:
    """Answer disputes of fact (attestors)."""


@attestor.command()
@job_argument
@actor_options
def run(job_number: int, actor: Actor) -> None:
    """Follow JOB until it is closed, and answer every dispute that can be answered from here.

    Let it run from the start: only who had an update in time can tell that its exclusion as unavailable was false. Its
    account pays for its answers, and gets nothing for them. Stop and start it at any time.
    """
    from fedmarket.attestor import AttestorSession

    job = actor.job(job_number)
    monitor = JobMonitor(job, console(), f"job {job.id}")
    session = AttestorSession(job, actor.sender, actor.work, actor.network.srs_of(job), report=monitor.report)

    def should_stop() -> bool:
        monitor.poll()
        return False

    with leaving(lambda: f"stopped; run the same command again to go on with job {job.id}"), monitor.showing():
        session.run(should_stop)
    click.echo(f"job {job.id} is closed")
