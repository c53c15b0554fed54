"""What a simulated job learns: a moving optimum, and trainers who each see it through noise of their own.

No network is trained. A round's lesson g is the way from the model to where the optimum is now, most of it new in
every round; an honest update is signal·g + what its trainer's data always get wrong + fresh noise, all at one norm; an
exam's r is g with less noise. Equal seeds give equal draws whatever anybody does: games can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NORM = 6_000.0
"""Of an honest update, in counts."""
FIRST_DISTANCE = 1.0
"""From the initial model to the first optimum, in honest norms."""
DRIFT = 0.6
"""How far the optimum moves a round, in honest norms."""
SIGNALS = (0.3, 0.45)
"""Cosine of an honest update with the lesson: each trainer's own, drawn evenly between these."""
BIAS = 0.3
"""Cosine of an honest update with what this trainer's data always get wrong."""
EXAM_SIGNAL = 0.8
"""Cosine of r with the lesson."""
REFERENCE_NORM = 100_000.0
"""Of r, in counts."""


class Draw(IntEnum):
    """What a random stream is for."""

    INITIAL = 0
    DRIFT = 1
    SIGNAL = 2
    BIAS = 3
    TRAINING = 4
    EXAM = 5


@dataclass(frozen=True)
class Task:
    """One seed's learning problem. Vectors are float64 (d,), in counts of an update.

    Attributes:
        seed: of every draw.
        dimension: d.
    """

    seed: int
    dimension: int
    _optima: list[Floats] = field(default_factory=list, repr=False, compare=False)

    def unit(self, *purpose: int) -> Floats:
        """A direction drawn for this purpose."""
        drawn = np.random.default_rng([self.seed, *purpose]).standard_normal(self.dimension)
        return unit(drawn)

    def optimum(self, round_number: int) -> Floats:
        """Where the best model is in a round, the initial model being zero."""
        while len(self._optima) <= round_number:
            moved = len(self._optima)
            if moved == 0:
                self._optima.append(FIRST_DISTANCE * NORM * self.unit(Draw.INITIAL))
            else:
                self._optima.append(self._optima[-1] + DRIFT * NORM * self.unit(Draw.DRIFT, moved))
        return self._optima[round_number]

    def lesson(self, model: Floats, round_number: int) -> Floats:
        """The direction in which the model would have to move, of length one."""
        return unit(self.optimum(round_number) - model)

    def signal(self, person: int) -> float:
        """How well a trainer's data show the lesson."""
        low, high = SIGNALS
        return low + (high - low) * float(np.random.default_rng([self.seed, Draw.SIGNAL, person]).random())

    def training(
        self, person: int, model: Floats, round_number: int, attempt: int, repeat: int = 0, effort: float = 1.0
    ) -> Floats:
        """An honest update.

        Args:
            person: whose data.
            model: that is trained from.
            round_number: of the lesson.
            attempt: of the noise.
            repeat: another training on the same data has other noise.
            effort: what the signal is multiplied by; noise takes its place.
        """
        signal = effort * self.signal(person)
        noise = self.unit(Draw.TRAINING, person, attempt, repeat)
        bias = self.unit(Draw.BIAS, person)
        rest = sqrt(1 - signal**2 - BIAS**2)
        return NORM * (signal * self.lesson(model, round_number) + BIAS * bias + rest * noise)

    def reference(self, model: Floats, round_number: int, attempt: int) -> Floats:
        """The exam's r as an honest owner computes it."""
        noise = self.unit(Draw.EXAM, attempt)
        lesson = self.lesson(model, round_number)
        return REFERENCE_NORM * (EXAM_SIGNAL * lesson + sqrt(1 - EXAM_SIGNAL**2) * noise)

    def quality(self, model: Floats, round_number: int) -> float:
        """How much of what there was to learn a model knows, 0 to 1; one worse than none is thrown away."""
        target = self.optimum(round_number)
        left = float(np.sum((target - model) ** 2) / np.sum(target**2))
        return max(0.0, 1.0 - left)


def unit(vector: Floats) -> Floats:
    """The vector at length one; zeros stay zeros.

    >>> unit(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


@cache
def task_of(seed: int, dimension: int) -> Task:
    """The same task for the same seed."""
    return Task(seed, dimension)
