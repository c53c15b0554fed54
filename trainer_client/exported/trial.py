"""A stranger's model tried on samples of no meaning: what is wrong with it is found before there is a stake to lose."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from market.protocol.errors import InvalidData, InvalidModel
from market.protocol.integer_model import Integers
from market.protocol.job_spec import JobDocument
from market.protocol.package_spec import Contents
from trainer_client.dataset import DataKind, Dataset, SampleForm
from trainer_client.device import choose_device
from trainer_client.engine.execution import CPU
from trainer_client.engine.memory import free_bytes
from trainer_client.exported.module import ExportedModel
from trainer_client.exported.rehearsal import FEW
from trainer_client.job_model import JobModel
from trainer_client.losses import batch_loss

SAMPLES = FEW
"""As few as there can be: batch normalisation wants two."""

_SHORT_S, _TIMES = 5.0, 3

_CPU_SIDE, _GPU_SIDE = 1024, 8192
"""Of the matrices by which a device's speed is measured, in milliseconds: smaller ones would not be work enough."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A model that could be trained and measured once.

    Attributes:
        model: with the values that were given.
        training_loss, evaluation_loss: in either mode.
        step_s: what a training step on `SAMPLES` samples took; larger batches take less a sample.
        device: where it was tried: where it would be trained, unless its trainer says otherwise.
    """

    model: JobModel
    training_loss: float
    evaluation_loss: float
    step_s: float
    device: torch.device


def try_out(document: JobDocument, contents: Contents, parameters: Integers | None) -> Trial:
    """Train a job's model on random samples for one step, and measure it.

    Args:
        document: the job's.
        contents: where the model's files come from.
        parameters: the first model's, int64 (d,); None where they are sealed, and shapes are all that can be tried.

    Raises:
        InvalidModel: it cannot be built, or computes nothing that can be trained on.
        StorageError: a file cannot be had.
    """
    built, device = JobModel.of_document(document, contents), choose_device()
    # An update that later rounds take may be made over their phases, too.
    phases = 1 + (document.spec.update.maximum_age or 0)
    check_time(built.module, phases * document.spec.periods.commit_s, device)
    _check_memory(built.module, device)
    if parameters is not None:
        built.load(parameters)
    built.module.to(device)
    batch = meaningless_samples(built.input)
    # Whoever examines differentiates the evaluation, too.
    examined = document.spec.exam is not None
    training_loss, step_s = _timed_loss(built, batch)
    evaluation_loss = _loss(built, batch, training=False, learns=examined)
    built.module.to("cpu")
    # Of a sealed model there are no values: what zeros give may be no number where the model's own would give one.
    if parameters is not None:
        _check_finite(built, {"training": training_loss, "evaluation": evaluation_loss})
        # Statistics that the trial left in the module are the job's again.
        built.load(parameters)
    return Trial(built, training_loss, evaluation_loss, step_s, device)


def check_time(module: nn.Module, allowed_s: int, device: torch.device = CPU) -> None:
    """Refuse, before hours are lost on trying, what is too slow to be trained here.

    Raises:
        InvalidModel: at the device's best speed what both programs multiply for `SAMPLES` samples takes longer.
    """
    if not isinstance(module, ExportedModel):
        return
    # Of a forward pass alone: how much of a backward pass there is depends on what is trained.
    least_s = module.takes.products / _products_per_s(device)
    if least_s > allowed_s:
        raise InvalidModel(
            f"computing {SAMPLES} samples takes at least {least_s:,.0f} s on this machine ({device}), and updates "
            f"have to be made within {allowed_s:,} s"
        )


def _products_per_s(device: torch.device) -> float:
    """Multiplications and additions of a device at its best."""
    side = _CPU_SIDE if device.type == "cpu" else _GPU_SIDE
    matrix, times = torch.ones(side, side, device=device), []
    for _ in range(4):
        begun_s = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # asks for a value: other devices answer before they have computed
        times.append(time.perf_counter() - begun_s)
    return float(2 * side**3 / min(times))


def _check_memory(module: nn.Module, device: torch.device) -> None:
    """Refuse to try what this machine would be brought down by: Linux grants memory that it has not."""
    free = free_bytes() if device.type == "cpu" else None  # others say so themselves when they run out
    if not isinstance(module, ExportedModel) or free is None:
        return
    needed = SAMPLES * module.takes.sample_bytes
    if needed > free:
        raise InvalidModel(f"{SAMPLES} samples take {needed:,} bytes, this machine has {free:,} free")


def meaningless_samples(form: SampleForm) -> Dataset:
    """Random samples of a form, the largest token and class among them."""
    random = np.random.default_rng(0)
    if form.kind is DataKind.TOKENS:
        tokens = random.integers(0, form.vocabulary, (SAMPLES, form.features))
        tokens[:, 0] = form.vocabulary - 1
        return Dataset(tokens)
    inputs = random.random((SAMPLES, form.features), dtype=np.float32)
    if form.kind is DataKind.LABELS:
        return Dataset(inputs, np.array([0, form.classes - 1]))
    values = random.random((SAMPLES, form.outputs), dtype=np.float32) if form.outputs else None
    return Dataset(inputs, values)


def _timed_loss(built: JobModel, batch: Dataset) -> tuple[float, float]:
    """The loss in training and the seconds of a step.

    A short one is taken again: the first pays what is paid once, and others that run beside it make one or two longer.
    """

    def step() -> tuple[float, float]:
        begun_s = time.perf_counter()
        loss = _loss(built, batch, training=True, learns=True)
        return time.perf_counter() - begun_s, loss

    first_s, loss = step()
    return loss, first_s if first_s > _SHORT_S else min(step()[0] for _ in range(_TIMES))


def _loss(built: JobModel, batch: Dataset, training: bool, *, learns: bool) -> float:
    mode = "training" if training else "evaluation"
    where = next(built.module.parameters()).device
    try:
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            loss = batch_loss(built.training.loss, built.module.train(training), batch)
        if learns:
            loss.backward()  # type: ignore[no-untyped-call]
    except InvalidData as error:
        raise InvalidModel(f"the model's {mode} program does not take the samples that it is for: {error}") from error
    except (RuntimeError, IndexError, ValueError, TypeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidModel(f"the model's {mode} program fails on two samples: {reason:.300}") from error
    finally:
        built.module.zero_grad(set_to_none=True)
    return float(loss.item())


def _check_finite(built: JobModel, losses: Mapping[str, float]) -> None:
    for mode, value in losses.items():
        if not math.isfinite(value) or not _finite_state(built.module):
            raise InvalidModel(f"the model's {mode} program gives a loss of {value} on two samples: not finite")


def _finite_state(module: nn.Module) -> bool:
    return all(bool(torch.isfinite(buffer).all()) for buffer in module.buffers() if buffer.is_floating_point())
