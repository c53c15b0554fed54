from __future__ import annotations

import pytest
from scipy.stats import binom

from market.protocol.errors import InvalidData
from trainer_client.calibration.rates import Rate, percent


def test_an_error_that_was_never_seen_is_bounded_by_the_rule_of_three() -> None:
    rate = Rate(0, 1_000_000)
    assert rate.upper == pytest.approx(3 / 1_000_000, rel=2e-3)
    assert rate.lower == 0
    assert str(rate) == "0 of 1,000,000 (<= 0.000300 %)"


@pytest.mark.parametrize(("events", "trials"), [(1, 10), (3, 40), (17, 1_000), (999, 1_000)])
def test_the_bounds_are_those_at_which_the_count_would_be_a_rarity(events: int, trials: int) -> None:
    rate = Rate(events, trials)
    assert binom.cdf(events, trials, rate.upper) == pytest.approx(0.05)
    assert binom.sf(events - 1, trials, rate.lower) == pytest.approx(0.05)
    assert rate.lower < rate.estimate < rate.upper


def test_the_upper_bound_covers_the_true_rate_as_often_as_it_says() -> None:
    truth, trials = 0.01, 300
    covered = sum(
        binom.pmf(events, trials, truth) for events in range(trials + 1) if Rate(events, trials).upper >= truth
    )
    assert covered >= 0.95


def test_all_of_them_may_be_all() -> None:
    assert Rate(5, 5).upper == 1.0
    assert Rate(5, 5).lower == pytest.approx(0.05 ** (1 / 5))
    assert Rate(5, 5).complement == Rate(0, 5)


@pytest.mark.parametrize(("events", "trials"), [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(events: int, trials: int) -> None:
    with pytest.raises(InvalidData, match="trials"):
        Rate(events, trials)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (1.0, "100.00 %"), (0.9989, "99.890 %"), (0.000267, "0.0267 %"), (0.25, "25.00 %"),
     (3e-9, "3.00e-07 %"), (0.99999, "99.99900 %"), (1 - 1e-9, "more than 99.9999 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text
