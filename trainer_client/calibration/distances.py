"""How many bits the digests of one output differ by between machines, and those of two outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer_client.calibration.rates import Rate
from trainer_client.calibration.samples import Measured
from trainer_client.digests import BITS, Digests, hamming_matrix

MOST_TOLERANCE = 127
"""The contract takes no more: at 128 bits random digests agree every other time."""

SEED, PROMPT = "seed", "prompt"
"""Between inputs: another seed with the same prompt, and another prompt."""

_ROWS = 512

Counts: TypeAlias = NDArray[np.int64]
"""Pairs by their distance, 0..256: int64 (257,)."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances of pairs of one kind.

    Attributes:
        counts: of all pairs: int64 (257,). One sample is in many of them, so they are not independent.
        apart: of pairs of which no two share a sample: int64 (257,). Bounds on these hold as they are.
    """

    counts: Counts
    apart: Counts

    def within(self, tolerance: int) -> Rate:
        """How many of all pairs differ by at most so many bits."""
        return _within(self.counts, tolerance)

    def within_apart(self, tolerance: int) -> Rate:
        """How many of the independent pairs do."""
        return _within(self.apart, tolerance)

    @property
    def total(self) -> int:
        """All pairs."""
        return int(self.counts.sum())


def _within(counts: Counts, tolerance: int) -> Rate:
    return Rate(int(counts[: tolerance + 1].sum()), int(counts.sum()))


def distances(first: Digests, second: Digests) -> NDArray[np.int64]:
    """Differing bits, digest by digest: uint8 (..., 32) twice, of shapes that broadcast, to int64 (...)."""
    different = np.bitwise_count(_words(first) ^ _words(second))
    bits: NDArray[np.int64] = different.sum(axis=-1, dtype=np.int64)
    return bits


def _words(digests: Digests) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests).view(np.uint64)


def same_input(measured: Measured) -> Pairs:
    """Every two machines on each input; independent are the pairs of one two machines an input, by turns."""
    counts, apart = _no_counts(), _no_counts()
    pairs = list(combinations(range(len(measured.machines)), 2))
    for turn, (first, second) in enumerate(pairs):
        found = distances(measured.digests[first], measured.digests[second])
        counts += counted(found)
        apart += counted(found[turn :: len(pairs)])
    return Pairs(counts, apart)


def between_inputs(measured: Measured) -> dict[str, Pairs]:
    """Pairs by what is different: the seed (with the sample's number), the prompt, or the model, by its name.

    Every two inputs are compared, each as one of the machines computed it, by turns; for another model every machine
    is compared with every one of its own, input by input.
    """
    everywhere = np.ones(measured.digests.shape[:2], dtype=np.bool_)
    found = _all_with_all(measured, measured.one_each(), everywhere[0])
    found.update(_models(measured, measured.digests, everywhere))
    return found


def against_accepted(measured: Measured, accepted: Digests, decided: NDArray[np.bool_]) -> dict[str, Pairs]:
    """The same between what panels accepted and what is claimed for other inputs, or by other models.

    Args:
        measured: whose digests are claimed.
        accepted: what a panel accepted for each input: uint8 (n, 32).
        decided: whether it accepted anything: bool (n,). Where it did not, no claim is near.
    """
    found = _all_with_all(measured, accepted, decided)
    found.update(_models(measured, accepted[None], decided[None]))
    return found


def model_kind(name: str) -> str:
    """How pairs with another model are called."""
    return f"model {name}"


def _all_with_all(measured: Measured, accepted: Digests, decided: NDArray[np.bool_]) -> dict[str, Pairs]:
    """Each two inputs once: the first one's accepted digest, the second one's as a machine computed it."""
    prompts, claimed = measured.prompt_numbers(), measured.one_each()
    counts = {True: _no_counts(), False: _no_counts()}
    for start in range(0, len(accepted), _ROWS):
        bits = hamming_matrix(accepted[start : start + _ROWS], claimed[start:])
        bits[~decided[start : start + _ROWS]] = BITS
        later = np.arange(bits.shape[1])[None, :] > np.arange(len(bits))[:, None]
        alike = prompts[start : start + _ROWS, None] == prompts[None, start:]
        for same in counts:
            counts[same] += counted(bits[later & (alike == same)])
    found = {}
    for name, same in ((SEED, True), (PROMPT, False)):
        if counts[same].any():
            first, second = _disjoint(prompts, alike=same)
            apart = np.where(decided[first], distances(accepted[first], claimed[second]), BITS)
            found[name] = Pairs(counts[same], counted(apart))
    return found


def _disjoint(prompts: NDArray[np.int64], *, alike: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of inputs with the same prompt, or with others, of which no two share an input."""
    order = np.argsort(prompts, kind="stable")
    half = len(order) // 2
    # Neighbours in this order have the same prompt; half of it apart they have not.
    first, second = (order[0 : 2 * half : 2], order[1 : 2 * half : 2]) if alike else (order[:half], order[-half:])
    chosen = (prompts[first] == prompts[second]) == alike
    return first[chosen], second[chosen]


def _models(measured: Measured, rows: Digests, decided: NDArray[np.bool_]) -> dict[str, Pairs]:
    found, places = {}, np.arange(len(measured))
    for name, other in measured.others.items():
        counts = _no_counts()
        for row, sure in zip(rows, decided, strict=True):
            counts += counted(np.where(sure, distances(row, other), BITS))
        turn = places % len(rows)
        apart = distances(rows[turn, places], other[places % len(other), places])
        found[model_kind(name)] = Pairs(counts, counted(np.where(decided[turn, places], apart, BITS)))
    return found


def counted(bits: NDArray[np.integer]) -> Counts:
    """Distances to how often each is there: int64 (257,)."""
    return np.bincount(bits.reshape(-1), minlength=BITS + 1).astype(np.int64)


def _no_counts() -> Counts:
    return np.zeros(BITS + 1, dtype=np.int64)
