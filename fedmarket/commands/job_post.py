"""Posting a job: warm the model, publish the document, lock the reward, and never do it twice by accident."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fedmarket.commands.amounts import moment, money
from fedmarket.commands.job_tables import facts, terms_rows
from fedmarket.commands.options import FILE, actor_options, console
from fedmarket.connection import Actor
from fedmarket.exam_folder import ExamFolder
from fedmarket.owner import WARM_EPOCHS, KeyMaker, PreparedJob, initial_model, publish, training_norm
from fedmarket.posted_exam import opening_key, prepare_exam
from fedmarket.service_posting import posted_by_service
from market.chain.events import JobOpened
from market.chain.transactions import Finality, Receipt
from market.protocol.errors import ChainError, InvalidInput
from market.protocol.identifiers import Digest
from market.protocol.job_spec import ANY_NORM, ANY_ROOT, JobSpec, load_spec
from market.protocol.terms import NO_ROOT, JobTerms
from trainer_client.data import Dataset
from trainer_client.engine.progress import Progress
from trainer_client.exam import load_slice
from trainer_client.exported.packing import PackageFolder, with_package
from trainer_client.job_model import JobModel


@click.command()
@click.argument("spec_file", metavar="SPEC.yaml", type=FILE)
@click.option("--reference", type=FILE, metavar="DATA", help="Samples to cut the exam from, where the spec has one.")
@click.option("--exam", "folder", type=FILE, metavar="DIR", help="Keep the exam there; under --work by default.")
@click.option("--warm-start", type=FILE, metavar="DATA", help="To train the first model on, where there is no exam.")
@click.option("--epochs", default=WARM_EPOCHS, show_default=True, type=click.IntRange(1, 10_000), help="Over them.")
@click.option("--again", is_flag=True, help="Post once more what this account has posted before.")
@click.option(
    "--market", "market_url", metavar="URL", envvar="FEDMARKET_MARKET", help="Publish by this market's service."
)
@actor_options
def post(
    spec_file: Path,
    reference: Path | None,
    folder: Path | None,
    warm_start: Path | None,
    epochs: int,
    again: bool,
    market_url: str | None,
    actor: Actor,
) -> None:
    """Publish the job that SPEC.yaml describes, and lock its reward in the contract.

    A job with an exam is cut from --reference: slice 0 is published and trains the first model; the other slices are
    kept in a folder, secret until `fedmarket owner run` has set them all. Keep a copy of it: without it every round
    costs a deposit. What the rules of such a job leave open about norms follows from a training on its last slice.

    With --market, what everybody has to read is uploaded to that service, which prepares the transaction; it is signed
    here, and only if it is the one that this command would have made.

    Killed and started again, it opens the job once: the same spec with the same data is the same job.
    """
    spec, package = with_package(load_spec(spec_file), spec_file.parent)
    model_of_spec = JobModel.of_spec(spec, package)
    dimension = model_of_spec.manifest.dimension
    _check_sources(spec, reference, warm_start)
    # Whatever cannot hold together is said at once.
    looked_at = spec if spec.exam is None else spec.with_norm(ANY_NORM)
    looked_at.to_terms(dimension, actor.network.chain.timestamp(), NO_ROOT if spec.exam is None else ANY_ROOT)
    srs = actor.network.srs(dimension, spec.update.chunks)
    exam = None
    if reference is not None:
        exam = prepare_exam(actor, spec, model_of_spec.input.load(reference), folder, again)
    dataset = _warm_samples(model_of_spec, exam, warm_start)
    with console().status("warming the model") as status:
        model = initial_model(spec, dataset, epochs, lambda progress: status.update(_warming(progress)), package)
    norm = None if exam is None else _norm(spec, model_of_spec, model, exam, package)
    chosen = spec if norm is None else spec.with_norm(norm)
    prepared = publish(chosen, model, actor.network.store, srs, exam, _keys(actor, again), package)
    if exam is not None:
        exam.note_posted(prepared.intent)
    opened, is_new = _open(actor, prepared, again, market_url)
    _tell(prepared, opened, is_new, exam, norm)
    if dataset is None:
        click.echo("note: no --warm-start: from a random model, rules that look for agreement may accept nobody")
    if exam is not None and spec.update.compression is not None and spec.rules.floor:
        click.echo(
            f"note: of what is sent a part is held back ({spec.update.compression.kind}), and exams mark what is sent: "
            f"with a floor of {spec.rules.floor:g} they may accept nobody (docs/updates.md has marks of every kind)"
        )


def _check_sources(spec: JobSpec, reference: Path | None, warm_start: Path | None) -> None:
    if spec.exam is None and reference is not None:
        raise InvalidInput(f"{spec.name!r} has no exam in its spec: --reference is of no use, expected --warm-start")
    if spec.exam is not None and reference is None:
        raise InvalidInput(f"{spec.name!r} has an exam: name the samples to cut it from with --reference DATA")
    if spec.exam is not None and warm_start is not None:
        raise InvalidInput(
            "the first model of a job with an exam is trained on its public slice: leave --warm-start out"
        )


def _warm_samples(built: JobModel, exam: ExamFolder | None, warm_start: Path | None) -> Dataset | None:
    if exam is not None:
        exam.slice_data(0)  # says what is wrong with it
        return load_slice(exam.slice_path(0), built)
    return None if warm_start is None else built.input.load(warm_start)


def _norm(
    spec: JobSpec, built: JobModel, model: NDArray[np.int64], exam: ExamFolder, package: PackageFolder | None
) -> int | None:
    """What one training moves, in base counts, where the rules ask for it.

    On the last secret slice: on the public one the model has been trained, and the last is a spare's where there are
    any, so that what its training says of it is of little use.
    """
    if spec.rules.norm_floor is not None and not spec.rules.needs_norm:
        return None
    last = len(exam.slices) - 1
    exam.slice_data(last)  # says what is wrong with it
    return training_norm(spec, model, load_slice(exam.slice_path(last), built), package)


def _open(actor: Actor, prepared: PreparedJob, again: bool, market_url: str | None) -> tuple[JobOpened, bool]:
    """Open the job, once; returns what came of it, and whether that was now."""
    terms = prepared.terms(actor.network.chain.timestamp())
    key = _key(actor, prepared, again)
    is_new = not actor.sender.knows(key)
    if is_new:
        actor.allow_deposit(terms.token, terms.deposit_wei)
    if is_new and market_url is not None:
        call = posted_by_service(actor, prepared, market_url)
    else:
        call = actor.network.market.open_job(terms, *_digests(prepared), prepared.commitment, prepared.srs_id)
    receipt = actor.sender.send(key, call, Finality(blocks=1 + prepared.spec.periods.confirmations))
    return _opening(actor, receipt), is_new


def _keys(actor: Actor, again: bool) -> KeyMaker:
    """Makes the keys of this account's sealed jobs: what is opened again gets another one."""

    def is_used(salt: bytes) -> bool:
        key = opening_key(salt)
        return again and actor.sender.knows(key) and key not in actor.sender.unresolved()

    return KeyMaker(actor.sender.account, actor.network.chain.chain_id, actor.network.market.address, is_used)


def _key(actor: Actor, prepared: PreparedJob, again: bool) -> str:
    """The intent to open this document; another one each time that it is opened again, but not for a retry."""
    number, key = 0, opening_key(prepared.intent)
    unresolved = actor.sender.unresolved()
    while again and actor.sender.knows(key) and key not in unresolved:
        number += 1
        key = f"{opening_key(prepared.intent)}/{number}"
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


def _tell(prepared: PreparedJob, opened: JobOpened, is_new: bool, exam: ExamFolder | None, norm: int | None) -> None:
    screen, spec = console(), prepared.spec
    screen.print(
        f"[bold]Job {opened.job}[/bold] {'is open' if is_new else 'was posted already; --again posts it anew'}"
    )
    terms: JobTerms = opened.terms
    points = "a point" if terms.chunks == 1 else f"{terms.chunks} points"
    rows = [
        ("name", spec.name),
        ("deposit", f"{money(opened.deposit_wei, terms.token)} for {terms.rounds} rounds"),
        ("document", str(prepared.document_cid)),
        ("first model", f"{prepared.model_cid} ({len(prepared.model):,} parameters)"),
        ("commitment", f"{points} under the SRS 0x{prepared.srs_id.hex()}"),
        *terms_rows(terms),
        *([("models", "sealed to those who take part")] if spec.seals_models else []),
        *([] if norm is None else [("norms", _norms(spec, norm))]),
        *([] if exam is None else [("exam", f"{len(exam.slices) - 1} secret slices in {exam.path}")]),
        ("one attempt", f"takes until {moment(terms.enrol_until_s + terms.attempt_period_s)} at the earliest"),
    ]
    screen.print(facts(rows))
    if exam is not None or spec.seals_models:
        screen.print(f"next: fedmarket owner run {opened.job}, from now until the job is over")


def _norms(spec: JobSpec, norm: int) -> str:
    """What was chosen for the rules, and why."""
    chosen = [f"floor {spec.rules.norm_floor:,}"]
    for rule in spec.rules.accept:
        if rule.norm_bound is not None:
            chosen.append(f"bound {rule.norm_bound.norm:,}, least {rule.norm_bound.least:,}")
    return f"one training on a slice moves {norm:,} counts: {', '.join(chosen)}"
