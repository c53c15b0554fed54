from __future__ import annotations

import io

from rich.console import Console

from fedmarket.commands.verifier_monitor import VerifierMonitor
from trainer_client.verifier.bench import Advance


def shown(*, on_terminal: bool) -> str:
    output = io.StringIO()
    monitor = VerifierMonitor(Console(file=output, force_terminal=on_terminal, width=100, highlight=False))
    with monitor.showing():
        monitor.report("task 3: took a seat [for 64 samples]")
        monitor.progress(Advance(3, 16, 64))
        monitor.progress(Advance(4, 1, 2))
        monitor.progress(Advance(3, 64, 64))
    return output.getvalue()


def test_where_nobody_watches_every_batch_is_a_line() -> None:
    assert shown(on_terminal=False).splitlines() == [
        "• task 3: took a seat [for 64 samples]",
        "• task 3: 16 of 64 samples",
        "• task 4: 1 of 2 samples",
        "• task 3: 64 of 64 samples",
    ]


def test_on_a_terminal_each_task_has_a_bar_and_what_happened_stays() -> None:
    drawn = shown(on_terminal=True)
    assert "took a seat [for 64 samples]" in drawn
    assert "task 4" in drawn
    assert "16 of 64 samples" not in drawn
