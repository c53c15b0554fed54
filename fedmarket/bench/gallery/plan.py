"""Which cells are played: from a minute's worth to everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from fedmarket.bench.gallery.attacks import ATTACKS
from fedmarket.bench.gallery.contest import RULES, Cell
from fedmarket.bench.gallery.corpora import CORPORA

FIRST_SEED = 200
SEEDS = range(FIRST_SEED, FIRST_SEED + 10)
"""Of the published figures. The rule and its terms were chosen on seeds 0 to 124: nothing was on these."""
MORE_SEEDS = range(FIRST_SEED, FIRST_SEED + 50)
"""For what comes out near its bound, where ten seeds do not tell on which side."""

CROWDS = ((5, 2), (11, 5), (5, 7), (40, 20))
ALPHAS = (10.0, 0.5, 0.3, 0.1)
IDENTITIES = (1, 2, 4, 8)
BASELINE = ("honest", "fedavg")
"""FedAvg of the honest alone: what accuracy is held against."""

SYBILS = ("copies", "clones", "split")
ADAPTIVE = tuple(name for name in ATTACKS if name.startswith(("adaptive", "oracle")))
PLAIN = tuple(name for name in ATTACKS if name not in (*SYBILS, *ADAPTIVE, "honest"))
COMPARED = (
    *("flip-1", "flip-3", "noise", "ipm", "alie", "mimic"),
    *("label-flip", "backdoor", "replay", "tiny", "scaled-10"),
)
CLOSE = ("flip-own", "scaled-10")
"""Near a bound: ten seeds do not tell on which side."""


def cells(
    corpora: Iterable[str],
    crowds: Iterable[tuple[int, int]],
    alphas: Iterable[float],
    attacks: Sequence[str],
    rules: Sequence[str],
    seeds: Iterable[int],
) -> list[Cell]:
    """All combinations, each job's baselines before it: FedAvg and every rule with the honest alone."""
    found: dict[Cell, None] = {}
    for corpus, (honest, cheats), alpha, seed in product(corpora, crowds, alphas, seeds):
        for rule in dict.fromkeys((BASELINE[1], *rules)):
            found[Cell(corpus, honest, 0, alpha, BASELINE[0], rule, seed)] = None
        for attack, rule in product(attacks, rules):
            found[Cell(corpus, honest, cheats, alpha, attack, rule, seed)] = None
    return list(found)


def sybil_cells(corpora: Iterable[str], rules: Sequence[str], seeds: Iterable[int]) -> list[Cell]:
    """One data set held by k identities beside five honest trainers."""
    crowds = [(5, k) for k in IDENTITIES]
    return [cell for cell in cells(corpora, crowds, [0.5], SYBILS, rules, seeds) if cell.cheats]


def quick() -> list[Cell]:
    """A glance: one crowd, one seed."""
    return cells(["digits"], [(5, 2)], [0.5], ["flip-3", "noise", "tiny", "replay"], ["exam", "fedavg"], SEEDS[:1])


def bounds() -> list[Cell]:
    """What the exam promises: every attack at 5 + 2, 5 + 7 and 11 + 5, k identities, adaptive attackers at 20 %.

    And what it does elsewhere: a large crowd, parts that are nearly alike and very unlike, text.
    """
    return [
        *cells(["digits"], [(5, 2), (5, 7)], [0.5], PLAIN, ["exam"], SEEDS),
        *cells(["digits"], [(11, 5)], [0.3], PLAIN, ["exam"], SEEDS),
        *cells(["digits"], [(8, 2)], [0.5], ADAPTIVE, ["exam"], SEEDS),
        *sybil_cells(["digits"], ["exam", "exam-shapley"], SEEDS),
        *cells(["digits"], [(40, 20)], [0.5], COMPARED, ["exam"], SEEDS),
        *cells(["digits"], [(5, 2)], [10.0, 0.1], COMPARED, ["exam"], SEEDS),
        *cells(["words"], [(5, 2)], [0.5], COMPARED, ["exam"], SEEDS),
    ]


def close() -> list[Cell]:
    """What comes out near its bound, identities too, on more seeds."""
    return [
        *cells(["digits"], [(5, 2), (5, 7)], [0.5], CLOSE, ["exam"], MORE_SEEDS),
        *sybil_cells(["digits"], ["exam"], MORE_SEEDS),
    ]


def compared() -> list[Cell]:
    """The exam beside the other rules."""
    rules = [rule for rule in RULES if rule not in ("exam", "exam-shapley")]
    return [
        *cells(["digits"], [(5, 2), (5, 7)], [0.5], COMPARED, rules, SEEDS),
        *cells(["digits"], [(11, 5)], [0.3], COMPARED, rules, SEEDS),
    ]


def everything() -> list[Cell]:
    """Every attack, rule, crowd, split and data set: a day or two."""
    names = (*PLAIN, *ADAPTIVE)
    return [
        *cells(CORPORA, CROWDS, ALPHAS, names, list(RULES), SEEDS),
        *sybil_cells(CORPORA, list(RULES), SEEDS),
    ]


PLANS: Mapping[str, list[Cell]] = {
    "quick": quick(),
    "bounds": bounds(),
    "close": close(),
    "compared": [*bounds(), *compared()],
    "full": everything(),
}
"""Every plan by name."""
