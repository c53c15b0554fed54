"""Between a PyTorch module and the parameter vector that its manifest lays out."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from market.protocol.errors import InvalidModel
from market.protocol.manifest import ParameterEntry, ParameterManifest


def manifest_of(module: nn.Module, trainable: Sequence[str] | None = None) -> ParameterManifest:
    """Lay out a module's floating-point state in the order of names.

    Args:
        module: any module; parameters and floating-point buffers count, integer buffers do not.
        trainable: shell-style patterns (``head.*``); only entries that match one of them are laid out. None takes
            them all.

    Raises:
        InvalidModel: a pattern matches nothing, or there is nothing to lay out.
    """
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if value.is_floating_point()}
    if trainable is None:
        return ParameterManifest.from_shapes(shapes)
    for pattern in trainable:
        if not any(fnmatchcase(name, pattern) for name in shapes):
            raise InvalidModel(f"trainable pattern {pattern!r} matches none of the parameters {_listed(shapes)}")
    chosen = {name: shape for name, shape in shapes.items() if any(fnmatchcase(name, p) for p in trainable)}
    return ParameterManifest.from_shapes(chosen)


def read_vector(module: nn.Module, manifest: ParameterManifest) -> NDArray[np.float32]:
    """Copy the entries that the manifest names into one vector: float32 (d,), row-major, on the host.

    Raises:
        InvalidModel: the module lacks an entry of the manifest, or has it in another shape.
    """
    state = module.state_dict()
    vector = np.empty(manifest.dimension, dtype=np.float32)
    for entry in manifest.entries:
        tensor = _tensor_of(state, entry)
        flat = tensor.detach().to(device="cpu", dtype=torch.float32).reshape(-1)
        vector[entry.offset : entry.offset + entry.size] = flat.numpy()
    return vector


def write_vector(module: nn.Module, manifest: ParameterManifest, vector: NDArray[np.float32]) -> None:
    """Copy a vector into the entries that the manifest names; other entries keep their values.

    Args:
        module: its tensors are overwritten in place, on whatever device they are.
        manifest: where each tensor sits.
        vector: float32 (d,), finite.

    Raises:
        InvalidModel: an entry does not fit the module, the vector has another length or type, or it holds NaN or
            infinite values. Nothing is written then.
    """
    if vector.shape != (manifest.dimension,) or vector.dtype != np.float32:
        raise InvalidModel(
            f"the parameters are {vector.dtype} of shape {vector.shape}, expected float32 of ({manifest.dimension},)"
        )
    state = module.state_dict()
    spans = [(_tensor_of(state, entry), _span_of(vector, entry)) for entry in manifest.entries]
    with torch.no_grad():
        for tensor, span in spans:
            # A copy, because PyTorch refuses to share memory that NumPy marks read-only.
            tensor.copy_(torch.from_numpy(span.copy()).reshape(tensor.shape))


def _tensor_of(state: dict[str, torch.Tensor], entry: ParameterEntry) -> torch.Tensor:
    tensor = state.get(entry.name)
    if tensor is None:
        raise InvalidModel(f"the model has no parameter {entry.name!r}: expected one of {_listed(state)}")
    if tuple(tensor.shape) != entry.shape:
        raise InvalidModel(
            f"parameter {entry.name!r} has shape {tuple(tensor.shape)} in the model, expected {entry.shape}"
        )
    if not tensor.is_floating_point():
        raise InvalidModel(f"parameter {entry.name!r} is {tensor.dtype} in the model, expected floating-point")
    return tensor


def _span_of(vector: NDArray[np.float32], entry: ParameterEntry) -> NDArray[np.float32]:
    span = vector[entry.offset : entry.offset + entry.size]
    finite = np.isfinite(span)
    if not finite.all():
        index = int(np.argmin(finite))
        raise InvalidModel(f"parameter {entry.name!r}: its entry {index} is {span[index]}, expected finite values")
    return span


def _listed(names: dict[str, torch.Tensor] | dict[str, tuple[int, ...]], most: int = 12) -> str:
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
