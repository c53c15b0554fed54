"""Updates as one byte for each of K random directions, new ones in every attempt, the same for all trainers.

What is sent is the update's orthogonal projection onto the directions' span, of which an expected K/d of its squared
norm is left: a contraction, so that error feedback sends the rest in the rounds to come. FedKSeed (arXiv:2312.06353)
finds its scalars by differences of losses, without gradients; here they are those of the trained update itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.protocol.compression import SeedsCodec
from market.protocol.compression.seeds import LIMIT, MAX_SHIFT, Directions, spans
from market.protocol.seal import SealContext
from market.protocol.update import Floats, UpdateEncoding
from trainer_client.attempt_folder import RESIDUAL, Memory
from trainer_client.compressors.feedback import Compressed, Compressor, Vector, residual_of, subtract, total
from trainer_client.compressors.mantissas import nearest


@dataclass(frozen=True)
class SeedsCompressor(Compressor):
    """Sends a projection.

    Attributes:
        codec: of how many directions.
    """

    codec: SeedsCodec

    def compress(
        self, delta: Floats, memory: Memory | None, encoding: UpdateEncoding, place: SealContext
    ) -> Compressed:
        """As `Compressor`."""
        values = total(delta, residual_of(memory))
        means = projection(values, Directions(place, self.codec.seeds), self.codec.seeds) / encoding.step
        body = self.codec.pack(*nearest(means, LIMIT, MAX_SHIFT))
        counts = self.codec.counts(body, place)
        return Compressed(body, counts, {RESIDUAL: subtract(values, counts, encoding)})


def projection(values: Vector, directions: Directions, number: int) -> NDArray[np.float64]:
    """The scalars of a vector's best approximation by the directions: the mean over each one's coordinates."""
    sums, sizes = np.zeros(number), np.zeros(number)
    for span in spans(len(values)):
        classes = directions.classes(span)
        sums += np.bincount(classes, values[span] * directions.signs(span), number)
        sizes += np.bincount(classes, minlength=number)
    return np.divide(sums, sizes, out=np.zeros(number), where=sizes > 0)
