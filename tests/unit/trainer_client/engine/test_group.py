"""Several devices give what one gives, up to the order of sums."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from market.protocol.errors import InvalidInput, InvalidModel
from trainer_client.data import digits
from trainer_client.engine.checkpoint import Checkpoint
from trainer_client.engine.execution import CPU, Execution
from trainer_client.engine.gradients import BatchGradient
from trainer_client.engine.objective import Objective, RunView
from trainer_client.engine.run import Method
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.training import train
from trainer_client.models import build_model

TWO = Execution(devices=(CPU, CPU))


class Proximal(Objective):
    """Pulls the parameters back to where they were."""

    def begin(self, run: RunView) -> None:
        self.parameters = run.parameters
        self.start = [parameter.detach().clone() for parameter in run.parameters]

    def gradient(self, backward: Callable[[], Tensor]) -> Tensor:
        loss = backward()
        for parameter, start in zip(self.parameters, self.start, strict=True):
            assert parameter.grad is not None
            parameter.grad.add_(parameter.detach() - start, alpha=0.1)
        return loss


def lose_the_other() -> None:
    if multiprocessing.parent_process() is None:
        [other] = multiprocessing.active_children()
        other.kill()
        other.join()


class Losing(Objective):
    """Loses the other device within its third step."""

    steps = 0

    def gradient(self, backward: Callable[[], Tensor]) -> Tensor:
        self.steps += 1
        if self.steps == 3:
            lose_the_other()
        return backward()


@pytest.mark.parametrize("moment", ["between steps", "within a step"])
def test_a_device_that_fails_is_told_as_that_and_nothing_is_left_behind(moment: str) -> None:
    """Not as a failure of the job's model."""
    asked = count()

    def should_stop() -> bool:
        if moment == "between steps" and next(asked) == 3:
            lose_the_other()
        return False

    model = build_model("mlp", {"features": 64, "hidden": [16], "classes": 10}, 0)
    settings = LocalTraining(epochs=5, batch_size=8, learning_rate=0.1)
    method = Method(Losing() if moment == "within a step" else Objective())
    with pytest.raises(InvalidInput, match="the devices lost touch with each other"):
        train(model, digits(), settings, seed=3, execution=TWO, method=method, should_stop=should_stop)
    assert not multiprocessing.active_children()


class FailingElsewhere(nn.Module):
    """Cannot be computed on the other device's share of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        if multiprocessing.parent_process() is not None:
            raise IndexError("index out of range in self")
        outputs: Tensor = self.inner(inputs)
        return outputs


def test_a_model_that_fails_on_another_device_is_told_as_on_this_one() -> None:
    settings = LocalTraining(epochs=1, batch_size=8, learning_rate=0.1)
    with pytest.raises(InvalidModel, match="the job's model cannot be computed on these samples: index out of range"):
        train(FailingElsewhere(), digits(), settings, seed=3, execution=TWO)
    assert not multiprocessing.active_children()


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    # 33 samples in batches of 8: the last batch is one sample, of which one of the two has no share.
    images = digits().subset(np.arange(33))
    model = build_model("mlp", {"features": 64, "hidden": [16], "classes": 10}, 0)
    settings = LocalTraining(epochs=2, batch_size=8, learning_rate=0.1, momentum=0.9, clip_norm=1.0)
    alone = train(model, images, settings, seed=3, method=Method(Proximal()))
    asked = count()
    checkpoint = Checkpoint(tmp_path / "training.safetensors", "job 1, attempt 0")
    often = replace(TWO, checkpoint_every_s=1e-9, micro_batch=3)
    stopped = train(
        model,
        images,
        settings,
        seed=3,
        execution=often,
        method=Method(Proximal()),
        checkpoint=checkpoint,
        should_stop=lambda: next(asked) == 3,
    )
    assert (stopped.samples_seen, stopped.finished) == (24, False)
    told: list[tuple[int, int]] = []
    went_on = train(
        model,
        images,
        settings,
        seed=3,
        execution=TWO,
        method=Method(Proximal()),
        checkpoint=checkpoint,
        progress=lambda progress: told.append((progress.epoch, progress.samples_seen)),
    )
    np.testing.assert_allclose(went_on.delta, alone.delta, atol=1e-6)
    assert went_on.loss == pytest.approx(alone.loss, rel=1e-5)
    assert (went_on.samples_seen, went_on.finished) == (66, True)
    assert {(1, 33), (2, 66)} <= set(told)
    assert not multiprocessing.active_children()


def test_a_gradient_of_its_own_kind_is_not_shared() -> None:
    class Own(BatchGradient):
        pass

    model = build_model("mlp", {"features": 64, "hidden": [16], "classes": 10}, 0)
    with pytest.raises(InvalidInput, match="2 devices: this way of training takes one"):
        train(model, digits(), LocalTraining(), seed=0, execution=TWO, method=Method(gradients=Own))
