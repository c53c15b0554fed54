"""Updates of low rank: one step of power iteration for each matrix, begun where the last round's ended.

Of a matrix M: P = M·Q orthonormalised and rounded to bytes, Q = the least squares solution for these P, rounded. What
the product leaves out is fed back.

Vogels, Karimireddy, Jaggi, PowerSGD: Practical Low-Rank Gradient Compression, NeurIPS 2019 (arXiv:1905.13727).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.protocol.compression import LowRankCodec
from market.protocol.compression.low_rank import LIMIT, MAX_RIGHT_SHIFT, MAX_SHIFT, Part
from market.protocol.seal import SealContext
from market.protocol.update import UPDATE_LIMIT, Floats, UpdateEncoding
from trainer_client.attempt_folder import RESIDUAL, Memory
from trainer_client.compressors.feedback import Compressed, Compressor, Vector, residual_of, subtract, total
from trainer_client.compressors.mantissas import nearest

FACTORS = "factors"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class LowRankCompressor(Compressor):
    """Sends factors.

    Attributes:
        codec: of which rank, for which matrices.
    """

    codec: LowRankCodec

    @property
    def lengths(self) -> Mapping[str, int]:
        """What the products left out, and the Q of every matrix."""
        lengths = super().lengths
        factors = sum(part.rank * part.columns for part in self.codec.parts)
        return {**lengths, FACTORS: factors} if factors else lengths

    def compress(
        self, delta: Floats, memory: Memory | None, encoding: UpdateEncoding, place: SealContext
    ) -> Compressed:
        """As `Compressor`."""
        values = total(delta, residual_of(memory))
        before = None if memory is None else memory.get(FACTORS)
        factors = np.empty(self.lengths.get(FACTORS, 0), np.float32)
        body, at = bytearray(), 0
        for part in self.codec.parts:
            exact = values[part.offset : part.offset + part.size].astype(np.float64) / encoding.step
            if not part.rank:
                body += _plain(exact)
                continue
            span = slice(at, at + part.rank * part.columns)
            at = span.stop
            start = _start(part, None if before is None else before[span])
            written, factors[span] = _matrix(part, exact.reshape(part.rows, -1), start)
            body += written
        counts = self.codec.counts(bytes(body), place)
        left: dict[str, Vector] = {RESIDUAL: subtract(values, counts, encoding)}
        return Compressed(bytes(body), counts, {**left, FACTORS: factors} if len(factors) else left)


def _start(part: Part, before: Vector | None) -> Matrix:
    """The last round's Q; at first, or where that was zero, one that everybody would draw alike."""
    drawn = np.random.default_rng(part.offset).normal(size=(part.columns, part.rank))
    if before is None:
        return drawn
    kept = before.reshape(part.columns, part.rank).astype(np.float64)
    norms = np.linalg.norm(kept, axis=0)
    return np.where(norms > 0, kept / np.where(norms > 0, norms, 1.0), drawn)


def _matrix(part: Part, exact: Matrix, start: Matrix) -> tuple[bytes, Vector]:
    """A matrix's part of the body, and its Q for the next round."""
    basis, _ = np.linalg.qr(exact @ start)
    largest = float(np.abs(basis).max())
    left = np.rint(basis * (LIMIT / largest)) if exact.any() and largest else np.zeros_like(basis)
    if not left.any():
        return bytes(part.bytes), start.astype(np.float32).reshape(-1)
    right = (np.linalg.pinv(left.T @ left) @ (left.T @ exact)).T
    peak = float(np.abs(right).max())
    shift = min(MAX_RIGHT_SHIFT, max(0, int(np.floor(np.log2(LIMIT / peak))))) if peak else 0
    whole = np.clip(np.rint(right * (1 << shift)), -LIMIT, LIMIT)
    if not whole.any():
        return bytes(part.bytes), right.astype(np.float32).reshape(-1)
    left8, right8 = _fitting(part, left.astype(np.int8), whole.astype(np.int8), shift)
    return bytes((shift,)) + left8.tobytes() + right8.tobytes(), right.astype(np.float32).reshape(-1)


def _fitting(
    part: Part, left: NDArray[np.int8], right: NDArray[np.int8], shift: int
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The same factors, with the second one halved until no entry of their product is beyond a count's range."""
    while any(len(some) and np.abs(some).max() > UPDATE_LIMIT for some in part.product(left, right, shift)):
        right = (right.astype(np.int16) // 2).astype(np.int8)
    return left, right


def _plain(exact: Matrix) -> bytes:
    mantissas, shift = nearest(exact, LIMIT, MAX_SHIFT)
    return bytes((shift,)) + mantissas.astype(np.int8).tobytes()
