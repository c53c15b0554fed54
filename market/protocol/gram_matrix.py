"""A round's Gram matrix as the contract takes it: every inner product of its updates and the public rows, exact."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Final

from market.protocol.errors import InvalidGram
from market.protocol.rule_terms import MAX_ROWS

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

Integers = Sequence[Sequence[int]]


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
        split = 8 * comb(rows + 1, 2)
        expected = split + 16 * (public_rows * rows + comb(public_rows + 1, 2))
        if len(unverified_packed) != expected:
            raise InvalidGram(f"length is {len(unverified_packed)} bytes where {rows} rows have {expected}")
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
