"""A commitment to the top activations of a language model's last hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests.bits import BYTES, Digests, bounded
from trainer_client.digests.hyperplanes import LARGEST_DIMENSION, MAGNITUDE_BITS, projections
from trainer_client.digests.pixels import array_of
from trainer_client.digests.simhash import LARGEST_SEED, sides

TOP = 128
"""Activations that count at a position, as many as TOPLOC keeps."""

LARGEST_TOP = 1 << 16


def activation_digests(outputs: Any, top: int = TOP, seed: int = 0) -> Digests:
    """SimHash of the largest activations at each position of a prefill (after TOPLOC: Ong et al., arXiv:2501.16007).

    One prefill of prompt and answer gives a verifier the same last hidden states that the worker had token by token,
    but for rounding. TOPLOC keeps 128 of them, with their places, in a polynomial, and compares their exponents and
    mantissas; 256 bits that are compared by the number that differ ask for another form. At each position, with the k
    activations of the largest magnitudes (k = `top`, but a quarter of the width at most, and one at least):

    1. Let c be the magnitude of the next one, with the rank k + 1 (0 if there is none), and m that of rank ⌈k/2⌉.
    2. An activation x counts for sign(x)·min((|x| - c)/(m - c), 1), and for nothing if |x| <= c. So what drops out of
       the largest k has come to nothing before, and the few that are large for every prompt count no more than others.
    3. All positions' values, rounded to 32 bits, are one vector, of entry position·width + place.

    Its SimHash is the digest: the angle θ between two such vectors makes 256·θ/π bits differ on average.

    Invariant to: multiplying a position's activations by a positive number (but for rounding), what is below the
    largest k, the batch. Changes little with: bfloat16 or float16 in float32's place (2 bits of 256 on average in the
    project's transformer, 7 at most). Sensitive to: another model or prompt (about 128, and 100), weights rounded to 4
    bits (28) or moved by 3 % (7), another token (its own position, and those that attend to it), the order of
    positions. Not sensitive to: weights rounded to 8 bits with a scale, which move activations no more than bfloat16
    does; nor to how tokens were chosen, which is for their exact digest to say.

    Args:
        outputs: finite floats (n, positions, width), or a sequence of (positions, width) with positions of their own.
        top: k, 1..65536.
        seed: of the planes, 0..2^64 - 1.

    Returns:
        uint8 (n, 32).

    Raises:
        InvalidData: another shape or type, no positions, NaN or infinite activations.
    """
    bounded("top", top, 1, LARGEST_TOP)
    bounded("seed", seed, 0, LARGEST_SEED)
    if isinstance(outputs, np.ndarray):
        return _digests(_checked(outputs, 0), top, seed)
    if isinstance(outputs, (str, bytes)) or not isinstance(outputs, Sequence):
        raise InvalidData(f"activations are {type(outputs).__name__}, expected an array (n, positions, width)")
    samples = [array_of(sample, f"sample {index}")[None] for index, sample in enumerate(outputs)]
    digests = [_digests(_checked(sample, index), top, seed) for index, sample in enumerate(samples)]
    return np.concatenate([np.empty((0, BYTES), np.uint8), *digests])


def _checked(states: NDArray[Any], first: int) -> NDArray[Any]:
    """Return what is hidden states, of which the first is that of the sample of this number."""
    if states.ndim != 3 or 0 in states.shape[1:]:
        raise InvalidData(f"activations have the shape {states.shape}, expected (n, positions, width)")
    if not np.issubdtype(states.dtype, np.floating):
        raise InvalidData(f"activations are of type {states.dtype}, expected floats")
    if states.shape[1] * states.shape[2] > LARGEST_DIMENSION:
        raise InvalidData(f"a sample has activations of the shape {states.shape[1:]}, expected {LARGEST_DIMENSION:,}")
    for index, sample in enumerate(states):
        finite = np.isfinite(sample)
        if not finite.all():
            position, place = np.argwhere(~finite)[0]
            value = sample[position, place]
            raise InvalidData(
                f"sample {first + index} has the activation {value} at position {position}, place {place}, "
                "expected finite numbers"
            )
    return states


def _digests(states: NDArray[Any], top: int, seed: int) -> Digests:
    samples, positions, width = states.shape

    def entries(first: int, last: int) -> NDArray[np.int64]:
        start, stop = first // width, -(-last // width)
        values = np.rint(shares(states[:, start:stop], top) * 2.0**MAGNITUDE_BITS).astype(np.int64)
        return values.reshape(samples, (stop - start) * width)[:, first - start * width : last - start * width]

    return sides(projections(samples, positions * width, seed, entries))


def shares(states: NDArray[Any], top: int) -> NDArray[np.float64]:
    """What each activation counts for at its position: float64 of the same shape, -1 to 1, most of them 0."""
    width = states.shape[-1]
    kept = min(top, max(1, width // 4))
    values = states.astype(np.float64)
    magnitudes = np.abs(values)
    middle_place, cut_place = width - -(-kept // 2), width - kept - 1
    ordered = np.partition(magnitudes, [middle_place, max(cut_place, 0)], axis=-1)
    middle = ordered[..., middle_place, None]
    cut = ordered[..., cut_place, None] if cut_place >= 0 else np.zeros_like(middle)
    above = np.maximum(magnitudes - cut, 0)
    # Where the middle is the cut, what is above it counts in full.
    steep = np.divide(above, middle - cut, out=(above > 0).astype(np.float64), where=middle > cut)
    counted: NDArray[np.float64] = np.copysign(np.minimum(steep, 1), values)
    return counted
