"""Local training: from the round's global parameters to this trainer's update."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidModel, InvalidTerms, InvalidUpdate
from market.protocol.manifest import ParameterManifest
from trainer_client.dataset import Dataset
from trainer_client.losses import ask, batch_loss, named_loss
from trainer_client.parameters import manifest_of, read_vector

CPU = torch.device("cpu")

MAX_EPOCHS = 10_000

MAX_FACTOR = 1e6
"""Largest learning rate, multiplier, penalty or norm: far beyond use, and products of them still fit into float32."""


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
        loss: a name in ``losses.LOSSES``.

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
        _require(1 <= self.epochs <= MAX_EPOCHS, "epochs", self.epochs, f"1..{MAX_EPOCHS}")
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
        named_loss(self.loss)


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
    """A model's fraction of right answers, in [0, 1], and mean loss over a data set.

    Answers are right or wrong where they are classes: labels, or next tokens. Elsewhere the fraction is NaN.
    """

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
    micro_batch: int | None = None,
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
        seed: of the order of the samples, and of the noise where the loss draws some.
        step: the round's multiplier on the learning rate, above 0 and at most 10^6.
        manifest: the trainable entries; all others are frozen. None trains everything.
        device: where to compute.
        micro_batch: samples of a batch that are differentiated at a time, where memory is short; None for all of them.
            The steps are the same up to the order of sums.
        progress: called after every epoch.
        should_stop: asked before every batch.

    Raises:
        InvalidUpdate: the loss or a parameter is no longer finite; the message names the epoch.
        InvalidData: samples of another kind than the loss takes, or that the model has no inputs or outputs for.
        InvalidModel: the manifest does not fit the model.
        InvalidTerms: the step is not above 0, or above 10^6, or the model does not learn by this loss.
    """
    _require(0 < step <= MAX_FACTOR, "step", step, f"above 0, at most {MAX_FACTOR:g}")
    layout = manifest or manifest_of(model)
    before = read_vector(model, layout)
    trained = copy.deepcopy(model).to(device)
    trained.train()
    run = _Run(trained, dataset, settings, _optimiser(trained, layout, settings, step), device, seed, micro_batch)
    finished = run.all_epochs(progress, should_stop)
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
        InvalidData: samples of another kind than the loss takes, or that the model has no inputs or outputs for.
        InvalidTerms: the loss is unknown, or the model does not learn by it.
    """
    compare = named_loss(loss)
    measured = copy.deepcopy(model).to(device).eval()
    right, classified, total_loss = 0, 0, 0.0
    with torch.no_grad():
        for indices in _batches(torch.arange(len(dataset)), batch_size):
            outputs, targets = ask(loss, measured, dataset.subset(indices.numpy()))
            total_loss += float(compare(outputs, targets)) * len(indices)
            if not targets.is_floating_point():
                right += int((outputs.argmax(dim=1) == targets).sum())
                classified += len(targets)
    return Evaluation(right / classified if classified else math.nan, total_loss / len(dataset))


class _Run:
    """One training in progress: the model being trained and the running sums of the epoch."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        settings: LocalTraining,
        optimiser: torch.optim.Optimizer,
        device: torch.device,
        seed: int,
        micro_batch: int | None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.settings = settings
        self.optimiser = optimiser
        self.device = device
        self.seed = seed
        self.micro_batch = micro_batch or settings.batch_size
        self.samples_seen = 0
        self._start_epoch(0)

    def all_epochs(self, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None) -> bool:
        """Train to the end, or until told to stop; return whether the end was reached."""
        generator = torch.Generator().manual_seed(self.seed)
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
        for part in _batches(indices, self.micro_batch):
            self._accumulate(part, len(indices))
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.epoch_samples += len(indices)
        self.samples_seen += len(indices)

    def _accumulate(self, indices: Tensor, batch: int) -> None:
        """Add a part's share of the gradient of a batch of so many samples."""
        # Every epoch draws other noise: from one draw a sample, the noise would be learnt by heart.
        noise_seed = self.seed * (MAX_EPOCHS + 1) + self.epoch
        loss = batch_loss(self.settings.loss, self.model, self.dataset.subset(indices.numpy()), seed=noise_seed)
        # A batch that is not split is not scaled either: the bits are those of its own mean.
        share = loss if len(indices) == batch else loss * (len(indices) / batch)
        share.backward()  # type: ignore[no-untyped-call]
        self.loss_sum += loss.detach() * len(indices)


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


def _batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise InvalidTerms(f"local training: {name} is {value}, expected {expected}")
