"""What honesty is worth, held against whole jobs between agents; the journal beside it makes a second run short."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

import pytest
from rich.console import Console

from fedmarket.bench.mechanism import tables
from fedmarket.bench.mechanism.plan import SEEDS, Cell, Journal, cells
from fedmarket.bench.mechanism.playing import play_all
from fedmarket.bench.mechanism.settings import PRICE_WEI, REWARD_WEI, ROUNDS, SETTINGS
from fedmarket.bench.mechanism.strategies import STRATEGIES
from fedmarket.bench.mechanism.strategy import COURT, HONEST
from fedmarket.bench.mechanism.summary import Line, summarise

PREVENTED = tuple(
    name
    for name, strategy in STRATEGIES.items()
    if name != HONEST and not all(strategy.known_in(setting) for setting in strategy.settings)
)
"""Strategies that must not pay in some kind of job."""
ATTESTED = tuple(name for name, setting in SETTINGS.items() if setting.attested)
HEARD = tuple(n for n, strategy in STRATEGIES.items() if n != HONEST and set(strategy.settings) & set(ATTESTED))
"""Strategies that are played before attestors."""
FALSE_EXAMS = ("undelivered", "unpublished", "junk-exam", "rigged-exam", "rigged-once", "answers-once")
LEAVING_OUT = ("excludes-all", "drops-exam", "drops-exam-queue")
OCCUPYING = ("owner-occupies", "owner-occupies-once")
MOST_GRIEFING = 2.0
"""What others lose at most for what a league loses before attestors."""
BURNING = ("unrevealed", "third-unrevealed", "owner-unrevealed", "silent", "all-silent", "silent-third", "runaway")
"""Strategies that lose a stake or a bond."""
WITHOUT_DATA = ("noise", "zeros", "replay", "mixture", "unavailable", "tiny", "flip", "hop-flip", "third-noise")
BYSTANDERS = ("in-and-out", "hop", "flood", "third-noise", "third-flip", "third-agree", "third-absent")
"""Strategies that cost nobody else money."""
LITTLE = 0.01
"""A hundredth of a round's reward, a round."""


@pytest.fixture(scope="module")
def journal() -> Journal:
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    return Journal(folder / "mechanism.jsonl")


def measured(journal: Journal, names: Sequence[str], settings: Sequence[str] = ()) -> list[Line]:
    chosen = cells(names, settings, SEEDS)
    play_all(chosen, journal, lambda what, done, total: None)
    lines = summarise(chosen, journal)
    tables.show(lines, Console(width=200))
    assert {line.strategy for line in lines} == set(names)
    return lines


def price_share() -> float:
    """The price of one update, in shares of a round's reward."""
    return PRICE_WEI / REWARD_WEI


@pytest.mark.bench
def test_what_the_mechanism_prevents_does_not_pay(journal: Journal) -> None:
    for line in measured(journal, PREVENTED):
        assert line.known or not line.pays or line.gain.mean <= LITTLE, line


@pytest.mark.bench
def test_before_attestors_nothing_pays_or_harms_others_more_than_twice_but_what_is_named(journal: Journal) -> None:
    for line in measured(journal, HEARD, ATTESTED):
        assert line.known or not line.pays, line
        assert line.known or line.griefing <= MOST_GRIEFING, line


@pytest.mark.bench
def test_before_attestors_an_owner_loses_more_by_any_false_exam_than_its_identities_are_paid(journal: Journal) -> None:
    for line in measured(journal, FALSE_EXAMS, (COURT,)):
        assert line.gain.mean < -0.3, line
        assert line.griefing <= MOST_GRIEFING, line


@pytest.mark.bench
def test_nobody_earns_by_leaving_out_exams_or_everybody(journal: Journal) -> None:
    for line in measured(journal, LEAVING_OUT):
        assert line.gain.mean < -0.03, line


@pytest.mark.bench
def test_seats_that_nobody_uses_cost_little_more_than_a_round(journal: Journal) -> None:
    for line in measured(journal, OCCUPYING):
        assert line.gain.mean < 1.2 / ROUNDS + LITTLE, line
        assert line.model.mean > -0.2, line


@pytest.mark.bench
def test_honest_work_pays_everybody_in_every_kind_of_job(journal: Journal) -> None:
    chosen = [Cell(setting, HONEST, seed) for setting in SETTINGS for seed in SEEDS]
    play_all(chosen, journal, lambda what, done, total: None)
    for cell in chosen:
        result = journal[cell]
        earning = {name: account for name, account in result.accounts.items() if name.startswith("trainer")}
        assert all(account.profit_wei > 0 for account in earning.values()), cell
        assert result.accounts["aggregator-0"].profit_wei > 0, cell
        assert result.paid_rounds == ROUNDS, cell


@pytest.mark.bench
def test_what_is_sent_without_data_costs_its_sender_and_nobody_else(journal: Journal) -> None:
    for line in measured(journal, WITHOUT_DATA):
        assert line.gain.mean < 0, line
        assert line.others.mean > -LITTLE, line


@pytest.mark.bench
def test_broken_protocol_costs_a_stake_or_a_bond(journal: Journal) -> None:
    for line in measured(journal, BURNING):
        least = price_share() if line.setting == "price" else 1.0  # a stake at a price; else a bond at least
        assert line.gain.mean < -0.9 * least / ROUNDS, line


@pytest.mark.bench
def test_bad_trainers_short_of_a_majority_cost_nobody_else_money(journal: Journal) -> None:
    for line in measured(journal, BYSTANDERS):
        assert line.others.mean > -LITTLE, line


@pytest.mark.bench
def test_a_price_bounds_what_the_owners_identity_is_paid(journal: Journal) -> None:
    prices = [line for line in measured(journal, ["answers-1"]) if line.setting == "price"]
    assert all(line.gain.mean <= LITTLE + price_share() for line in prices)


@pytest.mark.bench
def test_whatever_pays_or_harms_for_nothing_is_named(journal: Journal) -> None:
    for line in measured(journal, [name for name in STRATEGIES if name != HONEST]):
        assert line.known or line.griefing != inf, line
