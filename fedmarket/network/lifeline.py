"""Becomes a program that lives no longer than whoever started it.

    python lifeline.py PROGRAM ARGUMENT...

Standard input is the lifeline: nothing is read from it, and when it closes, however its owner died, kill -9 included,
the program is asked to end, and made to after a while. It keeps the process id that the starter knows; who watches over
it is a process apart. Start it in a session of its own. Imports nothing of the project, and so starts at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable

GRACE_S = 5.0


def main(command: list[str]) -> int:
    """Leave a watcher behind and become the command; returns only where it cannot be run."""
    # Its writing end is the program's for as long as it runs, and nobody else's: it closes when the program is gone.
    running, kept = os.pipe()
    _leave_watcher(os.getpid(), running, kept)
    os.close(running)
    os.set_inheritable(kept, True)
    _detach(0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    return 127


def _leave_watcher(program: int, running: int, kept: int) -> None:
    """Fork twice: the program is not to find a child that it did not start."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if not os.fork():
        os.setsid()  # what the terminal tells the program is not for its watcher
        os.close(kept)
        _detach(1, 2)  # the log ends with the program
        _watch(program, running)
    os._exit(0)


def _watch(program: int, running: int) -> None:
    readable, _, _ = select.select([0, running], [], [])
    if running in readable:
        return
    _signal(os.kill, program, signal.SIGTERM)
    readable, _, _ = select.select([running], [], [], GRACE_S)
    if not readable:
        _signal(os.killpg, program, signal.SIGKILL)


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        send(target, number)
    except ProcessLookupError:
        return


def _detach(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
