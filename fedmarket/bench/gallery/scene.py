"""What an attacker has before it when it makes its updates, and what an attack is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, Flag, auto

import numpy as np
from numpy.typing import NDArray

from fedmarket.bench.gallery.corpora import Corpus
from fedmarket.bench.gallery.crowd import Learner
from trainer_client.data import Dataset

Floats = NDArray[np.float64]


class Sight(Flag):
    """What an attack has to know beyond what everybody can read."""

    PUBLIC = 0
    OTHERS = auto()
    """The others' updates of the same round, before committing: sealing denies it."""
    EXAM = auto()
    """The round's exam: the owner's own identity, or a leak."""
    LEAK = auto()
    """What the aggregator saw in the round before."""


class Holding(Enum):
    """What data the cheats have: each its own part, or one part that all of them hold, whole or in pieces."""

    OWN = auto()
    SAME = auto()
    SPLIT = auto()


@dataclass(frozen=True, eq=False)
class Scene:
    """A round as its attackers may see it; all vectors are float64, in units of the model's parameters.

    Attributes:
        round: from 0 on.
        cheats: how many updates to make.
        learner: the job's model.
        model: (d,), what everybody trains from.
        initial: (d,), the model of round 0.
        aggregates: (d,) each, latest first.
        trained: (cheats, d), what the cheats' own training gave on the data that the attack prepared.
        data: the cheats' data sets, as prepared.
        honest: (honest, d), this round's honest updates.
        before: the same of the round before; empty in the first.
        exam: (d,), this round's r; None in a job without.
        examine: makes of a data set what the owner makes of a slice at this model, (d,).
        past_exams: (d,) each, latest first.
        norm: median norm of the honest updates.
        line: the cosine above which the exam accepts.
        random: for this round and attack.
    """

    round: int
    cheats: int
    learner: Learner
    model: Floats
    initial: Floats
    aggregates: Sequence[Floats]
    trained: Floats
    data: Sequence[Dataset]
    honest: Floats
    before: Floats
    exam: Floats
    examine: Callable[[Dataset], Floats]
    past_exams: Sequence[Floats]
    norm: float
    line: float
    random: np.random.Generator

    def noise(self) -> Floats:
        """Gaussian noise of the honest norm: (cheats, d)."""
        drawn = self.random.standard_normal((self.cheats, len(self.model)))
        noise: Floats = self.norm * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return noise

    def at_norm(self, vector: Floats) -> Floats:
        """The same direction at the honest norm, once for every cheat; noise where there is no direction."""
        length = float(np.linalg.norm(vector))
        if length == 0:
            return self.noise()
        return np.tile(vector * (self.norm / length), (self.cheats, 1))


Act = Callable[[Scene], Floats]
Prepare = Callable[[Corpus, Dataset, Dataset, np.random.Generator], Dataset]
"""Corpus, a cheat's own data, the public slice: what the cheat trains on."""


@dataclass(frozen=True)
class Attack:
    """One entry of the gallery.

    Attributes:
        name: by which it is chosen.
        title: what it does, in a few words.
        act: makes the cheats' updates, (cheats, d).
        prepare: what they train on before; None for attacks that train nothing.
        sight: what it has to know.
        holding: what data the cheats have.
        epochs: in place of the job's; 0 for the job's own.
        examined: whether they train on the round's exam slice itself.
    """

    name: str
    title: str
    act: Act
    prepare: Prepare | None = None
    sight: Sight = Sight.PUBLIC
    holding: Holding = Holding.OWN
    epochs: int = 0
    examined: bool = False
