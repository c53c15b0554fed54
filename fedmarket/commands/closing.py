"""The end of a job: who closes it, when, and what its owner gets back."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from fedmarket.commands.amounts import moment, money
from fedmarket.connection import Actor
from market.chain.events import ROUNDS, JobClosed, Refunded
from market.chain.records import JobState
from market.job_history import JobHistory
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import JobId

POLL_S = 1.0


def check_published(actor: Actor, job: JobId, state: JobState) -> None:
    """Refuse to close an own job whose exam is still secret: that gives the deposits for it away.

    Raises:
        InvalidInput: saying what is at stake.
    """
    market = actor.network.market
    if state.closed or state.owner != actor.address or not state.has_exam or state.exam_published:
        return
    at_stake = money(market.ledger(job).exams_wei, market.terms(job).token)
    raise InvalidInput(
        f"the exam of job {job} is not published: closing it now burns its deposits of {at_stake}; "
        f"`fedmarket owner run {job}` publishes it, --forfeit-exam closes the job all the same"
    )


def close_job(actor: Actor, job: JobId) -> None:
    """Close a job that is over, and say what came of its money.

    Raises:
        ContractRevert: it is not over yet.
    """
    market = actor.network.market
    token = market.terms(job).token
    history = JobHistory(market.events(job, actor.network.deployment.block, kinds=ROUNDS))
    receipt = actor.sender.send(f"close/{job}", market.close_job(job, history.packed_lifetime()))
    for event in market.events_in(receipt.logs):
        if isinstance(event, JobClosed):
            returned, burned = money(event.refundable_wei, token), money(event.burned_wei, token)
            click.echo(f"job {job} is closed; {returned} returned to the owner, {burned} burned")


def close_when_due(actor: Actor, job: JobId, should_stop: Callable[[], bool]) -> None:
    """Wait until a job can be closed, and close it, unless somebody else does or `should_stop` says so."""
    from_s, told_s = 0, 0
    while not should_stop() and not actor.network.market.state(job).closed:
        if actor.network.chain.timestamp() < from_s:
            time.sleep(POLL_S)
            continue
        try:
            close_job(actor, job)
        except ContractRevert as refusal:
            if refusal.name != "NotCloseable":
                raise
            from_s = int(refusal.arguments["from"])
            if from_s != told_s:
                told_s = from_s
                click.echo(f"job {job} can be closed from {moment(from_s)} on: waiting for it")
            # The latest block is older than the one that the node would mine now: it may refuse once more.
            time.sleep(POLL_S)


def take_refund(actor: Actor, job: JobId, to: str) -> None:
    """Take what is the owner's."""
    market = actor.network.market
    token, refundable_wei = market.terms(job).token, market.ledger(job).refundable_wei
    if not refundable_wei:
        click.echo("nothing is left to refund")
        return
    refunds = market.events(job, actor.network.deployment.block, kinds=[Refunded])
    actor.sender.send(f"refund/{job}/{len(refunds)}", market.refund(job, to))
    click.echo(f"refunded {money(refundable_wei, token)} to {to}")
