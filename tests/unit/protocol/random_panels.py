"""Panels as an adversary would fill them: clusters, bridges between them, chains, ties, void, silence, canaries."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from market.protocol.consensus import VOID, Batch, ConsensusTerms, Reveal, batch_of


@dataclass(frozen=True)
class Case:
    """One decision to make."""

    terms: ConsensusTerms
    reveals: tuple[Reveal, ...]
    canaries: dict[int, bytes]


def flipped(rng: random.Random, digest: bytes, bits: int) -> bytes:
    """The digest with so many of its bits, drawn at random, flipped; never zero."""
    value = int.from_bytes(digest, "big")
    for bit in rng.sample(range(256), bits):
        value ^= 1 << bit
    return (value or 1).to_bytes(32, "big")


def random_case(rng: random.Random, seats: int | None = None, most_samples: int = 9) -> Case:
    """A panel in which honest, lazy, bridging, void and silent seats come in any mixture."""
    verifiers = seats or rng.choice((3, 5, 7, 15))
    samples = rng.randint(1, most_samples)
    tolerance = rng.choice((0, 1, 8, 40, 127))
    terms = ConsensusTerms(verifiers, samples, tolerance, rng.choice((0, 0, 120, 249)))
    centres = [[rng.randbytes(32) for _ in range(samples)] for _ in range(rng.randint(1, 3))]
    steps = sorted({0, tolerance // 2, tolerance, tolerance + 1})
    reveals: list[Reveal] = []
    for _ in range(verifiers):
        reveals.append(_reveal(rng, reveals, centres, steps))
    canaries = {
        sample: flipped(rng, centres[rng.randrange(len(centres))][sample], rng.choice((*steps, 200)))
        for sample in rng.sample(range(samples), rng.randint(0, min(samples, 3)))
    }
    return Case(terms, tuple(reveals), canaries)


def _reveal(rng: random.Random, earlier: list[Reveal], centres: list[list[bytes]], steps: list[int]) -> Reveal:
    kind = rng.choices(("honest", "chain", "bridge", "copy", "noise", "void", "silent"), (8, 4, 3, 2, 1, 1, 1))[0]
    batches = [batch for batch in earlier if isinstance(batch, np.ndarray)]
    if kind == "void":
        return VOID
    if kind == "silent":
        return None
    if kind == "copy" and batches:
        return rng.choice(batches)
    if kind == "chain" and batches:
        return _near(rng, [row.tobytes() for row in batches[-1]], steps)
    if kind == "bridge" and len(centres) > 1:
        return batch_of([_between(rng, a, b) for a, b in zip(centres[0], centres[1], strict=True)])
    if kind == "noise":
        return batch_of([rng.randbytes(32) for _ in centres[0]])
    return _near(rng, rng.choice(centres), steps)


def _near(rng: random.Random, centre: list[bytes], steps: list[int]) -> Batch:
    return batch_of([flipped(rng, digest, rng.choice(steps)) for digest in centre])


def _between(rng: random.Random, left: bytes, right: bytes) -> bytes:
    """Half of the bits in which two digests differ from one, half from the other."""
    a, b = int.from_bytes(left, "big"), int.from_bytes(right, "big")
    differing = [bit for bit in range(256) if (a ^ b) >> bit & 1]
    for bit in rng.sample(differing, len(differing) // 2):
        a ^= 1 << bit
    return (a or 1).to_bytes(32, "big")
