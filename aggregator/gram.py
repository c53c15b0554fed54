"""The Gram matrix of a round: every inner product of its updates and the public rows, as exact integers.

Everything that is decided about a round is a function of this matrix and the job's terms (`docs/rules.md`, section 1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market.protocol.errors import InvalidGram
from market.protocol.rule_terms import MAX_ROWS

PUBLIC_ROWS: Final = 5
"""The last three aggregates (latest first), the current model, the initial model."""

UPDATE_BITS: Final = 15
"""|x| <= 2^15 for every coordinate of an update (int16)."""

PUBLIC_BITS: Final = (33, 33, 33, 47, 47)
"""|x| < 2^bits for every coordinate of each public row."""

SLICE_LENGTH: Final = 1 << 16
"""Coordinates a matrix product. Products of limbs are at most 2^30: a float64 sum of up to 2^23 of them is exact."""

LIMB_BITS: Final = 16
LIMBS: Final = 3
"""Three balanced limbs of 16 bits cover |x| <= 2^47."""

Integers = Sequence[Sequence[int]]
Update = npt.NDArray[np.int16]
PublicRow = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GramMatrix:
    """Inner products of n update rows and the five public rows, as Python integers.

    Attributes:
        updates: n x n, symmetric: ⟨q_i, q_j⟩
        mixed: n x 5: ⟨q_i, P_k⟩
        public: 5 x 5, symmetric: ⟨P_k, P_l⟩; zero where a public row does not exist yet
    """

    updates: Integers
    mixed: Integers
    public: Integers

    @property
    def rows(self) -> int:
        """n, the number of updates."""
        return len(self.updates)

    def pack(self) -> bytes:
        """Return the contract's format: upper triangles and the mixed block, big-endian, int64 and int128.

        Raises:
            InvalidGram: an entry does not fit its width, which no vectors in range can cause
        """
        try:
            narrow = b"".join(struct.pack(f">{self.rows - i}q", *row[i:]) for i, row in enumerate(self.updates))
            wide = [entry for row in self.mixed for entry in row]
            wide += [entry for k, row in enumerate(self.public) for entry in row[k:]]
            return narrow + b"".join(entry.to_bytes(16, "big", signed=True) for entry in wide)
        except (struct.error, OverflowError) as error:
            raise InvalidGram(f"an inner product does not fit its packed width: {error}") from error

    @classmethod
    def unpack(cls, unverified_packed: bytes, rows: int) -> GramMatrix:
        """Read the contract's format. The entries still have to pass `verify`.

        Raises:
            InvalidGram: more than 64 rows, or another length than that many rows have
        """
        if not 0 <= rows <= MAX_ROWS:
            raise InvalidGram(f"{rows} rows where at most {MAX_ROWS} can be")
        expected = packed_length(rows)
        if len(unverified_packed) != expected:
            raise InvalidGram(f"length is {len(unverified_packed)} bytes where {rows} rows have {expected}")
        split = 8 * comb(rows + 1, 2)
        narrow = struct.unpack(f">{split // 8}q", unverified_packed[:split])
        wide = _int128s(unverified_packed[split:])
        return cls(
            updates=_symmetric(narrow, rows),
            mixed=[wide[PUBLIC_ROWS * i : PUBLIC_ROWS * (i + 1)] for i in range(rows)],
            public=_symmetric(wide[PUBLIC_ROWS * rows :], PUBLIC_ROWS),
        )

    def verify(self, dimension: int) -> None:
        """Refuse what no vectors of this length and range have, in the order of `docs/rules.md`, section 1.

        Args:
            dimension: d, the length of every row

        Raises:
            InvalidGram: naming the first diagonal entry or pair at fault; public rows follow the updates
        """
        ranges = [dimension << 2 * UPDATE_BITS] * self.rows + [dimension << 2 * bits for bits in PUBLIC_BITS]
        diagonal = [self.updates[i][i] for i in range(self.rows)] + [self.public[k][k] for k in range(PUBLIC_ROWS)]
        for row, (square, largest) in enumerate(zip(diagonal, ranges, strict=True)):
            if not 0 <= square <= largest:
                raise InvalidGram(f"diagonal of row {row} is {square}, expected 0 to {largest}")
        for row, column, product in self._pairs():
            if product**2 > diagonal[row] * diagonal[column]:
                raise InvalidGram(f"rows {row} and {column} violate the Cauchy-Schwarz inequality: {product}")

    def _pairs(self) -> Iterator[tuple[int, int, int]]:
        """Every pair of different rows in the order in which the contract checks them: public, mixed, updates."""
        for k in range(PUBLIC_ROWS):
            yield from ((self.rows + k, self.rows + m, self.public[k][m]) for m in range(k + 1, PUBLIC_ROWS))
        for i in range(self.rows):
            yield from ((i, self.rows + k, self.mixed[i][k]) for k in range(PUBLIC_ROWS))
        for i in range(self.rows):
            yield from ((i, j, self.updates[i][j]) for j in range(i + 1, self.rows))


def packed_length(rows: int) -> int:
    """Number of bytes of a packed matrix with this many update rows."""
    return 8 * comb(rows + 1, 2) + 16 * (PUBLIC_ROWS * rows + comb(PUBLIC_ROWS + 1, 2))


def gram_matrix(updates: Sequence[Update], public: Sequence[PublicRow | None]) -> GramMatrix:
    """Compute all inner products exactly, reading every vector once, slice by slice.

    A public row is cut into balanced 16-bit limbs, x = Σ_a limb_a · 2^(16a) with |limb| <= 2^15. Updates and limbs are
    stacked and multiplied with their own transpose in float64, exact because |sum| <= 2^16 · 2^30 < 2^53 in a slice.

    Args:
        updates: n arrays of shape (d,), int16; memory maps are welcome
        public: five arrays of shape (d,), int64, or None for a row that does not exist yet

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
    return _recombine(total, len(updates), list(present))


def _common_length(updates: Sequence[Update], public: Sequence[PublicRow | None]) -> int:
    if len(updates) > MAX_ROWS or len(public) != PUBLIC_ROWS:
        raise InvalidGram(
            f"{len(updates)} updates and {len(public)} public rows, expected <= {MAX_ROWS} and {PUBLIC_ROWS}"
        )
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


def _recombine(total: npt.NDArray[np.int64], n: int, present: list[int]) -> GramMatrix:
    """Put the limbs' inner products together as Python integers, the absent public rows as zeros."""
    start = {k: n + LIMBS * place for place, k in enumerate(present)}
    exact = total.tolist()
    mixed = [[0] * PUBLIC_ROWS for _ in range(n)]
    public = [[0] * PUBLIC_ROWS for _ in range(PUBLIC_ROWS)]
    for k in present:
        for i in range(n):
            mixed[i][k] = sum(exact[i][start[k] + a] << LIMB_BITS * a for a in range(LIMBS))
        for m in present:
            public[k][m] = sum(
                exact[start[k] + a][start[m] + b] << LIMB_BITS * (a + b) for a in range(LIMBS) for b in range(LIMBS)
            )
    return GramMatrix(updates=[row[:n] for row in exact[:n]], mixed=mixed, public=public)


def _int128s(packed: bytes) -> list[int]:
    return [int.from_bytes(packed[at : at + 16], "big", signed=True) for at in range(0, len(packed), 16)]


def _symmetric(triangle: Sequence[int], size: int) -> list[list[int]]:
    """The full matrix of an upper triangle given row by row, diagonal included."""
    entries = iter(triangle)
    full = [[0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            full[i][j] = full[j][i] = next(entries)
    return full
