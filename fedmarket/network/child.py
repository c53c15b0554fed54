"""One process of a network: started on a lifeline, read to its end, stopped by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from fedmarket.network import lifeline

LAST_LINES = 10
LINE_BYTES = 1 << 16
"""Longer lines are cut into pieces of this length."""
LAST_WORDS_S = 1.0
"""How long a log may stay open after its process ended: something that the process started may have it still."""


class Child:
    """A running process. It ends when this process does, kill -9 included."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], hear: Callable[[str], None]) -> None:
        """Start it, in a session of its own: an interrupt at the terminal is for who started it.

        Args:
            command: program and arguments.
            environment: all of it.
            hear: called with every line that it prints, from a thread of its own.
        """
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._hear = hear
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", lifeline.__file__, *command],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the program itself."""
        return self._process.pid

    def wait(self) -> int:
        """Wait until it has ended and all that it said was heard; its exit status, -n where signal n ended it."""
        status = self._process.wait()
        self._reader.join(LAST_WORDS_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it, and what it has started in its session."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        with output:
            while line := output.readline(LINE_BYTES):
                text = line.decode("utf-8", "replace")
                if text.strip():
                    self.last_lines.append(text)
                self._hear(text)
