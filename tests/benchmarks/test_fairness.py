"""Pay follows what a trainer is worth: its exact Shapley value of the held-out loss, all 64 coalitions retrained."""

from __future__ import annotations

from statistics import median

import pytest
from rich.console import Console

from fedmarket.bench.gallery.fairness import compare, show

SEEDS = 50
"""Six ranks are few: five seeds of this have medians from 0.7 to 0.9."""
LEAST = 0.8


@pytest.mark.bench
def test_pay_ranks_trainers_as_their_shapley_values_do() -> None:
    found = compare("exam", SEEDS, lambda what, done, total: None)
    show("exam", found, Console(width=140))
    assert median(entry.correlation for entry in found) >= LEAST
