"""What the exam promises, held against whole jobs; the journal beside it makes a second run short."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

from fedmarket.bench.gallery import peers, tables
from fedmarket.bench.gallery.contest import Cell
from fedmarket.bench.gallery.journal import Journal
from fedmarket.bench.gallery.plan import CLOSE, COMPARED, MORE_SEEDS, PLAIN, SEEDS, cells, sybil_cells
from fedmarket.bench.gallery.playing import play_all
from fedmarket.bench.gallery.summary import Line, summarise

WORTHLESS = (
    *("flip-1", "flip-3", "flip-10", "noise", "zeros", "ipm", "tiny"),
    *("replay", "replay-noise", "replay-second", "replay-fifth", "replay-older"),
    *("model", "model-minus", "model-drift", "mixture"),
)
"""Flips, noise, zeros, inner-product manipulation, tiny norms, and everything that can be sent without data."""
ADMITTED = ("alie", "alie-blind", "mimic", "public", "leak", "old-exam", "exam", "slice")
"""What needs sight of the others, a leak, the exam or data of the same kind: measured, not promised."""
GUESSES = ("adaptive-0.1", "adaptive-0.3", "adaptive-0.6")


@pytest.fixture(scope="module")
def journal() -> Journal:
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    return Journal(folder / "attacks.jsonl")


def measured(journal: Journal, chosen: list[Cell]) -> list[Line]:
    play_all(chosen, journal, lambda what, done, total: None)
    lines = summarise(chosen, journal)
    tables.show(lines, Console(width=150))
    return lines


def of(lines: Iterable[Line], attacks: Iterable[str]) -> list[Line]:
    wanted = set(attacks)
    return [line for line in lines if line.attack in wanted and line.cheats]


@pytest.mark.bench
@pytest.mark.parametrize("crowd", [(5, 2), (5, 7)])
def test_the_exam_holds_even_against_a_majority(journal: Journal, crowd: tuple[int, int]) -> None:
    lines = measured(journal, cells(["digits"], [crowd], [0.5], PLAIN, ["exam"], SEEDS))
    for line in of(lines, WORTHLESS):
        assert line.cheat_weight <= 0.01, line
        assert line.cheat_paid <= 0.01, line
        assert line.honest_accepted >= 0.75, line
    for line in of(lines, set(PLAIN) - {*ADMITTED, *CLOSE}):
        assert line.gap >= -0.02, line


@pytest.mark.bench
@pytest.mark.parametrize("crowd", [(5, 2), (5, 7)])
def test_flips_of_ones_own_training_and_updates_ten_times_too_long_stay_within_the_same_bounds(
    journal: Journal, crowd: tuple[int, int]
) -> None:
    lines = measured(journal, cells(["digits"], [crowd], [0.5], CLOSE, ["exam"], MORE_SEEDS))
    assert all(line.gap >= -0.02 for line in of(lines, CLOSE))
    for line in of(lines, ["flip-own"]):
        assert line.cheat_weight <= 0.01, line
        assert line.cheat_paid <= 0.01, line


@pytest.mark.bench
def test_the_exam_holds_where_the_parts_are_very_unlike(journal: Journal) -> None:
    lines = measured(journal, cells(["digits"], [(11, 5)], [0.3], PLAIN, ["exam"], SEEDS))
    assert all(line.gap >= -0.05 for line in of(lines, set(PLAIN) - set(ADMITTED)))


@pytest.mark.bench
def test_k_identities_over_one_data_set_earn_at_most_half_as_much_again(journal: Journal) -> None:
    lines = measured(journal, sybil_cells(["digits"], ["exam"], MORE_SEEDS) + _alone())
    copies = {line.cheats: line.cheat_paid / (line.cheat_paid + line.honest_paid) for line in of(lines, ["copies"])}
    assert all(share <= 1.5 * copies[1] for share in copies.values()), copies


@pytest.mark.bench
def test_an_attacker_who_knows_the_rule_and_guesses_the_exam_costs_three_points_at_most(journal: Journal) -> None:
    lines = measured(journal, cells(["digits"], [(8, 2)], [0.5], GUESSES, ["exam"], SEEDS))
    assert all(line.gap >= -0.03 for line in of(lines, GUESSES))


@pytest.mark.bench
@pytest.mark.skipif(not peers.installed(), reason="ByzFL is not installed")
def test_the_rules_of_byzfl_lose_a_majority_and_the_exam_does_not(journal: Journal) -> None:
    rules = ["exam", *peers.PEERS]
    lines = measured(journal, cells(["digits"], [(5, 7)], [0.5], COMPARED, rules, SEEDS))
    flips = {line.rule: line.gap for line in of(lines, ["flip-3"])}
    assert flips["exam"] >= -0.02
    assert all(flips[rule] < -0.1 for rule in peers.PEERS), flips


def _alone() -> list[Cell]:
    return [cell for cell in cells(["digits"], [(5, 1)], [0.5], [], ["exam"], MORE_SEEDS) if not cell.cheats]
