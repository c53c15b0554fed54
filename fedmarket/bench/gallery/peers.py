"""Rules of ByzFL 0.0.11 on the very same updates. ByzFL is optional: what it offers is empty where it is not installed.

ByzFL: Rizk, Stephan, Gonzalez 2024, https://github.com/LPD-EPFL/byzfl. It imports torchvision and seaborn, which its
aggregators do not need: empty modules stand in for those that are not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmarket.bench.gallery.judges import Case, Judge, Judgement, by_weight
from market.protocol.rule_terms import ONE_Q16

PACKAGE = "byzfl"
MARK = 1.0
"""Each update is followed by a unit vector of its own, this long in counts: what the rule makes of these are the
weights that it gave, whatever it does inside. All updates move apart by the same √2 counts in norms of thousands."""

STAND_INS = ("torchvision", "torchvision.datasets", "torchvision.transforms", "seaborn")

Vectors = NDArray[np.float64]
Aggregate = Callable[[Vectors], Any]


class _Nothing:
    """An object that can be made with any arguments, and does nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass


class _Empty(ModuleType):
    """A module in which every name is there and nothing is behind it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}", _Nothing)


def installed() -> bool:
    """Whether ByzFL can be imported."""
    return find_spec(PACKAGE) is not None


def _byzfl() -> Any:
    missing = {name for name in STAND_INS if find_spec(name.partition(".")[0]) is None} - set(sys.modules)
    sys.modules.update({name: _Empty(name) for name in missing})
    try:
        import byzfl
    finally:
        # Others that ask whether these are installed are to find that they are not.
        for name in missing:
            del sys.modules[name]
    return byzfl


def multi_krum(faults: int, count: int) -> Aggregate:
    """Blanchard et al. 2017, arXiv:1703.02757, with as many faults as it admits."""
    return _byzfl().MultiKrum(f=min(faults, (count - 1) // 2))  # type: ignore[no-any-return]


def clipped_mixing(faults: int, count: int) -> Aggregate:
    """Adaptive clipping (arXiv:2405.14432), nearest-neighbour mixing (arXiv:2302.01772), then Multi-Krum."""
    package, admitted = _byzfl(), min(faults, (count - 1) // 2)
    stages = (package.ARC(f=admitted), package.NNM(f=admitted), package.MultiKrum(f=admitted))

    def aggregate(vectors: Vectors) -> Any:
        for stage in stages:
            vectors = stage(vectors)
        return vectors

    return aggregate


def by_peer(make: Callable[[int, int], Aggregate]) -> Judge:
    """A rule of ByzFL's as a judge: who is averaged is paid, by weight."""

    def judge(case: Case) -> Judgement:
        return by_weight(case, weights_of(make(case.faults, len(case.updates)), case.updates))

    return judge


def weights_of(aggregate: Aggregate, updates: Sequence[NDArray[np.int16]]) -> list[int]:
    """The weights, in units of 2^-16 and rounded down, with which a rule averages these updates."""
    marked = np.hstack([np.array(updates, dtype=np.float64), MARK * np.eye(len(updates))])
    shares = np.asarray(aggregate(marked), dtype=np.float64)[-len(updates) :] / MARK
    return [int(share) for share in np.floor(ONE_Q16 * np.clip(shares, 0, 1) + 1e-6)]


PEERS: Mapping[str, Judge] = {
    "byzfl-multi-krum": by_peer(multi_krum),
    "byzfl-mixing": by_peer(clipped_mixing),
}
"""ByzFL's rules by name; playing one of them needs the package."""
