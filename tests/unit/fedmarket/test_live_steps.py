"""What a running aggregator shows of long work."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from aggregator.worker import Progress
from fedmarket.commands.live import JobMonitor


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def monitor(screen: io.StringIO, *, terminal: bool) -> JobMonitor:
    job: Any = SimpleNamespace(id=3, terms=SimpleNamespace(rounds=5))
    return JobMonitor(job, Console(file=screen, force_terminal=terminal, width=120), "job 3")


def test_where_nobody_watches_a_step_is_told_when_it_begins_and_when_it_is_done(screen: io.StringIO) -> None:
    watching = monitor(screen, terminal=False)
    for done in (0, 0, 1, 2, 3, 3):
        watching.step(Progress("opening updates", done, 3))
    assert screen.getvalue().splitlines() == ["opening updates: begun", "opening updates: done"]


def test_on_a_terminal_the_status_line_shows_how_far_it_is(screen: io.StringIO) -> None:
    watching = monitor(screen, terminal=True)
    watching.step(Progress("proving", 2, 5))
    assert "proving 2/5" in shown(watching)
    watching.step(Progress("proving", 5, 5))
    assert "proving" not in shown(watching)
    watching.step(Progress("opening updates", 1, 5))
    watching.report("round 0: 3 of 3 accepted, new model")
    assert "opening" not in shown(watching)


def shown(watching: JobMonitor) -> str:
    screen = io.StringIO()
    Console(file=screen, width=120).print(watching._status())
    return screen.getvalue()
