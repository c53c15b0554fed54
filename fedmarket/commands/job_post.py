"""Posting a job: warm the model, publish the document, lock the reward, and never do it twice by accident."""

from __future__ import annotations

from pathlib import Path

import click

from fedmarket.commands.amounts import moment, money
from fedmarket.commands.job_tables import facts, terms_rows
from fedmarket.commands.options import FILE, actor_options, console
from fedmarket.connection import Actor
from fedmarket.owner import WARM_EPOCHS, PreparedJob, initial_model, publish
from market.chain.events import JobOpened
from market.chain.transactions import Finality, Receipt
from market.protocol.errors import ChainError
from market.protocol.identifiers import Digest
from market.protocol.job_spec import JobSpec, load_spec
from market.protocol.terms import JobTerms
from trainer_client.job_model import JobModel
from trainer_client.training import Progress


@click.command()
@click.argument("spec_file", metavar="SPEC.yaml", type=FILE)
@click.option("--warm-start", type=FILE, metavar="DATA", help="The owner's own samples, to train the first model on.")
@click.option("--epochs", default=WARM_EPOCHS, show_default=True, type=click.IntRange(1, 10_000), help="Over them.")
@click.option("--again", is_flag=True, help="Post once more what this account has posted before.")
@actor_options
def post(spec_file: Path, warm_start: Path | None, epochs: int, again: bool, actor: Actor) -> None:
    """Publish the job that SPEC.yaml describes, and lock its reward in the contract.

    Killed and started again, it opens the job once: the same spec with the same first model is the same job.
    """
    spec = load_spec(spec_file)
    model_of_spec = JobModel.of_spec(spec)
    dimension = model_of_spec.manifest.dimension
    spec.to_terms(dimension, actor.network.chain.timestamp())  # whatever cannot hold together is said at once
    srs = actor.network.srs(dimension, spec.update.chunks)
    dataset = None if warm_start is None else model_of_spec.input.load(warm_start)
    with console().status("warming the model") as status:
        model = initial_model(spec, dataset, epochs, lambda progress: status.update(_warming(progress)))
    prepared = publish(spec, model, actor.network.store, srs)
    terms = prepared.terms(actor.network.chain.timestamp())
    key = _key(actor, prepared, again)
    is_new = not actor.sender.knows(key)
    if is_new:
        actor.allow_deposit(terms.token, terms.deposit_wei)
    call = actor.network.market.open_job(terms, *_digests(prepared), prepared.commitment, prepared.srs_id)
    receipt = actor.sender.send(key, call, Finality(blocks=1 + spec.periods.confirmations))
    _tell(spec, prepared, _opening(actor, receipt), is_new)
    if dataset is None:
        click.echo("note: no --warm-start: from a random model, rules that look for agreement may accept nobody")


def _key(actor: Actor, prepared: PreparedJob, again: bool) -> str:
    """The intent to open this document; another one each time that it is opened again, but not for a retry."""
    number, key = 0, f"open/{prepared.document_cid.digest.hex()}"
    unresolved = actor.sender.unresolved()
    while again and actor.sender.knows(key) and key not in unresolved:
        number += 1
        key = f"open/{prepared.document_cid.digest.hex()}/{number}"
    return key


def _digests(prepared: PreparedJob) -> tuple[Digest, Digest]:
    return Digest(prepared.document_cid.digest), Digest(prepared.model_cid.digest)


def _opening(actor: Actor, receipt: Receipt) -> JobOpened:
    for event in actor.network.market.events_in(receipt.logs):
        if isinstance(event, JobOpened):
            return event
    raise ChainError(f"transaction 0x{receipt.transaction.hex()} opened no job")


def _warming(progress: Progress) -> str:
    return f"warming the model: epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4f}"


def _tell(spec: JobSpec, prepared: PreparedJob, opened: JobOpened, is_new: bool) -> None:
    screen = console()
    screen.print(
        f"[bold]Job {opened.job}[/bold] {'is open' if is_new else 'was posted already; --again posts it anew'}"
    )
    terms: JobTerms = opened.terms
    rows = [
        ("name", spec.name),
        ("deposit", f"{money(opened.deposit_wei, terms.token)} for {terms.rounds} rounds"),
        ("document", str(prepared.document_cid)),
        ("first model", f"{prepared.model_cid} ({len(prepared.model):,} parameters)"),
        ("commitment", f"{terms.chunks} points under the SRS 0x{prepared.srs_id.hex()}"),
        *terms_rows(terms),
        ("one attempt", f"takes until {moment(terms.enrol_until_s + terms.attempt_period_s)} at the earliest"),
    ]
    screen.print(facts(rows))
