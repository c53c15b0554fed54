from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from market.protocol.errors import InvalidData, InvalidInput, InvalidModel, InvalidTerms, InvalidUpdate
from trainer_client.data import Dataset, digits
from trainer_client.engine.execution import CPU, Execution
from trainer_client.engine.gradients import BatchWork
from trainer_client.engine.prefetch import EmptyBatch
from trainer_client.engine.run import Method
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.training import train
from trainer_client.losses import batch_loss
from trainer_client.models import build_model
from trainer_client.privacy.accounting import Steps, most_signal
from trainer_client.privacy.chance import SecretChance
from trainer_client.privacy.gradient import PrivateGradient
from trainer_client.privacy.ledger import Place, Plan
from trainer_client.privacy.sample_gradients import SampleGradients
from trainer_client.privacy.sampling import PoissonSampling
from trainer_client.privacy.settings import NoiseChoice

PLAN = Plan(Place(1, "0xabc", 0, 0), noise_multiplier=1.0, sample_rate=0.1, steps=100, clip=0.5)
QUIET = replace(PLAN, noise_multiplier=1e-300)


@pytest.fixture(scope="module")
def images() -> Dataset:
    return digits().subset(np.arange(24))


@pytest.fixture
def model() -> nn.Module:
    return build_model("mlp", {"features": 64, "hidden": [8], "classes": 10}, 0).train()


def private(model: nn.Module, plan: Plan = PLAN, loss: str = "cross_entropy", **execution: Any) -> PrivateGradient:
    work = BatchWork(model, list(model.parameters()), loss, 24, 240, Execution(**execution))
    return PrivateGradient(work, plan, SecretChance())


def gradients_of(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def tokens() -> Dataset:
    return Dataset(np.random.default_rng(0).integers(0, 20, (5, 9)))


def values(columns: int) -> Dataset:
    return Dataset(np.random.default_rng(0).random((5, columns), np.float32))


GENERATIVE = {"features": 12, "hidden": [8]}
KINDS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("mlp", "cross_entropy", {"features": 64, "hidden": [8], "classes": 10}, digits),
    ("cnn", "mse", {"channels": 1, "height": 8, "width": 8, "classes": 10}, digits),
    ("resnet_small", "huber", {"channels": 1, "height": 8, "width": 8, "classes": 10}, digits),
    ("text_transformer", "next_token", {"vocabulary": 20, "context": 8}, tokens),
    ("autoencoder", "reconstruction", {**GENERATIVE, "code": 3}, lambda: values(12)),
    ("variational_autoencoder", "evidence_bound", {**GENERATIVE, "code": 3}, lambda: values(12)),
    ("denoiser", "noise_prediction", {**GENERATIVE, "steps": 30}, lambda: values(12)),
]


@pytest.mark.parametrize(("name", "loss", "arguments", "data"), KINDS, ids=[kind[0] for kind in KINDS])
def test_each_samples_gradient_is_the_one_that_it_has_alone(
    name: str, loss: str, arguments: dict[str, Any], data: Any
) -> None:
    model, batch = build_model(name, arguments, 0).train(), data().subset(np.arange(4))
    each, losses = SampleGradients(model, list(model.parameters()), loss)(batch, 7)
    for index in range(4):
        alone = batch_loss(loss, model, batch.subset(np.array([index])), seed=7)
        expected = torch.autograd.grad(alone, list(model.parameters()))
        assert float(losses[index]) == pytest.approx(alone.item(), rel=1e-5)
        for found, right in zip(each, expected, strict=True):
            torch.testing.assert_close(found[index], right, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_clipping_is_that_of_opacus(images: Dataset, model: nn.Module) -> None:
    gradient = private(model, QUIET)
    gradient.backward(images, 0)
    ours = gradients_of(model)
    inner = build_model("mlp", {"features": 64, "hidden": [8], "classes": 10}, 0)
    theirs = GradSampleModule(inner)
    optimizer = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=1.0), noise_multiplier=0.0, max_grad_norm=0.5, expected_batch_size=24
    )
    outputs = theirs(torch.from_numpy(images.inputs))
    nn.functional.cross_entropy(outputs, torch.from_numpy(images.labels)).backward()
    optimizer.pre_step()
    for mine, parameter in zip(ours, inner.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-7)


def test_no_sample_moves_the_sum_by_more_than_the_clip(images: Dataset, model: nn.Module) -> None:
    wild = images.inputs.copy()
    wild[3] *= 1e6
    for batch in (images, Dataset(wild, images.targets)):
        private(model, QUIET).backward(batch, 0)
        with_all = torch.cat([part.flatten() for part in gradients_of(model)])
        private(model, QUIET).backward(batch.subset(np.delete(np.arange(24), 3)), 0)
        without = torch.cat([part.flatten() for part in gradients_of(model)])
        assert float((with_all - without).norm()) * 24 <= 0.5 + 1e-5


def test_a_sample_without_a_finite_gradient_counts_for_nothing(images: Dataset, model: nn.Module) -> None:
    broken = images.inputs.copy()
    broken[3] = 3e38
    loss = private(model, QUIET).backward(Dataset(broken, images.targets), 0)
    found = gradients_of(model)
    private(model, QUIET).backward(images.subset(np.delete(np.arange(24), 3)), 0)
    assert torch.isfinite(loss)
    for mine, right in zip(found, gradients_of(model), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-7)


def test_a_few_samples_at_a_time_give_the_same(images: Dataset, model: nn.Module) -> None:
    private(model, QUIET).backward(images, 0)
    whole = gradients_of(model)
    private(model, QUIET, micro_batch=5).backward(images, 0)
    for mine, right in zip(gradients_of(model), whole, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-7)


def test_memory_that_runs_out_halves_the_samples_at_a_time(
    images: Dataset, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(model, QUIET).backward(images, 0)
    whole, told = gradients_of(model), []
    work = BatchWork(model, list(model.parameters()), "cross_entropy", 24, 240, Execution(), told.append)
    gradient, real = PrivateGradient(work, QUIET, SecretChance()), SampleGradients.__call__

    def little(self: SampleGradients, batch: Dataset, seed: int) -> Any:
        if len(batch) > 6:
            raise MemoryError
        return real(self, batch, seed)

    monkeypatch.setattr(SampleGradients, "__call__", little)
    gradient.backward(images, 0)
    for mine, right in zip(gradients_of(model), whole, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-7)
    assert told[-1] == "out of memory with 12 samples' gradients at a time: going on with 6"


def test_the_noise_is_normal_of_the_deviation_that_is_accounted_for(model: nn.Module) -> None:
    gradient = private(model, replace(PLAN, noise_multiplier=3.0))
    empty = EmptyBatch.like(values(64))
    drawn = []
    for _ in range(20):
        assert float(gradient.backward(EmptyBatch.like(values(64)), 0)) == 0
        drawn.append(torch.cat([part.flatten() for part in gradients_of(model)]))
    noise = torch.stack(drawn).double() * 24 / (3.0 * 0.5)
    assert len(empty) == 0
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert float((noise.abs() > 1.96).double().mean()) == pytest.approx(0.05, abs=0.01)
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.3)


def test_no_more_of_an_update_points_along_the_samples_than_the_bound_says(model: nn.Module, images: Dataset) -> None:
    """Of one sample, many times over: all gradients point one way."""
    alike = images.subset(np.zeros(24, np.int64))
    private(model, replace(QUIET, clip=1e-3)).backward(alike, 0)
    own = torch.cat([part.flatten() for part in gradients_of(model)])
    for noise in (0.3, 3.0, 30.0):
        gradient, moved = private(model, replace(PLAN, noise_multiplier=noise, clip=1e-3)), torch.zeros_like(own)
        for _ in range(9):
            gradient.backward(alike.subset(np.arange(24)), 0)
            moved += torch.cat([part.flatten() for part in gradients_of(model)])
        bound = most_signal(Steps(noise, PLAN.sample_rate, 9), 240, len(own))
        found = float(nn.functional.cosine_similarity(own, moved, dim=0))
        assert found == pytest.approx(bound, abs=4 / len(own) ** 0.5)


def test_noise_is_never_that_of_another_process_or_seed() -> None:
    torch.manual_seed(5)
    first = SecretChance().normal(100)
    torch.manual_seed(5)
    assert not torch.equal(first, SecretChance().normal(100))
    assert torch.equal(SecretChance(b"k" * 32).normal(101), SecretChance(b"k" * 32).normal(101))
    chance = SecretChance()
    assert not torch.equal(chance.normal(100), chance.normal(100))
    assert chance.normal((1 << 20) + 3).shape == ((1 << 20) + 3,)


def test_every_sample_is_in_every_batch_with_the_same_probability() -> None:
    sampling, generator = PoissonSampling(SecretChance()), torch.Generator().manual_seed(0)
    assert (sampling.steps(1000, 64), sampling.rate(1000, 64)) == (16, 1 / 16)
    counts, sizes = np.zeros(1000), []
    for _ in range(50):
        for batch in sampling.batches(1000, 64, None, generator):
            counts[batch.numpy()] += 1
            sizes.append(len(batch))
    assert len(sizes) == 800
    assert counts.mean() == pytest.approx(50, abs=1)
    assert counts.std() == pytest.approx(np.sqrt(800 / 16 * 15 / 16), rel=0.15)
    assert np.std(sizes) == pytest.approx(np.sqrt(1000 / 16 * 15 / 16), rel=0.15)


class EmptyAtFirst(PoissonSampling):
    """Draws what one time in many is drawn: nobody for the first step, here everybody for the others."""

    def batches(self, samples: int, *_: Any) -> Iterator[Tensor]:
        yield torch.arange(0)
        yield from [torch.arange(samples)] * 3


def test_dropout_stays_secret_where_the_first_batch_is_empty(images: Dataset) -> None:
    """A batch of nobody draws nothing: taken for a model that never draws, its masks were those of a known seed."""

    def moved() -> NDArray[np.float32]:
        model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.1)
        method = Method(
            gradients=partial(PrivateGradient, plan=QUIET, chance=SecretChance()),
            sampling=EmptyAtFirst(SecretChance()),
            secret=os.urandom,
        )
        torch.manual_seed(5)
        known = torch.get_rng_state()
        delta = train(model, images, LocalTraining(epochs=1, batch_size=6, learning_rate=0.1), seed=1, method=method)
        assert torch.equal(torch.get_rng_state(), known)
        return delta.delta

    assert not np.array_equal(moved(), moved())


def test_an_order_of_the_samples_is_refused() -> None:
    sampling = PoissonSampling(SecretChance())
    with pytest.raises(InvalidTerms, match="the objective orders the samples"):
        next(sampling.batches(10, 2, torch.arange(10), torch.Generator()))


def test_a_second_look_at_a_batch_is_refused(images: Dataset, model: nn.Module) -> None:
    gradient = private(model)
    gradient.backward(images, 0)
    with pytest.raises(InvalidTerms, match="two gradients of one batch, and only one is accounted for"):
        gradient.backward(images, 0)


def test_no_more_gradients_are_given_than_were_reserved(images: Dataset, model: nn.Module) -> None:
    gradient = private(model, replace(PLAN, steps=2))
    for part in (images.subset(np.arange(3)), images.subset(np.arange(4))):
        gradient.backward(part, 0)
    resumed = private(model, replace(PLAN, steps=2))
    resumed.load_state(gradient.state())
    for used_up in (gradient, resumed):
        with pytest.raises(InvalidUpdate, match="all 2 reserved steps are taken"):
            used_up.backward(images, 0)


class Statistics(nn.Module):
    """Keeps the mean of what it saw, by other means than the usual layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.count += 1
        outputs: Tensor = self.inner(inputs)
        return outputs


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs)
        return outputs if inputs.sum() > 0 else -outputs


@pytest.mark.parametrize(
    ("refused", "problem"),
    [
        (nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10)), r"layer 1 is a BatchNorm1d, which mixes the samples"),
        (nn.Sequential(nn.InstanceNorm1d(8, track_running_stats=True)), r"layer 0 is a InstanceNorm1d"),
        (Statistics(), "a buffer of the model changes with the samples"),
        (Branching(), "the model cannot be differentiated a sample at a time"),
    ],
    ids=["batch norm", "instance norm", "own statistics", "branches"],
)
def test_a_model_that_tells_of_samples_by_other_ways_is_refused(
    refused: nn.Module, problem: str, images: Dataset
) -> None:
    with pytest.raises(InvalidModel, match=f"privacy: {problem}"):
        private(refused).backward(images, 0)


def test_bfloat16_gives_nearly_the_same_and_float16_is_refused(images: Dataset, model: nn.Module) -> None:
    private(model, QUIET).backward(images, 0)
    exact = torch.cat([part.flatten() for part in gradients_of(model)])
    private(model, QUIET, precision="bfloat16").backward(images, 0)
    rounded = torch.cat([part.flatten() for part in gradients_of(model)])
    assert float(nn.functional.cosine_similarity(exact, rounded, dim=0)) > 0.99
    for execution in ({"precision": "float16"}, {"devices": (CPU, CPU)}):
        with pytest.raises(InvalidInput, match=r"privacy: .*expected"):
            private(model, **execution)


def test_labels_beyond_the_classes_are_told_before_anything_is_computed(images: Dataset, model: nn.Module) -> None:
    wrong = Dataset(images.inputs, np.full(24, 10))
    with pytest.raises(InvalidData, match=r"labels 10\.\.10: the model's outputs are 0..9"):
        private(model).backward(wrong, 0)


class Scaled(nn.Module):
    """With a parameter that is a single number, as a learnt temperature is."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs) * self.scale
        return outputs


def test_a_parameter_that_is_a_single_number_is_clipped_with_the_others(images: Dataset) -> None:
    model = Scaled()
    private(model, replace(QUIET, clip=1e6)).backward(images, 0)
    found = gradients_of(model)
    model.zero_grad()
    batch_loss("cross_entropy", model, images).backward()  # type: ignore[no-untyped-call]
    for mine, right in zip(found, gradients_of(model), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-6)
    private(model, QUIET).backward(images, 0)
    assert float(torch.cat([part.flatten() for part in gradients_of(model)]).norm()) <= 0.5


def test_a_clip_so_small_that_its_noise_has_few_values_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"clip is 1e-42, expected 1e-06\.\.1,000,000"):
        NoiseChoice(clip=1e-42)
