"""How well a model does on samples that it was not trained on."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from trainer_client.data import Samples
from trainer_client.engine.execution import CPU
from trainer_client.engine.failures import failures_of
from trainer_client.losses import ask, named_loss


@dataclass(frozen=True)
class Evaluation:
    """A model's fraction of right answers, in [0, 1], and mean loss over a data set.

    Answers are right or wrong where they are classes: labels, or next tokens. Elsewhere the fraction is NaN.
    """

    accuracy: float
    loss: float


def evaluate(
    model: nn.Module,
    dataset: Samples,
    *,
    loss: str = "cross_entropy",
    device: torch.device = CPU,
    batch_size: int = 1024,
) -> Evaluation:
    """Measure a model on a data set, in evaluation mode; the model is left as it was.

    Raises:
        InvalidData: samples of another kind than the loss takes, or that the model has no inputs or outputs for.
        InvalidTerms: the loss is unknown, or the model does not learn by it.
        InvalidModel: a stranger's model fails on these samples.
        MemoryError: the memory does not hold so many at a time.
    """
    compare = named_loss(loss)
    measured = copy.deepcopy(model).to(device).eval()
    right, classified, total_loss = 0, 0, 0.0
    with torch.no_grad():
        for indices in torch.split(torch.arange(len(dataset)), batch_size):
            with failures_of(measured):
                outputs, targets = ask(loss, measured, dataset.subset(indices.numpy()))
            total_loss += float(compare(outputs, targets)) * len(indices)
            if not targets.is_floating_point():
                right += int((outputs.argmax(dim=1) == targets).sum())
                classified += len(targets)
    return Evaluation(right / classified if classified else math.nan, total_loss / len(dataset))
