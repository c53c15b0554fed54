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
from zk.transcript import packed_length

PUBLIC_ROWS: Final = 5
"""The last three aggregates (latest first), the current model, the initial model."""

EXAMINED_ROWS: Final = PUBLIC_ROWS + 1
"""The same and r, what the round's exam asks for."""

EXAM: Final = PUBLIC_ROWS
"""Which of the public rows is r."""

UPDATE_BITS: Final = 15
"""|x| <= 2^15 for every coordinate of an update (int16)."""

PUBLIC_BITS: Final = (33, 33, 33, 47, 47, 31)
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
    """Inner products of n update rows and P public rows, as Python integers. P is 5, or 6 where r is the last of them.

    Attributes:
        updates: n x n, symmetric: ⟨q_i, q_j⟩
        mixed: n x P: ⟨q_i, P_k⟩
        public: P x P, symmetric: ⟨P_k, P_l⟩; zero where a public row does not exist yet
    """

    updates: Integers
    mixed: Integers
    public: Integers

    @property
    def rows(self) -> int:
        """n, the number of updates."""
        return len(self.updates)

    @property
    def examined(self) -> bool:
        """Whether the last public row is an exam's r."""
        return len(self.public) == EXAMINED_ROWS

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
    def unpack(cls, unverified_packed: bytes, rows: int, examined: bool = False) -> GramMatrix:
        """Read the contract's format. The entries still have to pass `verify`.

        Args:
            unverified_packed: the bytes
            rows: n, how many updates it is of
            examined: whether it has six public rows, the last of them r

        Raises:
            InvalidGram: more than 64 rows, or another length than that many rows have
        """
        if not 0 <= rows <= MAX_ROWS:
            raise InvalidGram(f"{rows} rows where at most {MAX_ROWS} can be")
        public_rows = EXAMINED_ROWS if examined else PUBLIC_ROWS
        expected = packed_length(rows, public_rows)
        if len(unverified_packed) != expected:
            raise InvalidGram(f"length is {len(unverified_packed)} bytes where {rows} rows have {expected}")
        split = 8 * comb(rows + 1, 2)
        narrow = struct.unpack(f">{split // 8}q", unverified_packed[:split])
        wide = _int128s(unverified_packed[split:])
        return cls(
            updates=_symmetric(narrow, rows),
            mixed=[wide[public_rows * i : public_rows * (i + 1)] for i in range(rows)],
            public=_symmetric(wide[public_rows * rows :], public_rows),
        )

    def verify(self, dimension: int) -> None:
        """Refuse what no vectors of this length and range have, in the order of `docs/rules.md`, section 1.

        Args:
            dimension: d, the length of every row

        Raises:
            InvalidGram: naming the first diagonal entry or pair at fault; public rows follow the updates
        """
        bits = [UPDATE_BITS] * self.rows + list(PUBLIC_BITS[: len(self.public)])
        ranges = [dimension << 2 * each for each in bits]
        diagonal = [block[i][i] for block in (self.updates, self.public) for i in range(len(block))]
        for row, (square, largest) in enumerate(zip(diagonal, ranges, strict=True)):
            if not 0 <= square <= largest:
                raise InvalidGram(f"diagonal of row {row} is {square}, expected 0 to {largest}")
        for row, column, product in self._pairs():
            if product**2 > diagonal[row] * diagonal[column]:
                raise InvalidGram(f"rows {row} and {column} violate the Cauchy-Schwarz inequality: {product}")

    def _pairs(self) -> Iterator[tuple[int, int, int]]:
        """Every pair of different rows in the order in which the contract checks them: public, mixed, updates."""
        public_rows = len(self.public)
        for k in range(public_rows):
            yield from ((self.rows + k, self.rows + m, self.public[k][m]) for m in range(k + 1, public_rows))
        for i in range(self.rows):
            yield from ((i, self.rows + k, self.mixed[i][k]) for k in range(public_rows))
        for i in range(self.rows):
            yield from ((i, j, self.updates[i][j]) for j in range(i + 1, self.rows))


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
