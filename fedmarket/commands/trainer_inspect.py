"""Trainers: look at a job's model, and try it, before there is a stake."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from fedmarket.commands.job_tables import facts
from fedmarket.commands.options import console, job_argument, network_options
from fedmarket.connection import Network, NetworkOptions
from market.protocol.moments import duration
from market.protocol.package_spec import EXPORTED
from market.published_job import PublishedJob


@click.command("inspect")
@job_argument
@network_options
def inspect_model(job_number: int, options: NetworkOptions) -> None:
    """Show what JOB's model is and takes, and try it on two random samples: nothing is staked, nothing is sent.

    The model is an owner's: of one that was exported every file is fetched and checked as `enrol` does it.
    """
    network = Network.connect(options)
    with TemporaryDirectory() as cache, console().status("trying the model"):
        job = network.patient().job(job_number, Path(cache))
        rows = _rows(job)
    console().print(facts(rows))


def _rows(job: PublishedJob) -> list[tuple[str, str]]:
    """What there is to say of a job's model, once it has been tried.

    Raises:
        InvalidModel: it is none that can be trained.
        StorageError: a file of it cannot be had.
    """
    from trainer_client.commit_time import SAFETY
    from trainer_client.exported.module import ExportedModel
    from trainer_client.exported.trial import SAMPLES, try_out

    model = job.document.spec.model
    first = job.model(job.history().versions()[0].digest) if job.models.can_be_read else None
    trial = try_out(job.document, job.files, first)
    manifest, form = trial.model.manifest, trial.model.input
    rows = [
        ("model", model.architecture + (": its owner's own, read as data" if model.architecture == EXPORTED else "")),
        ("samples", f"{form.kind}, {form.features:,} values each"),
        ("trained", f"{manifest.dimension:,} values in {len(manifest.entries):,} tensors"),
    ]
    rows += [(name.removeprefix("the model's "), f"{file.size_bytes:,} bytes") for name, file in model.files]
    if isinstance(trial.model.module, ExportedModel):
        takes = trial.model.module.takes
        rows.append(
            ("a sample", f"{takes.sample_bytes:,} bytes, {takes.sample_operations:.1e} operations a pass at most")
        )
    losses = f"{trial.training_loss:.4f} in training, {trial.evaluation_loss:.4f} in evaluation"
    rows.append(("trial", f"loss {losses}" if first is not None else "shapes alone: the models are sealed"))
    epochs = job.document.spec.training.epochs
    # A cohort's seats have the first half for themselves.
    commit_s = job.terms.commit_period_s // (2 if job.terms.entry.cohort else 1)
    samples = int(SAMPLES * commit_s * (1 - SAFETY) / (trial.step_s * epochs))
    rows.append(("time", f"{SAMPLES} samples trained on in {1000 * trial.step_s:,.3g} ms on {trial.device}"))
    passes = "an epoch" if epochs == 1 else f"{epochs} epochs"
    time = f"time for {passes} of at least {samples:,} of yours" if samples else "not enough for one step"
    rows.append(("", f"{duration(commit_s)} to commit in: {time}"))
    return rows
