"""What a model gave for a task's samples, and the one file format in which it is stored under a content id.

A line of JSON that names the arrays, their types and shapes, in order, and then their values, row-major and
little-endian: the same outputs are the same bytes. What is read was written by anybody: nothing in it can run, and its
length is known before it is believed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidOutputs
from market.storage.durable_file import sync_folder, write_file

FORMAT = "fedmarket/outputs/1"

MAX_BYTES = 256 * 1024 * 1024
"""Largest file that is read or written."""

MAX_HEADER_BYTES = 1024

MAX_TOKEN = (1 << 17) - 1


@dataclass(frozen=True)
class _Form:
    dtype: str
    dimensions: tuple[int, ...]


_FORMS: Mapping[str, _Form] = {
    "images": _Form("<f4", (3, 4)),
    "tokens": _Form("<i4", (2,)),
    "hidden": _Form("<f4", (3,)),
    "counts": _Form("<i2", (2,)),
}


@dataclass(frozen=True, eq=False)
class Outputs:
    """A batch's outputs: one row a sample in every array that is there.

    Attributes:
        images: float32 (n, height, width) or (n, height, width, channels) in [0, 1].
        tokens: int32 (n, length), what was added to the prompts.
        hidden: float32 (n, length, width), the last hidden states from which the tokens were chosen.
        counts: int16 (n, d), updates of a training.

    Raises:
        InvalidOutputs: there are none, types or shapes are not these, or a value is not finite or out of range.
    """

    images: NDArray[np.float32] | None = None
    tokens: NDArray[np.int32] | None = None
    hidden: NDArray[np.float32] | None = None
    counts: NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        arrays = self.arrays()
        if len({len(array) for array in arrays.values() if array.ndim}) != 1:
            raise InvalidOutputs(f"outputs of {len(arrays)} kinds, expected at least one, and as many samples of each")
        for name, array in arrays.items():
            _check_array(name, array)

    def __len__(self) -> int:
        return len(next(iter(self.arrays().values())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outputs) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    @property
    def texts(self) -> list[str]:
        """The tokens as text, where tokens are bytes; what is no UTF-8 is replaced.

        Raises:
            InvalidOutputs: there are no tokens, or they are no bytes.
        """
        if self.tokens is None or self.tokens.max(initial=0) > 255:
            raise InvalidOutputs("the outputs are no bytes, expected tokens in 0..255")
        return [row.astype(np.uint8).tobytes().decode("utf-8", "replace") for row in self.tokens]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What there is, by name, in the order of the file."""
        named = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return {name: array for name, array in named if array is not None}

    def subset(self, start: int, stop: int) -> Outputs:
        """The samples from one to before another."""
        return Outputs(**{name: array[start:stop] for name, array in self.arrays().items()})

    def to_bytes(self) -> bytes:
        """The file's bytes.

        Raises:
            InvalidOutputs: they are more than ``MAX_BYTES``.
        """
        arrays = self.arrays()
        if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
            raise InvalidOutputs(f"{len(self)} samples take more than {MAX_BYTES:,} bytes: expected fewer")
        body = b"".join(
            np.ascontiguousarray(array, dtype=_FORMS[name].dtype).tobytes() for name, array in arrays.items()
        )
        return _header(arrays) + body

    def write(self, path: Path) -> None:
        """Write the file; it is replaced whole or not at all.

        Raises:
            InvalidOutputs: it would be too long.
            StorageError: the disk refused.
        """
        write_file(path, [self.to_bytes()])
        sync_folder(path.parent)

    @classmethod
    def read(cls, path: Path) -> Outputs:
        """Read a file that anybody may have written.

        Raises:
            InvalidOutputs: it cannot be read, or is none.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + MAX_HEADER_BYTES + 1)
        except OSError as error:
            raise InvalidOutputs(f"{path} cannot be read: {error}") from error
        return cls.parse(data)

    @classmethod
    def parse(cls, unverified_data: bytes) -> Outputs:
        """Read a file's bytes.

        Raises:
            InvalidOutputs: they are none, or not the ones that these outputs have.
        """
        head, newline, body = unverified_data.partition(b"\n")
        if not newline or len(head) >= MAX_HEADER_BYTES:
            raise InvalidOutputs(f"{len(unverified_data):,} bytes that do not begin with a line of {FORMAT}")
        shapes = _parse_header(head)
        sizes = {name: math.prod(shape) * np.dtype(_FORMS[name].dtype).itemsize for name, shape in shapes.items()}
        if sum(sizes.values()) != len(body) or len(body) > MAX_BYTES:
            raise InvalidOutputs(
                f"{len(body):,} bytes of values, the header says {sum(sizes.values()):,}, expected <= {MAX_BYTES:,}"
            )
        arrays, start = {}, 0
        for name, shape in shapes.items():
            values = np.frombuffer(body, dtype=_FORMS[name].dtype, count=math.prod(shape), offset=start)
            arrays[name] = values.reshape(shape).astype(values.dtype.newbyteorder("="))
            start += sizes[name]
        outputs = cls(**arrays)
        if _header(outputs.arrays()) != head + newline:
            raise InvalidOutputs("the header is not written as outputs are: these bytes are not the only ones for them")
        return outputs


def joined(parts: Sequence[Outputs]) -> Outputs:
    """One batch's outputs of several parts, in their order.

    Raises:
        InvalidOutputs: there are none, or they are not alike.
    """
    forms = {tuple((name, array.shape[1:]) for name, array in part.arrays().items()) for part in parts}
    if len(forms) != 1:
        raise InvalidOutputs(f"{len(parts)} parts of {len(forms)} forms: expected at least one, and all alike")
    names = parts[0].arrays()
    return Outputs(**{name: np.concatenate([part.arrays()[name] for part in parts]) for name in names})


def _header(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    listed = [[name, _FORMS[name].dtype, list(array.shape)] for name, array in arrays.items()]
    return json.dumps({"arrays": listed, "format": FORMAT}, separators=(",", ":")).encode() + b"\n"


def _parse_header(head: bytes) -> dict[str, tuple[int, ...]]:
    try:
        header = json.loads(head)
        listed = [(name, dtype, tuple(shape)) for name, dtype, shape in header["arrays"]]
        named = header["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidOutputs(f"the first line is no header of {FORMAT}: {error}") from error
    if named != FORMAT or len(listed) > len(_FORMS):
        raise InvalidOutputs(f"the format is {named!r:.80}, expected {FORMAT!r}")
    shapes: dict[str, tuple[int, ...]] = {}
    for name, dtype, shape in listed:
        form = _FORMS.get(name) if isinstance(name, str) else None
        sides = all(type(side) is int and 0 < side < 1 << 31 for side in shape)
        if form is None or dtype != form.dtype or len(shape) not in form.dimensions or not sides or name in shapes:
            raise InvalidOutputs(f"array {name!r:.80} is {dtype!r:.20} of shape {shape!r:.80}, which no outputs have")
        shapes[name] = shape
    return shapes


def _check_array(name: str, array: NDArray[Any]) -> None:
    form = _FORMS[name]
    if array.dtype != np.dtype(form.dtype) or array.ndim not in form.dimensions or array.size == 0:
        expected = " or ".join(str(count) for count in form.dimensions)
        raise InvalidOutputs(
            f"{name} are {array.dtype} of shape {array.shape}, expected {form.dtype} of {expected} dimensions"
        )
    finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.dtype.kind == "f" else np.True_
    if not np.all(finite):
        raise InvalidOutputs(f"{name}: sample {int(np.argmin(finite))} has values that are not finite")
    if name == "images" and (array.min() < 0 or array.max() > 1):
        raise InvalidOutputs(f"images: values {array.min():g}..{array.max():g}, expected 0..1")
    if name == "tokens" and (array.min() < 0 or array.max() > MAX_TOKEN):
        raise InvalidOutputs(f"tokens {array.min()}..{array.max()}, expected 0..{MAX_TOKEN}")
