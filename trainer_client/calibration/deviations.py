"""Models that are nearly the service's: how small a change is still found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from market.protocol.integer_model import Integers

ROUNDED_BITS = (8, 6, 5, 4)
NOISES = (0.01, 0.03, 0.1)
PRUNED = (0.1, 0.3)


def deviations(model: Integers, seed: int = 0) -> Mapping[str, Integers]:
    """The model rounded to few bits, with noise, and without its smallest parameters.

    Args:
        model: integer parameters, int64 (d,).
        seed: of the noise.
    """
    made = {f"rounded to {bits} bits": rounded(model, bits) for bits in ROUNDED_BITS}
    made |= {f"with {share:.0%} noise": with_noise(model, share, seed) for share in NOISES}
    made |= {f"without its smallest {share:.0%}": pruned(model, share) for share in PRUNED}
    return made


def rounded(model: Integers, bits: int) -> Integers:
    """Every parameter to one of 2^bits - 1 even steps up to the largest magnitude."""
    step = max(1.0, float(np.abs(model).max()) / ((1 << (bits - 1)) - 1))
    return np.rint(np.rint(model / step) * step).astype(np.int64)


def with_noise(model: Integers, share: float, seed: int) -> Integers:
    """Every parameter with normal noise of this share of the parameters' standard deviation."""
    noise = np.random.default_rng(seed).normal(0.0, share * float(model.std()), len(model))
    return np.rint(model + noise).astype(np.int64)


def pruned(model: Integers, share: float) -> Integers:
    """This share of the parameters, those of the least magnitude, set to zero."""
    bound = np.quantile(np.abs(model), share)
    return np.where(np.abs(model) < bound, 0, model).astype(np.int64)
