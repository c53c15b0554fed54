"""The simulation's pieces: the task, the registry, what leagues gain and others lose, the journal, the tables."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from fedmarket.bench.edition import edition_of
from fedmarket.bench.mechanism import tables
from fedmarket.bench.mechanism.board import Board
from fedmarket.bench.mechanism.court import LAST_MOMENT, PATIENCE, AttestorConduct, Finding, find
from fedmarket.bench.mechanism.draws import Case, Drawn, markdown
from fedmarket.bench.mechanism.game import Account, Result
from fedmarket.bench.mechanism.plan import PLANS, Cell, Journal, cells, selected
from fedmarket.bench.mechanism.playing import play_all
from fedmarket.bench.mechanism.seating import winners
from fedmarket.bench.mechanism.settings import (
    DIMENSION,
    GAS_PRICE_WEI,
    MODEL_WEI,
    REWARD_WEI,
    ROUNDS,
    SETTINGS,
    attestor_account,
)
from fedmarket.bench.mechanism.strategies import STRATEGIES
from fedmarket.bench.mechanism.strategy import COHORT, COURT, DRAWN, FULL, HONEST, PEOPLE
from fedmarket.bench.mechanism.summary import Estimate, compare, griefing_factor, summarise
from fedmarket.bench.mechanism.task import NORM, Task
from market.chain.records import Dispute, Fact
from market.job_history import JobHistory
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Seat

ZERO = np.zeros(DIMENSION)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def result(profits: dict[str, float], quality: float = 0.5) -> Result:
    """A game in which everybody had these profits, in rewards."""
    accounts = {name: Account(int(profit * REWARD_WEI), 0, 0, False) for name, profit in profits.items()}
    return Result(accounts, quality, 0, ROUNDS, 0, 0, ROUNDS)


# ---------------------------------------------------------------------- the task


def test_an_honest_update_has_its_trainers_signal_and_an_honest_norm() -> None:
    task = Task(1, DIMENSION)
    for person in range(PEOPLE):
        update = task.training(person, ZERO, 0, 0)
        assert abs(np.linalg.norm(update) / NORM - 1) < 0.1
        assert abs(cosine(update, task.lesson(ZERO, 0)) - task.signal(person)) < 0.12


def test_less_effort_is_less_signal_at_the_same_norm() -> None:
    task = Task(1, DIMENSION)
    full, half = (task.training(0, ZERO, 0, 0, effort=effort) for effort in (1.0, 0.5))
    assert cosine(half, task.lesson(ZERO, 0)) < cosine(full, task.lesson(ZERO, 0)) - 0.1
    assert abs(np.linalg.norm(half) / np.linalg.norm(full) - 1) < 0.1


def test_equal_seeds_give_equal_draws_in_whatever_order() -> None:
    one, other = Task(2, DIMENSION), Task(2, DIMENSION)
    later = one.training(3, ZERO, 5, 6)
    other.training(1, ZERO, 0, 0)
    assert np.array_equal(later, other.training(3, ZERO, 5, 6))
    assert not np.array_equal(later, Task(3, DIMENSION).training(3, ZERO, 5, 6))


def test_the_exam_shows_the_lesson_better_than_any_trainer() -> None:
    task = Task(4, DIMENSION)
    lesson = task.lesson(ZERO, 0)
    best = max(cosine(task.training(person, ZERO, 0, 0), lesson) for person in range(PEOPLE))
    assert cosine(task.reference(ZERO, 0, 0), lesson) > best


def test_quality_is_one_at_the_optimum_and_never_below_zero() -> None:
    task = Task(5, DIMENSION)
    assert task.quality(task.optimum(3), 3) == 1.0
    assert task.quality(ZERO, 3) == 0.0
    assert task.quality(-task.optimum(3), 3) == 0.0


# ---------------------------------------------------------------------- terms and registry


@pytest.mark.parametrize("name", SETTINGS)
def test_the_terms_are_such_as_the_contract_takes(name: str) -> None:
    SETTINGS[name].terms(1_000).check()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_played_and_compared(name: str) -> None:
    strategy = STRATEGIES[name]
    assert set(strategy.settings) <= set(SETTINGS)
    assert set(strategy.settings) <= set(STRATEGIES[strategy.baseline].settings)
    assert strategy.people == tuple(strategy.people)[:PEOPLE]
    parties = [f"trainer-{person}" for person in range(PEOPLE)]
    parties += [f"aggregator-{place}" for place in range(len(strategy.aggregators))] + ["owner"]
    parties += [f"attestor-{place}" for place in range(len(strategy.attestors))]
    league = [party for party in parties if strategy.plays(party)]
    assert (league == []) == (name == HONEST)
    assert len(league) < len(parties), "somebody must be left to lose"


def test_only_the_owners_identities_are_the_owners() -> None:
    strategy = STRATEGIES["answers-1"]
    assert strategy.plays("owner")
    assert strategy.plays("owner's-0")
    assert not strategy.plays("trainer-8")
    assert not strategy.plays("aggregator-0")


def test_what_is_known_before_attestors_is_not_what_is_known_without_them() -> None:
    strategy = STRATEGIES["excludes-once-queue"]
    assert strategy.known_in("pot") == strategy.known_in("price") == strategy.known
    assert strategy.known_in("court") == strategy.known_in_court != strategy.known
    assert STRATEGIES["withholds-alone"].known_in("court") == ""
    assert STRATEGIES["owner-grinds"].known_in("drawn") == STRATEGIES["owner-grinds"].known_in_court


# ---------------------------------------------------------------------- attestors


def test_jobs_with_attestors_have_a_quorum_of_them_and_deposits_that_a_false_exam_cannot_earn() -> None:
    attested = [name for name, setting in SETTINGS.items() if setting.terms(0).disputes.attestors]
    assert attested == [COURT, DRAWN, FULL, COHORT]
    for name in attested:
        terms = SETTINGS[name].terms(0)
        keys = {attestor_account(place).address for place in range(len(terms.disputes.attestors))}
        assert keys == set(terms.disputes.attestors)
        assert len(keys) > terms.disputes.quorum > len(keys) // 2
        assert terms.exam.deposit_wei > REWARD_WEI


@pytest.mark.parametrize(
    ("left_out", "shown", "false", "holds"),
    [
        (False, True, False, True),
        (False, True, True, False),
        (True, True, False, True),  # the aggregator could have read it
        (True, False, False, False),  # nobody could
        (False, False, False, True),  # it was sat: the aggregator had it
    ],
)
def test_an_exam_fails_where_it_is_false_and_where_it_was_left_out_because_nobody_could_have_read_it(
    left_out: bool, shown: bool, false: bool, holds: bool
) -> None:
    board = Board.__new__(Board)
    attempt = SimpleNamespace(number=3, exam_excluded=SimpleNamespace() if left_out else None)
    board.shown = {3} if shown else set()
    board.history = cast(JobHistory, SimpleNamespace(attempt=lambda number: attempt))
    board.is_false = lambda attempt: false  # type: ignore[method-assign]
    dispute = SimpleNamespace(attempt=3, seat=Seat(0), fact=Fact.EXAM)
    assert find(board, cast(Dispute, dispute)) == Finding(holds)


@pytest.mark.parametrize(
    ("in_time", "uploaded", "finding"),
    [
        (True, True, Finding(holds=False)),
        (True, False, Finding(holds=False)),  # the attestors have it
        (False, True, Finding(holds=True)),  # too late
        (False, False, Finding(holds=True, absent=True)),
    ],
)
def test_an_exclusion_holds_unless_attestors_had_the_update_in_time(
    in_time: bool, uploaded: bool, finding: Finding
) -> None:
    attempt, seat = 3, Seat(2)
    board = SimpleNamespace(
        history=SimpleNamespace(attempt=lambda number: None),
        receipts={attempt: {seat} if in_time else set()},
        updates={(attempt, seat): None} if uploaded else {},
    )
    dispute = SimpleNamespace(attempt=attempt, seat=seat, fact=Fact.EXCLUSION)
    assert find(cast(Board, board), cast(Dispute, dispute)) == finding


def test_attestors_wait_for_what_is_absent_and_liars_do_not() -> None:
    missing, there = Finding(False, absent=True), Finding(True)
    assert missing.after(AttestorConduct()) == PATIENCE
    assert there.after(AttestorConduct()) == missing.after(AttestorConduct(lies=True)) == 0.0
    assert there.after(AttestorConduct(waits=LAST_MOMENT)) == LAST_MOMENT


# ---------------------------------------------------------------------- the draw


def test_the_lowest_numbers_sit_and_more_tickets_have_lower_ones() -> None:
    names = [f"0x{number:040x}" for number in range(1, 25)]
    rich, poor = names[0], dict.fromkeys(names[1:], 1)
    seeds = [number.to_bytes(32, "big") for number in range(60)]
    one = [rich in winners(seed, {rich: 1, **poor}, 8) for seed in seeds]
    many = [rich in winners(seed, {rich: 16, **poor}, 8) for seed in seeds]
    assert all(len(winners(seed, {rich: 1, **poor}, 8)) == 8 for seed in seeds)
    assert sum(one) < sum(many)
    assert all(after or not before for before, after in zip(one, many, strict=True))


def test_fewer_than_there_are_seats_all_sit() -> None:
    names = [f"0x{number:040x}" for number in range(1, 4)]
    assert winners(bytes(32), dict.fromkeys(names, 1), 8) == set(names)


def test_a_case_of_the_draw_counts_seats_for_what_was_staked() -> None:
    drawn = Drawn(Case(names=4, tickets=2), 10, Estimate(6.0, 0.5), 0.25)
    assert drawn.cells == ("4", "2", "", "10", "6.00 ± 0.50", "0.75", "25 %")
    assert "| 4 | 2 |  | 10 | 6.00 ± 0.50 | 0.75 | 25 % |" in markdown([drawn])


# ---------------------------------------------------------------------- gains and losses


def test_profit_is_money_less_gas_and_work() -> None:
    assert Account(10 * GAS_PRICE_WEI, 3, 5 * GAS_PRICE_WEI, True).profit_wei == 2 * GAS_PRICE_WEI


def test_a_comparison_sorts_parties_by_the_league_and_models_apart() -> None:
    before = result({"owner": -8.0, "trainer-0": 1.0, "trainer-8": 1.0}, quality=0.5)
    after = result({"owner": -8.0, "trainer-0": 0.2, "trainer-8": 1.4}, quality=0.25)
    found = compare("noise", after, before)
    assert found.gain == pytest.approx(0.4 / ROUNDS)
    assert found.others == pytest.approx(-0.8 / ROUNDS)
    assert found.model == pytest.approx(-0.25 * MODEL_WEI / REWARD_WEI)


def test_identities_that_were_not_there_before_count_from_nothing() -> None:
    before = result({"owner": -8.0, "trainer-0": 1.0})
    after = result({"owner": -8.0, "owner's-0": 3.0, "trainer-0": -2.0})
    assert compare("answers-1", after, before).gain == pytest.approx(3.0 / ROUNDS)


@pytest.mark.parametrize(
    ("gain", "others", "model", "owner_plays", "factor"),
    [
        (-0.5, -1.0, 0.0, False, 2.0),
        (-0.5, -0.5, -0.5, False, 2.0),  # the owner is a victim, in its model too
        (-0.5, -1.0, -0.5, True, 1.0),  # the owner pays with its model
        (0.1, -1.0, 0.0, False, inf),
        (0.0, -1.0, 0.0, False, inf),
        (-0.5, 0.5, 0.0, False, 0.0),  # nobody else loses
    ],
)
def test_the_griefing_factor_is_what_others_lose_for_what_the_league_loses(
    gain: float, others: float, model: float, owner_plays: bool, factor: float
) -> None:
    assert griefing_factor(gain, others, model, owner_plays) == pytest.approx(factor)


# ---------------------------------------------------------------------- journal and plan


def test_a_plan_has_every_baseline_before_what_is_held_against_it() -> None:
    chosen = selected("full", (), (), None)
    assert len(chosen) == len(set(chosen))
    places = {cell: place for place, cell in enumerate(chosen)}
    assert all(places[cell.baseline] <= place for cell, place in places.items())
    assert {cell.strategy for cell in chosen} == set(STRATEGIES)
    assert {cell.seed for cell in selected("full", (), (), 2)} == set(PLANS["full"][1][:2])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidInput, match="strategy 'theft' is unknown"):
        cells(["theft"], [], [0])
    with pytest.raises(InvalidInput, match="setting 'gift' is unknown"):
        cells(["noise"], ["gift"], [0])


def test_what_a_journal_has_is_not_played_again(tmp_path: Path) -> None:
    journal, cell = Journal(tmp_path / "games.jsonl"), Cell("pot", HONEST, 0)
    played = result({"owner": -8.0}, quality=0.125)
    journal.add(cell, played)
    again = Journal(journal.path)
    play_all([cell], again, lambda what, done, total: None)
    assert again[cell] == played


def test_a_remark_makes_no_other_edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "remarked"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    editions = []
    for code in ("f(1, known='a')", "f(1, known='b')", "f(2, known='a')"):
        (package / "calls.py").write_text(code)
        editions.append(edition_of([("remarked", "calls")], remarks=("known",)))
    assert editions[0] == editions[1] != editions[2]


# ---------------------------------------------------------------------- tables


def test_a_line_says_what_pays_what_harms_and_why(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "games.jsonl")
    chosen = cells(["noise", "excludes-all"], ["pot"], [0, 1])
    honest = result({"owner": -8.0, "trainer-0": 1.0, "trainer-8": 1.0, "aggregator-0": 0.5})
    for cell in chosen:
        changed = {
            HONEST: {},
            "noise": {"trainer-8": 0.0, "trainer-0": 2.0},
            "excludes-all": {"aggregator-0": 0.7, "trainer-0": 0.0, "trainer-8": 0.0},
        }[cell.strategy]
        profits = {name: account.profit_wei / REWARD_WEI for name, account in honest.accounts.items()}
        journal.add(cell, result({**profits, **changed}))
    noise, excludes = summarise(chosen, journal)
    assert not noise.pays
    assert noise.griefing == 0.0
    assert excludes.pays
    assert excludes.griefing == inf
    assert excludes.seeds == 2
    text = tables.markdown([noise, excludes])
    assert "exam, pot (2 seeds)" in text
    assert "| `noise`: sends noise | -12.5 ± 0.0 | +12.5 ± 0.0 | +0.0 ± 0.0 |  |  |" in text
    assert "| ∞ | **pays**: in a job without attestors an aggregator is believed" in text
    console = Console(record=True, width=200)
    tables.show([noise, excludes], console)
    assert "sends noise" in console.export_text()
    assert tables.document([replace(excludes, griefing=inf)])["lines"][0]["griefing"] is None


def test_games_without_their_baseline_make_no_line(tmp_path: Path) -> None:
    journal, chosen = Journal(tmp_path / "games.jsonl"), cells(["noise"], ["pot"], [0])
    journal.add(chosen[1], result({"owner": 0.0}))
    assert summarise(chosen, journal) == []
