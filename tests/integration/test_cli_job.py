"""The command line against a real chain: a job from its posting to its close, by everybody's own commands."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmarket.devnet import Devnet
from market.chain.calls import PreparedCall
from market.chain.erc20 import Erc20
from market.chain.job_market import JobMarket
from tests.integration.terminal import (
    COIN,
    JOB,
    SPEC,
    TRAINERS,
    Running,
    Terminal,
    ended,
    refuses,
    transactions,
    wait_until,
    waiting,
)


@pytest.fixture
def enrolled(terminal: Terminal) -> Terminal:
    """A posted job whose three seats are taken."""
    terminal.told(
        "job", "post", terminal.folder / "job.yaml", "--warm-start", terminal.folder / "owner.npz", who="owner"
    )
    for who in TRAINERS:
        terminal.told("trainer", "enrol", JOB, who=who)
    return terminal


def test_only_who_the_spec_names_can_take_a_seat(terminal: Terminal) -> None:
    listed = [terminal.address(who) for who in TRAINERS]
    spec = terminal.folder / "job.yaml"
    spec.write_text(spec.read_text() + f"\ntrainers: {json.dumps(listed)}\n")
    terminal.told("job", "post", spec, "--warm-start", terminal.folder / "owner.npz", who="owner")
    assert "the accounts alone that the spec names" in terminal.told("job", "show", JOB)
    outsider = terminal.run("trainer", "enrol", JOB, who="aggregator")
    refuses(outsider, 2, "is not among the 3 accounts that may take a seat in this job", "outsider")
    for seat, who in enumerate(TRAINERS):
        assert f"seat {seat} of job {JOB}" in terminal.told("trainer", "enrol", JOB, who=who)


def sent(terminal: Terminal, devnet: Devnet) -> list[int]:
    """How many transactions everybody has sent."""
    return [transactions(devnet, terminal.address(who)) for who in ("owner", "aggregator", *TRAINERS)]


def reach_reveal(terminal: Terminal, devnet: Devnet, market: JobMarket) -> list[Running]:
    """Everybody commits; then one is killed and one told to end; both start again in the reveal phase."""
    aggregator = terminal.aggregate()
    wait_until(lambda: market.state(JOB).attempt_start_s > 0, "the bond")
    devnet.advance_to(market.state(JOB).attempt_start_s)
    trainers = {who: terminal.train(who) for who in TRAINERS}
    wait_until(lambda: market.state(JOB).committed == 0b111, "three commits")
    trainers["trainer-0"].kill()
    assert ended(trainers["trainer-0"])[0] == -signal.SIGKILL
    trainers["trainer-1"].terminate()
    status, _, errors = ended(trainers["trainer-1"])
    assert status == 128 + signal.SIGTERM
    assert errors.startswith("stopped after a commit that is not revealed: run the same command again")
    devnet.advance_to(market.terms(JOB).schedule(market.state(JOB).attempt_start_s).commit_end_s)
    return [aggregator, terminal.train("trainer-0"), terminal.train("trainer-1"), trainers["trainer-2"]]


@pytest.mark.timeout(420)  # eight processes, most of which load PyTorch
def test_a_job_ends_as_it_should_though_everybody_is_killed_on_the_way(
    enrolled: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    aggregator, *trainers = reach_reveal(enrolled, devnet, deployed)
    wait_until(lambda: deployed.state(JOB).revealed == 0b111, "three reveals")
    address = enrolled.address("aggregator")
    bonded = transactions(devnet, address)
    with enrolled.mining.held_up():
        schedule = deployed.terms(JOB).schedule(deployed.state(JOB).attempt_start_s)
        devnet.advance_to(schedule.reveal_end_s)
        wait_until(lambda: waiting(devnet, address) > 0, "the settlement to be sent")
        aggregator.kill()
        ended(aggregator)
        aggregator = enrolled.aggregate()
    assert ended(aggregator)[0] == 0
    assert all(ended(trainer)[0] == 0 for trainer in trainers)

    # Enrol, commit, reveal; bond, settle: nobody sent anything twice.
    assert [transactions(devnet, enrolled.address(who)) for who in TRAINERS] == [3, 3, 3]
    assert transactions(devnet, address) == bonded + 1
    take_everything(enrolled, devnet)
    check_audit(enrolled)


def check_audit(terminal: Terminal) -> None:
    lines = terminal.told("audit", JOB).splitlines()
    # Whoever has no key takes the aggregator's word for it that the sealed updates open their commitments.
    assert {line.split()[1] for line in lines if not line.startswith("ok ")} <= {"updates"}
    assert {"pay", "claims", "conservation"} <= {line.split()[1] for line in lines}
    report = json.loads(terminal.told("audit", JOB, "--json"))
    assert report["ok"]
    assert len(report["checks"]) == len(lines)
    keystore, password = terminal.folder / "aggregator.json", terminal.folder / "password"
    opened = terminal.told("audit", JOB, "--keystore", keystore, "--password-file", password).splitlines()
    assert [line.split()[0] for line in opened] == ["ok"] * len(lines)


def take_everything(terminal: Terminal, devnet: Devnet) -> None:
    """Claims, close and refund, by the commands; then nothing may be left in the contract."""
    early = terminal.run("trainer", "claim", JOB, who="trainer-0")
    assert "claimed 0 ETH" in early.stdout
    assert " ETH more by " in early.stdout
    too_early = terminal.run("job", "close", JOB, who="owner")
    assert too_early.exit_code == 1
    assert "the job cannot be closed yet: it can in" in too_early.stderr

    devnet.advance(500)
    elsewhere = "0x" + "12" * 20
    assert f"to {elsewhere}" in terminal.told("trainer", "claim", JOB, "--to", elsewhere, who="trainer-0")
    assert "claimed 0 ETH" in terminal.told("trainer", "claim", JOB, "--to", elsewhere, who="trainer-0")
    for who in TRAINERS:
        assert "stake: 6 ETH" in terminal.told("trainer", "claim", JOB, "--stake", who=who)
    assert "job 0 is closed" in terminal.told("job", "close", JOB, who="owner")
    claimed = terminal.told("aggregator", "claim", JOB, who="aggregator")
    assert "bond: 3 ETH" in claimed
    assert "claimed 0.1 ETH in fees" in claimed
    check_story(terminal, devnet.balance_wei(elsewhere))


def check_story(terminal: Terminal, claimed_elsewhere_wei: int) -> None:
    story = json.loads(terminal.told("job", "show", JOB, "--json"))
    assert story["phase"] == "closed"
    assert [(entry["result"], entry["accepted"]) for entry in story["rounds"]] == [("settled", [0, 1, 2])]
    earned = [entry["earned_wei"] for entry in story["trainers"]]
    assert [entry["claimed_wei"] for entry in story["trainers"]] == earned
    assert earned[0] == claimed_elsewhere_wei
    assert min(earned) > 0
    escrow = story["escrow"]
    assert escrow["locked"] == 0
    assert escrow["deposited"] == escrow["paid"] + escrow["refunded"] + escrow["burned"] + escrow["locked"]
    assert sum(earned) + escrow["burned"] == 3 * COIN
    assert escrow["paid"] == sum(earned) + COIN // 10
    shown = terminal.told("job", "show", JOB)
    assert all(words in shown for words in ("three blobs", "settled", "deposited = paid + refunded + burned + locked"))
    status = terminal.told("trainer", "status", JOB, who="trainer-1")
    assert "1 of 1 settled rounds" in status
    assert "NOT in place" in status

    file = terminal.folder / "model.npz"
    terminal.told("job", "model", JOB, file)
    with np.load(file) as arrays:
        shapes = {name: (arrays[name].shape, str(arrays[name].dtype)) for name in arrays}
    assert sorted(shapes.values()) == [((3,), "float32"), ((3, 4), "float32")]
    verified = terminal.told("model", "verify", JOB)
    assert verified == "job 0: the model of round 0 is what the chain committed to (15 parameters)\n"


def test_posting_again_opens_the_job_once(terminal: Terminal, deployed: JobMarket) -> None:
    arguments = ("job", "post", terminal.folder / "job.yaml", "--warm-start", terminal.folder / "owner.npz")

    assert "Job 0 is open" in terminal.told(*arguments, who="owner")
    assert "Job 0 was posted already" in terminal.told(*arguments, who="owner")
    assert deployed.job_count() == 1

    assert "Job 1 is open" in terminal.told(*arguments, "--again", who="owner")
    assert deployed.job_count() == 2
    assert terminal.told("job", "list").count("three blobs") == 2


def test_a_posting_killed_before_it_was_mined_is_not_sent_twice(terminal: Terminal, devnet: Devnet) -> None:
    arguments = ("job", "post", terminal.folder / "job.yaml", "--warm-start", terminal.folder / "owner.npz", "--again")
    owner = terminal.address("owner")

    with terminal.mining.held_up():
        process = terminal.start(*arguments, who="owner")
        wait_until(lambda: waiting(devnet, owner) > 0, "the opening to be sent")
        process.kill()
        ended(process)
        process = terminal.start(*arguments, who="owner")

    status, output, _ = ended(process)
    assert (status, output.splitlines()[0]) == (0, "Job 0 was posted already; --again posts it anew")
    assert transactions(devnet, owner) == 1


def test_enrolling_again_changes_nothing(enrolled: Terminal, devnet: Devnet) -> None:
    before = devnet.balance_wei(enrolled.address("trainer-0"))

    assert "has seat 0 in job 0 already" in enrolled.told("trainer", "enrol", JOB, who="trainer-0")

    assert devnet.balance_wei(enrolled.address("trainer-0")) == before


def test_a_stake_can_be_taken_back_and_put_in_place_again(enrolled: Terminal) -> None:
    assert "stake: 6 ETH" in enrolled.told("trainer", "claim", JOB, "--stake", who="trainer-1")
    assert "seat 1 of job 0, stake 6 ETH" in enrolled.told("trainer", "enrol", JOB, who="trainer-1")
    assert "stake: 6 ETH" in enrolled.told("trainer", "claim", JOB, "--stake", who="trainer-1")


def test_a_job_in_a_token_takes_leave_and_deposits(
    terminal: Terminal, deployed: JobMarket, actors: Any, compile_solidity: Callable[[str], bytes]
) -> None:
    bank = actors["bank"]
    address = bank.send("coin", PreparedCall(None, compile_solidity("Token"))).contract
    coin = Erc20(bank.chain, address)
    for number, who in enumerate(("owner", "trainer-0", "aggregator")):
        bank.send(f"gift/{number}", coin.transfer(terminal.address(who), 7_000))
    money = f"money: {{token: '{address}', round_reward: 3000, trainer_stake: 6000, aggregator_bond: 3000}}"
    terminal.folder.joinpath("job.yaml").write_text(SPEC[: SPEC.index("money:")] + money)

    assert "3,000 units for 1 rounds" in terminal.told("job", "post", terminal.folder / "job.yaml", who="owner")
    assert "stake 6,000 units" in terminal.told("trainer", "enrol", JOB, who="trainer-0")
    terminal.aggregate()
    wait_until(lambda: bool(deployed.aggregators(JOB)), "the bond")

    assert deployed.ledger(JOB).deposited_wei == 12_000
    left = [coin.balance(terminal.address(who)) for who in ("owner", "trainer-0", "aggregator")]
    assert left == [4_000, 1_000, 4_000]
    assert coin.allowance(terminal.address("owner"), deployed.address) == 0


MISTAKES: Mapping[str, tuple[tuple[Any, ...], str, int, str]] = {
    "unknown job": (("job", "show", 7), "owner", 1, "there is no job 7 in this market"),
    "job that is no number": (("job", "show", "seven"), "owner", 2, "'seven' is not a valid integer range"),
    "unknown chain": (("job", "list", "--chain-id", 1), "owner", 1, "serves chain 31337, expected chain 1"),
    "little stake": (
        ("trainer", "enrol", JOB, "--stake", "1 ether"),
        "owner",
        2,
        "is too little for job 0: expected at",
    ),
    "useless stake": (("trainer", "enrol", JOB, "--stake", "9 ether"), "owner", 2, "job 0 draws no seats"),
    "owner aggregates": (("aggregator", "run", JOB), "owner", 1, "neither of whom can be its aggregator"),
    "no seat": (("trainer", "claim", JOB), "aggregator", 2, "has no seat in job 0"),
    "wrong phase": (("job", "skip", JOB), "owner", 1, "the job's phase is awaiting aggregator"),
    "bad address": (("trainer", "claim", JOB, "--to", "0x12"), "trainer-0", 2, "'0x12' is no address"),
    "no data": (("trainer", "run", JOB, "--data", "nowhere.npz"), "trainer-0", 2, "nowhere.npz does not exist"),
    "no such device": (
        ("trainer", "run", JOB, "--data", "nowhere.npz", "--device", "abacus"),
        "trainer-0",
        2,
        "device 'abacus': expected auto",
    ),
    "model to another kind of file": (("job", "model", JOB, "model.pt"), "owner", 2, "ends in .npz or .i64"),
    "spec missing": (("job", "post", "nowhere.yaml"), "owner", 2, "job spec: nowhere.yaml: cannot be read"),
}


def test_every_mistake_is_one_line_and_changes_nothing(enrolled: Terminal, devnet: Devnet, tmp_path: Path) -> None:
    before = sent(enrolled, devnet)
    for what, (arguments, who, status, words) in MISTAKES.items():
        refuses(enrolled.run(*arguments, who=who), status, words, what)
    (tmp_path / "empty").mkdir()
    empty = enrolled.run("trainer", "run", JOB, "--data", tmp_path / "empty", who="trainer-0")
    refuses(empty, 2, "is a folder, but the job's model does not take images", "empty data folder")
    assert sent(enrolled, devnet) == before


def test_a_spec_with_a_wrong_field_is_refused_by_its_name(terminal: Terminal, devnet: Devnet) -> None:
    before = sent(terminal, devnet)
    spec = terminal.folder / "wrong.yaml"
    for right, wrong, words in (
        ("accept: []", "accept: [magic]", "rules.accept[0]: expected one rule of"),
        ("accept: []", "accept: [{multi_krum: {faults: 3}}]", "multi_krum"),
        ("rounds: 1", "rounds: many", "rounds:"),
        ("3 ether, agg", "3 sous, agg", "money.round_reward: expected an amount"),
        ("logistic_regression", "oracle", "oracle"),
        ("name: three blobs", "name: [", "is not YAML"),
    ):
        spec.write_text(SPEC.replace(right, wrong))
        refuses(terminal.run("job", "post", spec, who="owner"), 2, words, wrong)
    assert sent(terminal, devnet) == before


def test_an_account_that_cannot_pay_is_told_so(terminal: Terminal, devnet: Devnet) -> None:
    devnet.fund(terminal.address("owner"), COIN)

    result = terminal.run("job", "post", terminal.folder / "job.yaml", who="owner")

    refuses(result, 2, "has 1000000000000000000 wei, but openJob may need", "poor owner")


def test_a_wrong_password_opens_nothing(terminal: Terminal) -> None:
    (terminal.folder / "password").write_text("another\n")

    result = terminal.run("job", "post", terminal.folder / "job.yaml", who="owner")

    refuses(result, 2, "wrong password, or the file is damaged", "wrong password")


def test_a_damaged_document_is_not_believed(enrolled: Terminal) -> None:
    for block in (enrolled.folder / "store" / "blocks").rglob("*.data"):
        block.write_bytes(block.read_bytes()[:-1])

    refuses(enrolled.run("aggregator", "run", JOB, who="aggregator"), 1, "is corrupt", "damaged store")
    assert "its document is not in this store" in enrolled.told("job", "show", JOB)


def test_two_processes_cannot_act_for_one_account(enrolled: Terminal, deployed: JobMarket) -> None:
    aggregator = enrolled.aggregate()
    wait_until(lambda: bool(deployed.aggregators(JOB)), "the bond")

    refuses(
        enrolled.run("aggregator", "claim", JOB, who="aggregator"), 2, "in use by another process", "second process"
    )

    aggregator.send_signal(signal.SIGINT)
    status, _, errors = ended(aggregator)
    assert status == 128 + signal.SIGINT
    assert errors.startswith("stopped; run the same command again")
    assert len(errors.splitlines()) == 1
