"""What a running verifier shows: a bar a task on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class TaskProgress(Protocol):
    """How far a task's outputs are: `trainer_client.verifier.bench.Advance`."""

    @property
    def task(self) -> int:
        """The task's number."""
        ...

    @property
    def done(self) -> int:
        """Samples done."""
        ...

    @property
    def total(self) -> int:
        """Of how many."""
        ...


class VerifierMonitor:
    """Shows what several tasks are at. Its methods may be called from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._bars: dict[int, TaskID] = {}

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the bars while this lasts, on a terminal only."""
        if not self._console.is_terminal:
            yield
            return
        with self._progress:
            yield

    def report(self, line: str) -> None:
        """Show what happened, for good."""
        self._console.print(f"[green]•[/green] {escape(line)}", soft_wrap=True)

    def progress(self, advance: TaskProgress) -> None:
        """Show how far a task's outputs are."""
        if not self._console.is_terminal:
            self.report(f"task {advance.task}: {advance.done} of {advance.total} samples")
            return
        if advance.task not in self._bars:
            self._bars[advance.task] = self._progress.add_task(f"task {advance.task}", total=advance.total)
        self._progress.update(self._bars[advance.task], completed=advance.done, total=advance.total)
        if advance.done == advance.total:
            self._progress.remove_task(self._bars.pop(advance.task))
