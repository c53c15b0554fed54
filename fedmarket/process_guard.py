"""Runs a program no longer than whoever started it: it ends when this process's standard input closes, or by SIGTERM.

    python process_guard.py PROGRAM ARGUMENT...

A pipe closes however its owner dies, kill -9 included, on every system. Imports nothing of the project, so that it
starts in a few hundredths of a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 5.0
FORWARDED_BYTES = 1 << 16
"""How much of the program's output is passed on: enough for its address or its complaint, not a log for ever."""


def _wait_for_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue


def _stop_at_end_of_input(program: subprocess.Popen[bytes]) -> None:
    _wait_for_end_of_input()
    _stop(program)


def _stop(program: subprocess.Popen[bytes]) -> None:
    """Ask first, then insist."""
    program.terminate()
    try:
        program.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        program.kill()


def _forward_output(program: subprocess.Popen[bytes]) -> None:
    """Pass the first part on and read the rest, so that the program never waits for a reader."""
    left = FORWARDED_BYTES
    while program.stdout is not None and (piece := os.read(program.stdout.fileno(), 4096)):
        os.write(sys.stdout.fileno(), piece[:left])
        left -= min(left, len(piece))


def main(command: list[str]) -> int:
    """Run the command until it ends or standard input does, and return its exit status."""
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # Told to end by name, as by `pkill`, it must not leave alone what it guards.
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=_stop, args=(program,)).start())
    threading.Thread(target=_stop_at_end_of_input, args=(program,), daemon=True).start()
    _forward_output(program)
    return program.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
