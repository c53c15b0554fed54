"""Aggregators: bond, settle round after round, take the fees."""

from __future__ import annotations

import click

from fedmarket.commands.amounts import money
from fedmarket.commands.interruption import leaving
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.options import actor_options, console, job_argument, to_option
from fedmarket.connection import Actor
from market.chain.contract import checked_address
from market.chain.events import BondWithdrawn
from market.published_job import PublishedJob


@click.group()
def aggregator() -> None:
    """Settle rounds (aggregators)."""


@aggregator.command()
@job_argument
@click.option(
    "--unseen", is_flag=True, help="Bond before the key of sealed models has come: whoever bonds is given it."
)
@actor_options
def run(job_number: int, unseen: bool, actor: Actor) -> None:
    """Bond where that is not done yet, and settle and prove JOB's rounds until it is over.

    Where JOB's models are sealed it waits for their key before it bonds, and looks whether rounds can be settled on
    them; with --unseen the owner's word is taken for that, and the bond is at stake.

    Stop and start it at any time: a proof that was not sent is made anew, one that was sent is never sent twice.
    """
    from aggregator.worker import AggregatorWorker

    job = actor.job(job_number)
    monitor = JobMonitor(job, console(), f"job {job.id}")
    worker = AggregatorWorker(
        job, actor.sender, actor.network.srs_of(job), report=monitor.report, progress=monitor.step
    )

    def should_stop() -> bool:
        monitor.poll()
        return False

    with leaving(lambda: f"stopped; run the same command again before job {job.id}'s settle phase ends"):
        if not unseen:
            worker.wait_for_key(should_stop)
        if not job.market.bond_wei(job.id, actor.address):
            actor.allow_deposit(job.terms.token, job.terms.aggregator_bond_wei)
        worker.bond(unseen=unseen)
        with monitor.showing():
            worker.run(should_stop)
    click.echo(f"job {job.id} is over; `fedmarket aggregator claim {job.id}` takes the fees, once vested")


@aggregator.command()
@job_argument
@to_option
@click.option("--bond", is_flag=True, help="Take the bond back before the close: whoever is not active may.")
@actor_options
def claim(job_number: int, to: str | None, bond: bool, actor: Actor) -> None:
    """Take all vested fees of JOB, and the bond once the job is closed."""
    to = checked_address(to) if to else actor.address
    job = actor.job(job_number)
    token, fee_wei = job.terms.token, job.terms.aggregator_fee_wei
    attempts = _claimable_fees(job, actor.address)
    for attempt in attempts:
        actor.sender.send(f"fee/{job.id}/{attempt}", job.market.claim_fee(job.id, attempt, to))
        click.echo(f"attempt {attempt}: {money(fee_wei, token)}")
    for attempt, why in _unearned(job, actor.address):
        click.echo(f"attempt {attempt}: no fee, as {why}; it is the trainers' at the close")
    has_bond = bool(job.market.bond_wei(job.id, actor.address))
    if bond or (has_bond and job.market.state(job.id).closed):
        click.echo(f"bond: {money(_withdraw_bond(job, actor, to), token)}")
    elif has_bond and job.market.aggregators(job.id)[0] != actor.address:
        click.echo("the bond waits for its turn: --bond takes it back, once no settlement of yours can be undone")
    elif has_bond:
        click.echo("the bond is free once the job is closed: `fedmarket job close`, by anyone")
    click.echo(f"claimed {money(fee_wei * len(attempts), token)} in fees to {to}")


def _claimable_fees(job: PublishedJob, address: str) -> list[int]:
    """The attempts whose fee is this account's, vested and not claimed yet."""
    if job.terms.aggregator_fee_wei == 0:
        return []
    now_s = job.market.chain.timestamp()
    due = []
    for attempt in job.history().settlements():
        outcome = job.market.outcome(job.id, attempt.number)
        if outcome.aggregator == address and not outcome.fee_gone and outcome.vests_at_s <= now_s:
            due.append(attempt.number)
    return due


def _unearned(job: PublishedJob, address: str) -> list[tuple[int, str]]:
    """The attempts that this account settled and that earned no fee, and why."""
    if job.terms.aggregator_fee_wei == 0:
        return []
    settled = ((attempt, attempt.settled) for attempt in job.history().settlements() if not attempt.earns_fee)
    return [
        (attempt.number, "an opened exam was left out" if attempt.exam_excluded else "everybody was excluded")
        for attempt, event in settled
        if event is not None and event.aggregator == address
    ]


def _withdraw_bond(job: PublishedJob, actor: Actor, to: str) -> int:
    withdrawals = job.market.events(job.id, kinds=[BondWithdrawn])
    taken = [event for event in withdrawals if isinstance(event, BondWithdrawn) and event.aggregator == actor.address]
    receipt = actor.sender.send(f"unbond/{job.id}/{len(taken)}", job.market.withdraw_bond(job.id, to))
    events = job.market.events_in(receipt.logs)
    return sum(event.amount_wei for event in events if isinstance(event, BondWithdrawn))
