"""Our sums of points against mcl's, herumi's library with assembly for x86-64, in one run on the same points.

mcl is given what suits it: scalars already in its own form, values shifted to be positive (a negative one costs it
3.5 times as much) with the shift's multiple of the points' sum at hand, and as many threads as we use. Our own is kept
as long as it is at most 1.3 times as slow: mcl would be one dependency more.
"""

from __future__ import annotations

import ctypes
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from types import ModuleType

import numba
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from zk import curve, msm, vectors
from zk.cores import core_count
from zk.field import P_ONE, Words

SIZES = (1 << 14, 1 << 16, 1 << 18, 1 << 20)
REPEATS = 5
SHIFT = 32768
_CURVE, _COMPILED = 4, 44
_SLICE = 1 << 16


class Mcl:
    """The few of mcl's functions that this takes; points are (x, y, z) in Montgomery form, z = 0 at infinity."""

    def __init__(self, package: ModuleType) -> None:
        self._library: ctypes.CDLL = package.loaded_libraries["libmclbn256"]
        if self._library.mclBn_init(_CURVE, _COMPILED):
            raise RuntimeError("mcl does not know the curve BN254 of Ethereum")
        word, size = ctypes.c_void_p, ctypes.c_size_t
        self._library.mclBnG1_mulVec.argtypes = [word, word, word, size]
        self._library.mclBnG1_normalize.argtypes = [word, word]
        self._threads = ThreadPoolExecutor(core_count())

    @staticmethod
    def points(points: curve.Points) -> Words:
        ones = np.tile(np.array(P_ONE, np.uint64), (len(points), 1))
        return np.ascontiguousarray(np.hstack([points, ones]))

    def msm(self, points: Words, scalars: Words) -> curve.Points:
        """Slices: mcl keeps its buckets on a thread's stack, which a longer sum overflows."""
        size = min(_SLICE, -(-len(points) // core_count()))

        def part(start: int) -> curve.Points:
            result = np.zeros(12, np.uint64)
            count = min(size, len(points) - start)
            self._library.mclBnG1_mulVec(
                result.ctypes.data, points[start:].ctypes.data, scalars[start:].ctypes.data, count
            )
            self._library.mclBnG1_normalize(result.ctypes.data, result.ctypes.data)
            return result[:8] if result[8:].any() else curve.infinity()

        return curve.total(np.array(list(self._threads.map(part, range(0, len(points), size)))))


def seconds(*runs: Callable[[], curve.Points]) -> list[float]:
    """The median times of several ways to one result, taken in turns."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(REPEATS + 1):
        results = []
        for own, run in zip(times, runs, strict=True):
            start = time.perf_counter()
            results.append(run())
            if repeat:
                own.append(time.perf_counter() - start)
        assert all(np.array_equal(result, results[0]) for result in results)
    return [statistics.median(own) for own in times]


def random_scalars(size: int) -> Words:
    """Below 2^253, and so below r."""
    words = np.random.default_rng(size).integers(0, 1 << 64, (size, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(3)
    return words


def measure_values(mcl: Mcl, points: curve.Points, theirs: Words) -> list[float]:
    values = np.random.default_rng(3).integers(-SHIFT, SHIFT, len(points)).astype(np.int16)
    plain = np.zeros((len(values), 4), np.uint64)
    plain[:, 0] = values.astype(np.int64) + SHIFT
    shifted = vectors.to_montgomery(plain)
    correction = curve.multiply(curve.total(points), -SHIFT)
    return seconds(
        lambda: msm.msm_small(points, values),
        lambda: curve.add(mcl.msm(theirs, shifted), correction),
    )


def measure_scalars(mcl: Mcl, points: curve.Points, theirs: Words) -> list[float]:
    plain = random_scalars(len(points))
    lifted = vectors.to_montgomery(plain)
    return seconds(lambda: msm.msm(points, plain), lambda: mcl.msm(theirs, lifted))


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_our_sums_of_points_equal_mcls_and_are_timed_beside_them() -> None:
    package = pytest.importorskip(
        "mclbn256.mclbn256", reason="mclbn256 is not installed: pip install 'fedmarket[bench]'"
    )
    mcl = Mcl(package)
    title = f"Sum of n points, {core_count()} cores, medians of {REPEATS} (numba {numba.__version__}, " + (
        f"mclbn256 {metadata.version('mclbn256')}, {platform.machine()})"
    )
    table = Table("n", "scalars", "ours [s]", "mcl [s]", "ours / mcl", title=title)
    points = curve.generator_multiples(random_scalars(SIZES[-1]))
    theirs = mcl.points(points)
    for size in SIZES:
        for name, measure in (("int16", measure_values), ("254 bits", measure_scalars)):
            ours, other = measure(mcl, points[:size], theirs[:size])
            table.add_row(f"{size:,}", name, f"{ours:.3f}", f"{other:.3f}", f"{ours / other:.2f}")
    Console().print(table)
