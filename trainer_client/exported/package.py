"""A package: the programs and weights of a model that its owner exported, held against each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from market.protocol.errors import InvalidModel
from market.protocol.manifest import MAX_DIMENSION, ParameterManifest
from market.protocol.package_spec import Contents, PackageArguments, PackageInput
from trainer_client.exported.archive import read_graph
from trainer_client.exported.module import ExportedModel, kind_of
from trainer_client.exported.parsing import parse_program
from trainer_client.exported.program import Input, Program, State
from trainer_client.exported.rehearsal import Rehearsal, rehearse
from trainer_client.exported.weights import read_weights


@dataclass(frozen=True, eq=False)
class ExportedPackage:
    """A package that fits together.

    Attributes:
        module: what is not trained has its values, the rest is zero.
        manifest: what is trained, and statistics that training writes.
        training: what the program of the training mode does.
        evaluation: what that of the evaluation mode does.
        steps: operators that a forward pass of the training applies.
    """

    module: ExportedModel
    manifest: ParameterManifest
    training: Rehearsal
    evaluation: Rehearsal
    steps: int


def read_package(arguments: PackageArguments, contents: Contents) -> ExportedPackage:
    """Read a package's files and see that they fit one another and the samples that it is for.

    Raises:
        InvalidModel: they do not, or one of them is none.
        StorageError: one cannot be had.
    """
    files = {
        name: contents.file(file.cid, file.size_bytes)
        for name, file in (("training", arguments.training), ("evaluation", arguments.evaluation))
    }
    training, evaluation = (parse_program(read_graph(files[name])) for name in ("training", "evaluation"))
    states = _states((training, evaluation))
    _check_inputs(arguments.input, (training, evaluation))
    # Sizes are looked at before the largest file is fetched.
    _check_size(states.values(), arguments)
    trained, measured = rehearse(training), rehearse(evaluation)
    _check_output(arguments.input, trained)
    _check_output(arguments.input, measured)
    frozen = arguments.frozen
    values = {} if frozen is None else read_weights(contents.file(frozen.cid, frozen.size_bytes), states)
    learnt = {name: state for name, state in states.items() if name not in values}
    manifest = _manifest(learnt)
    _check_changes(trained, measured, evaluation, states, learnt)
    takes = trained.beside(measured)
    module = kind_of(arguments.input)(arguments.input, training, evaluation, values, takes)
    return ExportedPackage(module, manifest, trained, measured, len(training.steps))


def samples_of(form: PackageInput) -> tuple[Input, ...]:
    """What a program for such samples takes."""
    whole = form.vocabulary is not None
    told = [] if form.steps is None else [Input(torch.int64, (None,))] * (1 if form.classes is None else 2)
    return Input(torch.int64 if whole else torch.float32, (None, *form.shape)), *told


def answer_of(form: PackageInput) -> tuple[int, ...]:
    """The shape of what a program gives for such a sample."""
    if form.vocabulary is not None:
        return *form.shape, form.vocabulary
    if form.steps is None and (form.classes or form.outputs):
        return (form.classes or form.outputs or 0,)
    return form.shape


def _states(programs: Iterable[Program]) -> dict[str, State]:
    states: dict[str, State] = {}
    for program in programs:
        for state in program.state:
            if states.setdefault(state.name, state) != state:
                raise InvalidModel(
                    f"package: {state.name} is {state} in one program and {states[state.name]} in another"
                )
    return states


def _check_size(states: Iterable[State], arguments: PackageArguments) -> None:
    """Refuse more values than may be trained and the file of frozen weights can hold: before any memory is taken."""
    frozen_bytes = 0 if arguments.frozen is None else arguments.frozen.size_bytes
    whole = sum(state.dtype.itemsize * math.prod(state.shape) for state in states)
    if whole > frozen_bytes + 4 * MAX_DIMENSION:
        raise InvalidModel(
            f"package: the model has {whole} bytes, of which {frozen_bytes} are frozen: expected at most "
            f"{MAX_DIMENSION} parameters to train"
        )


def _check_inputs(form: PackageInput, programs: Iterable[Program]) -> None:
    expected = samples_of(form)
    for program in programs:
        if program.inputs != expected:
            raise InvalidModel(
                f"package: the program takes {_shown(program.inputs)}, its samples are {_shown(expected)}"
            )


def _check_output(form: PackageInput, rehearsal: Rehearsal) -> None:
    expected = answer_of(form)
    if rehearsal.output != expected:
        raise InvalidModel(f"package: of a sample the program gives {rehearsal.output}, expected {expected}")


def _shown(inputs: Iterable[Input]) -> str:
    return " and ".join(f"{_name(one.dtype)} ({', '.join(str(side or 'N') for side in one.shape)})" for one in inputs)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _manifest(learnt: dict[str, State]) -> ParameterManifest:
    for state in learnt.values():
        if state.dtype != torch.float32:
            raise InvalidModel(
                f"package: {state.name} is {state.dtype} and has no frozen value: only float32 is trained"
            )
    return ParameterManifest.from_shapes({name: state.shape for name, state in learnt.items()})


def _check_changes(
    trained: Rehearsal, measured: Rehearsal, evaluation: Program, states: dict[str, State], learnt: dict[str, State]
) -> None:
    """See that what training writes is exchanged, and that a measurement neither writes nor draws."""
    lost = sorted(name for name in trained.changed if states[name].dtype.is_floating_point and name not in learnt)
    if lost:
        raise InvalidModel(f"package: training writes to {lost[0]}, whose value is frozen")
    if measured.changed:
        raise InvalidModel(f"package: the evaluation program writes to {sorted(measured.changed)[0]}")
    if evaluation.draws:
        raise InvalidModel("package: the evaluation program draws random numbers: an exam would differ each time")
