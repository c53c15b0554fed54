"""Ctrl-C and SIGTERM: leave at once, with a word on how to go on. Nothing is lost: everything survives a kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def leaving(farewell: Callable[[], str], clean_status: int | None = None) -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM end the command with a farewell and the exit status 128 + n.

    Args:
        farewell: says how to go on.
        clean_status: the exit status where ending by a signal is the ordinary end.

    Raises:
        click.exceptions.Exit: a signal came.
    """
    # Only the main thread may say what a signal does; elsewhere the ordinary KeyboardInterrupt has to do.
    handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, _interrupt) for number in handled}
    try:
        yield
    except KeyboardInterrupt as interruption:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # one is enough: the farewell is not cut short
        click.echo(farewell(), err=True)
        ended_by = interruption.number if isinstance(interruption, Interrupted) else int(signal.SIGINT)
        raise click.exceptions.Exit(128 + ended_by if clean_status is None else clean_status) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
