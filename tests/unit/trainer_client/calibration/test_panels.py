from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import CannotCalibrate, InvalidData
from tests.unit.trainer_client.calibration.synthetic import measured
from trainer_client.calibration.distances import same_input
from trainer_client.calibration.panels import (
    accepted_digests,
    draw_panels,
    honest_errors,
    independent_undecided,
    settle,
)


def slow_settle(bits: np.ndarray, tolerance: int) -> tuple[int, int]:
    """Mask and medoid by the rule's words: -1 where there is no majority."""
    seats = len(bits)
    best: tuple[int, int, int] | None = None
    for mask in range(1, 1 << seats):
        members = [seat for seat in range(seats) if mask >> seat & 1]
        pairs = list(combinations(members, 2))
        if 2 * len(members) > seats and all(bits[a, b] <= tolerance for a, b in pairs):
            key = (-len(members), int(sum(bits[a, b] for a, b in pairs)), mask)
            best = key if best is None else min(best, key)
    if best is None:
        return 0, -1
    members = [seat for seat in range(seats) if best[2] >> seat & 1]
    return best[2], min(members, key=lambda seat: (sum(bits[seat, other] for other in members), seat))


@given(st.sampled_from((3, 5)), st.integers(0, 6), st.randoms(use_true_random=False))
def test_panels_are_settled_as_the_contract_settles_them(seats: int, tolerance: int, random) -> None:
    bits = np.zeros((6, seats, seats), dtype=np.int64)
    for panel in range(6):
        for a, b in combinations(range(seats), 2):
            bits[panel, a, b] = bits[panel, b, a] = random.randint(0, 8)
    verdicts = settle(bits, tolerance)
    for panel in range(6):
        clique, medoid = slow_settle(bits[panel], tolerance)
        assert verdicts.clique[panel] == clique
        assert bool(verdicts.majority[panel]) == (medoid >= 0)
        assert verdicts.medoid[panel] == max(medoid, 0)


def test_a_chain_is_no_clique() -> None:
    bits = np.array([[[0, 4, 8], [4, 0, 4], [8, 4, 0]]])
    assert settle(bits, 4).clique[0] == 0b011
    assert settle(bits, 8).clique[0] == 0b111
    assert settle(bits, 8).medoid[0] == 1


def test_a_panel_of_different_machines_where_there_are_enough() -> None:
    draw = draw_panels(measured(50, machines=4), 3, seed=1)
    assert all(len(set(row)) == 4 for row in draw.machines.reshape(-1, 4).tolist())
    again = draw_panels(measured(50, machines=2), 3, seed=1)
    assert all(set(row) == {0, 1} and sorted(row) == [0, 0, 1, 1] for row in again.machines.reshape(-1, 4).tolist())


def test_one_machine_shows_nothing_of_how_machines_differ() -> None:
    with pytest.raises(CannotCalibrate, match="1 way of running the model"):
        draw_panels(measured(5, machines=1), 3, seed=0)
    with pytest.raises(InvalidData, match="a panel of 4"):
        draw_panels(measured(5), 4, seed=0)


@pytest.mark.parametrize("seats", [3, 5, 7])
def test_independence_predicts_a_random_graph_without_a_majority(seats: int) -> None:
    random, apart, panels = np.random.default_rng(3), 0.4, 20_000
    bits = np.triu((random.random((panels, seats, seats)) < apart).astype(np.int64), 1)
    bits += bits.transpose(0, 2, 1)
    simulated = 1 - settle(bits, 0).majority.mean()
    assert independent_undecided(apart, seats) == pytest.approx(simulated, abs=0.01)


def test_three_are_undecided_as_the_cube_of_two_apart() -> None:
    assert independent_undecided(0.1, 3) == pytest.approx(0.001)
    assert independent_undecided(0.0, 5) == 0
    assert independent_undecided(1.0, 7) == 1


def test_whole_panels_find_what_independence_misses() -> None:
    # One sample in twenty is hard for every machine: there all of them differ, elsewhere none.
    samples = 4_000
    hard = np.where(np.arange(samples) % 20 == 0, 0.2, 0.0)[:, None]
    found = measured(samples, chance=hard)
    errors = honest_errors(draw_panels(found, 3, seed=0), 20)
    assert errors.undecided.estimate == pytest.approx(0.05, abs=0.005)
    apart = same_input(found).within(20).complement.estimate
    assert apart == pytest.approx(0.05, abs=0.005)
    assert independent_undecided(apart, 3) < errors.undecided.estimate / 100


def test_the_prediction_holds_for_panels_that_it_was_not_made_from() -> None:
    made = honest_errors(draw_panels(measured(6_000, chance=0.03, seed=1), 3, seed=0), 12)
    met = honest_errors(draw_panels(measured(6_000, chance=0.03, seed=2), 3, seed=9), 12)
    for name in ("undecided", "refused", "left_out"):
        assert getattr(made, name).estimate == pytest.approx(getattr(met, name).estimate, abs=0.02)
    assert made.refused.estimate > made.undecided.estimate > 0


def test_what_a_panel_accepts_is_a_digest_of_one_of_its_machines() -> None:
    found = measured(40, chance=0.05)
    accepted, decided = accepted_digests(found, draw_panels(found, 3, seed=0), 24)
    assert decided.any()
    for place in range(40):
        assert any((accepted[place] == digest).all() for digest in found.digests[:, place])
    _, none = accepted_digests(found, draw_panels(found, 3, seed=0), 0)
    assert not none.any()
