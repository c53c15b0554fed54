"""The lines of many processes in one log: a name before each, aligned, and coloured where somebody watches."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from typing import TextIO

import click

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
NETWORK = "network"
"""Who speaks where nobody of the network does."""

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.?)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class MergedLog:
    """Writes to one stream what many say. Plain where the stream is no terminal, or NO_COLOR asks for it."""

    def __init__(self, stream: TextIO, names: Iterable[str], *, timestamps: bool = False) -> None:
        self._stream, self._timestamps = stream, timestamps
        self.is_closed = False
        names = [NETWORK, *names]
        self._width = max(map(len, names))
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names[1:])}

    def line(self, name: str, text: str) -> None:
        """Write one line of a role's; what would move the cursor is left out, and so is an empty line."""
        text = clean(text)
        if text:
            self._write(f"{self._time()}{self._prefix(name)} {text}")

    def note(self, text: str, *, is_bad: bool = False) -> None:
        """Write a line of the network's own."""
        text = click.style(text, fg="red" if is_bad else None, bold=True) if self._coloured else text
        self._write(f"{self._time()}{self._prefix(NETWORK)} {text}")

    def _prefix(self, name: str) -> str:
        prefix = f"{name:<{self._width}} |"
        return click.style(prefix, fg=self._colours.get(name), bold=name == NETWORK) if self._coloured else prefix

    def _time(self) -> str:
        return time.strftime("%H:%M:%S ") if self._timestamps else ""

    def _write(self, line: str) -> None:
        if self.is_closed:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:
            self.is_closed = True  # whoever read has gone: that is for the network to hear of, not an error in it


def clean(text: str) -> str:
    """A line without what a terminal would obey: of text overwritten by carriage returns the last."""
    text = _ESCAPE.sub("", text.rstrip("\r\n")).rpartition("\r")[2]
    return _CONTROL.sub("", text).rstrip()
