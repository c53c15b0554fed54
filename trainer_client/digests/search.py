"""Bulk search among digests by faiss: which are the nearest, and which pairs are near."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests.hamming import check_batches, check_radius
from trainer_client.digests.packages import package
from zk.cores import on_all_cores, ranges

_QUERIES_AT_ONCE = 256


def nearest(
    queries: NDArray[np.uint8], digests: NDArray[np.uint8], count: int = 1
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find the digests that differ least from each query.

    Args:
        queries: uint8 (n, bytes).
        digests: uint8 (m, bytes).
        count: how many to find for each, 1..m.

    Returns:
        Distances, int32 (n, count), ascending, and the digests' places, int64 (n, count). Which of several digests of
        one distance come is not defined.

    Raises:
        InvalidData: other shapes, or fewer digests than to be found.
        InvalidInput: faiss is not installed.
    """
    left, right = _batches(queries, digests, 0)
    if not 1 <= count <= len(right):
        raise InvalidData(f"{count} nearest of {len(right)} digests, expected 1..{len(right)}")
    index = _index(right)
    found = _in_parts(left, lambda some: index.search(some, count))
    if not found:
        return np.empty((0, count), np.int32), np.empty((0, count), np.int64)
    return np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])


def pairs_within(
    queries: NDArray[np.uint8], digests: NDArray[np.uint8], radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find all pairs of a query and a digest that differ in at most so many bits.

    Args:
        queries: uint8 (n, bytes).
        digests: uint8 (m, bytes).
        radius: bits.

    Returns:
        The queries' places, ascending, the digests' places, ascending for each query, and distances: int64 (pairs,).

    Raises:
        InvalidData: other shapes, or a radius below 0.
        InvalidInput: faiss is not installed.
    """
    left, right = _batches(queries, digests, radius)
    index = _index(right)
    places: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    near, distances = list(places), list(places)
    first = 0
    # faiss takes what is nearer than the radius, not at it.
    for limits, found_distances, found in _in_parts(left, lambda some: index.range_search(some, radius + 1)):
        queries_of = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        order = np.lexsort((found, queries_of))
        places.append(first + queries_of[order])
        near.append(found[order].astype(np.int64))
        distances.append(found_distances[order].astype(np.int64))
        first += len(limits) - 1
    return np.concatenate(places), np.concatenate(near), np.concatenate(distances)


def _in_parts(queries: NDArray[np.uint8], search: Any) -> list[Any]:
    """Search for some queries at a time, on all cores.

    Our threads and not faiss' own: these wait in a loop for one another, which on a machine with other work takes many
    times as long.
    """
    faiss = package("faiss")

    def part(rows: tuple[int, int]) -> Any:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            return search(queries[rows[0] : rows[1]])
        finally:
            faiss.omp_set_num_threads(threads)

    return on_all_cores(part, ranges(len(queries), _QUERIES_AT_ONCE))


def _index(digests: NDArray[np.uint8]) -> Any:
    index = package("faiss").IndexBinaryFlat(8 * digests.shape[1])
    index.add(digests)
    return index


def _batches(a: NDArray[np.uint8], b: NDArray[np.uint8], radius: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    check_batches(a, b)
    check_radius(radius, a)
    return np.ascontiguousarray(a), np.ascontiguousarray(b)
