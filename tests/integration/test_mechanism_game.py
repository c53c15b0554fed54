"""A few jobs of the simulation, played for real: real contracts, real proofs, books that balance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedmarket.bench.mechanism.draws import Case, measure
from fedmarket.bench.mechanism.game import Result, play
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.settings import (
    ANSWER_S,
    ATTESTED_DEPOSIT_WEI,
    COMPENSATION_WEI,
    DEPOSIT_WEI,
    DISPUTE_BOND_WEI,
    FEE_WEI,
    PRICE_WEI,
    REWARD_WEI,
    ROUNDS,
    SETTINGS,
    TRAINING_WEI,
)
from fedmarket.bench.mechanism.strategies import STRATEGIES
from fedmarket.bench.mechanism.strategy import PEOPLE
from fedmarket.bench.mechanism.summary import compare
from fedmarket.cli import main

SEED = 7


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with Ground() as running:
        yield running


@pytest.fixture(scope="module")
def honest(ground: Ground) -> Result:
    return play(ground, SETTINGS["pot"], STRATEGIES["honest"], SEED)


def game(ground: Ground, strategy: str, setting: str = "pot") -> Result:
    return play(ground, SETTINGS[setting], STRATEGIES[strategy], SEED)


def trainers_wei(result: Result) -> int:
    return sum(result.accounts[f"trainer-{person}"].money_wei for person in range(PEOPLE))


def test_honest_agents_finish_every_round_and_share_the_whole_pot(honest: Result) -> None:
    assert (honest.settled, honest.expired, honest.skipped, honest.paid_rounds) == (ROUNDS, 0, 0, ROUNDS)
    assert ROUNDS * REWARD_WEI - 1000 < trainers_wei(honest) <= ROUNDS * REWARD_WEI
    assert honest.accounts["owner"].money_wei == -ROUNDS * (REWARD_WEI + FEE_WEI)
    assert honest.accounts["aggregator-0"].money_wei == ROUNDS * FEE_WEI
    assert honest.accounts["trainer-0"].work_wei == ROUNDS * TRAINING_WEI
    assert all(account.profit_wei > 0 for name, account in honest.accounts.items() if name.startswith("trainer"))
    assert honest.quality > 0.7


def test_the_same_game_comes_to_the_same_money_again(ground: Ground, honest: Result) -> None:
    again = game(ground, "honest")
    money = {name: account.money_wei for name, account in honest.accounts.items()}
    assert {name: account.money_wei for name, account in again.accounts.items()} == money
    assert again.quality == honest.quality


def test_noise_is_paid_nothing_and_takes_nothing(ground: Ground, honest: Result) -> None:
    result = game(ground, "noise")
    assert result.accounts["trainer-8"].money_wei == 0
    found = compare("noise", result, honest)
    assert found.gain < 0 < found.others


def test_a_silent_aggregator_loses_its_bond_and_its_successor_goes_on(ground: Ground) -> None:
    result = game(ground, "silent")
    assert result.accounts["aggregator-0"].money_wei == -REWARD_WEI
    assert (result.settled, result.expired) == (ROUNDS, 1)


def test_unrevealed_stakes_burn(ground: Ground) -> None:
    result = game(ground, "unrevealed")
    assert result.accounts["trainer-8"].money_wei == -2 * REWARD_WEI
    assert result.burned_wei >= 2 * REWARD_WEI


def test_a_price_is_what_a_round_pays_at_most(ground: Ground) -> None:
    result = game(ground, "honest", "price")
    assert 0 < result.accounts["trainer-0"].money_wei <= ROUNDS * PRICE_WEI
    assert result.accounts["owner"].money_wei == -trainers_wei(result) - ROUNDS * FEE_WEI


def test_an_owner_that_never_publishes_pays_every_deposit(ground: Ground, honest: Result) -> None:
    result = game(ground, "unpublished")
    lost_wei = honest.accounts["owner"].money_wei - result.accounts["owner"].money_wei
    assert lost_wei == ROUNDS * DEPOSIT_WEI


def test_before_attestors_a_withheld_model_costs_its_aggregator_the_bond_and_nobody_a_round(ground: Ground) -> None:
    result = game(ground, "withholds-alone", "court")
    assert (result.disputes, result.undone, result.settled, result.paid_rounds) == (1, 1, ROUNDS + 1, ROUNDS + 1)
    assert result.accounts["aggregator-0"].money_wei == -REWARD_WEI
    assert result.accounts["aggregator-1"].money_wei == ROUNDS * FEE_WEI
    compensated_wei = PEOPLE * COMPENSATION_WEI
    assert ROUNDS * REWARD_WEI - 1000 < trainers_wei(result) - compensated_wei <= ROUNDS * REWARD_WEI
    assert result.quality > 0.7


def test_before_attestors_a_false_alarm_costs_its_bond_and_stops_nobody(ground: Ground) -> None:
    alarmed, quiet = game(ground, "false-alarm", "court"), game(ground, "honest", "court")
    assert (alarmed.disputes, alarmed.undone, alarmed.settled) == (ROUNDS, 0, ROUNDS)
    lost_wei = quiet.accounts["trainer-8"].money_wei - alarmed.accounts["trainer-8"].money_wei
    assert lost_wei == ROUNDS * DISPUTE_BOND_WEI
    assert alarmed.accounts["trainer-0"].money_wei == quiet.accounts["trainer-0"].money_wei
    assert alarmed.frozen_s < ANSWER_S


def test_an_aggregator_that_leaves_an_exam_out_loses_its_fee_and_its_turn(ground: Ground, honest: Result) -> None:
    result = game(ground, "drops-exam")
    assert (result.settled, result.paid_rounds) == (ROUNDS, ROUNDS - 1)
    assert result.accounts["aggregator-0"].money_wei == 0
    assert result.accounts["aggregator-1"].money_wei == (ROUNDS - 1) * FEE_WEI
    assert trainers_wei(result) >= trainers_wei(honest)


def test_who_excludes_everybody_has_no_fee_and_no_second_turn(ground: Ground) -> None:
    result = game(ground, "excludes-all")
    assert result.accounts["aggregator-0"].money_wei == 0
    assert result.accounts["aggregator-1"].money_wei == (ROUNDS - 1) * FEE_WEI
    assert (result.settled, result.paid_rounds) == (ROUNDS, ROUNDS - 1)
    assert (
        trainers_wei(result) == ROUNDS * REWARD_WEI + FEE_WEI - result.burned_wei
    )  # one round's reward and fee carried over
    assert result.burned_wei < len(result.accounts)  # what rounding leaves


@pytest.mark.parametrize("strategy", ["undelivered", "rigged-once"])
def test_before_attestors_a_false_exam_and_one_that_nobody_could_read_cost_every_deposit(
    ground: Ground, strategy: str
) -> None:
    result = game(ground, strategy, "court")
    assert result.disputes == 1
    assert result.burned_wei >= ROUNDS * ATTESTED_DEPOSIT_WEI
    identities_wei = sum(a.money_wei for name, a in result.accounts.items() if name.startswith("owner's"))
    paid_wei = result.accounts["owner"].money_wei + identities_wei
    assert paid_wei < -ROUNDS * (REWARD_WEI + FEE_WEI)


def test_seats_that_nobody_uses_go_to_who_waits_after_one_round(ground: Ground) -> None:
    result = game(ground, "owner-occupies", "court")
    assert (result.skipped, result.settled, result.league_seats) == (1, ROUNDS - 1, 12)
    assert result.taken_over == PEOPLE - 4
    assert all(result.accounts[f"trainer-{person}"].money_wei > 0 for person in range(PEOPLE))


def test_who_waits_takes_the_seats_of_those_who_miss_two_rounds_and_they_keep_what_they_earned(ground: Ground) -> None:
    result = game(ground, "raider", "full")
    assert result.taken_over == 2
    assert all(result.accounts[f"trainer-{person}"].money_wei > 0 for person in range(PEOPLE))
    assert result.accounts["trainer-8"].money_wei > result.accounts["trainer-3"].money_wei


def test_whoever_produces_the_block_that_decides_the_draw_gets_the_seats_that_it_wants(ground: Ground) -> None:
    result = game(ground, "owner-grinds", "drawn")
    assert result.league_seats >= 11  # of twelve names on sixteen seats, with nine others: nine by chance
    assert result.paid_rounds >= ROUNDS - 1


def test_the_contract_seats_those_who_have_drawn_the_lowest_numbers() -> None:
    cases = (Case(), Case(tickets=16), Case(names=4, blocks=8))
    one, rich, chosen = measure(3, lambda what, done, total: None, cases)
    assert one.seats.mean <= rich.seats.mean <= 1
    assert chosen.seats.mean >= 3


@pytest.mark.timeout(300)
def test_the_command_plays_in_two_processes_and_a_second_run_has_it_all(tmp_path: Path) -> None:
    journal = tmp_path / "games.jsonl"
    arguments = ["bench", "mechanism", "--strategy", "noise", "--setting", "median", "--seeds", "1", "--workers", "2"]
    first = CliRunner().invoke(main, [*arguments, "--journal", str(journal), "--json"])
    played = journal.read_bytes()
    second = CliRunner().invoke(main, [*arguments, "--journal", str(journal), "--markdown"])

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert journal.read_bytes() == played
    report = json.loads(first.stdout)
    assert report["format"] == "fedmarket-bench-mechanism/1"
    [line] = report["lines"]
    assert (line["strategy"], line["setting"], line["pays"]) == ("noise", "median", False)
    assert "**median cosine, pot (1 seeds)**" in second.stdout


def test_an_unknown_strategy_is_refused_by_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "mechanism", "--strategy", "theft", "--journal", str(tmp_path / "j")])
    assert result.exit_code != 0
    assert "strategy 'theft' is unknown, expected one of honest" in result.stderr
