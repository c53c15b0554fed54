from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from market.protocol.errors import CannotCalibrate, InvalidInput
from tests.unit.trainer_client.calibration.synthetic import measured
from trainer_client.calibration.panels import independent_undecided
from trainer_client.calibration.samples import Part
from trainer_client.calibration.tolerance import Overlap, Wanted, choose_tolerance, report_on

LOOSE = Wanted(honest_error=0.01, false_error=0.002)


def test_a_tolerance_lies_between_honest_digests_and_others() -> None:
    choice = choose_tolerance(measured(600, chance=0.01, others={"near": 0.2}), LOOSE)
    honest, other = binom(256, 2 * 0.01 * 0.99), binom(256, 0.01 * 0.8 + 0.99 * 0.2)
    assert honest.sf(choice.tolerance_bits) < LOOSE.honest_error
    assert other.cdf(choice.tolerance_bits) < LOOSE.false_error
    assert choice.lowest <= choice.tolerance_bits <= choice.highest
    assert other.cdf(choice.highest + 3) > LOOSE.false_error / 3


def test_the_report_is_on_other_samples_and_meets_what_was_asked_for() -> None:
    choice = choose_tolerance(measured(600, chance=0.01, seed=1), LOOSE)
    outcome = report_on(measured(900, chance=0.01, seed=2, part=Part.REPORT), choice)
    assert outcome.tolerance_bits == choice.tolerance_bits
    assert outcome.honest.refused.upper <= LOOSE.honest_error
    assert all(each.accepted.upper <= LOOSE.false_error for each in outcome.false.values())
    assert outcome.pairs == 900 * 899 // 2
    assert outcome.false["seed"].accepted_apart.trials == 448  # of each prompt an odd number: pairs within it
    assert outcome.independent_undecided == independent_undecided(outcome.apart.upper, 3) > 0


def test_no_tolerance_is_reported_on_the_samples_that_it_was_chosen_by() -> None:
    chosen_by = measured(600, seed=1)
    choice = choose_tolerance(chosen_by, LOOSE)
    with pytest.raises(CannotCalibrate, match="for the calibration, expected those for the report"):
        report_on(chosen_by, choice)
    with pytest.raises(CannotCalibrate, match="600 inputs of the report"):
        report_on(measured(600, seed=1, part=Part.REPORT), choice)
    with pytest.raises(CannotCalibrate, match="for the report, expected those for the calibration"):
        choose_tolerance(measured(600, seed=3, part=Part.REPORT), LOOSE)


def test_a_false_output_is_held_against_what_the_panel_accepted() -> None:
    # The other model's outputs are beyond the tolerance of any machine but for one in five bits of noise.
    choice = choose_tolerance(measured(600, chance=0.01, seed=1), LOOSE)
    found = measured(600, chance=0.01, seed=2, part=Part.REPORT, others={"copy": 0.0, "far": 0.4})
    outcome = report_on(found, choice)
    assert outcome.false["model copy"].accepted.estimate > 0.99
    assert outcome.false["model far"].accepted.events == 0


def test_overlapping_distributions_are_refused_with_their_figures() -> None:
    with pytest.raises(Overlap, match=r"overlap: .* takes at least \d+ bits, .* another model near is accepted at"):
        choose_tolerance(measured(600, chance=0.05, others={"near": 0.06}), LOOSE)


def test_a_model_that_was_barely_changed_may_be_measured_beside() -> None:
    choice = choose_tolerance(measured(600, chance=0.05, others={"near": 0.06}), LOOSE, beside=["model near"])
    assert choice.kinds == ("seed", "prompt")
    assert choice.curve[choice.tolerance_bits].accepted["model near"].estimate > 0.5


def test_a_digest_that_honest_machines_do_not_share_is_refused() -> None:
    with pytest.raises(Overlap, match="even at 127 bits: this digest does not suit"):
        choose_tolerance(measured(600, chance=0.5), LOOSE)


def test_too_few_samples_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(CannotCalibrate, match=r"30 samples to choose by: .* takes 38 at least"):
        choose_tolerance(measured(30), LOOSE)
    with pytest.raises(CannotCalibrate, match=r"pairs of another seed: .* takes 1,497"):
        choose_tolerance(measured(50), LOOSE)


def test_one_machine_or_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(CannotCalibrate, match="1 way of running"):
        choose_tolerance(measured(50, machines=1), LOOSE)
    with pytest.raises(CannotCalibrate, match="1 input"):
        choose_tolerance(measured(1), LOOSE)


@pytest.mark.parametrize(("honest", "false", "verifiers"), [(0, 0.1, 3), (0.1, 1.0, 3), (0.1, 0.1, 4)])
def test_errors_that_nobody_can_ask_for(honest: float, false: float, verifiers: int) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Wanted(honest, false, verifiers)


def test_the_same_samples_choose_the_same() -> None:
    first, second = (choose_tolerance(measured(600), LOOSE) for _ in range(2))
    assert first.curve == second.curve
    assert np.array_equal(first.found.draw.machines, second.found.draw.machines)
