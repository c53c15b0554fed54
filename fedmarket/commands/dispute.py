"""Disputes: what no proof shows, asked of the attestors that a job named."""

from __future__ import annotations

import click

from fedmarket.commands.amounts import moment, money
from fedmarket.commands.options import actor_options, job_argument, to_option
from fedmarket.connection import Actor
from market.chain.contract import checked_address
from market.chain.events import DisputeBondWithdrawn
from market.chain.records import ExclusionReason, Fact
from market.job_history import Attempt
from market.protocol.errors import InvalidInput
from market.protocol.rounds import Phase
from market.published_job import PublishedJob


@click.group()
def dispute() -> None:
    """Dispute what no proof shows (trainers, owners)."""


@dispute.command("open")
@job_argument
@click.argument("attempt", metavar="ATTEMPT", type=click.IntRange(0))
@click.argument("fact", type=click.Choice([fact.name.lower() for fact in Fact]))
@actor_options
def open_dispute(job_number: int, attempt: int, fact: str, actor: Actor) -> None:
    """Dispute a FACT of JOB's ATTEMPT, with the bond that the job asks for: it stands still until it is answered.

    model: the new model cannot be fetched, or is not what the chain committed to. Before its pay vests, by who revealed
    in that round, or the owner.
    exclusion: this account's own update was left out without a reason. Before that round's pay vests. Where it was said
    to be unreadable or not what was committed, the attestors are shown what it was: sealed to them, none else reads it.
    exam: what the owner published of the round's exam is not what it was. Within one vesting period.

    The bond is lost where the fact holds, and where too few attestors answer.
    """
    job, what = actor.job(job_number), Fact[fact.upper()]
    terms = job.terms
    _require_attestors(job)
    history = job.history()
    disputed = history.attempt(attempt)
    pays, undo = b"", None
    if what is not Fact.EXAM:
        if disputed.settled is None:
            raise InvalidInput(f"attempt {attempt} of job {job.id} was not settled: its {fact} cannot be disputed")
        pays, undo = disputed.settled.pays, history.undo_of(disputed)
    if what is Fact.EXCLUSION:
        _show_update(job, actor, disputed)
    key = f"dispute/{job.id}/{attempt}/{fact}"
    if actor.sender.knows(key) and job.market.phase(job.id) is not Phase.DISPUTED:
        raise InvalidInput(f"the {fact} of attempt {attempt} was disputed by this account before, and is answered")
    actor.allow_deposit(terms.token, terms.disputes.bond_wei)
    actor.sender.send(key, job.market.dispute(job.id, terms, attempt, what, pays, undo))
    until_s = job.market.dispute_of(job.id).opened_at_s + terms.disputes.answer_period_s
    click.echo(
        f"the {fact} of attempt {attempt} is disputed, bond {money(terms.disputes.bond_wei, terms.token)}; "
        f"{terms.disputes.quorum} of {len(terms.disputes.attestors)} attestors have until {moment(until_s)}"
    )


def _show_update(job: PublishedJob, actor: Actor, attempt: Attempt) -> None:
    """Hand over what attestors need to judge an exclusion that is not about what could be fetched."""
    from trainer_client.contests import show_update

    seat = next((seat for seat, reveal in attempt.reveals.items() if reveal.trainer == actor.address), None)
    excluded = None if seat is None else attempt.exclusions.get(seat)
    # Whatever else is wrong the contract says better.
    if seat is None or excluded is None or excluded.reason is ExclusionReason.UNAVAILABLE:
        return
    shown_to = show_update(job, actor.people(job.id), actor.sender, actor.work, attempt, seat)
    click.echo(f"the update of attempt {attempt.number} is shown to {', '.join(shown_to)}, and to nobody else")


@dispute.command()
@job_argument
@actor_options
def thaw(job_number: int, actor: Actor) -> None:
    """Let JOB go on, whose dispute too few attestors answered in time. By anyone."""
    job = actor.job(job_number)
    if job.market.phase(job.id) is not Phase.DISPUTED:
        raise InvalidInput(f"no dispute is open in job {job.id}")
    open_one = job.market.dispute_of(job.id)
    key = f"thaw/{job.id}/{open_one.attempt}/{int(open_one.fact)}/{open_one.seat}"
    actor.sender.send(key, job.market.thaw(job.id))
    click.echo(f"job {job.id} goes on; the bond of {money(open_one.bond_wei, job.terms.token)} is burned")


@dispute.command()
@job_argument
@to_option
@actor_options
def claim(job_number: int, to: str | None, actor: Actor) -> None:
    """Take back the bonds of the disputes that this account won in JOB."""
    to = checked_address(to) if to else actor.address
    job = actor.job(job_number)
    won_wei = job.market.dispute_bond_wei(job.id, actor.address)
    if not won_wei:
        raise InvalidInput(f"{actor.address} has won no dispute in job {job.id}, or has its bonds back")
    events = job.market.events(job.id, kinds=[DisputeBondWithdrawn])
    taken = sum(isinstance(event, DisputeBondWithdrawn) and event.by == actor.address for event in events)
    actor.sender.send(f"dispute-bond/{job.id}/{taken}", job.market.withdraw_dispute_bond(job.id, to))
    click.echo(f"took {money(won_wei, job.terms.token)} back to {to}")


def _require_attestors(job: PublishedJob) -> None:
    if not job.terms.disputes.attestors:
        raise InvalidInput(f"job {job.id} names no attestors: nothing can be disputed in it")
