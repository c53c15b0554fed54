"""What a calibration generates, on which machines, and that none of it is used twice: to choose and to report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import CannotCalibrate, InvalidData
from market.protocol.generation import Prompt
from trainer_client.digests import BYTES, Digests


class Part(Enum):
    """What the samples are for."""

    CALIBRATION = "calibration"
    REPORT = "report"


@dataclass(frozen=True)
class Input:
    """What determines one output.

    Attributes:
        prompt: a class, a text, or nothing.
        seed: of the task.
        number: of the sample in its task: noise is drawn from it as well.
    """

    prompt: Prompt
    seed: int
    number: int


@dataclass(frozen=True, eq=False)
class Measured:
    """Digests of the same inputs on several machines, and by other models.

    Attributes:
        part: what they may be used for.
        inputs: n of them.
        machines: names of the executions.
        digests: uint8 (machines, n, 32).
        others: digests of the same inputs by each other model, uint8 (one or more machines, n, 32).
        seeded: whether seed and number change the output; greedy and beam decoding know the prompt alone.
    """

    part: Part
    inputs: tuple[Input, ...]
    machines: tuple[str, ...]
    digests: Digests
    others: Mapping[str, Digests] = field(default_factory=dict)
    seeded: bool = True

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InvalidData: they do not fit together, or an input is there twice.
        """
        expected = (len(self.machines), len(self.inputs), BYTES)
        if self.digests.shape != expected or self.digests.dtype != np.uint8:
            raise InvalidData(f"digests {self.digests.dtype} {self.digests.shape}: expected uint8 {expected}")
        for name, other in self.others.items():
            if other.ndim != 3 or not len(other) or other.shape[1:] != expected[1:] or other.dtype != np.uint8:
                raise InvalidData(
                    f"digests of {name}: {other.dtype} {other.shape}: expected uint8 (m, *{expected[1:]})"
                )
        if len(self.identities()) != len(self.inputs):
            raise InvalidData(f"{len(self.inputs)} inputs, of which {len(self.identities())} differ: expected all")

    def __len__(self) -> int:
        """How many inputs."""
        return len(self.inputs)

    def identities(self) -> frozenset[Input | Prompt]:
        """What tells the inputs apart."""
        return frozenset(self.inputs) if self.seeded else frozenset(each.prompt for each in self.inputs)

    def prompt_numbers(self) -> NDArray[np.int64]:
        """The same number for the same prompt: int64 (n,)."""
        numbers: dict[Prompt, int] = {}
        return np.array([numbers.setdefault(each.prompt, len(numbers)) for each in self.inputs], dtype=np.int64)

    def one_each(self) -> Digests:
        """One digest an input, the machines by turns: uint8 (n, 32)."""
        return self.digests[np.arange(len(self)) % len(self.machines), np.arange(len(self))]

    def fingerprint(self) -> str:
        """SHA-256 of the inputs in their order, in hex."""
        rows = [[each.prompt, each.seed, each.number] for each in self.inputs]
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def make_inputs(prompts: Sequence[Prompt], seeds: Sequence[int], samples: int) -> tuple[Input, ...]:
    """As many inputs as asked for, the seeds' tasks in turn, each with the prompts over and over.

    Args:
        prompts: at least one.
        seeds: of as many tasks.
        samples: in all.
    """
    each = -(-samples // len(seeds))
    made = [Input(prompts[number % len(prompts)], seed, number) for seed in seeds for number in range(each)]
    return tuple(made[:samples])


def divide_prompts(prompts: Sequence[Prompt]) -> dict[Part, tuple[Prompt, ...]]:
    """Every other prompt to choose by, the rest to report on, each once: where no seed tells outputs apart.

    Raises:
        CannotCalibrate: fewer than two of them.
    """
    distinct = tuple(dict.fromkeys(prompts))
    if len(distinct) < 2:
        raise CannotCalibrate(
            f"{len(distinct)} prompt: without a seed that changes the output, choosing and reporting take one each"
        )
    return {Part.CALIBRATION: distinct[::2], Part.REPORT: distinct[1::2]}


def check_part(measured: Measured, expected: Part) -> None:
    """Samples serve one purpose.

    Raises:
        CannotCalibrate: they are for the other.
    """
    if measured.part is not expected:
        raise CannotCalibrate(
            f"these samples are for the {measured.part.value}, expected those for the {expected.value}"
        )


def check_apart(chosen_by: frozenset[Input | Prompt], reported_on: Measured) -> None:
    """No tolerance is reported on what it was chosen by.

    Raises:
        CannotCalibrate: an input is in both.
    """
    check_part(reported_on, Part.REPORT)
    shared = chosen_by & reported_on.identities()
    if shared:
        raise CannotCalibrate(
            f"{len(shared)} inputs of the report, among them {next(iter(shared))!r:.80}, are those that the tolerance "
            "was chosen by: expected other seeds or prompts"
        )
