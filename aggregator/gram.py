"""The Gram matrix of a round: every inner product of its updates and the public rows, as exact integers.

Everything that is decided about a round is a function of this matrix and the job's terms (`docs/rules.md`, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market.protocol.errors import InvalidGram
from market.protocol.gram_matrix import EXAM, EXAMINED_ROWS, PUBLIC_BITS, PUBLIC_ROWS, GramMatrix
from market.protocol.rule_terms import MAX_ROWS

SLICE_LENGTH: Final = 1 << 16
"""Coordinates a matrix product. Products of limbs are at most 2^30: a float64 sum of up to 2^23 of them is exact."""

LIMB_BITS: Final = 16
LIMBS: Final = 3
"""Three balanced limbs of 16 bits cover |x| <= 2^47."""

Update = npt.NDArray[np.int16]
PublicRow = npt.NDArray[np.int64]


def gram_matrix(updates: Sequence[Update], public: Sequence[PublicRow | None]) -> GramMatrix:
    """Compute all inner products exactly, reading every vector once, slice by slice.

    A public row is cut into balanced 16-bit limbs, x = Σ_a limb_a · 2^(16a) with |limb| <= 2^15. Updates and limbs are
    stacked and multiplied with their own transpose in float64, exact because |sum| <= 2^16 · 2^30 < 2^53 in a slice.

    Args:
        updates: n arrays of shape (d,), int16; memory maps are welcome
        public: five arrays of shape (d,), int64, or None for a row that does not exist yet; after them r of the same
            kind, never None, where the round has an exam

    Raises:
        InvalidGram: rows of different length or type, too many, or a public coordinate out of its range

    >>> q = np.array([3, 4], dtype=np.int16)
    >>> gram_matrix([q, -q], [None] * 5).updates
    [[25, -25], [-25, 25]]
    """
    present = {k: row for k, row in enumerate(public) if row is not None}
    dimension = _common_length(updates, public)
    total = np.zeros((len(updates) + LIMBS * len(present),) * 2, dtype=np.int64)
    for start in range(0, dimension, SLICE_LENGTH):
        window = slice(start, start + SLICE_LENGTH)
        blocks = [np.asarray(row[window], dtype=np.float64)[np.newaxis] for row in updates]
        blocks += [_limbs(np.asarray(row[window]), k) for k, row in present.items()]
        stacked = np.concatenate(blocks)
        total += (stacked @ stacked.T).astype(np.int64)
    return _recombine(total, len(updates), list(present), len(public))


def _common_length(updates: Sequence[Update], public: Sequence[PublicRow | None]) -> int:
    if len(updates) > MAX_ROWS or len(public) not in (PUBLIC_ROWS, EXAMINED_ROWS):
        counts = f"{len(updates)} updates and {len(public)} public rows"
        raise InvalidGram(f"{counts}, expected <= {MAX_ROWS} and {PUBLIC_ROWS}, or {EXAMINED_ROWS} with an exam")
    if len(public) == EXAMINED_ROWS and public[EXAM] is None:
        raise InvalidGram(f"public row {EXAM} is missing: an exam that was not opened is no row")
    rows: list[tuple[str, npt.NDArray[Any], type]] = [(f"update {i}", row, np.int16) for i, row in enumerate(updates)]
    rows += [(f"public row {k}", row, np.int64) for k, row in enumerate(public) if row is not None]
    length = rows[0][1].shape[0] if rows and rows[0][1].ndim else 0
    for name, row, dtype in rows:
        if row.shape != (length,) or row.dtype != dtype:
            raise InvalidGram(f"{name} is {row.dtype}{list(row.shape)}, expected {np.dtype(dtype)}[{length}]")
    return length


def _limbs(values: PublicRow, k: int) -> npt.NDArray[np.float64]:
    """Shape (3, length): balanced limbs, least significant first."""
    limit, least, most = 1 << PUBLIC_BITS[k], int(values.min()), int(values.max())
    if least <= -limit or most >= limit:
        raise InvalidGram(f"public row {k} has coordinates from {least} to {most}, expected less than {limit} in size")
    limbs = np.empty((LIMBS, len(values)), dtype=np.float64)
    half = 1 << (LIMB_BITS - 1)
    for position in range(LIMBS - 1):
        low = ((values + half) & (2 * half - 1)) - half
        limbs[position] = low
        values = (values - low) >> LIMB_BITS
    limbs[LIMBS - 1] = values
    return limbs


def _recombine(total: npt.NDArray[np.int64], n: int, present: list[int], public_rows: int) -> GramMatrix:
    """Put the limbs' inner products together as Python integers, the absent public rows as zeros."""
    start = {k: n + LIMBS * place for place, k in enumerate(present)}
    exact = total.tolist()
    mixed = [[0] * public_rows for _ in range(n)]
    public = [[0] * public_rows for _ in range(public_rows)]
    for k in present:
        for i in range(n):
            mixed[i][k] = sum(exact[i][start[k] + a] << LIMB_BITS * a for a in range(LIMBS))
        for m in present:
            public[k][m] = sum(
                exact[start[k] + a][start[m] + b] << LIMB_BITS * (a + b) for a in range(LIMBS) for b in range(LIMBS)
            )
    return GramMatrix(updates=[row[:n] for row in exact[:n]], mixed=mixed, public=public)
