"""Runs one command and prints, as the last line, what it took.

    python measured_process.py TIMEOUT_S COMMAND...

A process starts with the peak memory of the one that it was forked from; forked from here, that is some 10 MiB. So the
peak that is printed is the command's own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

KIB_PER_MAXRSS = 1 / 1024 if sys.platform == "darwin" else 1
TIMED_OUT = 124


def main(timeout_s: float, command: list[str]) -> int:
    """Run the command to its end or its time limit, with everything that it started."""
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        status = TIMED_OUT
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB_PER_MAXRSS
    print(flush=True)
    print(json.dumps({"seconds": time.perf_counter() - start_s, "peak_mib": peak_kib / 1024, "status": status}))
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
