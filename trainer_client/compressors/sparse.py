"""Deep gradient compression: the entries of a sum of updates that are largest by now, and momentum for the others.

Of the trainer's update Δ: u = m·u + Δ (momentum correction), v = v + u (accumulation). The k largest of v are sent, and
what was sent is taken out of v; u is set to zero there (momentum factor masking), so that old momentum does not push
on what has just moved. The warm-up, with its exponentially falling k, is the codec's.

Lin, Han, Mao, Wang, Dally, Deep Gradient Compression, ICLR 2018 (arXiv:1712.01887), algorithms 1 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.protocol.compression import SparseCodec
from market.protocol.compression.sparse import MAX_SHIFT, Entries
from market.protocol.seal import SealContext
from market.protocol.update import Floats, UpdateEncoding
from trainer_client.attempt_folder import RESIDUAL, Memory
from trainer_client.compressors.feedback import Compressed, Compressor, Vector, residual_of, subtract, total
from trainer_client.compressors.mantissas import nearest

MOMENTUM = "momentum"


@dataclass(frozen=True)
class SparseCompressor(Compressor):
    """Sends what is largest.

    Attributes:
        codec: how many entries, and of how many bits.
        momentum: m, in [0, 1).
    """

    codec: SparseCodec
    momentum: float = 0.0

    @property
    def lengths(self) -> Mapping[str, int]:
        """v, and with momentum u."""
        return {**super().lengths, **({MOMENTUM: self.codec.dimension} if self.momentum else {})}

    def compress(
        self, delta: Floats, memory: Memory | None, encoding: UpdateEncoding, place: SealContext
    ) -> Compressed:
        """As `Compressor`."""
        u = None
        if self.momentum:
            u = total(delta, None if memory is None else memory[MOMENTUM], self.momentum)
        v = total(delta if u is None else u, residual_of(memory))
        chosen = largest(v, self.codec.entries(place.round))
        entries = quantised(chosen, v[chosen] / np.float32(encoding.step), self.codec.limit)
        body = self.codec.pack(entries, place.round)
        counts = self.codec.counts(body, place)
        subtract(v, counts, encoding)
        if u is None:
            return Compressed(body, counts, {RESIDUAL: v})
        u[entries.indices] = 0
        return Compressed(body, counts, {RESIDUAL: v, MOMENTUM: u})


def largest(values: Vector, count: int) -> NDArray[np.int64]:
    """The indices of so many values that are not zero, ascending: none that is left out is larger."""
    magnitudes = np.abs(values)
    if count >= len(values):
        return np.flatnonzero(magnitudes)
    least = np.partition(magnitudes, len(values) - count)[len(values) - count]
    above = np.flatnonzero(magnitudes > least)
    level = np.flatnonzero(magnitudes == least)[: count - len(above)] if least else above[:0]
    return np.sort(np.concatenate([above, level]))


def quantised(indices: NDArray[np.int64], values: Vector, limit: int) -> Entries:
    """Values in counts as m·2^s, |m| <= limit; those that come to nothing are left out."""
    mantissas, shift = nearest(values, limit, MAX_SHIFT)
    kept = mantissas != 0
    return Entries(indices[kept], mantissas[kept], shift)
