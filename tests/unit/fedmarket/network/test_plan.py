"""Who takes part in a network, for which job, and with commands that there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedmarket.devnet import REPOSITORY
from fedmarket.network.folder import NetworkFolder, example_fields
from fedmarket.network.plan import ATTESTOR, NetworkPlan, acting_names
from fedmarket.network.roles import depths
from market.protocol.job_spec import load_spec, parse_spec
from tests.unit.fedmarket.command_lines import parses

ADDRESS = "0x" + "12" * 20


def plan(folder: Path, trainers: int = 3, **changed: object) -> NetworkPlan:
    own = NetworkFolder(folder)
    own.own.mkdir(parents=True)
    accounts = {name: f"0x{place:040x}" for place, name in enumerate(acting_names(trainers), 1)}
    spec = own.write_example(trainers, accounts[ATTESTOR])
    settings = {"spec_file": own.job, "spec": spec, **changed}
    return NetworkPlan(own, 8545, 8000, accounts, trainers, **settings)  # type: ignore[arg-type]


def test_everybody_whom_the_example_takes_is_there(tmp_path: Path) -> None:
    names = [role.name for role in plan(tmp_path).roles()]

    assert names == [
        *("chain", "market", "kernels", "data", "owner", "aggregator", "attestor", "evaluator"),
        *("trainer-0", "trainer-1", "trainer-2"),
    ]


def test_without_a_job_there_are_chain_and_market_alone(tmp_path: Path) -> None:
    roles = plan(tmp_path, spec=None).roles()

    assert [(role.name, role.vital) for role in roles] == [("chain", True), ("market", True)]


def test_data_of_ones_own_is_not_made(tmp_path: Path) -> None:
    roles = {role.name: role for role in plan(tmp_path, data=tmp_path / "mine").roles()}

    assert "data" not in roles
    assert str(tmp_path / "mine" / "owner.npz") in roles["owner"].commands[0]


def test_a_job_without_exam_or_attestor_of_ours_is_only_posted(tmp_path: Path) -> None:
    file = REPOSITORY / "fedmarket" / "examples" / "digits-median.yaml"

    roles = {role.name: role for role in plan(tmp_path, spec_file=file, spec=load_spec(file)).roles()}

    assert "attestor" not in roles
    assert len(roles["owner"].commands) == 1
    assert "--warm-start" in roles["owner"].commands[0]


def test_the_owner_of_sealed_models_stays_to_hand_out_their_key(tmp_path: Path) -> None:
    file = REPOSITORY / "fedmarket" / "examples" / "digits-median.yaml"
    spec = load_spec(file).model_copy(update={"models": "sealed"})

    made = plan(tmp_path, spec_file=file, spec=spec).roles()

    roles = {role.name: role for role in made}
    assert roles["owner"].commands[1][4:] == ("owner", "run", "0", "--close")
    assert roles["aggregator"].commands[0][4:] == ("aggregator", "run", "0", "--unseen")
    for role in made:
        for command in role.commands:
            if command[2:4] == ("-m", "fedmarket"):
                parses(command[4:])


def test_trainers_stop_before_the_owner_and_the_chain_last(tmp_path: Path) -> None:
    order = depths(plan(tmp_path).roles())

    assert order["chain"] == 0
    assert order["chain"] < order["market"] == order["owner"] < order["aggregator"] == order["trainer-0"]


def test_every_command_of_every_role_is_one_that_there_is(tmp_path: Path) -> None:
    for role in plan(tmp_path).roles():
        for command in role.commands:
            if command[2:4] == ("-m", "fedmarket"):
                parses(command[4:])


def test_secrets_are_in_files_and_not_in_commands(tmp_path: Path) -> None:
    for role in plan(tmp_path).roles():
        variables = {name for name in role.environment if "PASSWORD" in name or "KEY" in name}
        assert variables <= {"FEDMARKET_PASSWORD_FILE", "FEDMARKET_KEYSTORE"}
        assert not any("password" in part for command in role.commands for part in command)


def test_what_the_shell_says_of_another_network_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMARKET_KEYSTORE", "/home/somebody/real.json")
    monkeypatch.setenv("FEDMARKET_RPC", "https://mainnet.example")

    environment = plan(tmp_path).environment()

    assert "FEDMARKET_KEYSTORE" not in environment
    assert environment["FEDMARKET_RPC"] == "http://127.0.0.1:8545"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("trainers", [3, 8, 32])
@pytest.mark.parametrize("cores", [1, 2, 16])
def test_the_example_has_a_seat_for_each_and_phases_that_can_be_watched(trainers: int, cores: int) -> None:
    spec = parse_spec(dict(example_fields(trainers, ADDRESS, cores)))

    assert spec.seats == trainers
    assert spec.disputes is not None
    assert [account.lower() for account in spec.disputes.attestors] == [ADDRESS]
    if trainers == 3:
        until_settled_s = spec.periods.enrol_s + spec.periods.commit_s + spec.periods.reveal_s + 6
        assert until_settled_s <= 60
    assert spec.periods.vesting_s < spec.periods.commit_s
