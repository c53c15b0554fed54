"""Digests with errors that are known: random ones, of which each machine flips bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market.protocol.generation import Prompt
from trainer_client.calibration.samples import Measured, Part, make_inputs


def flipped(digests: NDArray[np.uint8], chance: float | NDArray[np.float64], random: np.random.Generator):
    """Each bit flipped with this chance, or with that of its sample, (n, 1)."""
    flips = random.random((len(digests), 256)) < chance
    return digests ^ np.packbits(flips, axis=1)


def measured(
    samples: int,
    *,
    part: Part = Part.CALIBRATION,
    machines: int = 4,
    chance: float | NDArray[np.float64] = 0.01,
    prompts: tuple[Prompt, ...] = (0, 1, 2, 3),
    seed: int = 0,
    others: dict[str, float] | None = None,
) -> Measured:
    """Machines that flip bits independently of one another, and other models that flip them more often."""
    random = np.random.default_rng(seed)
    base = random.integers(0, 256, (samples, 32), dtype=np.uint8)
    return Measured(
        part=part,
        inputs=make_inputs(prompts, [seed], samples),
        machines=tuple(f"machine {number}" for number in range(machines)),
        digests=np.stack([flipped(base, chance, random) for _ in range(machines)]),
        others={name: flipped(base, rate, random)[None] for name, rate in (others or {}).items()},
    )
