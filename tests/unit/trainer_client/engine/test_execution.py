"""The machine's choices: precision, compilation, samples at a time, determinism. None changes what is learnt."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainer_client.engine.compilation
import trainer_client.engine.memory
from market.protocol.errors import InvalidInput, InvalidModel
from trainer_client.data import Dataset, digits
from trainer_client.engine.compilation import TIMED, CompiledModel
from trainer_client.engine.execution import CPU, Execution, Precision
from trainer_client.engine.failures import failures_of
from trainer_client.engine.gradients import BatchGradient, BatchWork
from trainer_client.engine.memory import is_out_of_memory, samples_that_fit
from trainer_client.engine.run import Method
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.training import train
from trainer_client.models import build_model

SETTINGS = LocalTraining(epochs=2, batch_size=16, learning_rate=0.1, momentum=0.9)


@pytest.fixture(scope="module")
def images() -> Dataset:
    return digits().subset(np.arange(80))


@pytest.fixture
def model() -> nn.Module:
    return build_model("mlp", {"features": 64, "hidden": [16], "classes": 10}, 0)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "float8"},
        {"compile": "always"},
        {"micro_batch": 0},
        {"devices": ()},
        {"devices": (torch.device("cuda:0"), torch.device("cuda:0"))},
        {"devices": (torch.device("cuda:0"), CPU)},
        {"checkpoint_every_s": 0},
        {"checkpoint_every_s": float("nan")},
    ],
)
def test_a_choice_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Execution(**changes)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_fewer_bits_give_nearly_the_same_update(images: Dataset, model: nn.Module, precision: Precision) -> None:
    exact = train(model, images, SETTINGS, seed=0)
    short = train(model, images, SETTINGS, seed=0, execution=Execution(precision=precision))
    assert short.delta.tobytes() != exact.delta.tobytes()
    assert cosine(short.delta, exact.delta) > 0.99
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_step_that_overflows_is_left_out_and_the_next_ones_scaled_less(images: Dataset, model: nn.Module) -> None:
    with torch.no_grad():
        model.output.weight.mul_(3e3)  # type: ignore[union-attr, operator]
    work = BatchWork(
        model, list(model.parameters()), "cross_entropy", 80, 80, Execution(precision="float16", micro_batch=80)
    )
    gradient = BatchGradient(work)
    gradient.backward(images, 0)
    assert gradient.overflowed
    before = gradient.state()
    while gradient.overflowed:
        gradient.backward(images, 0)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    again = BatchGradient(work)
    again.load_state(gradient.state())
    assert torch.equal(again.state()["scale"], gradient.state()["scale"])
    assert gradient.state()["scale"] < before["scale"]


# ---------------------------------------------------------------------- memory


class Cramped(BatchGradient):
    """A machine whose memory holds so many samples."""

    holds = 5

    def loss_of(self, part: Dataset, seed: int) -> Tensor:
        if len(part) > self.holds:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return super().loss_of(part, seed)


def test_running_out_of_memory_halves_the_samples_and_loses_no_step(images: Dataset, model: nn.Module) -> None:
    told: list[str] = []
    usual = train(model, images, SETTINGS, seed=1)
    cramped = train(model, images, SETTINGS, seed=1, method=Method(gradients=Cramped), report=told.append)
    np.testing.assert_allclose(cramped.delta, usual.delta, atol=1e-5)
    assert cramped.samples_seen == usual.samples_seen
    assert told == [
        "out of memory with 16 samples at a time: going on with 8",
        "out of memory with 8 samples at a time: going on with 4",
    ]


def test_a_single_sample_that_does_not_fit_is_told_in_one_line(images: Dataset, model: nn.Module) -> None:
    class Tiny(Cramped):
        holds = 0

    with pytest.raises(InvalidModel, match="does not hold the training of the model on a single sample"):
        train(model, images, SETTINGS, seed=1, method=Method(gradients=Tiny), execution=Execution(micro_batch=4))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    "lack",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough"), MemoryError()],
)
def test_a_lack_of_memory_is_not_held_against_the_model(lack: Exception) -> None:
    """An exam that took it for the model's failure would be given up, where it is tried again."""
    with (
        pytest.raises(MemoryError, match="the memory of this machine does not hold the job's model"),
        failures_of(nn.Identity()),
    ):
        raise lack


def test_as_many_samples_are_taken_as_the_hosts_memory_holds(
    images: Dataset, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux kills whoever uses what it has granted: on the processor nothing is tried that will not fit."""
    usual = train(model, images, SETTINGS, seed=1)
    parameters = sum(4 * parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(trainer_client.engine.memory, "free_bytes", lambda: 2 * parameters + 8_000)
    told: list[str] = []
    result = train(model, images, SETTINGS, seed=1, report=told.append)
    np.testing.assert_allclose(result.delta, usual.delta, atol=1e-5)
    assert len(told) == 1
    assert "samples at a time" in told[0]


def test_activations_are_counted_once_each_and_buffers_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(100, 50, bias=False), nn.Tanh(), nn.BatchNorm1d(50))
    before = model[2].running_mean.clone()
    monkeypatch.setattr(trainer_client.engine.memory, "free_bytes", lambda: 10_000_000)
    fits = samples_that_fit(model, lambda: model(torch.rand(4, 100)).sum(), 4, 0)
    # A sample's input, and what tanh gave, which batch norm keeps as well: 600 bytes, and little for the batch.
    assert fits == pytest.approx(0.7 * 10_000_000 / (1.5 * 600), rel=0.3)
    assert torch.equal(model[2].running_mean, before)
    monkeypatch.setattr(trainer_client.engine.memory, "free_bytes", lambda: None)
    assert samples_that_fit(model, lambda: model(torch.rand(4, 100)).sum(), 4, 0) is None


# ---------------------------------------------------------------------- compilation


class Clock:
    """Compiled batches take another time than eager ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: nn.Module, eager_s: float, compiled_s: float) -> None:
        self.now, self.told = 0.0, list[str]()
        self.model, self.times = model, {False: eager_s, True: compiled_s}
        monkeypatch.setattr(model, "compile", lambda: setattr(model, "_compiled_call_impl", model.forward))
        monkeypatch.setattr(trainer_client.engine.compilation.time, "perf_counter", lambda: self.now)

    @property
    def is_compiled(self) -> bool:
        return self.model._compiled_call_impl is not None

    def batch(self) -> Tensor:
        self.now += self.times[self.is_compiled]
        return torch.zeros(())

    def run(self, batches: int, samples: int) -> CompiledModel:
        compiled = CompiledModel(self.model, "auto", CPU, samples, self.told.append)
        for _ in range(batches):
            compiled.run(1, self.batch)
        return compiled


def test_a_model_that_is_faster_compiled_stays_so(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, model, eager_s=1.0, compiled_s=0.5)
    compiled = clock.run(2 * TIMED + 2, samples=1000)
    assert clock.is_compiled
    assert clock.told == ["the model is compiled: 500 ms a sample compiled, 1e+03 ms otherwise"]
    compiled.close()
    assert not clock.is_compiled


def test_a_model_that_is_not_faster_compiled_is_not(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, model, eager_s=1.0, compiled_s=0.97)
    clock.run(2 * TIMED + 2, samples=1000)
    assert not clock.is_compiled
    assert clock.told == ["compiling does not help: 970 ms a sample compiled, 1e+03 ms otherwise"]


def test_a_short_training_is_not_worth_a_compilers_time(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, model, eager_s=0.01, compiled_s=0.001)
    clock.run(50, samples=1000)
    assert not clock.is_compiled
    assert clock.told == []


def test_a_compiler_that_fails_costs_a_line_and_no_step(
    images: Dataset, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> Tensor:
        raise RuntimeError("no C++ compiler")

    usual = train(model, images, SETTINGS, seed=2)
    monkeypatch.setattr(nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", refusing))
    told: list[str] = []
    result = train(model, images, SETTINGS, seed=2, execution=Execution(compile="on"), report=told.append)
    assert result.delta.tobytes() == usual.delta.tobytes()
    assert told == ["the model cannot be compiled (RuntimeError): going on without"]


def test_a_gradient_of_its_own_kind_may_refuse_to_be_compiled(
    images: Dataset, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(BatchGradient):
        compiles = False

    def never(_: nn.Module) -> None:
        raise AssertionError

    monkeypatch.setattr(nn.Module, "compile", never)
    train(model, images, SETTINGS, seed=2, execution=Execution(compile="on"), method=Method(gradients=Own))


# ---------------------------------------------------------------------- determinism


def test_an_operator_without_a_deterministic_algorithm_is_named(images: Dataset, model: nn.Module) -> None:
    class Refusing(BatchGradient):
        def loss_of(self, part: Dataset, seed: int) -> Tensor:
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError("put_ does not have a deterministic implementation, but you set ...")

    deterministic = Execution(deterministic=True)
    with pytest.raises(InvalidInput, match=r"put_ has no deterministic algorithm here: train without --deterministic"):
        train(model, images, SETTINGS, seed=0, execution=deterministic, method=Method(gradients=Refusing))
    assert not torch.are_deterministic_algorithms_enabled()


def test_on_the_processor_it_is_deterministic_anyhow(images: Dataset, model: nn.Module) -> None:
    usual = train(model, images, SETTINGS, seed=0)
    strict = train(model, images, SETTINGS, seed=0, execution=replace(Execution(), deterministic=True))
    assert strict.delta.tobytes() == usual.delta.tobytes()


def test_reading_ahead_passes_errors_on(model: nn.Module) -> None:
    class Broken(Dataset):
        def subset(self, indices: Any) -> Dataset:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(model, Broken(np.zeros((4, 64), np.float32), np.zeros(4, np.int64)), SETTINGS, seed=0)


def test_reading_ahead_ends_with_the_training(images: Dataset, model: nn.Module) -> None:
    asked = count()
    train(model, images, SETTINGS, seed=0, should_stop=lambda: next(asked) == 1)
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]
