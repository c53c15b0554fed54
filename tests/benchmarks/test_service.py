"""What the questions of a page cost over a large market, beside a route that does nothing, served alike."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import pytest
from rich.console import Console
from rich.table import Table

from fedmarket.bench.report import Machine, package_versions
from market.db.engine import connect
from market.db.migrate import upgrade
from tests.market_rows import seed_market

pytestmark = pytest.mark.bench

JOBS, ROUNDS, TRAINERS = 1_000, 50, 64
REQUESTS = 300
CONNECTIONS = 4
JOB = 500
API = "/api/v1"

JOB_PAGE = (
    *("/jobs", f"/jobs/{JOB}", f"/jobs/{JOB}/attempts", f"/jobs/{JOB}/updates?attempt=20&limit=64"),
    *(f"/jobs/{JOB}/trainers", f"/jobs/{JOB}/payouts", f"/jobs/{JOB}/movements", f"/jobs/{JOB}/models"),
    *(f"/jobs/{JOB}/attempts/20/gram", f"/jobs/{JOB}/disputes", f"/events?job={JOB}"),
)
"""What a page about one job asks for."""

OTHERS = ("/jobs?sort=reward&state=open", "/jobs?text=mri", "/trainers", "/aggregators")


@dataclass(frozen=True)
class Timing:
    """How long requests took, one after the other, and how many were answered in a second over several connections."""

    milliseconds: Sequence[float]
    size_bytes: int
    a_second: float


@contextmanager
def serving(*arguments: str) -> Iterator[int]:
    """A server in a process of its own; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.serving", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        _wait(port)
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _wait(port: int) -> None:
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the server does not answer")


def timed(port: int, path: str) -> Timing:
    """Ask for a path, first by one connection, then by several at once."""
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    size_bytes = _ask(asking, path)
    took = []
    for _ in range(REQUESTS):
        began_s = time.perf_counter()
        _ask(asking, path)
        took.append(1_000 * (time.perf_counter() - began_s))
    asking.close()
    began_s = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(lambda _: _ask_many(port, path, REQUESTS // CONNECTIONS), range(CONNECTIONS)))
    return Timing(took, size_bytes, REQUESTS / (time.perf_counter() - began_s))


def _ask_many(port: int, path: str, times: int) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(times):
        _ask(asking, path)
    asking.close()


def _ask(asking: http.client.HTTPConnection, path: str) -> int:
    asking.request("GET", path)
    answer = asking.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return len(body)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The large market, made in a minute or two."""
    path = tmp_path_factory.mktemp("service") / "market.db"
    engine = connect(f"sqlite:///{path}")
    upgrade(engine)
    print(f"  seeding {JOBS:,} jobs of {ROUNDS} rounds and {TRAINERS} trainers", flush=True)
    seed_market(engine, jobs=JOBS, rounds=ROUNDS, trainers=TRAINERS)
    engine.dispose()
    return path


def test_a_job_pages_questions_beside_a_bare_route(database: Path, tmp_path: Path) -> None:
    with serving("bare", "-") as port:
        found = {"a bare route": timed(port, "/")}
    with serving(str(database), str(tmp_path)) as port:
        found |= {path: timed(port, API + path) for path in (*JOB_PAGE, *OTHERS)}
    _show(found, database.stat().st_size)


def _show(found: dict[str, Timing], database_bytes: int) -> None:
    machine = Machine.here()
    versions = ", ".join(f"{k} {v}" for k, v in package_versions(("fastapi", "uvicorn", "sqlalchemy")).items())
    title = f"{JOBS:,} jobs, {ROUNDS} rounds, {TRAINERS} trainers, SQLite of {database_bytes / 2**30:.1f} GiB"
    table = Table(title=title, title_justify="left")
    for name in ("request", "median ms", "p99 ms", "x bare", "bytes", f"requests/s, {CONNECTIONS} connections"):
        table.add_column(name, justify="left" if name == "request" else "right")
    bare = median(found["a bare route"].milliseconds)
    for path, timing in found.items():
        middle = median(timing.milliseconds)
        p99 = quantiles(timing.milliseconds, n=100)[98]
        shown = (
            f"{middle:.2f}",
            f"{p99:.2f}",
            f"{middle / bare:.1f}",
            f"{timing.size_bytes:,}",
            f"{timing.a_second:,.0f}",
        )
        table.add_row(path, *shown)
    console = Console(width=120)
    console.print(table)
    console.print(f"{REQUESTS} requests each; {machine.cores} cores, {machine.processor}; {versions}")
