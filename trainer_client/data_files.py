"""Readers of a trainer's files: .npz, CSV and text. Nothing that is read can run code."""

from __future__ import annotations

import csv
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.dataset import TARGET_NAMES, DataKind, Dataset, SampleForm, joined

CSV_ROWS_AT_ONCE = 4096

DAMAGED_NPZ = (
    *(OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error),
    *(AttributeError, TypeError, SyntaxError, tokenize.TokenError),
)
"""What reading somebody's archive raises where it is none; the last four are NumPy's, from headers."""

_NUMBERS, _INTEGERS = "fiub", "iu"


def read_npz(path: Path, form: SampleForm) -> Dataset:
    """Read arrays ``inputs`` (n, ...) and, where the model asks for them, ``labels`` (n,) or ``targets`` (n, k).

    Inputs and target values are numbers, taken as they are; labels and tokens are integers.

    Raises:
        InvalidData: no such arrays, wrong shapes or types, NaN or infinite values, labels or tokens out of range.
    """
    asked = TARGET_NAMES.get(form.kind)
    arrays = _load_arrays(path, ("inputs", asked) if asked else ("inputs",))
    inputs, targets = arrays["inputs"], arrays.get(asked or "")
    _check_type(path, "inputs", inputs, integers=form.kind is DataKind.TOKENS)
    if targets is not None:
        _check_type(path, str(asked), targets, integers=form.kind is DataKind.LABELS)
    _check_shapes(path, inputs, targets, form)
    return _fitting(inputs.reshape(len(inputs), -1), targets, form, lambda row: f"{path}: row {row}")


def read_csv(path: Path, form: SampleForm) -> Dataset:
    """Read a comma-separated table: a row a sample, with its inputs and what the model asks for, no more.

    The first row is a header if one of its cells is not a number. A class label is in the column ``label``, or in the
    last one; target values are in the columns whose names begin with ``target``, or in the last ones.

    Raises:
        InvalidData: no rows, a row of another length, a cell that is no finite number, labels out of range.
    """
    if form.kind is DataKind.TOKENS:
        raise InvalidData(f"{path}: the job's model takes tokens, expected .txt or .npz")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            parts = list(_csv_parts(path, csv.reader(file), form))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not parts:
        raise InvalidData(f"{path} has no rows, expected at least one")
    return joined(parts)


def read_text(path: Path, form: SampleForm) -> Dataset:
    """Read a text as bytes, each of them a token, cut into windows that overlap by one.

    The last byte of a window is only predicted and the first of the next only looked back on, so every byte but the
    file's first is predicted once. What is left at the end and fills no window is skipped and listed.

    Raises:
        InvalidData: the model takes no tokens, the text is too short for one window, or a byte is out of range.
    """
    if form.kind is not DataKind.TOKENS:
        raise InvalidData(f"{path} is a text, but the job's model takes {form.kind}")
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error}") from error
    step = form.features - 1
    windows, left = divmod(len(content) - 1, step)
    if windows < 1:
        raise InvalidData(f"{path} has {len(content)} bytes, expected at least the {form.features} of one window")
    starts = step * np.arange(windows)
    tokens = content[starts[:, None] + np.arange(form.features)]
    read = _fitting(tokens, None, form, lambda row: f"{path}: window {row}, from byte {starts[row]}")
    skipped = (f"bytes at the end that fill no window of {form.features}: {left}",) if left else ()
    return Dataset(read.inputs, skipped=skipped)


def _load_arrays(path: Path, expected: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        # Without pickle an archive holds plain arrays only: loading one cannot run anything. The file is opened here
        # because NumPy leaves it open where it turns out to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in expected}
    except KeyError as error:
        raise InvalidData(f"{path}: expected arrays named {' and '.join(expected)} ({error.args[0]})") from error
    except DAMAGED_NPZ as error:
        raise InvalidData(f"{path} cannot be read as .npz without pickled objects: {error}") from error


def _check_type(path: Path, what: str, array: NDArray[Any], *, integers: bool) -> None:
    if array.dtype.kind not in (_INTEGERS if integers else _NUMBERS):
        raise InvalidData(f"{path}: {what} are {array.dtype}, expected {'integers' if integers else 'numbers'}")


def _check_shapes(path: Path, inputs: NDArray[Any], targets: NDArray[Any] | None, form: SampleForm) -> None:
    wide = form.kind is DataKind.VALUES
    unlike = targets is not None and (targets.ndim != 1 + wide or len(targets) != len(inputs))
    if inputs.ndim < 2 or unlike:
        asked = f" and {TARGET_NAMES[form.kind]} {targets.shape}" if targets is not None else ""
        shapes = f"(n, {form.features})" + (f" and (n, {form.outputs})" if wide else " and (n,)" if asked else "")
        raise InvalidData(f"{path}: inputs have shape {inputs.shape}{asked}, expected {shapes}")
    if len(inputs) == 0:
        raise InvalidData(f"{path} has no rows, expected at least one")
    if inputs[0].size != form.features:
        raise InvalidData(f"{path}: every row has {inputs[0].size} values, expected {form.features}")
    if wide and targets is not None and targets.shape[1] != form.outputs:
        raise InvalidData(f"{path}: every row has {targets.shape[1]} target values, expected {form.outputs}")


def _fitting(
    inputs: NDArray[Any], targets: NDArray[Any] | None, form: SampleForm, name_row: Callable[[int], str]
) -> Dataset:
    """Convert rows of the right shapes to a data set, or name the first that has a value out of range."""
    if form.kind is DataKind.TOKENS:
        _check_range(inputs.min(axis=1), "a token", form.vocabulary, name_row)
        _check_range(inputs.max(axis=1), "a token", form.vocabulary, name_row)
        return Dataset(inputs.astype(np.int64))
    values = _finite(inputs, "input", name_row)
    if targets is None:
        return Dataset(values)
    if form.kind is DataKind.VALUES:
        return Dataset(values, _finite(targets, "target", name_row))
    _check_range(targets, "the label", form.classes, name_row)
    return Dataset(values, targets.astype(np.int64))


def _finite(table: NDArray[Any], what: str, name_row: Callable[[int], str]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(table, dtype=np.float32)
    # A row's sum is not finite where an entry is not; the entries are looked at only to tell which one it was.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(values.sum(axis=1, dtype=np.float64)))
    for row in suspects:
        finite = np.isfinite(values[row])
        if not finite.all():
            column = int(np.argmin(finite))
            raise InvalidData(
                f"{name_row(int(row))}: {what} {column} is {values[row, column]}, expected finite float32 values"
            )
    return values


def _check_range(numbers: NDArray[Any], what: str, count: int, name_row: Callable[[int], str]) -> None:
    outside = np.flatnonzero((numbers < 0) | (numbers >= count))
    if len(outside):
        row = outside[0]
        raise InvalidData(f"{name_row(int(row))}: {what} is {numbers[row]}, expected 0..{count - 1}")


def _csv_parts(path: Path, reader: Any, form: SampleForm) -> Iterator[Dataset]:
    # (line, cells): a cell in quotes may span lines, so the reader is asked where it is.
    numbered = ((reader.line_num, row) for row in reader if row)
    first = next(numbered, None)
    if first is None:
        return
    is_header = not all(_is_number(cell) for cell in first[1])
    columns = _target_columns(path, [cell.strip().lower() for cell in first[1]], form)
    pending = [] if is_header else [first]
    while pending := pending + list(islice(numbered, CSV_ROWS_AT_ONCE)):
        yield _parse_csv_rows(path, pending, columns, form)
        pending = []


def _target_columns(path: Path, names: list[str], form: SampleForm) -> list[int]:
    """Where the label or the target values are: in columns named so, else in the last ones."""
    if form.kind is DataKind.LABELS:
        return [names.index("label") if "label" in names else len(names) - 1]
    named = [column for column, name in enumerate(names) if form.outputs and name.startswith("target")]
    if named and len(named) != form.outputs:
        raise InvalidData(f"{path} has {len(named)} columns named target..., expected {form.outputs} or none")
    return named or list(range(len(names)))[len(names) - form.outputs :]


def _parse_csv_rows(path: Path, rows: list[tuple[int, list[str]]], columns: list[int], form: SampleForm) -> Dataset:
    asked = {DataKind.LABELS: " and a label", DataKind.VALUES: f" and {form.outputs} target values"}.get(form.kind, "")
    for line, cells in rows:
        if len(cells) != form.features + len(columns):
            raise InvalidData(f"{path}: line {line} has {len(cells)} cells, expected {form.features} inputs{asked}")
    try:
        table = np.array([cells for _, cells in rows], dtype=np.float64)
    except ValueError as error:
        line, cell = next((line, cell) for line, cells in rows for cell in cells if not _is_number(cell))
        raise InvalidData(f"{path}: line {line}: {cell!r:.80} is not a number") from error
    inputs, targets = np.delete(table, columns, axis=1), table[:, columns]

    def name_row(row: int) -> str:
        return f"{path}: line {rows[row][0]}"

    if form.kind is not DataKind.LABELS:
        return _fitting(inputs, targets if columns else None, form, name_row)
    labels = targets[:, 0]
    for row in np.flatnonzero(labels != np.floor(labels)):
        raise InvalidData(f"{name_row(int(row))}: the label is {labels[row]:g}, expected 0..{form.classes - 1}")
    return _fitting(inputs, labels, form, name_row)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
