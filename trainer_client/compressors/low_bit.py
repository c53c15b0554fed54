"""Updates of a few bits an entry, with control over how much of the withheld error comes back at a time.

Sent is C(Δ + η·e), and e becomes e + Δ less what was sent, as EControl's algorithm does with its sum h of messages left
at zero: added to every update, the last aggregate would take part in its length and in nothing that it is measured by,
and it is the mean of the trainers' own sums only while all take part alike (`docs/updates.md`).
With η = 1 it is plain error feedback; a smaller η keeps an old error from swamping what the round found.

Gao, Islamov, Stich, EControl: Fast Distributed Optimization with Compression and Error Control, ICLR 2024
(arXiv:2311.05645).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.protocol.compression import LowBitCodec
from market.protocol.compression.low_bit import BLOCK, MAX_SHIFT
from market.protocol.seal import SealContext
from market.protocol.update import Floats, UpdateEncoding
from trainer_client.attempt_folder import RESIDUAL, Memory
from trainer_client.compressors.feedback import Compressed, Compressor, residual_of, subtract, total
from trainer_client.compressors.mantissas import nearest


@dataclass(frozen=True)
class LowBitCompressor(Compressor):
    """Sends every entry, roughly.

    Attributes:
        codec: in how many bits.
        control: η, in (0, 1].
    """

    codec: LowBitCodec
    control: float = 1.0

    def compress(
        self, delta: Floats, memory: Memory | None, encoding: UpdateEncoding, place: SealContext
    ) -> Compressed:
        """As `Compressor`."""
        error, limit = residual_of(memory), self.codec.limit
        values = total(delta, error, self.control)
        mantissas = np.empty(len(values), np.int8)
        shifts = np.zeros(-(-len(values) // BLOCK), np.uint8)
        for block in range(len(shifts)):
            span = slice(block * BLOCK, (block + 1) * BLOCK)
            mantissas[span], shifts[block] = nearest(values[span] / encoding.step, limit, MAX_SHIFT)
        body = self.codec.pack(mantissas, shifts)
        counts = self.codec.counts(body, place)
        left = values if self.control == 1.0 else total(delta, error)
        return Compressed(body, counts, {RESIDUAL: subtract(left, counts, encoding)})
