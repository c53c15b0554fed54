"""SimHash of embeddings: 256 random hyperplanes, and on which side of each a vector lies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests.bits import BITS, Digests, bounded, packed
from trainer_client.digests.hyperplanes import BLOCK, LARGEST_DIMENSION, MAGNITUDE_BITS, Entries, projections

LARGEST_SEED = (1 << 64) - 1


def simhash_digests(outputs: Any, seed: int = 0, centre: int = 0) -> Digests:
    """Signs of a vector's products with 256 planes of entries +1 and -1 (Charikar 2002, doi:10.1145/509907.509965).

    Two vectors at an angle of θ differ in 256·θ/π bits on average, nearly as a binomial of 256. The law is exact for
    planes of normal entries; for these it holds as far as no few entries make up the vector (Achlioptas 2003,
    doi:10.1016/S0022-0000(03)00025-4): with one entry other than zero, all that is left is its sign.

    Each vector is first rounded to whole numbers, so that its largest entry has 32 bits: a relative error of 2^-32,
    after which the sums are exact and the same on every machine.

    Invariant to: multiplying by a positive number (exactly by a power of two, else but for rounding), zeros appended
    (unless centred), the batch. Not invariant to: adding a value to all entries, order of the entries, negation (the
    opposite bits). A vector of zeros lies on no side: its digest is 1.

    Vectors that are positive alone, as pixels, all lie on one side of many planes: the angle between any two is small.
    Centred, each loses its own mean first, rounded down to a whole number and so exactly; then adding a value to all
    entries changes nothing either (but for rounding), and a vector of equal entries has the digest 1.

    Vectors that are positive alone, as pixels, all lie on one side of many planes: the angle between any two is small.
    Centred, each loses its own mean first, rounded down to a whole number and so exactly; then adding a value to all
    entries changes nothing either (but for rounding), and a vector of equal entries has the digest 1.

    Args:
        outputs: finite real numbers, (n, d), or (n, ...), each sample then being read as one row; d at most 2^30. Read
            4,096 columns at a time, so a memory-mapped file is never all in memory.
        seed: of the planes, 0..2^64 - 1.
        centre: 1 to take the mean from each vector first, 0 to leave it.

    Returns:
        uint8 (n, 32).

    Raises:
        InvalidData: another shape or type, or an entry that is no finite number.
    """
    bounded("seed", seed, 0, LARGEST_SEED)
    bounded("centre", centre, 0, 1)
    vectors = rows_of(outputs)
    exponents = _exponents(vectors) - centre  # a centred entry has a bit more

    def whole(first: int, last: int) -> NDArray[np.int64]:
        scaled = np.ldexp(vectors[:, first:last].astype(np.float64), exponents[:, None])
        return np.rint(scaled).astype(np.int64)

    means = _means(whole, *vectors.shape) if centre else np.zeros((len(vectors), 1), dtype=np.int64)

    def entries(first: int, last: int) -> NDArray[np.int64]:
        return whole(first, last) - means

    return sides(projections(len(vectors), vectors.shape[1], seed, entries))


def sides(sums: NDArray[np.int64]) -> Digests:
    """The digests of sums with the planes, (n, 256): a bit is set where the sum is positive."""
    return packed(sums.reshape(-1, BITS) > 0)


def _means(entries: Entries, samples: int, dimension: int) -> NDArray[np.int64]:
    """The mean of each vector's whole numbers, rounded down: (n, 1)."""
    sums = np.zeros((samples, 1), dtype=np.int64)
    for first in range(0, dimension, BLOCK):
        sums += entries(first, min(first + BLOCK, dimension)).sum(axis=1, keepdims=True)
    return sums // dimension


def rows_of(outputs: Any) -> NDArray[Any]:
    """Return real numbers as (n, d).

    Raises:
        InvalidData: they are none, or have no n or no d.
    """
    try:
        vectors = np.asanyarray(outputs)
    except ValueError as error:
        raise InvalidData(f"vectors of different lengths, expected an array (n, d): {error}") from error
    if vectors.ndim < 2 or 0 in vectors.shape[1:]:
        raise InvalidData(f"vectors have the shape {vectors.shape}, expected (n, d)")
    if vectors.dtype.kind not in "fiu":
        raise InvalidData(f"vectors have entries of type {vectors.dtype}, expected real numbers")
    rows: NDArray[Any] = vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:])))
    if rows.shape[1] > LARGEST_DIMENSION:
        raise InvalidData(f"vectors have {rows.shape[1]:,} entries, expected {LARGEST_DIMENSION:,} at most")
    return rows


def _exponents(vectors: NDArray[Any]) -> NDArray[np.int64]:
    """The powers of two that take each row's largest magnitude to 2^31..2^32."""
    largest = np.zeros(len(vectors))
    for first in range(0, vectors.shape[1], BLOCK):
        block = np.abs(vectors[:, first : first + BLOCK].astype(np.float64))
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = vectors[row, first + column]
            raise InvalidData(f"vector {row} has {value} at {first + column}, expected finite numbers")
        largest = np.maximum(largest, block.max(axis=1))
    return MAGNITUDE_BITS - np.frexp(largest)[1].astype(np.int64)
