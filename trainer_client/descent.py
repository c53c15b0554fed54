"""Full-batch gradient descent that whoever has the samples can repeat, up to the order of sums."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidData
from market.protocol.manifest import ParameterManifest
from trainer_client.dataset import Dataset
from trainer_client.engine.failures import failures_of
from trainer_client.losses import exam_loss

Floats = NDArray[np.float64]

WORSE = 1 + 1e-9
"""Up to this factor, a loss that grew did so by rounding."""


@dataclass(frozen=True)
class Descent:
    """How a slice's own training result is computed.

    Attributes:
        steps: each over all samples.
        rate: of a step.
        momentum: in [0, 1).
        clip_norm: largest norm of a gradient, or None.
    """

    steps: int = 40
    rate: float = 0.1
    momentum: float = 0.0
    clip_norm: float | None = None


class FullBatch:
    """The mean loss of samples as a function of a model's trained parameters: float64, on the CPU, in evaluation mode.

    Args:
        module: with the parameters to start from; it is left as it is.
        manifest: the entries that move.
        loss: a name in ``losses.LOSSES``.
        dataset: the samples.
        micro_batch: samples differentiated at a time, so that memory does not grow with their number.
    """

    def __init__(
        self, module: nn.Module, manifest: ParameterManifest, loss: str, dataset: Dataset, micro_batch: int
    ) -> None:
        self._module = copy.deepcopy(module).to(device="cpu", dtype=torch.float64).eval()
        self._manifest = manifest
        self._loss = loss
        self._dataset = dataset
        self._micro_batch = micro_batch
        self._parameters = dict(self._module.named_parameters())
        chosen = {entry.name for entry in manifest.entries}
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in chosen)
        self.dimension, self.samples = manifest.dimension, len(dataset)
        self._start = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def at(self, moved: Floats) -> tuple[float, Floats]:
        """The mean loss and its gradient, (d,), where the parameters are moved so far from the start, (d,).

        Entries of the manifest that no gradient reaches, such as buffers, have one of zero.

        Raises:
            InvalidData: the samples do not fit the model.
        """
        self._move(moved)
        total, count = 0.0, self.samples
        for start in range(0, count, self._micro_batch):
            batch = self._dataset.subset(np.arange(start, min(start + self._micro_batch, count)))
            # The batch's mean, weighted by its share: these add up to the whole set's mean.
            with failures_of(self._module):
                loss = exam_loss(self._loss, self._module, batch) * (len(batch) / count)
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total, self._gradient()

    def _move(self, moved: Floats) -> None:
        for entry in self._manifest.entries:
            parameter = self._parameters.get(entry.name)
            if parameter is not None:
                part = torch.from_numpy(moved[entry.offset : entry.offset + entry.size]).reshape(parameter.shape)
                parameter.data.copy_(self._start[entry.name] + part)
                parameter.grad = None

    def _gradient(self) -> Floats:
        vector = np.zeros(self._manifest.dimension, dtype=np.float64)
        for entry in self._manifest.entries:
            parameter = self._parameters.get(entry.name)
            gradient: Tensor | None = None if parameter is None else parameter.grad
            if gradient is not None:
                vector[entry.offset : entry.offset + entry.size] = gradient.reshape(-1).numpy()
        return vector


def descend(batch: FullBatch, descent: Descent) -> Floats:
    """How far gradient descent with momentum moves the parameters, float64 (d,).

    What has moved is summed apart from the parameters: little is not lost beside much.

    Raises:
        InvalidData: the gradient at the start is zero or not finite, the descent diverges, or it ends worse than it
            began: it asks for nothing that helps with the samples; or they do not fit the model.
    """
    loss, gradient = first, start = batch.at(np.zeros(batch.dimension))
    _check_start(batch, start)
    moved, velocity = np.zeros(batch.dimension), np.zeros(batch.dimension)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(descent.steps):
            if step:
                loss, gradient = batch.at(moved)
            velocity = descent.momentum * velocity + _clipped(gradient, descent.clip_norm)
            moved = moved - descent.rate * velocity
            if not np.isfinite(moved).all() or not math.isfinite(loss):
                raise _diverged(batch, descent, f"is no longer finite after {step + 1} steps")
    if loss > first * WORSE:
        raise _diverged(batch, descent, f"takes their loss from {first:.4g} to {loss:.4g}")
    return moved


def _clipped(gradient: Floats, clip_norm: float | None) -> Floats:
    norm = float(np.linalg.norm(gradient))
    return gradient if clip_norm is None or norm <= clip_norm else gradient * (clip_norm / norm)


def _check_start(batch: FullBatch, gradient: Floats) -> None:
    if not np.isfinite(gradient).all():
        raise InvalidData(f"the exam's {batch.samples} samples have a gradient that is not finite at this model")
    if not gradient.any():
        raise InvalidData(f"the exam's {batch.samples} samples have a gradient of zero at this model: no exam is set")


def _diverged(batch: FullBatch, descent: Descent, what: str) -> InvalidData:
    return InvalidData(
        f"training on the exam's {batch.samples} samples {what}, at a rate of {descent.rate:g} and a momentum of "
        f"{descent.momentum:g}: no exam is set; the job's exam.rate is too large for it"
    )
