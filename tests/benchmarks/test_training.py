"""The training engine beside the plain PyTorch loop: speed in one run, in turns; memory, each in a process of its own.

The plain loop has its samples as tensors, draws a permutation, and takes steps. Same model, batch, precision, data.
What the engine does once a round, before the first step and after the last, is shown apart.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from market.protocol.manifest import ParameterManifest
from trainer_client.data import Dataset
from trainer_client.engine.execution import Execution, Precision
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.training import train
from trainer_client.parameters import manifest_of
from trainer_client.text_transformer import TextTransformer

LEAST_RATIO = 0.97
"""Of the plain loop's speed; on a processor by its own time, which other work on the machine does not change."""

TURNS = 9

GPU: Final = torch.cuda.is_available()
DEVICE: Final = torch.device("cuda:0" if GPU else "cpu")


class Images(nn.Module):
    """ResNet-18 of `transformers`, 11.7 million parameters, on rows of 3x224x224 values."""

    def __init__(self) -> None:
        from transformers import ResNetConfig, ResNetForImageClassification

        super().__init__()
        config = ResNetConfig(
            depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", embedding_size=64
        )
        config.num_labels = 1000
        self.network = ResNetForImageClassification(config)

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.network(rows.reshape(-1, 3, 224, 224)).logits
        return scores


class Gpt(TextTransformer):
    """GPT-2 of `transformers`, 124 million parameters, with or without adapters of rank 8 (LoRA, arXiv:2106.09685)."""

    def __init__(self, *, adapters: bool) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import GPT2Config, GPT2LMHeadModel

        nn.Module.__init__(self)
        config = GPT2Config(use_cache=False)
        self.vocabulary = config.vocab_size
        network = GPT2LMHeadModel(config)
        adaption = LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn"], fan_in_fan_out=True)
        self.network = get_peft_model(network, adaption) if adapters else network

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.network(input_ids=tokens).logits
        return scores


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
        name: of the model.
        batch: samples of a step, on the processor and on a GPU.
        steps: of a turn.
        precision: of the forward pass.
    """

    name: str
    batch: tuple[int, int]
    steps: int
    precision: Precision = "float32"

    @property
    def batch_size(self) -> int:
        return self.batch[GPU]

    @property
    def execution(self) -> Execution:
        return Execution(precision=self.precision, devices=(DEVICE,), micro_batch=self.batch_size)

    def settings(self, epochs: int = 1) -> LocalTraining:
        loss = "cross_entropy" if self.name == "ResNet-18" else "next_token"
        return LocalTraining(epochs, self.batch_size, learning_rate=0.01, momentum=0.9, loss=loss)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return Images() if self.name == "ResNet-18" else Gpt(adapters="LoRA" in self.name)

    def manifest(self, model: nn.Module) -> ParameterManifest:
        return manifest_of(model, ["*lora_*"] if "LoRA" in self.name else None)

    def dataset(self) -> Dataset:
        draw, samples = np.random.default_rng(0), self.batch_size * self.steps
        if self.name == "ResNet-18":
            inputs = draw.standard_normal((samples, 3 * 224 * 224), np.float32)
            return Dataset(inputs, draw.integers(0, 1000, samples))
        return Dataset(draw.integers(0, 50_257, (samples, 513 if GPU else 33)))


WORKS = (
    Work("ResNet-18", (4, 128), 32 if GPU else 6),
    *([Work("ResNet-18", (4, 128), 32, "bfloat16"), Work("GPT-2", (1, 16), 32, "bfloat16")] if GPU else []),
    Work("GPT-2 with LoRA", (1, 16), 32 if GPU else 5),
    Work("GPT-2", (1, 16), 32 if GPU else 5),
)
"""On a processor bfloat16 is emulated more often than not, and says nothing of the engine."""


# ---------------------------------------------------------------------- the two loops


def plain(work: Work, model: nn.Module, dataset: Dataset, step_done: Callable[[], object]) -> None:
    """The loop of every tutorial."""
    names = {entry.name for entry in work.manifest(model).entries}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    model.to(DEVICE).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    inputs = torch.from_numpy(dataset.inputs)
    labels = None if dataset.targets is None else torch.from_numpy(dataset.targets)
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(work.precision)
    for indices in torch.split(torch.randperm(len(dataset)), work.batch_size):
        step_done()
        batch = inputs[indices].to(DEVICE)
        optimiser.zero_grad()
        with torch.autocast(DEVICE.type, dtype) if dtype else nullcontext():
            if labels is None:
                outputs = model(batch[:, :-1])
                loss = functional.cross_entropy(outputs.reshape(-1, outputs.shape[2]), batch[:, 1:].reshape(-1))
            else:
                loss = functional.cross_entropy(model(batch), labels[indices].to(DEVICE))
        torch.autograd.backward(loss)
        optimiser.step()


def engine(work: Work, model: nn.Module, dataset: Dataset, step_done: Callable[[], object]) -> None:
    """The same by the engine, in place; asked before every batch whether it is to stop, as in a round."""

    def should_stop() -> bool:
        step_done()
        return False

    train(
        model,
        dataset,
        work.settings(),
        seed=0,
        manifest=work.manifest(model),
        execution=work.execution,
        in_place=True,
        report=print,
        should_stop=should_stop,
    )


LOOPS = {"plain": plain, "engine": engine}


# ---------------------------------------------------------------------- speed


@dataclass
class Timed:
    """What the turns of one loop took: a number a turn.

    Attributes:
        steps: seconds of a step, the median of a turn.
        processor: seconds of the processor of a step, of all threads: other work on the machine changes it less.
        beside: seconds of a turn beside its steps.
    """

    steps: list[float]
    processor: list[float]
    beside: list[float]


def timed(work: Work) -> dict[str, Timed]:
    """Steps and turns of both loops, in pairs of turns that begin with either, after a pair to warm up.

    The first step of a turn is left out.
    """
    model, dataset = work.model(), work.dataset()
    results = {name: Timed([], [], []) for name in LOOPS}
    for turn in range(TURNS + 1):
        for name, loop in sorted(LOOPS.items(), reverse=bool(turn % 2)):
            marks: list[float] = []
            busy: list[float] = []

            def step_done(marks: list[float] = marks, busy: list[float] = busy) -> None:
                if GPU and len(marks) in (1, work.steps - 1):
                    torch.cuda.synchronize()
                marks.append(time.perf_counter())
                busy.append(time.process_time())

            begun = time.perf_counter()
            loop(work, model, dataset, step_done)
            whole = time.perf_counter() - begun
            if turn:
                steps = np.diff(marks)[1:]
                results[name].steps.append(float(steps.mean() if GPU else np.median(steps)))
                results[name].processor.append(float(np.median(np.diff(busy)[1:])))
                results[name].beside.append(whole - len(marks) * float(np.median(steps)))
    return results


def share(plain: Sequence[float], engine: Sequence[float]) -> float:
    """The engine's speed as a share of the plain loop's: the median over pairs of turns, one right after the other.

    The machine's own speed drifts by more than they differ; within a pair it hardly does.
    """
    return statistics.median(one / other for one, other in zip(plain, engine, strict=True))


# ---------------------------------------------------------------------- memory


@contextmanager
def peak(found: list[int]) -> Iterator[None]:
    """The most memory that is taken meanwhile: a GPU's, or what this process has that is no file."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            found.append(anonymous_bytes())

    thread = threading.Thread(target=watch)
    if GPU:
        torch.cuda.reset_peak_memory_stats()
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if GPU:
            found[:] = [torch.cuda.max_memory_allocated()]


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def _measured(work: Work, loop: str, answer: Any) -> None:
    model, dataset, found = work.model(), work.dataset(), [0]
    with peak(found):
        LOOPS[loop](work, model, dataset, lambda: None)
    answer.send(max(found))


def peak_bytes(work: Work, loop: str) -> int:
    """The most memory of a loop in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    process = spawn.Process(target=_measured, args=(work, loop, theirs))
    process.start()
    found = int(mine.recv())
    process.join()
    return found


@pytest.mark.bench
@pytest.mark.filterwarnings("default")
def test_training_beside_the_plain_loop() -> None:
    title = f"Training on {torch.cuda.get_device_name() if GPU else f'{torch.get_num_threads()} cores'}"
    columns = "model", "precision", "batch", "plain", "engine", "ratio", "of CPU time", "once a round", "memory"
    table = Table(*columns, title=title)
    ratios = []
    for work in WORKS:
        times = timed(work)
        ratio = share(times["plain"].steps, times["engine"].steps)
        busy = share(times["plain"].processor, times["engine"].processor)
        model = work.model()
        copy = 4 * sum(parameter.numel() for parameter in model.parameters())
        over = (peak_bytes(work, "engine") - peak_bytes(work, "plain")) / copy
        ratios.append((work, ratio if GPU else busy, over))
        speeds = [f"{work.batch_size / statistics.median(times[name].steps):.4g}/s" for name in LOOPS]
        once = statistics.median(times["engine"].beside) - statistics.median(times["plain"].beside)
        row = work.name, work.precision, str(work.batch_size), *speeds, f"{ratio:.3f}", f"{busy:.3f}", f"{once:+.2f} s"
        table.add_row(*row, f"{over:+.2f} copies")
        print(*row, over, flush=True)
    Console(width=120).print(table)
    assert all(ratio >= LEAST_RATIO for _, ratio, _ in ratios), ratios
    assert all(over < 1 for _, _, over in ratios), ratios
