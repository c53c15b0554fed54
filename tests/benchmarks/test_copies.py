"""What is gained by k seats with one update, and by noise on one's own: with an exam and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from aggregator.decision import decide
from aggregator.gram import gram_matrix
from market.protocol.rule_terms import ONE_Q16, RuleTerms, Scoring

DIMENSION = 4_000
HONEST = 6
COPIES = (2, 4, 8)
COSINES = (0.5, 0.2, 0.1)
SEEDS = range(10)


def honest_updates(cosine: float, seed: int) -> list[NDArray[np.int16]]:
    """Updates whose pairwise cosines are about the one given."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal(DIMENSION)
    own = random.standard_normal((HONEST, DIMENSION))
    return [np.rint(1_000 * (np.sqrt(cosine) * shared + np.sqrt(1 - cosine) * row)).astype(np.int16) for row in own]


def exam(seed: int) -> NDArray[np.int64]:
    """r: what the honest share, and as much noise again."""
    shared = np.random.default_rng(seed).standard_normal(DIMENSION)
    own = np.random.default_rng(seed + 2_000).standard_normal(DIMENSION)
    return np.rint(2**27 * (shared + own)).astype(np.int64)


def share(updates: list[NDArray[np.int16]], copies: int, scoring: Scoring, seed: int) -> float:
    """The pot's share of the first update's owner, who holds `copies` seats."""
    rows = [updates[0]] * copies + updates[1:]
    terms = replace(RuleTerms(dimension=DIMENSION), scoring=scoring)
    gram = gram_matrix(rows, [None] * 5 + [exam(seed)] * terms.needs_exam)
    scores = decide(terms, len(rows), 0, ONE_Q16, gram, examined=gram.examined).scores
    return sum(scores[:copies]) / sum(scores)


def gain(cosine: float, copies: int, scoring: Scoring) -> float:
    """How many times as much the copies earn together as the one update would: mean over the seeds."""
    ratios = []
    for seed in SEEDS:
        updates = honest_updates(cosine, seed)
        ratios.append(share(updates, copies, scoring, seed) / share(updates, 1, scoring, seed))
    return float(np.mean(ratios))


def share_with_noise(cosine: float, noise: float, scoring: Scoring, seed: int) -> float:
    """The pot's share of a trainer among equals who adds noise of this part of its update's variance, at equal norm."""
    updates = honest_updates(cosine, seed)
    random = np.random.default_rng(seed + 1_000)
    noisy = updates[0] + np.sqrt(noise) * 1_000 * random.standard_normal(DIMENSION)
    updates[0] = np.rint(noisy / np.sqrt(1 + noise)).astype(np.int16)
    return share(updates, 1, scoring, seed)


@pytest.mark.bench
def test_noise_on_ones_own_update_does_not_pay_with_an_exam_or_where_honest_updates_are_unlike() -> None:
    table = Table(
        title=f"Pot share of 1 of {HONEST} trainers who adds noise (fair: {1 / HONEST:.3f})", title_justify="left"
    )
    for column in ("score", "honest cosine", "no noise", "0.25 x variance", "1 x variance"):
        table.add_column(column, justify="right")
    for scoring in (Scoring.LEAVE_ONE_OUT_COSINE, Scoring.EXAM, Scoring.SHAPLEY):
        for cosine in (0.1, 0.2, 0.35, 0.5, 0.65, 0.8):
            noises = ([share_with_noise(cosine, noise, scoring, seed) for seed in SEEDS] for noise in (0, 0.25, 1))
            shares = [float(np.mean(each)) for each in noises]
            table.add_row(scoring.name.lower(), f"{cosine}", *(f"{value:.3f}" for value in shares))
            without_exam = scoring is Scoring.LEAVE_ONE_OUT_COSINE
            assert shares[2] < shares[0] or (without_exam and cosine > 0.35)
    Console(width=100).print(table)


@pytest.mark.bench
def test_copies_gain_less_than_their_number_under_every_scoring() -> None:
    table = Table(title="Gain in pot share of k equal updates beside 5 others, median_cosine", title_justify="left")
    for column in ("honest cosine", "score", *(f"k = {copies}" for copies in COPIES)):
        table.add_column(column, justify="right")
    for cosine in COSINES:
        for scoring in Scoring:
            gains = [gain(cosine, copies, scoring) for copies in COPIES]
            table.add_row(f"{cosine}", scoring.name.lower(), *(f"{value:.2f}" for value in gains))
            assert all(value < copies for value, copies in zip(gains, COPIES, strict=True))
    Console(width=100).print(table)
