"""Vectors of integers on disk: headerless, little-endian, replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from market.protocol.errors import FedmarketError

SLICE = 1 << 20
"""Entries that are worked on at a time, so that temporary memory does not grow with the vector's length."""


def slices(dimension: int) -> Iterator[slice]:
    """Cut [0, dimension) into consecutive slices of at most 2^20 entries."""
    for start in range(0, dimension, SLICE):
        yield slice(start, min(start + SLICE, dimension))


def write_vector_file(path: Path, vector: NDArray[Any], tail: bytes = b"") -> None:
    """Write a vector's bytes so that a crash leaves either the old file or the whole new one.

    Args:
        path: the file to write; a file of the same name with ``.part`` appended is used on the way.
        vector: any shape (d,), already in its little-endian dtype.
        tail: what follows the vector in the same file.
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        for span in slices(len(vector)):
            file.write(np.ascontiguousarray(vector[span]).data)
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    # The rename itself is durable only once the folder is: Windows has no such call, and needs none.
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def map_vector_file(
    path: Path, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError], tail_bytes: int = 0
) -> NDArray[Any]:
    """Map a vector file into memory, read-only, after checking that its length is exactly right.

    Raises:
        refusal: the file cannot be read, or is not exactly ``dimension`` entries and ``tail_bytes`` long.
    """
    try:
        check_vector_file(path, dtype, dimension, refusal, tail_bytes)
        return np.memmap(path, dtype=dtype, mode="r", shape=(dimension,))
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror or error}") from error


def check_vector_file(
    path: Path, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError], tail_bytes: int = 0
) -> None:
    """Check that a vector file's length is exactly right. Raises as `map_vector_file`."""
    try:
        _check_length(str(path), path.stat().st_size, dtype, dimension, refusal, tail_bytes)
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror or error}") from error


def read_tail(path: Path, tail_bytes: int, refusal: type[FedmarketError]) -> bytes:
    """The last bytes of a vector's file, those that follow the vector.

    Raises:
        refusal: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(-tail_bytes, os.SEEK_END)
            return file.read()
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror or error}") from error


def view_vector_bytes(
    unverified_data: bytes, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError], tail_bytes: int = 0
) -> NDArray[Any]:
    """View bytes as a vector without copying, after checking that their length is exactly right.

    Raises:
        refusal: there are not exactly ``dimension`` entries and ``tail_bytes`` after them.
    """
    _check_length("the vector", len(unverified_data), dtype, dimension, refusal, tail_bytes)
    return np.frombuffer(unverified_data, dtype=dtype, count=dimension)


def _check_length(
    name: str, found: int, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError], tail_bytes: int
) -> None:
    expected = dimension * np.dtype(dtype).itemsize + tail_bytes
    if found != expected:
        tail = f" and {tail_bytes} bytes of blinders" if tail_bytes else ""
        raise refusal(f"{name} has {found} bytes, expected {expected} ({dimension} entries{tail})")
