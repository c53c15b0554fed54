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


def write_vector_file(path: Path, vector: NDArray[Any]) -> None:
    """Write a vector's bytes so that a crash leaves either the old file or the whole new one.

    Args:
        path: the file to write; a file of the same name with ``.part`` appended is used on the way.
        vector: any shape (d,), already in its little-endian dtype.
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        for span in slices(len(vector)):
            file.write(np.ascontiguousarray(vector[span]).data)
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


def map_vector_file(path: Path, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError]) -> NDArray[Any]:
    """Map a vector file into memory, read-only, after checking that its length is exactly right.

    Raises:
        refusal: the file cannot be read, or is not exactly ``dimension`` entries long.
    """
    expected = dimension * np.dtype(dtype).itemsize
    try:
        found = path.stat().st_size
        if found != expected:
            raise refusal(f"{path} has {found} bytes, expected {expected} ({dimension} entries)")
        return np.memmap(path, dtype=dtype, mode="r", shape=(dimension,))
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror or error}") from error


def view_vector_bytes(
    unverified_data: bytes, dtype: DTypeLike, dimension: int, refusal: type[FedmarketError]
) -> NDArray[Any]:
    """View bytes as a vector without copying, after checking that their length is exactly right.

    Raises:
        refusal: there are not exactly ``dimension`` entries.
    """
    expected = dimension * np.dtype(dtype).itemsize
    if len(unverified_data) != expected:
        raise refusal(f"the vector has {len(unverified_data)} bytes, expected {expected} ({dimension} entries)")
    return np.frombuffer(unverified_data, dtype=dtype)
