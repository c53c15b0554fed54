"""Runs a service on every machine there is and keeps the digests as they come: a kill loses a chunk at most."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from market.protocol.errors import CannotCalibrate
from market.protocol.generation import DigestSpec, Prompt, ServiceDocument
from market.protocol.integer_model import Integers
from market.storage.durable_file import disk_errors, sync_folder, write_file
from trainer_client.calibration.panels import check_machines
from trainer_client.calibration.samples import (
    Input,
    Measured,
    Part,
    divide_prompts,
    make_inputs,
)
from trainer_client.digests import BYTES, Digests
from trainer_client.generation import Execution, Generator, Outputs, generator_of
from trainer_client.verifier.digesting import digests_of, kind_of

CHUNK = 512
"""Samples that are kept at a time."""

SEEDS = 4
"""Tasks' seeds for each part."""

_EDITION = "fedmarket/measurements/1"

Progress = Callable[[int, int], None]
"""Is told how many digests are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured.

    Attributes:
        service: the document; its tolerance is not looked at.
        model: its integer parameters.
        prompts: to take by turns; None for what is asked for nothing.
        samples: of each part.
        executions: ways of running it, two at least.
        others: other models by name: parameters of the same service's model.
        seed: of the first task; the parts have different ones.
        digests: kinds that are measured on the same outputs; the service's alone by default.
        decoding: what differs from the service's defaults.
    """

    service: ServiceDocument
    model: Integers
    prompts: Sequence[Prompt]
    samples: int
    executions: Sequence[Execution]
    others: Mapping[str, Integers] = field(default_factory=dict)
    seed: int = 0
    digests: Sequence[DigestSpec] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check it before anything is run.

        Raises:
            CannotCalibrate: no prompts, or fewer than two ways of running the model.
            InvalidTerms: a digest of no known kind.
        """
        check_machines(len(set(self.executions)))
        if not self.prompts:
            raise CannotCalibrate("there are no prompts: expected at least one")
        for spec in self.kinds:
            kind_of(self.service.model_copy(update={"digest": spec}))

    @property
    def kinds(self) -> Sequence[DigestSpec]:
        """Kinds of digests that are measured."""
        return self.digests or (self.service.digest,)

    @property
    def settings(self) -> dict[str, Any]:
        """How outputs are decoded."""
        return {**self.service.decoding.default, **self.decoding}

    @property
    def seeded(self) -> bool:
        """Whether a seed changes what comes out: it does not where the likeliest is chosen."""
        return self.service.generator not in ("text", "activations") or self.settings.get("method") == "sample"

    def inputs(self, part: Part) -> tuple[Input, ...]:
        """The part's own: other seeds, or, where these change nothing, other prompts.

        Raises:
            CannotCalibrate: too few prompts for two parts.
        """
        if not self.seeded:
            own = divide_prompts(self.prompts)[part]
            return make_inputs(own, [self.seed], min(self.samples, len(own)))
        first = self.seed + (SEEDS if part is Part.REPORT else 0)
        return make_inputs(self.prompts, range(first, first + SEEDS), self.samples)

    def total(self, part: Part) -> int:
        """Digests of one kind to make for a part."""
        return len(self.inputs(part)) * (len(self.executions) + len(self.others))

    def machine_names(self) -> tuple[str, ...]:
        """The executions in words."""
        return tuple(str(execution) for execution in self.executions)


def measure(plan: Plan, part: Part, folder: Path, progress: Progress | None = None) -> dict[str, Measured]:
    """Generate what is not there yet, and digest it.

    Args:
        plan: what to measure.
        part: for which purpose.
        folder: keeps digests; what is there of the same model, machine and samples is not made again.
        progress: called after every chunk.

    Returns:
        The measurements by digest, as `told` calls it.

    Raises:
        CannotCalibrate: too few prompts.
        InvalidData: prompts or decoding that the generator does not take.
        StorageError: the folder cannot be written to.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    inputs, done, total = plan.inputs(part), 0, plan.total(part)
    found: dict[tuple[str, Execution], Digests] = {}
    for model, execution in _runs(plan):
        chunks = []
        for chunk in _chunks(inputs):
            chunks.append(_digests(plan, model, execution, chunk, folder))
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        found[model, execution] = np.concatenate(chunks, axis=1)
    return {
        told(spec): Measured(
            part=part,
            inputs=inputs,
            machines=plan.machine_names(),
            digests=np.stack([found["", execution][place] for execution in plan.executions]),
            others={name: found[name, plan.executions[0]][place][None] for name in plan.others},
            seeded=plan.seeded,
        )
        for place, spec in enumerate(plan.kinds)
    }


def told(spec: DigestSpec) -> str:
    """A kind of digest with its parameters, in words."""
    parameters = ", ".join(f"{name} {value}" for name, value in sorted(spec.parameters.items()))
    return f"{spec.kind} ({parameters})" if parameters else spec.kind


def _runs(plan: Plan) -> Iterator[tuple[str, Execution]]:
    """The model on every machine, others on the first: what differs then is the model alone."""
    for execution in plan.executions:
        yield "", execution
    for name in plan.others:
        yield name, plan.executions[0]


def _chunks(inputs: Sequence[Input]) -> Iterator[Sequence[Input]]:
    """Neighbours with one seed."""
    for _, group in groupby(inputs, key=lambda each: each.seed):
        own = list(group)
        for start in range(0, len(own), CHUNK):
            yield own[start : start + CHUNK]


def _digests(plan: Plan, name: str, execution: Execution, chunk: Sequence[Input], folder: Path) -> Digests:
    """A chunk's digests of every kind: uint8 (kinds, n, 32)."""
    model = plan.others[name] if name else plan.model
    path = folder / f"{_key(plan, model, execution, chunk)}.digests"
    shape = (len(plan.kinds), len(chunk), BYTES)
    kept = path.read_bytes() if path.exists() else b""
    if len(kept) != np.prod(shape):
        kept = _generated(plan, model, execution, chunk).tobytes()
        write_file(path, [kept])
        sync_folder(folder)
    return np.frombuffer(kept, dtype=np.uint8).reshape(shape)


def _generated(plan: Plan, model: Integers, execution: Execution, chunk: Sequence[Input]) -> Digests:
    generator = generator_of(plan.service, model, _given(plan, chunk))
    outputs = _asked(generator, plan, execution, chunk)
    rows = []
    for spec in plan.kinds:
        made = digests_of(plan.service.model_copy(update={"digest": spec}), outputs)
        rows.append(np.frombuffer(b"".join(made), dtype=np.uint8).reshape(len(chunk), BYTES))
    return np.stack(rows)


def _asked(generator: Generator, plan: Plan, execution: Execution, chunk: Sequence[Input]) -> Outputs:
    prompts = [each.prompt for each in chunk]
    return generator.generate(prompts, chunk[0].seed, plan.settings, execution, chunk[0].number)


def _given(plan: Plan, chunk: Sequence[Input]) -> Outputs | None:
    """The tokens whose hidden states everybody is asked for: those that the model chooses on the first machine."""
    if plan.service.generator != "activations":
        return None
    chosen = _asked(generator_of(plan.service, plan.model), plan, plan.executions[0], chunk).tokens
    # They are looked up by the samples' numbers, of which a chunk has the last ones.
    return None if chosen is None else Outputs(tokens=np.pad(chosen, ((chunk[0].number, 0), (0, 0))))


def _key(plan: Plan, model: Integers, execution: Execution, chunk: Sequence[Input]) -> str:
    """Names all that the digests depend on."""
    told_of = [
        _EDITION,
        hashlib.sha256(np.ascontiguousarray(model).tobytes()).hexdigest(),
        plan.service.model.model_dump(mode="json", exclude={"parameters"}),
        plan.service.generator,
        plan.settings,
        str(plan.executions[0]) if plan.service.generator == "activations" else "",
        [spec.model_dump(mode="json") for spec in plan.kinds],
        str(execution),
        [[each.prompt, each.seed, each.number] for each in chunk],
    ]
    return hashlib.sha256(json.dumps(told_of, sort_keys=True).encode()).hexdigest()
