"""A package as a folder: what an owner makes of a module of their own, and what a job is posted with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from market.protocol.errors import InvalidModel
from market.protocol.job_spec import JobSpec
from market.protocol.json_text import parse_json
from market.protocol.manifest import ParameterManifest
from market.protocol.package_spec import (
    PackageArguments,
    PackageFile,
    PackageInput,
    first_problem,
    package_arguments,
)
from market.storage import Cid
from market.storage.durable_file import make_folder, write_file
from market.storage.part_stream import content_name
from trainer_client.engine.failures import failures_of
from trainer_client.exported.archive import write_graph
from trainer_client.exported.package import ExportedPackage, read_package, samples_of
from trainer_client.exported.parsing import parse_program
from trainer_client.exported.program import State
from trainer_client.exported.rehearsal import rehearse
from trainer_client.exported.tracing import example, traced
from trainer_client.exported.weights import read_weights
from trainer_client.parameters import write_vector

FORMAT = "fedmarket/package/1"
DESCRIPTION, TRAINING, EVALUATION = "package.json", "training.pt2", "evaluation.pt2"
FROZEN, INITIAL = "frozen.safetensors", "initial.safetensors"

MAX_DESCRIPTION_BYTES = 1 << 16
TOLERANCE = 1e-4
"""How far a packed model's answers may be from its owner's module's, a part of the largest: only sums are reordered."""

_PART_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class PackageFolder:
    """A package on its owner's machine.

    Attributes:
        path: the folder.
        arguments: what a job's spec says of it.
    """

    path: Path
    arguments: PackageArguments
    _checked: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path) -> PackageFolder:
        """Read a folder's description.

        Raises:
            InvalidModel: it is no package.
        """
        try:
            data = (path / DESCRIPTION).read_bytes()
            if len(data) > MAX_DESCRIPTION_BYTES:
                raise InvalidModel(f"{path / DESCRIPTION}: {len(data)} bytes, expected at most {MAX_DESCRIPTION_BYTES}")
            unverified = parse_json(data)
        except (OSError, ValueError) as error:
            raise InvalidModel(
                f"{path} is no package: expected a folder that `fedmarket model pack` made: {error}"
            ) from error
        if not isinstance(unverified, dict) or unverified.pop("format", None) != FORMAT:
            raise InvalidModel(f"{path / DESCRIPTION}: expected the format {FORMAT}")
        return cls(path, package_arguments(unverified))

    def files(self) -> Iterator[tuple[PackageFile, Path]]:
        """What has to be published, and where it is."""
        yield self.arguments.training, self.path / TRAINING
        yield self.arguments.evaluation, self.path / EVALUATION
        if self.arguments.frozen is not None:
            yield self.arguments.frozen, self.path / FROZEN

    def file(self, cid: str, size_bytes: int) -> Path:
        """A file by its content id; as `Contents.file`.

        Raises:
            InvalidModel: it is not there, or has been altered since.
        """
        for known, path in self.files():
            if known.cid == cid:
                if cid not in self._checked and (_size(path), _name_of(path)) != (size_bytes, cid):
                    raise InvalidModel(f"{path} is not what {DESCRIPTION} names: pack the model again")
                self._checked.add(cid)
                return path
        raise InvalidModel(f"{self.path} has no file {cid}")

    def initial(self, manifest: ParameterManifest) -> NDArray[np.float32]:
        """The parameters that the module had when it was packed, float32 (d,).

        Raises:
            InvalidModel: they are lost, or not this package's.
        """
        states = {entry.name: State(entry.name, True, torch.float32, entry.shape) for entry in manifest.entries}
        values = read_weights(self.path / INITIAL, states)
        lacking = sorted(states.keys() - values.keys())
        if lacking:
            raise InvalidModel(f"{self.path / INITIAL} lacks {lacking[0]}")
        vector = np.empty(manifest.dimension, dtype=np.float32)
        for entry in manifest.entries:
            vector[entry.offset : entry.offset + entry.size] = values[entry.name].reshape(-1).numpy()
        return vector


def with_package(spec: JobSpec, beside: Path) -> tuple[JobSpec, PackageFolder | None]:
    """A spec with what its package consists of, and the package; none where its model is one of this project's.

    Args:
        spec: as its owner wrote it.
        beside: the spec's folder, from which the package's is told.

    Raises:
        InvalidModel: the folder is no package.
    """
    if spec.model.package is None:
        return spec, None
    package = PackageFolder.open(beside / spec.model.package)
    return spec.model_copy(update={"model": spec.model.of_package(package.arguments)}), package


@dataclass(frozen=True, eq=False)
class Packed:
    """What packing gave: the folder, and the package as everybody else will read it."""

    folder: PackageFolder
    package: ExportedPackage


def pack(
    module: nn.Module,
    form: PackageInput,
    path: Path,
    *,
    trainable: Sequence[str] | None = None,
    strip: str = "",
    fixed_statistics: bool = False,
) -> Packed:
    """Write a module as a package, read it as others will, and see that it computes the same.

    Args:
        module: float32, on the CPU.
        form: what samples it takes.
        path: a folder to write into; what an earlier packing left there is replaced.
        trainable: patterns of names of parameters; None takes those that ask for a gradient.
        strip: what names begin with that is left out of them.
        fixed_statistics: whether running statistics stay as they are: batches are normalised by them in training, too.

    Raises:
        InvalidModel: the module cannot be exported, or something of it cannot be packed; the message says what to do.
    """
    form.check()
    _check_types(module)
    names = _package_names(module, strip)
    programs: dict[str, bytes] = {}
    values = {names[name]: value.detach() for name, value in _tensors(module)}
    for mode in (TRAINING, EVALUATION):
        programs[mode], constants = traced(
            module, form, names, training=mode == TRAINING, fixed_statistics=fixed_statistics
        )
        values.update({name: value for name, value in constants.items() if name not in values})
    with _own_operators():
        learnt = _learnt(module, names, trainable, programs[TRAINING])
    states = _states_of(programs.values())
    learnt &= states.keys()
    if not learnt:
        raise InvalidModel("the model has no parameter to train: see --trainable")
    arguments = _write(path, form, programs, values, states.keys(), learnt)
    folder = PackageFolder(path, arguments)
    package = read_package(arguments, folder)
    _compare(module, form, folder, package)
    return Packed(folder, package)


@contextmanager
def _own_operators() -> Iterator[None]:
    """What nobody could read is said to whoever can change it."""
    try:
        yield
    except InvalidModel as error:
        raise InvalidModel(
            f"{error}. Write that part of the model with other operators: see docs/packages.md"
        ) from error


def _check_types(module: nn.Module) -> None:
    for name, value in _tensors(module):
        if value.device.type != "cpu" or (value.is_floating_point() and value.dtype != torch.float32):
            raise InvalidModel(
                f"{name} is {value.dtype} on {value.device}, expected float32 on the CPU: return the module with "
                ".float().cpu()"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InvalidModel(f"{name} has a value that is not finite")


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _package_names(module: nn.Module, strip: str) -> dict[str, str]:
    """What each tensor is called in the package; two names of one tensor become one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(value), name.removeprefix(strip)) for name, value in _tensors(module)}


def _learnt(module: nn.Module, names: Mapping[str, str], trainable: Sequence[str] | None, training: bytes) -> set[str]:
    """What the manifest names: parameters to train, and floating-point buffers that the training writes to."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    if trainable is None:
        chosen = {names[name] for name, value in parameters.items() if value.requires_grad}
    else:
        packed = {names[name] for name in parameters}
        unused = next((one for one in trainable if not any(fnmatchcase(name, one) for name in packed)), None)
        if unused is not None:
            raise InvalidModel(
                f"--trainable {unused!r} matches none of the parameters {', '.join(sorted(packed)[:12])}"
            )
        chosen = {name for name in packed if any(fnmatchcase(name, one) for one in trainable)}
    program = parse_program(training)
    floats = {state.name for state in program.state if state.dtype.is_floating_point}
    return chosen | (rehearse(program).changed & floats)


def _states_of(programs: Any) -> dict[str, State]:
    return {state.name: state for program in programs for state in parse_program(program).state}


def _write(
    path: Path,
    form: PackageInput,
    programs: Mapping[str, bytes],
    values: Mapping[str, Tensor],
    used: Any,
    learnt: set[str],
) -> PackageArguments:
    from safetensors.torch import save_file

    make_folder(path)
    for name, graph in programs.items():
        write_file(path / name, [write_graph(graph)])
    frozen = {name: values[name].contiguous() for name in sorted(used) if name not in learnt}
    (path / FROZEN).unlink(missing_ok=True)
    if frozen:
        save_file(_apart(frozen), str(path / FROZEN))
    save_file(_apart({name: values[name].contiguous() for name in sorted(learnt)}), str(path / INITIAL))
    arguments = PackageArguments(
        input=form,
        training=_described(path / TRAINING),
        evaluation=_described(path / EVALUATION),
        frozen=_described(path / FROZEN) if frozen else None,
    )
    described = {"format": FORMAT, **arguments.model_dump(mode="json", exclude_none=True)}
    write_file(path / DESCRIPTION, [json.dumps(described, indent=2).encode(), b"\n"])
    return arguments


def _apart(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values, none in another's memory: the format keeps each for itself."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, value in values.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in seen else value
        seen.add(place)
    return apart


def _described(path: Path) -> PackageFile:
    try:
        return PackageFile(cid=_name_of(path), size_bytes=_size(path))
    except ValidationError as error:
        raise InvalidModel(f"{path}: {first_problem(error)}") from error


def _name_of(path: Path) -> str:
    """Its content id."""
    try:
        with path.open("rb") as file:
            name: Cid = content_name(iter(lambda: file.read(_PART_BYTES), b""))
            return str(name)
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error}") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error}") from error


def _compare(module: nn.Module, form: PackageInput, folder: PackageFolder, package: ExportedPackage) -> None:
    """See that the package answers as the module does, in evaluation mode."""
    write_vector(package.module, package.manifest, folder.initial(package.manifest))
    examples = [example(one) for one in samples_of(form)]
    mode = module.training
    with torch.no_grad():
        try:
            own = module.eval()(*examples)
        # The owner's own code runs here, and may raise anything.
        except Exception as error:
            raise InvalidModel(f"the model fails on samples in -1..1: {type(error).__name__}: {error}") from error
        finally:
            module.train(mode)
        flat = examples[0].reshape(len(examples[0]), -1)
        with failures_of(package.module):
            packed = package.module.eval()(flat, *examples[1:])
    answer = next(leaf for leaf in tree_leaves(own) if isinstance(leaf, Tensor))
    off = float((answer.reshape(packed.shape) - packed).abs().max())
    if not off <= TOLERANCE * max(1.0, float(answer.abs().max())):
        raise InvalidModel(f"the packed model's answers are {off:g} off the module's own: please report it")
