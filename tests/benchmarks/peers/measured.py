"""What a command of a peer took: run in a process of its own, with a time limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import measured_process


class PeerFailed(Exception):
    """A peer's command failed; the message is the line that says why."""


class PeerSlow(PeerFailed):
    """A peer's command did not end in time."""


class PeerMissing(PeerFailed):
    """A peer is not installed."""


@dataclass(frozen=True)
class Measured:
    """What one command took.

    Attributes:
        seconds: from its start to its end, the start of its interpreter included.
        peak_mib: the most memory that it held at once.
        output: what it printed.
    """

    seconds: float
    peak_mib: float
    output: str


def run_measured(command: Sequence[str], folder: Path, timeout_s: float) -> Measured:
    """Run a command in a folder.

    Raises:
        PeerSlow: it did not end within the time limit.
        PeerFailed: it ended with an error.
    """
    launcher = [sys.executable, "-I", "-S", measured_process.__file__, str(timeout_s)]
    printed = subprocess.run([*launcher, *command], cwd=folder, capture_output=True, text=True, check=True).stdout
    output, _, last_line = printed.rstrip("\n").rpartition("\n")
    result = json.loads(last_line)
    if result["status"] == measured_process.TIMED_OUT:
        raise PeerSlow(f"not done within {timeout_s:.0f} s: {' '.join(command[-6:])}")
    if result["status"] != 0:
        raise PeerFailed(f"status {result['status']}: {_reason(output)}")
    return Measured(result["seconds"], result["peak_mib"], output.strip())


def _reason(output: str) -> str:
    """The line that says what went wrong: the first that names an error, or the last."""
    lines = output.strip().splitlines() or ["it printed nothing"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])[:300]
