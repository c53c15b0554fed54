"""Attestors: keep what disputes may be about, sign that they hold it, serve it, and answer disputes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
from rich.markup import escape

from fedmarket.attestor_service import AttestorService, Following, NamedJobs
from fedmarket.commands.interruption import leaving
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.options import actor_options, console
from fedmarket.commands.serving import Serving, served, serving_options
from fedmarket.connection import Actor
from market.protocol.identifiers import JobId
from market.signed_receipts import RECEIPTS

RELEASE_S = 60.0
"""How often is looked whether anything need not be kept any more."""


@click.group()
def attestor() -> None:
    """Keep updates, sign receipts, answer disputes of fact (attestors)."""


@attestor.command()
@click.argument("job_numbers", metavar="[JOB]...", nargs=-1, type=click.IntRange(min=0))
@serving_options
@actor_options
def run(job_numbers: tuple[int, ...], serving: Serving | None, actor: Actor) -> None:
    """Follow each JOB until it is closed; without one, every job that names this account, and new ones as they open.

    It keeps the sealed updates that are revealed, signs receipts for them, and answers every dispute that can be
    answered from here. Let it run from the start: only who had an update in time can sign for it, or tell that its
    exclusion as unavailable was false. Its account pays for its answers, and gets nothing for them. Stop and start it
    at any time; what it signed for it keeps until the day it named.
    """
    from fedmarket.attestor_folder import AttestorFolder

    jobs = [JobId(number) for number in dict.fromkeys(job_numbers)]
    network, screen = actor.network, console()
    folder = AttestorFolder(actor.work, network.market)

    def report(line: str) -> None:
        screen.print(f"[green]•[/green] {escape(line)}", soft_wrap=True)

    def goes_on() -> str:
        which = f" with job {jobs[0]}" if len(jobs) == 1 else ""
        return f"stopped; run the same command again to go on{which}"

    release = _now_and_then(lambda: folder.release(network.store, actor.address, report))
    at_home = network.chain.is_development_chain
    with (
        leaving(goes_on),
        served(serving, network.own_store, at_home=at_home, routes={RECEIPTS: folder.shown_receipt}) as endpoint,
    ):
        if endpoint:
            report(f"serving blocks and receipts at {endpoint}")
        if len(jobs) == 1:
            monitor = JobMonitor(actor.job(jobs[0]), screen, f"job {jobs[0]}")
            alone = _Attesting(actor, endpoint, lambda job: monitor.report, monitor.poll)
            service = AttestorService(alone.open, report, meanwhile=release)
            with monitor.showing():
                service.follow(jobs)
        else:
            many = _Attesting(actor, endpoint, lambda job: lambda line: report(f"job {job}: {line}"))
            service = AttestorService(many.open, report, meanwhile=release)
            if jobs:
                service.follow(jobs)
            else:
                report(f"attesting in every job that names {actor.address}")
                service.follow_all(NamedJobs(network.market, actor.address).look)
    for job in sorted(service.closed):
        click.echo(f"job {job} is closed")


@dataclass(frozen=True)
class _Attesting:
    """How to attest in jobs: who is told of each, and what else is done whenever one is looked at."""

    actor: Actor
    endpoint: str
    told: Callable[[JobId], Callable[[str], None]]
    beside: Callable[[], None] = lambda: None

    def open(self, number: JobId) -> Following:
        """Prepare to attest in a job."""
        from fedmarket.attestor import AttestorSession

        actor = self.actor
        job, people = actor.job(number), actor.people(number)
        srs, told = actor.network.srs_of(job), self.told(number)
        session = AttestorSession(job, people, actor.sender, actor.work, srs, endpoint=self.endpoint, report=told)

        def follow(should_stop: Callable[[], bool]) -> None:
            def is_told_to() -> bool:
                self.beside()
                return should_stop()

            session.run(is_told_to)

        return follow


def _now_and_then(do: Callable[[], None]) -> Callable[[], None]:
    """At once, and then once in a while, however often it is called."""
    done_at = float("-inf")

    def perhaps() -> None:
        nonlocal done_at
        if time.monotonic() - done_at >= RELEASE_S:
            done_at = time.monotonic()
            do()

    return perhaps
