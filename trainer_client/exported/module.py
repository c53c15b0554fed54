"""A module whose forward runs a program: with its owner's names, and about as fast as the owner's own."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from market.protocol.errors import InvalidModel
from market.protocol.package_spec import PackageInput
from trainer_client.exported.program import Program, Ref, State
from trainer_client.exported.rehearsal import Rehearsal, normalises

_PROGRAMS = "_exported"
"""The one attribute that modules of this kind have beside their owner's names."""


@dataclass(frozen=True)
class Programs:
    """What a module computes, and in which order its tensors are passed.

    Attributes:
        input: what samples it takes.
        training, evaluation: functions of device, floating-point type, the tensors of the module, and the samples.
        takes: what they take of memory and work.
        needs_others: whether training takes statistics of a batch, which a sample alone has none of.
        training_state, evaluation_state: where each tensor hangs: names of submodules, and its own.
    """

    input: PackageInput
    training: Any
    evaluation: Any
    takes: Rehearsal
    needs_others: bool
    training_state: tuple[tuple[tuple[str, ...], str], ...]
    evaluation_state: tuple[tuple[tuple[str, ...], str], ...]


class ExportedModel(nn.Module):
    """A model that its owner exported. It takes (N, features), and reshapes that into the samples that it is for."""

    def __init__(
        self,
        form: PackageInput,
        training: Program,
        evaluation: Program,
        values: Mapping[str, Tensor],
        takes: Rehearsal,
    ) -> None:
        """Hang the tensors up by their names.

        Args:
            form: what samples it takes.
            training: the program of the training mode.
            evaluation: the program of the evaluation mode.
            values: of what is not trained; what has none here is zero until it is written.
            takes: what the programs take of memory and work.

        Raises:
            InvalidModel: a name is one that a module cannot have, or two cannot be had together.
        """
        super().__init__()
        programs = Programs(
            form,
            compiled(training),
            compiled(evaluation),
            takes,
            any(normalises(step) for step in training.steps),
            tuple(_place(state) for state in training.state),
            tuple(_place(state) for state in evaluation.state),
        )
        object.__setattr__(self, _PROGRAMS, programs)
        for state in {state.name: state for state in (*training.state, *evaluation.state)}.values():
            _hang(self, state, values.get(state.name))

    @property
    def input_form(self) -> PackageInput:
        """What samples it takes."""
        programs: Programs = getattr(self, _PROGRAMS)
        return programs.input

    @property
    def takes(self) -> Rehearsal:
        """What it takes of memory and work."""
        programs: Programs = getattr(self, _PROGRAMS)
        return programs.takes

    def forward(self, samples: Tensor, *told: Tensor) -> Tensor:
        """What the program of the present mode makes of samples.

        Args:
            samples: floats or tokens of (N, features).
            told: what else the model is given: steps of noise, int64 (N,), and classes, int64 (N,).
        """
        programs: Programs = getattr(self, _PROGRAMS)
        run, places = (
            (programs.training, programs.training_state)
            if self.training
            else (programs.evaluation, programs.evaluation_state)
        )
        state = [_tensor(self, place) for place in places]
        dtype = next((tensor.dtype for tensor in state if tensor.is_floating_point()), torch.float32)
        # Programs were tried on samples in one piece: a window without its last token is none.
        shaped = samples.reshape(-1, *programs.input.shape).contiguous()
        if self.training and programs.needs_others and len(shaped) == 1:
            # Its variance would be of nothing, and no number; beside itself it has the same mean, and a variance of 0.
            pair = (torch.cat([one, one]) for one in (shaped, *told))
            alone: Tensor = run(samples.device, dtype, *state, *pair)[:1]
            return alone
        given: Tensor = run(samples.device, dtype, *state, shaped, *told)
        return given


class ExportedLanguageModel(ExportedModel):
    """One that predicts the next token: of tokens, int64 (N, T), it gives (N, T, vocabulary)."""

    @property
    def token_count(self) -> int:
        """How many tokens there are."""
        return self.input_form.vocabulary or 0


class NoisePredictor(ExportedModel):
    """One that predicts the noise in (N, features), told the step and more: it gives (N, features)."""

    @property
    def noise_steps(self) -> int:
        """How many steps of noise there are."""
        return self.input_form.steps or 0

    def forward(self, samples: Tensor, *told: Tensor) -> Tensor:
        """The noise, flattened as the samples are."""
        return super().forward(samples, *told).reshape(samples.shape)


class ExportedDenoiser(NoisePredictor):
    """One that is told the step alone."""


class ExportedConditionalDenoiser(NoisePredictor):
    """One that is told the class, too; the number of classes itself stands for none."""

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return self.input_form.classes or 0


class ExportedAutoencoder(ExportedModel):
    """One that gives what it is given."""

    def forward(self, samples: Tensor, *told: Tensor) -> Tensor:
        """The values, flattened as the samples are."""
        return super().forward(samples, *told).reshape(samples.shape)


def kind_of(form: PackageInput) -> type[ExportedModel]:
    """The kind of model that takes such samples."""
    if form.vocabulary is not None:
        return ExportedLanguageModel
    if form.steps is not None:
        return ExportedDenoiser if form.classes is None else ExportedConditionalDenoiser
    return ExportedModel if form.classes or form.outputs else ExportedAutoencoder


def compiled(program: Program) -> Any:
    """A function that runs a program: device, type, tensors and samples to what it gives.

    Written as Python by torch.fx, from places and known operators alone: no name of the program is in it. Each value is
    let go after its last use.
    """
    graph = fx.Graph()
    nodes: list[Any] = [None] * program.count
    for place in range(program.first_input + len(program.inputs)):
        nodes[place] = graph.placeholder(f"v{place}")
    for step in program.steps:
        called = graph.call_function(step.function, _nodes(step.arguments, nodes), _nodes(dict(step.named), nodes))
        if not step.is_many:
            nodes[step.outputs[0]] = called
            continue
        for at, place in enumerate(step.outputs):
            nodes[place] = graph.call_function(operator.getitem, (called, at))
    graph.output(nodes[program.result.index])
    _erase_unused(graph)
    return fx.GraphModule(nn.Module(), graph)


def _erase_unused(graph: fx.Graph) -> None:
    """Drop what nothing uses and nothing writes: what an owner's code computed for messages, and unused parts."""
    for node in reversed(list(graph.nodes)):
        schema = getattr(node.target, "_schema", None)
        writes = schema is not None and any(
            argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments
        )
        normalises = getattr(node.target, "__name__", "") in ("batch_norm.default", "instance_norm.default")
        if node.op == "call_function" and not node.users and not writes and not normalises:
            graph.erase_node(node)


def _nodes(arguments: Any, nodes: list[Any]) -> Any:
    match arguments:
        case Ref():
            return nodes[arguments.index]
        case tuple():
            return tuple(_nodes(one, nodes) for one in arguments)
        case list():
            return [_nodes(one, nodes) for one in arguments]
        case dict():
            return {name: _nodes(one, nodes) for name, one in arguments.items()}
    return arguments


def _place(state: State) -> tuple[tuple[str, ...], str]:
    *modules, name = state.name.split(".")
    return tuple(modules), name


def _tensor(root: nn.Module, place: tuple[tuple[str, ...], str]) -> Tensor:
    module: Any = root
    for name in place[0]:
        module = module._modules[name]
    parameter = module._parameters.get(place[1])
    tensor: Tensor = module._buffers[place[1]] if parameter is None else parameter
    return tensor


def _hang(root: nn.Module, state: State, value: Tensor | None) -> None:
    modules, name = _place(state)
    module = root
    for part in modules:
        if part not in module._modules:
            _check_free(module, part, state)
            module.add_module(part, nn.Module())
        module = module._modules[part] or module
    _check_free(module, name, state)
    tensor = torch.zeros(state.shape, dtype=state.dtype) if value is None else value
    if state.is_parameter:
        module.register_parameter(name, nn.Parameter(tensor, requires_grad=value is None))
    else:
        module.register_buffer(name, tensor)


def _check_free(module: nn.Module, name: str, state: State) -> None:
    if hasattr(module, name) or name == _PROGRAMS:
        raise InvalidModel(f"program: {state.name}: a module cannot have {name!r}, or has it already")
