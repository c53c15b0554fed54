"""Error feedback: what a compressor withholds is kept, and added to what the next round has to say.

Seide, Fu, Droppo, Li, Yu, 1-bit stochastic gradient descent, Interspeech 2014; Karimireddy, Rebjock, Stich, Jaggi,
Error feedback fixes SignSGD, ICML 2019 (arXiv:1901.09847).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.protocol.compression import Codec
from market.protocol.seal import SealContext
from market.protocol.update import Counts, Floats, UpdateEncoding, check_finite, check_vectors
from market.protocol.vector_file import slices
from trainer_client.attempt_folder import RESIDUAL, Memory

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Compressed:
    """An update as it is sent, as everybody expands it, and what it leaves to the next one.

    Attributes:
        body: what the payload says behind the seed of the blinders, before any coder.
        counts: int16 (d,).
        memory: `residual`, float32 (d,), in units of the parameters, and what else the compressor goes on with.
    """

    body: bytes
    counts: Counts
    memory: Memory


class Compressor(ABC):
    """Makes a job's compressed updates.

    Attributes:
        codec: their form.
    """

    codec: Codec

    @property
    def lengths(self) -> Mapping[str, int]:
        """Of the vectors that it leaves to the next update, by name: what was withheld, and whatever else."""
        return {RESIDUAL: self.codec.dimension}

    @abstractmethod
    def compress(
        self, delta: Floats, memory: Memory | None, encoding: UpdateEncoding, place: SealContext
    ) -> Compressed:
        """Compress an update.

        Args:
            delta: float32 or float64 (d,), in units of the parameters.
            memory: what the last update left, or None at first.
            encoding: what a count is worth this round.
            place: of the attempt.

        Raises:
            InvalidUpdate: delta is no vector of floats, or is not finite, or what it adds up to is not.
        """


def total(delta: Floats, residual: Vector | None, control: float = 1.0) -> Vector:
    """Delta + control·residual, float32 (d,), in memory of its own.

    Raises:
        InvalidUpdate: as `Compressor.compress`.
    """
    check_vectors(delta, residual)
    found = np.empty(delta.shape, np.float32)
    for span in slices(len(delta)):
        with np.errstate(over="ignore", invalid="ignore"):
            found[span] = delta[span]
            if residual is not None:
                found[span] += np.float32(control) * residual[span]
        check_finite(found[span], span.start)
    return found


def residual_of(memory: Memory | None) -> Vector | None:
    """What the last update withheld."""
    return None if memory is None else memory[RESIDUAL]


def subtract(values: Vector, counts: Counts, encoding: UpdateEncoding) -> Vector:
    """Values - counts·step, in place."""
    step = np.float32(encoding.step)
    for span in slices(len(values)):
        values[span] -= counts[span].astype(np.float32) * step
    return values
