"""The parameter manifest: which floating-point entries of a state dict make up the vector, and where each one sits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from market.protocol.errors import InvalidModel
from market.protocol.identifiers import Digest

MAX_DIMENSION = 1 << 30
"""Largest length of a parameter vector; every range in the contract is derived from it."""


@dataclass(frozen=True)
class ParameterEntry:
    """One tensor of the model: its name in the state dict, its shape, and its first index in the vector."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of scalars (1 for a zero-dimensional tensor)."""
        return prod(self.shape)


@dataclass(frozen=True)
class ParameterManifest:
    """The trainable entries in the order of their names, flattened row-major one after the other."""

    entries: tuple[ParameterEntry, ...]

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Iterable[int]]) -> ParameterManifest:
        """Lay out tensors by sorted name.

        Raises:
            InvalidModel: there is no tensor, one is empty or has a name that cannot be shown, or the vector would be
                longer than 2^30.
        """
        entries: list[ParameterEntry] = []
        offset = 0
        for name in sorted(shapes):
            if not name.isprintable():
                raise InvalidModel(f"manifest: {name!r:.200} has a character that cannot be shown")
            shape = tuple(int(side) for side in shapes[name])
            if any(side < 1 for side in shape):
                raise InvalidModel(f"parameter {name!r} has shape {shape}: every side must be at least 1")
            entries.append(ParameterEntry(name, shape, offset))
            offset += prod(shape)
        if not entries:
            raise InvalidModel("the model has no floating-point parameter")
        if offset > MAX_DIMENSION:
            raise InvalidModel(f"the model has {offset} parameters, at most {MAX_DIMENSION} are supported")
        return cls(tuple(entries))

    @property
    def dimension(self) -> int:
        """d, the length of the parameter vector."""
        last = self.entries[-1]
        return last.offset + last.size

    @property
    def digest(self) -> Digest:
        """sha2-256 of the list that `to_json` gives, written without spaces: what a layout is named by."""
        return Digest(hashlib.sha256(json.dumps(self.to_json(), separators=(",", ":")).encode()).digest())

    def to_json(self) -> list[dict[str, Any]]:
        """A JSON-ready list, one object an entry."""
        return [{"name": e.name, "shape": list(e.shape), "offset": e.offset} for e in self.entries]

    @classmethod
    def from_json(cls, unverified_entries: Any) -> ParameterManifest:
        """Parse and re-derive the layout.

        Raises:
            InvalidModel: the value is not a list of entries, or its offsets are not the ones that its shapes give.
        """
        if not isinstance(unverified_entries, list):
            raise InvalidModel(f"manifest: expected a list of entries, found {type(unverified_entries).__name__}")
        shapes: dict[str, list[int]] = {}
        offsets: dict[str, int] = {}
        for number, unverified_entry in enumerate(unverified_entries):
            name, shape, offset = _parse_entry(number, unverified_entry)
            if name in shapes:
                raise InvalidModel(f"manifest: {name!r} appears twice, expected distinct names")
            shapes[name], offsets[name] = shape, offset
        manifest = cls.from_shapes(shapes)
        for entry in manifest.entries:
            if offsets[entry.name] != entry.offset:
                raise InvalidModel(
                    f"manifest: {entry.name!r} has offset {offsets[entry.name]}, expected {entry.offset} "
                    "(entries follow one another in the order of their names)"
                )
        return manifest


def _parse_entry(number: int, unverified_entry: Any) -> tuple[str, list[int], int]:
    match unverified_entry:
        case {"name": str(name), "shape": list(shape), "offset": int(offset), **others} if not others:
            # Only whole numbers: int() would let 2.7, "3" and true through, and overflow on Infinity.
            if all(type(number) is int for number in (offset, *shape)):
                return name, shape, offset
    raise InvalidModel(
        f"manifest: entry {number} is {unverified_entry!r:.200}, expected an object with a name, a list of "
        "integers as shape, an integer offset, and nothing else"
    )
