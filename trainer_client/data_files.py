"""Readers of a trainer's files: .npz, CSV, and folders of images. Nothing that is read can run code."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from market.protocol.errors import InvalidData

CSV_ROWS_AT_ONCE = 4096

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_MODES = {1: "L", 3: "RGB"}
_DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class InputShape:
    """The shape of an image: channels (1 grey, 3 RGB), height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def features(self) -> int:
        """Number of values of an image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, eq=False)
class Samples:
    """What a reader found: inputs float32 (n, features), labels int64 (n,), and what it left out, with reasons."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    skipped: tuple[str, ...] = ()


def read_npz(path: Path, features: int, classes: int) -> Samples:
    """Read arrays ``inputs`` (n, ...) of numbers and ``labels`` (n,) of integers; values are taken as they are.

    Raises:
        InvalidData: no such arrays, wrong shapes or types, NaN or infinite inputs, labels out of range.
    """
    inputs, labels = _load_arrays(path)
    if inputs.dtype.kind not in "fiub" or labels.dtype.kind not in "iu":
        raise InvalidData(f"{path}: inputs are {inputs.dtype} and labels {labels.dtype}, expected numbers and integers")
    if inputs.ndim < 2 or labels.ndim != 1 or len(inputs) != len(labels):
        raise InvalidData(
            f"{path}: inputs have shape {inputs.shape} and labels {labels.shape}, expected (n, {features}) and (n,)"
        )
    if len(labels) == 0:
        raise InvalidData(f"{path} has no rows, expected at least one")
    inputs = inputs.reshape(len(inputs), -1)
    if inputs.shape[1] != features:
        raise InvalidData(f"{path}: every row has {inputs.shape[1]} values, expected {features}")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(inputs, dtype=np.float32)
    _check_rows(values, labels, classes, lambda row: f"{path}: row {row}")
    return Samples(values, labels.astype(np.int64))


def read_csv(path: Path, features: int, classes: int) -> Samples:
    """Read a comma-separated table: a row a sample, its label in the column ``label``, or in the last one.

    The first row is a header if one of its cells is not a number.

    Raises:
        InvalidData: no rows, a row of another length, a cell that is no finite number, labels out of range.
    """
    inputs: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for chunk in _csv_chunks(path, csv.reader(file), features, classes):
                inputs.append(chunk.inputs)
                labels.append(chunk.labels)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not labels:
        raise InvalidData(f"{path} has no rows, expected at least one")
    return Samples(np.concatenate(inputs), np.concatenate(labels))


def read_image_folder(path: Path, shape: InputShape, classes: int) -> Samples:
    """Read a folder with one subfolder of images a class; pixels become values in [0, 1], channels first.

    Subfolders named by integers are those labels. Other names are numbered in sorted order, and then there has to
    be one, if empty, for every class: trainers who lack different classes would else number them differently.
    Files that are no images, or damaged, are skipped and listed.

    Raises:
        InvalidData: no readable image, wrong subfolders, or an image of another size or depth.
    """
    if shape.channels not in _MODES:
        raise InvalidData(f"{path}: images have 1 or 3 channels, the model expects {shape.channels}")
    files, skipped = _list_images(path, _label_folders(path, classes))
    inputs = np.empty((len(files), shape.features), dtype=np.float32)
    labels = np.empty(len(files), dtype=np.int64)
    count = 0
    for file, label in files:
        try:
            inputs[count] = _read_image(file, shape)
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as error:
            skipped.append(f"{file.relative_to(path)}: cannot be read as an image ({error})")
            continue
        labels[count] = label
        count += 1
    if count == 0:
        raise InvalidData(f"{path} has no image that can be read, expected {', '.join(IMAGE_SUFFIXES)} in subfolders")
    return Samples(inputs[:count], labels[:count], tuple(skipped))


def _load_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        # Without pickle an archive holds plain arrays only: loading one cannot run anything. The file is opened here
        # because NumPy leaves it open where it turns out to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive["inputs"], archive["labels"]
    except KeyError as error:
        raise InvalidData(f"{path}: expected arrays named inputs and labels ({error.args[0]})") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidData(f"{path} cannot be read as .npz without pickled objects: {error}") from error


def _check_rows(
    inputs: NDArray[np.float32], labels: NDArray[Any], classes: int, name_row: Callable[[int], str]
) -> None:
    # A row's sum is not finite where an entry is not; the entries are looked at only to tell which one it was.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(inputs.sum(axis=1, dtype=np.float64)))
    for row in suspects:
        finite = np.isfinite(inputs[row])
        if not finite.all():
            column = int(np.argmin(finite))
            raise InvalidData(
                f"{name_row(int(row))}: input {column} is {inputs[row, column]}, expected finite float32 values"
            )
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        row = outside[0]
        raise InvalidData(f"{name_row(int(row))}: the label is {labels[row]}, expected 0..{classes - 1}")


def _csv_chunks(path: Path, reader: Any, features: int, classes: int) -> Iterator[Samples]:
    # (line, cells): a cell in quotes may span lines, so the reader is asked where it is.
    numbered = ((reader.line_num, row) for row in reader if row)
    first = next(numbered, None)
    if first is None:
        return
    is_header = not all(_is_number(cell) for cell in first[1])
    names = [cell.strip().lower() for cell in first[1]]
    label_column = names.index("label") if is_header and "label" in names else len(names) - 1
    pending = [] if is_header else [first]
    while pending := pending + list(islice(numbered, CSV_ROWS_AT_ONCE)):
        yield _parse_csv_rows(path, pending, label_column, features, classes)
        pending = []


def _parse_csv_rows(
    path: Path, rows: list[tuple[int, list[str]]], label_column: int, features: int, classes: int
) -> Samples:
    for line, cells in rows:
        if len(cells) != features + 1:
            raise InvalidData(f"{path}: line {line} has {len(cells)} cells, expected {features} inputs and a label")
    try:
        table = np.array([cells for _, cells in rows], dtype=np.float64)
    except ValueError as error:
        line, cell = next((line, cell) for line, cells in rows for cell in cells if not _is_number(cell))
        raise InvalidData(f"{path}: line {line}: {cell!r:.80} is not a number") from error
    labels = table[:, label_column]
    for (line, _), label in zip(rows, labels, strict=True):
        if not label.is_integer():
            raise InvalidData(f"{path}: line {line}: the label is {label:g}, expected 0..{classes - 1}")
    with np.errstate(over="ignore"):
        inputs = np.delete(table, label_column, axis=1).astype(np.float32)
    _check_rows(inputs, labels, classes, lambda row: f"{path}: line {rows[row][0]}")
    return Samples(inputs, labels.astype(np.int64))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_folders(path: Path, classes: int) -> dict[Path, int]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InvalidData(f"{path} has no subfolders, expected one of images for each of the {classes} classes")
    if not all(folder.name.isascii() and folder.name.isdecimal() for folder in folders):
        if len(folders) != classes:
            raise InvalidData(
                f"{path} has {len(folders)} class folders, expected {classes} (or folders named by their labels)"
            )
        return {folder: label for label, folder in enumerate(folders)}
    for folder in folders:
        if int(folder.name) >= classes:
            raise InvalidData(f"{folder}: the label is {folder.name}, expected 0..{classes - 1}")
    return {folder: int(folder.name) for folder in folders}


def _list_images(path: Path, labels: dict[Path, int]) -> tuple[list[tuple[Path, int]], list[str]]:
    skipped = [f"{entry.name}: not in a class folder" for entry in sorted(path.iterdir()) if entry.is_file()]
    images: list[tuple[Path, int]] = []
    for folder, label in labels.items():
        for entry in sorted(folder.iterdir()):
            if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES:
                images.append((entry, label))
            else:
                skipped.append(f"{entry.relative_to(path)}: not an image file")
    return images, skipped


def _read_image(path: Path, shape: InputShape) -> NDArray[np.float32]:
    with Image.open(path) as image:
        # The header tells the size: a wrong one is refused before the pixels are decoded.
        if image.size != (shape.width, shape.height):
            raise InvalidData(
                f"{path} is {image.width}x{image.height} pixels, expected {shape.width}x{shape.height} (width x height)"
            )
        if image.mode.startswith(_DEEP_MODES):
            raise InvalidData(f"{path} has pixels of mode {image.mode}, expected 8 bits a channel")
        pixels = np.asarray(image.convert(_MODES[shape.channels]), dtype=np.float32)
    # Height, width, channels in the file; channels first in the model.
    return np.moveaxis(pixels.reshape(shape.height, shape.width, shape.channels), 2, 0).reshape(-1) / np.float32(255)
