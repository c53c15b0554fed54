"""A model's values before a training: kept on the disk, so that the training takes the memory of one model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidModel
from market.protocol.manifest import ParameterManifest
from market.protocol.vector_file import slices
from market.storage.durable_file import disk_errors


class StartingPoint:
    """The values that a model had, and how it gets them back.

    What the manifest lays out is kept in a file without a name; buffers beside it, which are small, in memory. Other
    parameters are frozen and do not move.
    """

    def __init__(self, model: nn.Module, manifest: ParameterManifest, folder: Path | None = None) -> None:
        """Write the values down.

        Args:
            model: it is changed only by `restore`.
            manifest: what is trained.
            folder: on a disk with room for float32 (d,); None for the system's folder of temporary files.

        Raises:
            InvalidModel: the manifest does not fit the model.
            StorageError: the disk has no room for the file.
        """
        self._model, self._manifest = model, manifest
        self._modes = {module: module.training for module in model.modules()}
        self._trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
        self._device = next((value.device for value in model.parameters()), torch.device("cpu"))
        laid_out = {entry.name for entry in manifest.entries}
        self._others = {name: value.detach().clone() for name, value in model.named_buffers() if name not in laid_out}
        with disk_errors(folder or Path(tempfile.gettempdir())):
            self._file = _reserved(folder, 4 * manifest.dimension)
        self._values = np.memmap(self._file, dtype=np.float32, mode="r+", shape=(manifest.dimension,))
        for span, values in self._pieces():
            self._values[span] = values.cpu().float().numpy()

    def delta(self) -> NDArray[np.float32]:
        """How far the model has moved since: float32 (d,). What is not finite in the model is not finite here."""
        delta = np.empty(self._manifest.dimension, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for span, values in self._pieces():
                np.subtract(values.cpu().float().numpy(), self._values[span], out=delta[span])
        return delta

    def restore(self) -> None:
        """Give the model its values, modes, and device back."""
        self._model.to(self._device)
        for span, values in self._pieces():
            values.copy_(torch.from_numpy(np.array(self._values[span])))
        buffers = dict(self._model.named_buffers())
        for name, value in self._others.items():
            buffers[name].copy_(value)
        for parameter, trained in self._trained.items():
            parameter.requires_grad_(trained)
            parameter.grad = None
        for module, mode in self._modes.items():
            module.training = mode

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> StartingPoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Every part of the vector, and the model's values there, flat, of at most 2^20 entries."""
        state = self._model.state_dict()
        for entry in self._manifest.entries:
            value = state.get(entry.name)
            if value is None or tuple(value.shape) != entry.shape or not value.is_floating_point():
                found = "nothing" if value is None else f"{value.dtype} of {tuple(value.shape)}"
                raise InvalidModel(f"parameter {entry.name!r}: the model has {found}, expected floats of {entry.shape}")
            flat = value.detach().view(-1)
            for piece in slices(entry.size):
                yield slice(entry.offset + piece.start, entry.offset + piece.stop), flat[piece]


def _reserved(folder: Path | None, size_bytes: int) -> IO[bytes]:
    """A file without a name, with room on the disk: what is mapped and finds none there ends the process."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `StartingPoint.close`
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        else:
            file.truncate(size_bytes)
    except OSError:
        file.close()
        raise
    return file
