"""Verifiers as people run them: stake, run, be killed and stopped, go on, claim."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmarket.devnet import Devnet
from market.chain.connection import Chain
from market.chain.consensus_events import OutputsCommitted, OutputsRevealed
from market.chain.consensus_records import SeatState, TaskPhase
from market.chain.deployment import Deployment
from market.protocol.seat_draw import DELAY_BLOCKS
from market.storage import Cid
from tests.integration.marketplace import ON_ANVIL
from tests.integration.terminal import TRAINERS, Terminal, ended, refuses, wait_until
from tests.integration.verifiers import Verification, service_fields

pytestmark = ON_ANVIL

WHO = TRAINERS[0]
ABSENT = str(Cid.from_digest(bytes(32), 8))
MODEL = service_fields(Cid.from_digest(bytes(32), 8))["model"]


@pytest.fixture
def place(devnet: Devnet, deployment: Deployment, chain: Chain, actors: Any, tmp_path: Path) -> Verification:
    opened = Verification(devnet, deployment.consensus_on(chain), actors, tmp_path)
    opened.open_pool()
    return opened


def test_units_are_staked_shown_taken_out_and_claimed(terminal: Terminal, place: Verification) -> None:
    assert "3 units of 0.009 ETH in pool 0" in terminal.told("verifier", "stake", 0, "--units", 3, who=WHO)
    shown = terminal.told("verifier", "status", who=WHO)
    assert str(place.service) in shown
    assert shown.splitlines()[-1].split()[:3] == ["0", "3", "3"]
    assert "took 2 units" in terminal.told("verifier", "unstake", 0, "--units", 2, who=WHO)
    assert "claimed 0.018 ETH" in terminal.told("verifier", "claim", who=WHO)
    assert "took 1 unit " in terminal.told("verifier", "unstake", 0, who=WHO)
    assert "nothing is staked" in terminal.told("verifier", "status", who=WHO)


def test_mistakes_are_told_in_one_line(terminal: Terminal, place: Verification) -> None:
    mistakes: list[tuple[tuple[object, ...], int, str]] = [
        (("stake", 9, "--units", 1), 1, "pool"),
        (("stake", 0, "--units", 65), 2, "65"),
        (("run",), 2, "nothing staked"),
        (("run", 0), 2, "nothing staked in pool 0"),
        (("run", "--dtype", "float8"), 2, "float8"),
        (("run", "--device", "abacus"), 2, "abacus"),
        (("unstake", 0), 2, "0 of this account's 0 units"),
        (("claim",), 2, "nothing"),
        (("claim", "--to", "me"), 2, "no address"),
    ]
    for command, status, words in mistakes:
        refuses(terminal.run("verifier", *command, who=WHO), status, words, str(command))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": "crystal_ball"}, "crystal_ball"),
        ({"digest": {"kind": "dct", "bits": 7}}, "bits"),
        ({"model": {**MODEL, "arguments": {"features": 1 << 22, "hidden": [1 << 16] * 16}}}, "parameters"),
        ({"model": {**MODEL, "parameters": "nothing"}}, "nothing"),
        ({"model": {**MODEL, "parameters": ABSENT}}, ABSENT),
    ],
    ids=["no such generator", "no such digest", "10^12 parameters", "no content id", "nowhere to be had"],
)
def test_what_cannot_be_done_here_is_not_staked_on(
    terminal: Terminal, place: Verification, changes: dict[str, Any], words: str
) -> None:
    place.open_pool(**changes)
    result = terminal.run("verifier", "stake", place.pool, "--units", 1, who=WHO)
    refuses(result, result.exit_code, words, words)
    assert result.exit_code in (1, 2)
    assert place.consensus.members(place.pool) == 0


@pytest.mark.timeout(400)
def test_three_people_verify_one_is_killed_and_one_told_to_stop_and_all_are_paid(
    terminal: Terminal, place: Verification
) -> None:
    for who in TRAINERS:
        terminal.told("verifier", "stake", 0, "--units", 1, who=who)
    place.open_task(commit_period_s=3_600, seat_period_s=3_600, reveal_period_s=3_600)
    ways = [("--dtype", "float32"), ("--dtype", "bfloat16"), ("--batch-size", 2, "--kernels", "plain")]
    running = [
        terminal.start("verifier", "run", 0, "--threads", 1, *way, who=who)
        for who, way in zip(TRAINERS, ways, strict=True)
    ]
    place.devnet.mine(DELAY_BLOCKS)
    wait_until(lambda: len(place.panel().seats) == 3, "the seats")
    running[2].kill()
    running[2].wait()
    early = terminal.run("verify", "outputs", place.task, terminal.folder / "early.npz")
    refuses(early, 2, "no accepted outputs", "before the end")
    place.to_commit()
    wait_until(lambda: len(place.events(OutputsCommitted)) == 2, "two commits")
    running[1].send_signal(signal.SIGTERM)
    status, _, errors = ended(running[1])
    assert (status, errors.count("\n")) == (128 + signal.SIGTERM, 1)
    assert errors.startswith(
        "stopped with a commit that is not revealed in task 0: run the same command again to go on"
    )
    assert "or lose the unit that it locks" in errors
    shown = terminal.told("verifier", "status", who=TRAINERS[1])
    assert shown.splitlines()[-1].split()[:3] == ["0", "commit", "committed"]

    again = [
        terminal.start("verifier", "run", "--threads", 1, *ways[number], who=TRAINERS[number]) for number in (1, 2)
    ]
    wait_until(lambda: len(place.events(OutputsRevealed)) == 3, "three reveals")
    wait_until(lambda: place.phase() is TaskPhase.APPEAL, "the settlement")
    place.devnet.advance_to(place.consensus.state(place.task).appeal_until_s)
    wait_until(lambda: place.phase() is TaskPhase.FINISHED, "the end")
    assert [seat.state for seat in place.panel().seats] == [SeatState.REVEALED] * 3
    for process in (running[0], *again):
        process.send_signal(signal.SIGTERM)
        status, output, errors = ended(process)
        assert (status, errors) == (128 + signal.SIGTERM, "stopped; run the same command again to go on\n")
        assert "task 0: revealed 6 samples" in output
    for who in TRAINERS:
        assert "claimed 0.001 ETH" in terminal.told("verifier", "claim", who=who)
    images = terminal.folder / "accepted.npz"
    assert "6 samples: images" in terminal.told("verify", "outputs", place.task, images)
    with np.load(images, allow_pickle=False) as arrays:
        assert arrays["images"].shape == (6, 8, 8)
