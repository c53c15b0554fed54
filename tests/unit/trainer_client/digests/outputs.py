"""Outputs to digest: drawn at random, or written in whole numbers in the shared vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

OUTPUTS: Mapping[str, Callable[[np.random.Generator, int], Any]] = {
    "dct": lambda random, samples: random.random((samples, 40, 33, 3)),
    "difference": lambda random, samples: random.random((samples, 32, 34)).astype(np.float32),
    "wavelet": lambda random, samples: random.integers(0, 256, (samples, 50, 50), dtype=np.uint8),
    "simhash": lambda random, samples: random.standard_normal((samples, 5000)),
    "update_simhash": lambda random, samples: random.integers(-32768, 32768, (samples, 9000)).astype(np.int16),
    "exact": lambda random, samples: random.integers(0, 50_000, (samples, 30)),
    "minhash": lambda random, samples: ["".join(map(chr, random.integers(97, 123, 200))) for _ in range(samples)],
    "activations": lambda random, samples: random.standard_normal((samples, 6, 300)).astype(np.float32),
}
"""From a generator and a number of samples to these, which have nothing to do with one another."""


def outputs_of(name: str, written: Any) -> Any:
    """What a shared vector is written as: {"shape", "step", "modulus"} for an array, or the outputs themselves.

    Entry i of the array is (i² + step·i) mod modulus; images divide it by the modulus, vectors subtract half of it.
    """
    if not isinstance(written, dict):
        return written
    places = np.arange(np.prod(written["shape"]), dtype=np.int64)
    values = ((places * places + written["step"] * places) % written["modulus"]).reshape(written["shape"])
    if name in ("dct", "difference", "wavelet"):
        return values / written["modulus"]
    centred = values - written["modulus"] // 2
    return centred.astype(np.int16) if name == "update_simhash" else centred / 64.0
