"""What ends a program that is guarded: its guard's standard input, and a guard that is told to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from fedmarket import process_guard

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def close_input(guard: subprocess.Popen[str]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()


@pytest.mark.parametrize("end", [close_input, subprocess.Popen.terminate])
def test_a_program_that_does_not_end_when_it_is_asked_is_killed(end: Callable[[subprocess.Popen[str]], None]) -> None:
    command = [sys.executable, "-I", "-S", process_guard.__file__, sys.executable, "-c", DEAF]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == "deaf\n"
        [program] = psutil.Process(guard.pid).children()
        try:
            end(guard)
            guard.wait(process_guard.GRACE_S + 30)
            assert not program.is_running()
        finally:
            if program.is_running():
                program.kill()
