"""Small generative models that come with the project, and the specs of jobs that train such.

Each is what its job ended with: `fedmarket verify models DIR --seed 0` runs them again.
"""

from __future__ import annotations

import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from market.protocol import integer_model
from market.protocol.errors import InvalidInput, InvalidModel
from market.protocol.generation import ModelSource
from market.protocol.job_spec import JobSpec, parse_spec

EXAMPLES = ("diffusion", "conditional_diffusion", "vae", "text")
"""By the kind of generation that each is for."""

SUFFIX = ".i64.xz"

_FOLDER = files("fedmarket").joinpath("examples", "generative")
TEXT = _FOLDER.joinpath("alice.txt")
"""What the text model is trained on: Carroll 1865, Alice's Adventures in Wonderland, in ASCII."""

_MOST_BYTES = 1 << 26


def example_spec(name: str) -> JobSpec:
    """The job that trains an example.

    Raises:
        InvalidInput: there is none of this name.
    """
    fields: dict[str, Any] = yaml.safe_load(_FOLDER.joinpath(f"{_known(name)}.yaml").read_text("utf-8"))
    return parse_spec(fields)


def example_model(name: str) -> NDArray[np.int64]:
    """The integer parameters that an example's job ended with, int64 (d,).

    Raises:
        InvalidInput: there is none of this name.
    """
    return unpacked(_FOLDER.joinpath(_known(name) + SUFFIX).read_bytes())


def example_source(name: str, parameters: str) -> ModelSource:
    """How a service's document says that it runs an example.

    Args:
        name: the example's.
        parameters: content id under which its integer model is stored.

    Raises:
        InvalidInput: there is none of this name.
    """
    return source_of(example_spec(name), parameters)


def source_of(spec: JobSpec, parameters: str) -> ModelSource:
    """How a service's document says that it runs the model of a job.

    Args:
        spec: the job's.
        parameters: content id under which its integer model is stored.
    """
    return ModelSource(
        architecture=spec.model.architecture,
        arguments=dict(spec.model.arguments),
        seed=spec.model.seed,
        trainable=spec.model.trainable,
        scale_exponent=spec.update.scale_exponent,
        parameters=parameters,
    )


def packed(model: NDArray[np.int64]) -> bytes:
    """An integer model in few bytes, the same for the same model: byte by byte of all entries, compressed."""
    folded = ((model << 1) ^ (model >> 63)).astype("<i8")
    planes = np.ascontiguousarray(folded.view(np.uint8).reshape(-1, 8).T)
    return lzma.compress(planes.tobytes(), preset=9)


def unpacked(data: bytes) -> NDArray[np.int64]:
    """The integer model of packed bytes, int64 (d,).

    Raises:
        InvalidModel: they are none.
    """
    unpacking = lzma.LZMADecompressor()
    try:
        planes = unpacking.decompress(data, _MOST_BYTES)
        columns = np.frombuffer(planes, dtype=np.uint8).reshape(8, -1)
    except (lzma.LZMAError, ValueError) as error:
        raise InvalidModel(f"{len(data):,} bytes that are no packed model: {error}") from error
    if not unpacking.eof:
        raise InvalidModel(
            f"{len(data):,} bytes that are no packed model: expected one of at most {_MOST_BYTES:,} bytes"
        )
    folded = np.ascontiguousarray(columns.T).view("<i8").reshape(-1).astype(np.int64)
    return integer_model.checked((folded >> 1) ^ -(folded & 1))


def write_packed(model: NDArray[np.int64], folder: Path, name: str) -> Path:
    """Write a packed model into a folder; returns its file."""
    path = folder / (name + SUFFIX)
    path.write_bytes(packed(model))
    return path


def _known(name: str) -> str:
    if name not in EXAMPLES:
        raise InvalidInput(f"example {name!r}: expected one of {', '.join(EXAMPLES)}")
    return name
