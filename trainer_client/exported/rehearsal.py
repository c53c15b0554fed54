"""A program run without values: what it would give, change and take, before any memory is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from market.protocol.errors import InvalidModel
from trainer_client.exported.account import Account, check_division, check_parts, storage_of
from trainer_client.exported.program import DEVICE, DTYPE, FIRST_STATE, Program, Ref, Step

MAX_SAMPLE_BYTES = 16 << 30
"""Most memory that what a program computes of one sample may take, all of it kept at once as a training does."""

MAX_SAMPLE_OPERATIONS = 1 << 48
"""Most multiplications and additions that a forward pass may take a sample: 16 billion weights on 8,000 tokens."""

META = torch.device("meta")
FEW = 2
COUNTS = (1, FEW, 3, 4, 1_048_573)
"""Samples of the rehearsals. Sizes have to lie on one line in all of them, so that they do in between: the last is a
prime beyond any batch, which no whole division of a multiple of it hides."""

SLACK = 2
"""How much more a sample may take among others than alone: of one, a transposed tensor needs no copy."""


@dataclass(frozen=True)
class Rehearsal:
    """What a program does.

    Attributes:
        output: shape of what it gives, without the number of samples.
        sample_bytes: memory of all that it computes of a sample.
        sample_operations: multiplications and additions of a forward pass of a sample.
        products: of `FEW` samples' forward pass, the multiplications and additions of matrices alone.
        changed: names of the module's tensors that it writes to.
    """

    output: tuple[int, ...]
    sample_bytes: int
    sample_operations: int
    products: int
    changed: frozenset[str]

    def beside(self, other: Rehearsal) -> Rehearsal:
        """What two programs take of which one is run at a time: memory and work of the larger, and all products."""
        return replace(
            self,
            sample_bytes=max(self.sample_bytes, other.sample_bytes),
            sample_operations=max(self.sample_operations, other.sample_operations),
            products=self.products + other.products,
        )


@dataclass(frozen=True)
class _Run:
    """One rehearsal: shape of the result, what it took, what it changed, and the size of every value."""

    result: tuple[int, ...]
    taken: int
    operations: int
    products: int
    changed: frozenset[str]
    sizes: list[tuple[float, ...]]


def rehearse(program: Program) -> Rehearsal:
    """Run a program on tensors without values.

    Raises:
        InvalidModel: shapes or types do not fit one another, it takes too much memory or work, or grows otherwise than
            the number of samples, or writes to a parameter or to a sample.
    """
    # A batch has no statistics of one sample.
    counts = COUNTS[1:] if any(normalises(step) for step in program.steps) else COUNTS
    runs = [_run(program, count) for count in counts]
    _check_growth(program, counts, runs)
    # Exams compute in float64, where a conversion that copies in float32 gives the tensor itself, and the reverse.
    changed = runs[0].changed | _run(program, FEW, torch.float64).changed
    return Rehearsal(
        runs[0].result[1:],
        max(-(-run.taken // count) for count, run in zip(counts, runs, strict=True)),
        max(-(-run.operations // count) for count, run in zip(counts, runs, strict=True)),
        runs[counts.index(FEW)].products,
        changed,
    )


def _check_growth(program: Program, counts: Sequence[int], runs: list[_Run]) -> None:
    """See that every size is a fixed number a sample and a fixed number more, and memory at most that."""
    first, fewest = runs[0], counts[0]
    for count, run in zip(counts, runs, strict=True):
        if run.result[:1] != (count,) or run.result[1:] != first.result[1:]:
            raise InvalidModel(
                f"program: of {count} samples it gives {run.result}: expected as many answers as samples"
            )
        grown = max(run.taken / max(first.taken, 1), run.operations / max(first.operations, 1))
        if grown > SLACK * count / fewest:
            raise InvalidModel(
                f"program: {first.taken} bytes and {first.operations} operations for {fewest} samples, {run.taken} and "
                f"{run.operations} for {count}: it grows faster than they do"
            )
    places = [place for step in program.steps for place in step.outputs]
    names = [step.name for step in program.steps for _ in step.outputs]
    for at, name in zip(places, names, strict=True):
        sizes = [run.sizes[at] for run in runs]
        if not _on_a_line(counts, sizes):
            raise InvalidModel(
                f"program: {name} gives sizes {sizes[:4]} of {counts[:4]} samples: expected a fixed number a sample"
            )


def _on_a_line(counts: Sequence[int], sizes: list[tuple[float, ...]]) -> bool:
    first, second = sizes[0], sizes[1]
    if any(len(one) != len(first) for one in sizes):
        return False
    return all(
        one == tuple(start + (then - start) * (count - counts[0]) for start, then in zip(first, second, strict=True))
        for count, one in zip(counts, sizes, strict=True)
    )


def _run(program: Program, samples: int, dtype: torch.dtype = torch.float32) -> _Run:
    values = inputs_of(program, samples, dtype)
    mine = len(program.state)
    given = values[FIRST_STATE : program.first_input + len(program.inputs)]
    versions = [tensor._version for tensor in given]
    owners = {storage_of(tensor): at for at, tensor in enumerate(given)}
    account = Account(set(owners), MAX_SAMPLE_BYTES * samples, MAX_SAMPLE_OPERATIONS * samples)
    written: set[int] = set()
    with torch.no_grad(), account:
        for step in program.steps:
            account.begin(step.name)
            _apply(step, values)
            written |= {owners[storage] for storage in _statistics(step, values) if storage in owners}
    written |= {at for at, tensor in enumerate(given) if tensor._version != versions[at]}
    changed = _changed(program, written, mine)
    result = values[program.result.index]
    if not result.is_floating_point():
        raise InvalidModel(f"program: it gives {result.dtype}, expected floating-point values")
    sizes = [tuple(one.shape) if isinstance(one, Tensor) else _number(one) for one in values]
    return _Run(tuple(result.shape), account.kept_bytes, account.operations, account.products, changed, sizes)


def _number(value: Any) -> tuple[float, ...]:
    return (value,) if isinstance(value, int | float) else ()


def inputs_of(program: Program, samples: int, dtype: torch.dtype = torch.float32) -> list[Any]:
    """The values that a run without values begins with, floating-point ones of this type, and room for the others.

    Raises:
        InvalidModel: a shape is beyond what there can be.
    """
    try:
        return _inputs_of(program, samples, dtype)
    except RuntimeError as error:
        raise InvalidModel(f"program: it takes tensors that cannot be: {str(error).splitlines()[0]:.200}") from error


def _inputs_of(program: Program, samples: int, dtype: torch.dtype) -> list[Any]:
    values: list[Any] = [None] * program.count
    values[DEVICE.index], values[DTYPE.index] = META, dtype
    for place, state in enumerate(program.state, start=FIRST_STATE):
        values[place] = torch.empty(state.shape, dtype=_as_run(state.dtype, dtype), device=META)
    for place, one in enumerate(program.inputs, start=program.first_input):
        sides = [samples if side is None else side for side in one.shape]
        values[place] = torch.empty(sides, dtype=_as_run(one.dtype, dtype), device=META)
    return values


def _as_run(dtype: torch.dtype, run: torch.dtype) -> torch.dtype:
    return run if dtype.is_floating_point and run is not torch.float32 else dtype


def _apply(step: Step, values: list[Any]) -> None:
    """Compute one step."""
    arguments, named = fill(step.arguments, values), fill(dict(step.named), values)
    check_division(step, [*arguments, *named.values()])
    if hasattr(step.function, "_overloadpacket"):
        check_parts(step.function, arguments)
    try:
        given = step.function(*arguments, **named)
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, MemoryError, AssertionError) as error:
        reason = str(error).strip().splitlines()
        raise InvalidModel(
            f"program: {step.name} does not fit: {reason[0] if reason else type(error).__name__}"
        ) from error
    outputs = list(given) if step.is_many else [given]
    if len(outputs) != len(step.outputs):
        raise InvalidModel(f"program: {step.name} gives {len(outputs)} values, its program says {len(step.outputs)}")
    for place, value in zip(step.outputs, outputs, strict=True):
        values[place] = value


def fill(arguments: Any, values: Sequence[Any]) -> Any:
    """Arguments with values in place of `Ref`s."""
    match arguments:
        case Ref():
            return values[arguments.index]
        case tuple() | list():
            return [fill(one, values) for one in arguments]
        case dict():
            return {name: fill(one, values) for name, one in arguments.items()}
    return arguments


def normalises(step: Step) -> bool:
    """Whether it takes statistics of the samples."""
    if step.name not in ("batch_norm.default", "instance_norm.default"):
        return False
    return dict(zip(_NORMALISATION, step.arguments, strict=False)).get("training") is not False


def _statistics(step: Step, values: Sequence[Any]) -> set[int]:
    """Memory of the running statistics that a normalisation of whole batches writes to, which leaves no trace else."""
    if not normalises(step):
        return set()
    arguments: Mapping[str, Any] = dict(zip(_NORMALISATION, step.arguments, strict=False))
    running = (arguments.get("running_mean"), arguments.get("running_var"))
    return {storage_of(values[one.index]) for one in running if isinstance(one, Ref)}


_NORMALISATION = ("input", "weight", "bias", "running_mean", "running_var", "training")
"""First arguments of both; ``instance_norm`` calls the last one ``use_input_stats``."""


def _changed(program: Program, written: set[int], mine: int) -> frozenset[str]:
    """Names of what was written to, by its place among the module's tensors and the samples."""
    names = set()
    for at in written:
        if at >= mine:
            raise InvalidModel("program: it writes to the samples that it is given")
        if program.state[at].is_parameter:
            raise InvalidModel(f"program: it writes to the parameter {program.state[at].name}")
        names.add(program.state[at].name)
    return frozenset(names)
