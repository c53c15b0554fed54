"""Local training: from the round's global parameters to this trainer's update."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from market.protocol.errors import InvalidData, InvalidModel, InvalidTerms, InvalidUpdate
from market.protocol.manifest import ParameterManifest
from trainer_client.data import Dataset
from trainer_client.parameters import manifest_of, read_vector

CPU = torch.device("cpu")

MAX_FACTOR = 1e6
"""Largest learning rate, multiplier, penalty or norm: far beyond use, and products of them still fit into float32."""

Loss = Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels)


def _mean_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.mse_loss(outputs, functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype))


LOSSES: Mapping[str, Loss] = {"cross_entropy": _cross_entropy, "mse": _mean_squared_error}
"""Every loss that a job can name: outputs (N, classes), labels (N,) to the batch's mean. ``mse`` is against one-hot."""


@dataclass(frozen=True)
class LocalTraining:
    """How a job's trainers train: stochastic gradient descent with momentum.

    Attributes:
        epochs: passes over the data a round.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        learning_rate: before the round's multiplier.
        momentum: in [0, 1).
        clip_norm: largest norm of a batch's gradient, or None.
        weight_decay: L2 penalty.
        loss: a name in ``LOSSES``.

    Raises:
        InvalidTerms: a value out of range.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.0
    clip_norm: float | None = None
    weight_decay: float = 0.0
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        _require(1 <= self.epochs <= 10_000, "epochs", self.epochs, "1..10000")
        _require(1 <= self.batch_size <= 1 << 24, "batch_size", self.batch_size, "1..2^24")
        _require(
            0 < self.learning_rate <= MAX_FACTOR,
            "learning_rate",
            self.learning_rate,
            f"above 0, at most {MAX_FACTOR:g}",
        )
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        clips = self.clip_norm is None or 0 < self.clip_norm <= MAX_FACTOR
        _require(clips, "clip_norm", self.clip_norm, f"none, or above 0 and at most {MAX_FACTOR:g}")
        _require(0 <= self.weight_decay <= MAX_FACTOR, "weight_decay", self.weight_decay, f"0..{MAX_FACTOR:g}")
        _require(self.loss in LOSSES, "loss", repr(self.loss), f"one of {', '.join(LOSSES)}")


@dataclass(frozen=True)
class Progress:
    """How far a training is: epochs done of all, mean loss of the last one, samples seen so far."""

    epoch: int
    epochs: int
    loss: float
    samples_seen: int


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What local training gave.

    Attributes:
        delta: float32 (d,), trained minus initial parameters.
        loss: mean over the samples of the last epoch, finished or not; NaN if there was no step.
        samples_seen: over all epochs.
        finished: False where ``should_stop`` ended it early; delta is then what was reached.
    """

    delta: NDArray[np.float32]
    loss: float
    samples_seen: int
    finished: bool


@dataclass(frozen=True)
class Evaluation:
    """A model's fraction of right answers, in [0, 1], and mean loss over a data set."""

    accuracy: float
    loss: float


def train(
    model: nn.Module,
    dataset: Dataset,
    settings: LocalTraining,
    *,
    seed: int,
    step: float = 1.0,
    manifest: ParameterManifest | None = None,
    device: torch.device = CPU,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Train a copy of a model and return how its parameters moved; the model itself keeps its values.

    PyTorch's global random state and settings are neither read nor changed, so trainers may run as threads of one
    process. On the CPU the same model, data, settings, step and seed give the same delta, bit for bit, on the same
    build of PyTorch.

    Args:
        model: with the round's global parameters.
        dataset: batches of it are moved to the device as they are needed.
        settings: the job's.
        seed: of the order of the samples.
        step: the round's multiplier on the learning rate, above 0 and at most 10^6.
        manifest: the trainable entries; all others are frozen. None trains everything.
        device: where to compute.
        progress: called after every epoch.
        should_stop: asked before every batch.

    Raises:
        InvalidUpdate: the loss or a parameter is no longer finite; the message names the epoch.
        InvalidData: labels that the model has no output for, or samples of another shape.
        InvalidModel: the manifest does not fit the model.
        InvalidTerms: the step is not above 0, or above 10^6.
    """
    _require(0 < step <= MAX_FACTOR, "step", step, f"above 0, at most {MAX_FACTOR:g}")
    layout = manifest or manifest_of(model)
    before = read_vector(model, layout)
    trained = copy.deepcopy(model).to(device)
    trained.train()
    run = _Run(trained, dataset, settings, _optimiser(trained, layout, settings, step), device)
    finished = run.all_epochs(torch.Generator().manual_seed(seed), progress, should_stop)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = read_vector(trained, layout) - before
    if not np.isfinite(delta).all():
        raise InvalidUpdate(f"training diverged in epoch {run.epoch}: the parameters are no longer finite")
    return TrainingResult(delta, run.mean_loss(), run.samples_seen, finished)


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    loss: str = "cross_entropy",
    device: torch.device = CPU,
    batch_size: int = 1024,
) -> Evaluation:
    """Measure a model on a data set, in evaluation mode; the model is left as it was.

    Raises:
        InvalidData: labels that the model has no output for, or samples of another shape.
        InvalidTerms: the loss is unknown.
    """
    _require(loss in LOSSES, "loss", repr(loss), f"one of {', '.join(LOSSES)}")
    measured = copy.deepcopy(model).to(device).eval()
    right, total_loss = 0, 0.0
    with torch.no_grad():
        for indices in _batches(torch.arange(len(dataset)), batch_size):
            outputs, labels = _forward(measured, dataset, indices, device)
            total_loss += float(LOSSES[loss](outputs, labels)) * len(indices)
            right += int((outputs.argmax(dim=1) == labels).sum())
    return Evaluation(right / len(dataset), total_loss / len(dataset))


class _Run:
    """One training in progress: the model being trained and the running sums of the epoch."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        settings: LocalTraining,
        optimiser: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.settings = settings
        self.optimiser = optimiser
        self.device = device
        self.epoch = 0
        self.samples_seen = 0
        self._start_epoch(0)

    def all_epochs(
        self,
        generator: torch.Generator,
        progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> bool:
        """Train to the end, or until told to stop; return whether the end was reached."""
        for epoch in range(1, self.settings.epochs + 1):
            self._start_epoch(epoch)
            order = torch.randperm(len(self.dataset), generator=generator)
            for indices in _batches(order, self.settings.batch_size):
                if should_stop is not None and should_stop():
                    return False
                self._step(indices)
            loss = self.mean_loss()
            if not math.isfinite(loss):
                raise InvalidUpdate(f"training diverged in epoch {epoch}: the loss is {loss}, expected a finite value")
            if progress is not None:
                progress(Progress(epoch, self.settings.epochs, loss, self.samples_seen))
        return True

    def mean_loss(self) -> float:
        """Mean over the samples of the current epoch; NaN before its first step."""
        return float(self.loss_sum) / self.epoch_samples if self.epoch_samples else math.nan

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.epoch_samples = 0
        # Kept on the device: asking for its value every step would wait for the device every step.
        self.loss_sum = torch.zeros((), device=self.device)

    def _step(self, indices: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        outputs, labels = _forward(self.model, self.dataset, indices, self.device)
        loss = LOSSES[self.settings.loss](outputs, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.loss_sum += loss.detach() * len(indices)
        self.epoch_samples += len(indices)
        self.samples_seen += len(indices)


def _optimiser(
    model: nn.Module, manifest: ParameterManifest, settings: LocalTraining, step: float
) -> torch.optim.Optimizer:
    trainable = {entry.name for entry in manifest.entries}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InvalidModel(f"none of {', '.join(sorted(trainable))} is a parameter that can be trained")
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate * step,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def _forward(model: nn.Module, dataset: Dataset, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    chosen = indices.numpy()
    labels = dataset.labels[chosen]
    outputs: Tensor = model(torch.from_numpy(dataset.inputs[chosen]).to(device))
    # Checked on the host: on CUDA a label out of range aborts the whole process instead of raising.
    if labels.min() < 0 or labels.max() >= outputs.shape[1]:
        raise InvalidData(f"labels {labels.min()}..{labels.max()}: the model's outputs are 0..{outputs.shape[1] - 1}")
    return outputs, torch.from_numpy(labels).to(device)


def _batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise InvalidTerms(f"local training: {name} is {value}, expected {expected}")
