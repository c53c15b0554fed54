"""A program: a straight line of known operators over a module's tensors and a caller's samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainer_client.exported.operators import DRAWING, RANDOM

MAX_LIST = 4096
MAX_DIMENSIONS = 16
"""Of a list among an operator's arguments, and of a tensor."""


@dataclass(frozen=True)
class Ref:
    """A value that an earlier step, or an input, has given: its place among all of them."""

    index: int


DEVICE, DTYPE = Ref(0), Ref(1)
"""Where the module is, and the floating-point type it has now: a program does not fix either."""

FIRST_STATE = 2


@dataclass(frozen=True)
class State:
    """A tensor that belongs to the module.

    Attributes:
        name: in the module's state dict, dotted.
        is_parameter: else a buffer, or a constant of the code.
        dtype: of the values.
        shape: fixed.
    """

    name: str
    is_parameter: bool
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """What a caller passes: its type, float32 or int64, and its shape; None is the number of samples."""

    dtype: torch.dtype
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Step:
    """One operator applied.

    Attributes:
        name: the operator's, to be shown.
        function: what computes it.
        arguments, named: constants, `Ref`s and lists of both.
        outputs: places of what it gives.
        is_many: whether that is a tuple or a list.
    """

    name: str
    function: Any
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    outputs: tuple[int, ...]
    is_many: bool


@dataclass(frozen=True)
class Program:
    """A straight line of steps.

    Attributes:
        state: the module's tensors, at places from `FIRST_STATE` on, in this order.
        inputs: what a caller passes, at the places after them.
        steps: each uses what came before it.
        result: the tensor that the model gives.
        count: how many places there are.
    """

    state: tuple[State, ...]
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    result: Ref
    count: int

    @property
    def first_input(self) -> int:
        """The place of the first thing that a caller passes."""
        return FIRST_STATE + len(self.state)

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, so that it gives another answer each time."""
        return any(_draws(step) for step in self.steps)


def _draws(step: Step) -> bool:
    if step.name in RANDOM:
        return True
    # Of a rate that is computed, too: it is not known beforehand.
    rate, on = next(
        (
            (_argument(step, rate), _argument(step, on) if on else True)
            for name, rate, on in DRAWING
            if name == step.name
        ),
        (0.0, False),
    )
    return on is not False and rate not in (None, 0, 0.0)


def _argument(step: Step, name: str) -> Any:
    """What an operator is told under this name; None where it is told nothing."""
    names = [argument.name for argument in step.function._schema.arguments if not argument.kwarg_only]
    return step.named.get(name, dict(zip(names, step.arguments, strict=False)).get(name))
