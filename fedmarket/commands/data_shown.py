"""Opening somebody's data while they watch, and what a table of them says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedmarket.commands.job_tables import facts
from trainer_client.data import DataKind, Samples
from trainer_client.job_model import ModelInput

LABELS_AT_ONCE = 4096

MOST_CLASSES = 32
"""Of which the table tells how many samples each has."""


def open_shown(form: ModelInput, path: Path, scratch: Path, screen: Console) -> Samples:
    """Open samples, and tell meanwhile how far it is.

    Args:
        form: what they have to look like.
        path: where they are.
        scratch: folder for what is too large for memory.
        screen: where it is told.

    Raises:
        InvalidData: they cannot be read or do not fit.
    """
    with screen.status(f"looking at {path}") as status:
        return form.open(path, scratch, lambda count: status.update(f"looking at {path}: {count:,} samples"))


def report(form: ModelInput, samples: Samples, *, classes: bool) -> RenderableType:
    """What would be trained on and what not.

    Args:
        form: what the model takes.
        samples: what was opened.
        classes: whether to count the samples of each class, which reads all of them.
    """
    rows = [("samples", f"{len(samples):,}"), ("kind", str(samples.kind)), ("each", _each(form))]
    if classes and samples.kind is DataKind.LABELS:
        rows.append(("of each class", _class_counts(form, samples)))
    rows.append(("left out", f"{sum(left_out.count for left_out in samples.skipped):,}"))
    return Group(facts(rows), *([_left_out(samples)] if samples.skipped else []))


def _each(form: ModelInput) -> str:
    if form.kind is DataKind.TOKENS:
        return f"a window of {form.features:,} tokens, in 0..{form.vocabulary - 1}"
    values = f"{form.features:,} values"
    if form.shape is not None:
        channels = "one channel" if form.shape.channels == 1 else f"{form.shape.channels} channels"
        values += f", or an image of {form.shape.width}x{form.shape.height} pixels and {channels}"
    return values + (f", and {form.outputs} target values" if form.outputs else "")


def _class_counts(form: ModelInput, samples: Samples) -> str:
    counts = np.zeros(form.classes, np.int64)
    for start in range(0, len(samples), LABELS_AT_ONCE):
        part = samples.subset(np.arange(start, min(start + LABELS_AT_ONCE, len(samples))))
        counts += np.bincount(part.labels, minlength=form.classes)
    if form.classes > MOST_CLASSES:
        return f"{counts.min():,} to {counts.max():,}; {np.count_nonzero(counts)} of {form.classes} classes have any"
    return " ".join(f"{label}: {count:,}" for label, count in enumerate(counts.tolist()))


def _left_out(samples: Samples) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("", "left out", "why", "the first"):
        table.add_column(name, justify="right" if name == "left out" else "left", overflow="fold")
    for left_out in samples.skipped:
        table.add_row("", f"{left_out.count:,}", Text(left_out.reason), Text(left_out.first))
    return table
