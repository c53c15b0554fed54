from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from market.protocol.errors import CannotCalibrate
from tests.unit.trainer_client.calibration.synthetic import measured
from trainer_client.calibration.batches import propose_slack
from trainer_client.calibration.samples import Part


def test_machines_that_never_differ_still_get_what_the_bound_cannot_exclude() -> None:
    slack = propose_slack(measured(600, chance=0.0), 10, 64, error=0.001)
    assert slack.disagreeing.events == 0
    assert slack.allowed >= 1
    assert slack.by_samples <= 0.001
    assert slack.permille * 64 // 1000 == slack.allowed


def test_slack_grows_with_how_often_samples_differ() -> None:
    rare, often = np.where(np.arange(6_000) % 100 == 0, 0.3, 0.0), np.where(np.arange(6_000) % 20 == 0, 0.3, 0.0)
    slacks = [propose_slack(measured(6_000, chance=each[:, None]), 20, 64, 0.01) for each in (rare, often)]
    assert slacks[0].allowed < slacks[1].allowed
    assert binom.sf(slacks[1].allowed, 64, 0.05) <= 0.01


def test_the_slack_holds_for_batches_that_it_was_not_made_from() -> None:
    hard = np.where(np.random.default_rng(5).random(6_000) < 0.02, 0.3, 0.0)[:, None]
    slack = propose_slack(measured(6_000, chance=hard, seed=1), 20, 64, 0.01)
    met = propose_slack(measured(6_000, chance=hard, seed=2, part=Part.REPORT), 20, 64, 0.01)
    assert abs(slack.allowed - met.allowed) <= 1


def test_a_tolerance_that_takes_more_slack_than_the_contract_gives_is_refused() -> None:
    with pytest.raises(CannotCalibrate, match="more than 249 permille would have to be allowed"):
        propose_slack(measured(600, chance=0.1), 40, 64, 0.01)
