"""Runs the stages one after the other, each in a fresh process, and tells how far they are."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from market.protocol.errors import FedmarketError, InvalidInput

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class StageFailed(FedmarketError):
    """A stage's process ended without a result."""


def run_stage(stage: str, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run a stage to its end and return its result.

    Raises:
        InvalidInput: it says what is wrong.
        StageFailed: it ended otherwise; the message is the last that it said.
    """
    command = [sys.executable, "-m", "fedmarket.bench.stages", stage, str(folder)]
    with TemporaryFile("w+") as complaints, _process(command, complaints) as process:
        try:
            answer = _follow(process, progress)
        finally:
            process.kill()
        if process.wait() != 0 or "result" not in answer:
            complaints.seek(0)
            raise _failure(stage, process.returncode, answer, complaints.read())
    result: dict[str, Any] = answer["result"]
    return result


def _process(command: list[str], complaints: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True)


def _follow(process: subprocess.Popen[str], progress: Progress) -> dict[str, Any]:
    """Pass on what a process says until it has said all; its last line counts."""
    answer: dict[str, Any] = {}
    for line in process.stdout or ():
        answer = json.loads(line)
        if "stage" in answer:
            progress(answer["stage"], answer["done"], answer["total"])
    process.wait()
    return answer


def _failure(stage: str, status: int, answer: dict[str, Any], complaints: str) -> FedmarketError:
    if "error" in answer:
        return InvalidInput(answer["error"])
    if status == -signal.SIGKILL:
        return StageFailed(f"{stage}: the process was killed: this machine has probably too little memory")
    last_line = complaints.strip().splitlines()[-1:] or [f"it ended with status {status}"]
    return StageFailed(f"{stage}: {last_line[0]}")
