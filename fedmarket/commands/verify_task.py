"""Pushing a task on: its draw, what was sealed at its opening, its decisions, and its money."""

from __future__ import annotations

import click

from fedmarket.commands.amounts import money
from fedmarket.commands.options import actor_options, to_option
from fedmarket.commands.verify_open import answers_of
from fedmarket.commands.verify_words import task_argument, what_next
from fedmarket.connection import Actor
from fedmarket.consensus_upkeep import due_call, intent
from fedmarket.intents import one_event
from market.chain.consensus_events import Credited, PanelSettled, TaskDrawFixed, TaskFinished, Withdrawn
from market.chain.consensus_records import NONE_32, TaskPhase
from market.chain.contract import checked_address
from market.chain.transactions import Receipt
from market.protocol.consensus import Outcome
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import TaskId


@click.command()
@task_argument
@actor_options
def draw(task_number: int, actor: Actor) -> None:
    """Draw the seats of TASK's panel, once the block that decides is there. By anyone."""
    receipt = _push(actor, TaskId(task_number), TaskPhase.DRAWING)
    for event in actor.network.consensus.events_in(receipt.logs):
        if isinstance(event, TaskDrawFixed):
            click.echo(f"nobody came for that block's hash in time: block {event.number} decides instead")
            return
    click.echo(f"the seats of task {task_number} are drawn: verifiers take them")


@click.command()
@task_argument
@actor_options
def canaries(task_number: int, actor: Actor) -> None:
    """Show the answers that TASK's owner knew when it was opened: in the reveal phase."""
    task, consensus = TaskId(task_number), actor.network.consensus
    commitment = consensus.terms(task).canaries
    if commitment == NONE_32:
        raise InvalidInput(f"task {task} was opened without canaries")
    _require_owner(actor, task)
    answers = answers_of(actor)
    known = answers.canaries(commitment)
    key = intent(consensus, "canaries", task)
    _require(actor, task, TaskPhase.REVEAL, key)
    actor.sender.send(key, consensus.open_canaries(task, known, answers.canary_salt(known)))
    click.echo(f"the canaries of task {task} are shown: samples {', '.join(map(str, sorted(known)))}")


@click.command()
@task_argument
@actor_options
def claim(task_number: int, actor: Actor) -> None:
    """Show the digests that `fedmarket verify seal` sealed for TASK: in the reveal phase, by its worker."""
    task, consensus = TaskId(task_number), actor.network.consensus
    commitment = consensus.terms(task).claim
    if commitment == NONE_32:
        raise InvalidInput(f"task {task} has no worker: nothing was claimed")
    answers = answers_of(actor)
    digests = answers.claim(commitment)
    key = intent(consensus, "claim", task)
    _require(actor, task, TaskPhase.REVEAL, key)
    actor.sender.send(key, consensus.open_claim(task, digests, answers.claim_salt(digests)))
    click.echo(f"the worker's {len(digests)} digests of task {task} are shown")


@click.command()
@task_argument
@actor_options
def settle(task_number: int, actor: Actor) -> None:
    """Decide TASK's panel by what it revealed. By anyone."""
    receipt = _push(actor, TaskId(task_number), TaskPhase.SETTLE)
    settled = one_event(actor.network.consensus, receipt, PanelSettled)
    agreeing = settled.clique.bit_count()
    match settled.outcome:
        case Outcome.ACCEPTED:
            click.echo(f"accepted: {agreeing} agree, and the outputs of seat {settled.medoid} are in their middle")
        case Outcome.VOID:
            click.echo(f"void: {agreeing} agree that the request cannot be met")
        case _:
            click.echo(f"no majority: {_after_none(settled.panel)}")


@click.command()
@task_argument
@actor_options
def appeal(task_number: int, actor: Actor) -> None:
    """Ask for a panel of more than twice as many to decide TASK again, for a bond of as many shares.

    By the owner, the worker, or a seat that revealed and is not among those that agree. The bond pays the appeal, and
    comes back as far as those who are overturned lose their units.
    """
    task, consensus = TaskId(task_number), actor.network.consensus
    terms, key = consensus.terms(task), intent(consensus, "appeal", task)
    _require(actor, task, TaskPhase.APPEAL, key)
    actor.sender.send(key, consensus.appeal(task, terms.appeal_bond_wei))
    click.echo(f"task {task} is appealed: {terms.appeal_verifiers} seats, bond {money(terms.appeal_bond_wei)}")


@click.command()
@task_argument
@actor_options
def finish(task_number: int, actor: Actor) -> None:
    """Credit what TASK's end brings, once nobody can appeal any more. By anyone."""
    consensus = actor.network.consensus
    receipt = _push(actor, TaskId(task_number), TaskPhase.FINISH)
    ended = one_event(consensus, receipt, TaskFinished)
    credits = [event for event in consensus.events_in(receipt.logs) if isinstance(event, Credited)]
    for event in credits:
        click.echo(f"{event.account} is credited {money(event.amount_wei)}")
    click.echo(f"task {task_number} is finished: {ended.outcome.name.lower()}, {money(ended.burned_wei)} burned")


@click.command()
@to_option
@actor_options
def withdraw(to: str | None, actor: Actor) -> None:
    """Take all that was credited to this account."""
    consensus = actor.network.consensus
    to = checked_address(to) if to else actor.address
    due_wei = consensus.credits_wei(actor.address)
    if not due_wei:
        raise InvalidInput(f"nothing is credited to {actor.address}")
    taken = [event for event in consensus.all_events([Withdrawn]) if isinstance(event, Withdrawn)]
    count = sum(event.account == actor.address for event in taken)
    receipt = actor.sender.send(intent(consensus, "withdraw", count), consensus.withdraw(to))
    click.echo(f"took {money(one_event(consensus, receipt, Withdrawn).amount_wei)} to {to}")


def _push(actor: Actor, task: TaskId, phase: TaskPhase) -> Receipt:
    """Send what anybody may, where it is due."""
    consensus = actor.network.consensus
    state = consensus.state(task)
    due = due_call(consensus, task, state) if state.phase is phase else None
    if due is None:
        raise InvalidInput(f"not now: {what_next(consensus, task, state)}")
    key, call, _ = due
    return actor.sender.send(key, call)


def _require(actor: Actor, task: TaskId, phase: TaskPhase, key: str) -> None:
    """See that it is time for something, unless it was sent before: then its fate is looked up."""
    consensus = actor.network.consensus
    state = consensus.state(task)
    if state.phase is not phase and not actor.sender.knows(key):
        raise InvalidInput(f"not now: {what_next(consensus, task, state)}")


def _require_owner(actor: Actor, task: TaskId) -> None:
    owner = actor.network.consensus.state(task).owner
    if owner != actor.address:
        raise InvalidInput(f"{actor.address} does not own task {task}, {owner} does")


def _after_none(panel: int) -> str:
    if panel == 0:
        return "another panel is drawn"
    return "the reward is credited to the owner" if panel == 1 else "the decision stands, and the bond comes back"
