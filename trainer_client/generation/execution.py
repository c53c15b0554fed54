"""How a model is run: number format, batch, threads, kernels and device. None of them should change what comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from market.protocol.errors import InvalidInput
from trainer_client.device import choose_device

Dtype = Literal["float32", "bfloat16", "float16"]
Kernels = Literal["plain", "fused"]

MAX_BATCH = 1 << 16
MAX_THREADS = 1024

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_REFUSALS = ("not implemented for", "not supported", "unsupported")
_NO_MEMORY = ("out of memory", "can't allocate memory")

_on_step: ContextVar[Callable[[], None]] = ContextVar("on_step", default=lambda: None)


@dataclass(frozen=True)
class Execution:
    """How to run a model.

    Attributes:
        dtype: of its weights and of what passes between its layers.
        device: a name that ``choose_device`` takes.
        batch_size: samples at a time.
        threads: of PyTorch on the CPU; None leaves them as they are.
        kernels: ``plain`` writes products, sums and attention out, ``fused`` takes PyTorch's own.

    Raises:
        InvalidInput: a value out of range.
    """

    dtype: Dtype = "float32"
    device: str = "cpu"
    batch_size: int = 64
    threads: int | None = None
    kernels: Kernels = "fused"

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise InvalidInput(f"execution: dtype is {self.dtype!r}, expected one of {', '.join(_DTYPES)}")
        if self.kernels not in get_args(Kernels):
            raise InvalidInput(f"execution: kernels are {self.kernels!r}, expected {' or '.join(get_args(Kernels))}")
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise InvalidInput(f"execution: batch_size is {self.batch_size}, expected 1..{MAX_BATCH}")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise InvalidInput(f"execution: threads are {self.threads}, expected 1..{MAX_THREADS}")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The number format as PyTorch names it."""
        return _DTYPES[self.dtype]

    def __str__(self) -> str:
        """What is unlike on other machines, in words."""
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.dtype} on {self.device} in batches of {self.batch_size}{threads}, {self.kernels} kernels"


def prepared(model: nn.Module, execution: Execution) -> nn.Module:
    """A copy of a model as it is to be run; the model itself keeps its values.

    Raises:
        InvalidInput: this machine has no such device.
    """
    device = choose_device(execution.device)
    # Narrowed before it is moved: a device need not know wide formats.
    copied = copy.deepcopy(model).eval().requires_grad_(False).to(execution.torch_dtype).to(device)
    if execution.kernels == "plain":
        _write_out(copied)
    return copied


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Have something called at every step of what is generated inside, in this thread; what it raises ends it.

    A batch may take hours, by settings that somebody else chose: who waits for it alone can neither stop nor do
    anything that is more urgent.
    """
    before = _on_step.set(look)
    try:
        yield
    finally:
        _on_step.reset(before)


def step_begins() -> None:
    """Tell whoever watches that a step begins: of denoising, or a token's."""
    _on_step.get()()


@contextmanager
def running(execution: Execution) -> Iterator[None]:
    """Run what is inside with the threads asked for, and without gradients; the threads are given back.

    PyTorch has one number of threads a process: what else computes in it meanwhile has the same.

    Raises:
        InvalidInput: what is inside asked for kernels that the device does not have in this number format, or for more
            memory than there is.
    """
    before = torch.get_num_threads()
    if execution.threads is not None:
        torch.set_num_threads(execution.threads)
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        raise _explained(error, execution) from error
    finally:
        torch.set_num_threads(before)


def _explained(error: RuntimeError, execution: Execution) -> Exception:
    words = str(error).lower()
    if any(refusal in words for refusal in _REFUSALS):
        return InvalidInput(f"execution: {execution.device} cannot compute this model in {execution.dtype}: {error}")
    if any(refusal in words for refusal in _NO_MEMORY):
        return InvalidInput(
            f"execution: batches of {execution.batch_size} take more memory than {execution.device} has: {error}"
        )
    return error


class WrittenLinear(nn.Module):
    """A linear layer as a product and a sum, each rounded by itself."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, batch: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        product = batch @ self.weight.T
        return product + self.bias


def _write_out(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, WrittenLinear(child))
        else:
            _write_out(child)
