"""`fedmarket verify replicate`: ask a job's trainers for replicas of its training, as its terms say."""

from __future__ import annotations

import click

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import actor_options, console, job_argument
from fedmarket.connection import Actor
from fedmarket.replicator import ReplicaSession


@click.command()
@job_argument
@click.option("--once", is_flag=True, help="Open what is due now, and do not wait for later rounds.")
@actor_options
def replicate(job_number: int, once: bool, actor: Actor) -> None:
    """Open a task for every interval of JOB's training that its terms want replicated, and pay the replicas.

    The first time a pool is opened: trainers stake there with `fedmarket verifier stake POOL --units N`, and `fedmarket
    verifier run` trains. What they find is in `fedmarket job show JOB` and `fedmarket audit JOB`.

    `fedmarket owner run JOB` does the same. The account that pays cannot be a replica. Stop and start it at any time.
    """
    job, screen = actor.job(job_number), console()
    session = ReplicaSession(job, actor.network.consensus, actor.sender, report=screen.print)
    with leaving(lambda: "stopped; run the same command again to go on"):
        if once:
            actor.sender.recover()
            while session.advance(*job.now()):
                pass
        else:
            session.run()
    tasks = session.replicas.tasks()
    screen.print(
        f"pool {session.replicas.pool}: {len(tasks)} tasks: " + (", ".join(map(str, tasks.values())) or "none")
    )
