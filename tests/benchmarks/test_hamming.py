"""A billion comparisons of digests: ours beside faiss and numpy, in one run.

faiss' functions for all pairs hold the interpreter's lock, so its count is one thread's in however many it is called;
ours counts on all cores. Its index has threads of its own, and is timed with these and with one. The processor's time,
of all threads, tells the same on a machine that has other work to do.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from trainer_client.digests import count_within, hamming_histogram, nearest
from zk.cores import core_count

Bytes = NDArray[np.uint8]
Runs = dict[str, Callable[[], Any]]

ROWS = 31_623
"""Its square is a billion."""

QUERIES = 4_000
REPEATS = 5
_ROWS_AT_ONCE = 64


def random_digests(seed: int, bits: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (ROWS, bits // 8), dtype=np.uint8)


def medians(runs: Runs, equal: Callable[[Any, Any], bool]) -> dict[str, tuple[float, float]]:
    """The median times of several ways to one result, and the processor's, taken in turns after one to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):
        results = []
        for name, run in runs.items():
            start, processor = time.perf_counter(), time.process_time()
            results.append(run())
            if repeat:
                times[name].append((time.perf_counter() - start, time.process_time() - processor))
        assert all(equal(result, results[0]) for result in results)
    return {
        name: (statistics.median(wall for wall, _ in own), statistics.median(busy for _, busy in own))
        for name, own in times.items()
    }


def faiss_count(a: Bytes, b: Bytes, radius: int) -> int:
    found = np.zeros(1, np.uintp)
    pointers = [faiss.swig_ptr(array) for array in (a, b, found)]
    faiss.hamming_count_thres(pointers[0], pointers[1], len(a), len(b), radius, a.shape[1], pointers[2])
    return int(found[0])


def faiss_count_on_all_cores(a: Bytes, b: Bytes, radius: int) -> int:
    with ThreadPoolExecutor(core_count()) as threads:
        return sum(threads.map(lambda part: faiss_count(part, b, radius), np.array_split(a, core_count())))


def numpy_count(a: Bytes, b: Bytes, radius: int) -> int:
    left, right = a.view(np.uint64), b.view(np.uint64)
    total = 0
    for first in range(0, len(left), _ROWS_AT_ONCE):
        distances = sum(
            np.bitwise_count(left[first : first + _ROWS_AT_ONCE, None, word] ^ right[None, :, word]).astype(np.uint16)
            for word in range(left.shape[1])
        )
        total += int(np.count_nonzero(distances <= radius))
    return total


def faiss_histogram(a: Bytes, b: Bytes) -> NDArray[np.int64]:
    distances = np.empty((_ROWS_AT_ONCE, len(b)), np.int32)
    counts = np.zeros(8 * a.shape[1] + 1, np.int64)
    for first in range(0, len(a), _ROWS_AT_ONCE):
        rows = a[first : first + _ROWS_AT_ONCE]
        pointers = [faiss.swig_ptr(array) for array in (rows, b, distances)]
        faiss.hammings(pointers[0], pointers[1], len(rows), len(b), a.shape[1], pointers[2])
        counts += np.bincount(distances[: len(rows)].ravel(), minlength=len(counts))
    return counts


def faiss_nearest(a: Bytes, b: Bytes, threads: int) -> NDArray[np.int32]:
    index = faiss.IndexBinaryFlat(8 * b.shape[1])
    index.add(b)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        found: NDArray[np.int32] = index.search(a, 1)[0]
    finally:
        faiss.omp_set_num_threads(before)
    return found


def works(bits: int) -> dict[str, tuple[int, Runs]]:
    """What is measured: how many comparisons each is, and the ways to it, ours first and faiss' own second."""
    a, b = random_digests(1, bits), random_digests(2, bits)
    radius, queries = bits // 3, a[:QUERIES]
    return {
        "pairs within a radius": (
            ROWS * ROWS,
            {
                "ours": lambda: count_within(a, b, radius),
                "faiss": lambda: faiss_count(a, b, radius),
                "faiss, all cores": lambda: faiss_count_on_all_cores(a, b, radius),
                "numpy": lambda: numpy_count(a, b, radius),
            },
        ),
        "histogram of distances": (
            ROWS * ROWS,
            {
                "ours": lambda: hamming_histogram(a, b),
                "faiss": lambda: faiss_histogram(a, b),
            },
        ),
        "nearest": (
            QUERIES * ROWS,
            {
                "ours": lambda: nearest(queries, b)[0],
                "faiss": lambda: faiss_nearest(queries, b, core_count()),
                "faiss, one thread": lambda: faiss_nearest(queries, b, 1),
            },
        ),
    }


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_billion_comparisons_of_digests_equal_faiss_and_are_timed_beside_it() -> None:
    versions = f"faiss {faiss.__version__}, numpy {np.__version__}, {platform.machine()}"
    title = f"Comparisons of digests, {core_count()} cores, medians of {REPEATS} ({versions})"
    table = Table("bits", "what", "comparisons", "by", "time [s]", "CPU [s]", "10⁹ / s", "ours / this", title=title)
    for bits in (64, 256):
        for what, (comparisons, runs) in works(bits).items():
            times = medians(runs, np.array_equal)
            for name, (wall, busy) in times.items():
                rate, ratio = comparisons / wall / 1e9, times["ours"][0] / wall
                cells = (f"{comparisons:,}", name, f"{wall:.3f}", f"{busy:.3f}", f"{rate:.2f}", f"{ratio:.2f}")
                table.add_row(str(bits), what, *cells)
    Console(width=120).print(table)
