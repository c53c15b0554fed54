"""Tasks as people have them: a pool, a task, its panels on the terminal, and an auditor who looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedmarket.devnet import Devnet
from market.chain import keystore
from market.chain.connection import Chain
from market.chain.consensus_records import TaskPhase
from market.chain.deployment import Deployment
from market.chain.output_consensus import OutputConsensus
from market.protocol.identifiers import PoolId, TaskId
from tests.integration.conftest import Actors
from tests.integration.marketplace import ON_ANVIL
from tests.integration.panels import RIGHT, UNIT_WEI, WRONG, Panels, near
from tests.integration.terminal import COIN, PASSWORD, Mining, Terminal, refuses, wait_until, waiting
from trainer_client.digests import DIGESTS
from trainer_client.generation import Outputs

pytestmark = ON_ANVIL

SITTERS = ("ann", "bob", "cem")
SERVICE = """
name: digits
model: {architecture: denoiser, arguments: {features: 64, hidden: [16]}, parameters: {job: 0}}
generator: diffusion
digest: {kind: dct}
tolerance_bits: 8
limits: {samples: 8, prompt_characters: 5}
decoding: {default: {steps: 25}, allowed: {steps: [25, 50]}}
"""


@pytest.fixture
def place(terminal: Terminal, devnet: Devnet, deployment: Deployment, chain: Chain, actors: Actors) -> Panels:
    """A terminal with a service and prompts in its folder, and verifiers by hand."""
    (terminal.folder / "service.yaml").write_text(SERVICE)
    (terminal.folder / "prompts.txt").write_text("one\ntwo\nthree\n")
    worker = keystore.create(terminal.folder / "worker.json", PASSWORD, "scrypt-light")
    devnet.fund(worker.address, COIN)
    return Panels(devnet, deployment.consensus_on(chain), actors)


def open_pool(terminal: Terminal, place: Panels) -> None:
    told = terminal.told("verify", "pool", "open", terminal.folder / "service.yaml", "--unit", UNIT_WEI, who="owner")
    assert "Pool 0 is open" in told
    place.pool = PoolId(0)
    for name in SITTERS:
        place.send(name, place.consensus.stake(place.pool, 2, UNIT_WEI))


def asked(terminal: Terminal, *more: object) -> tuple[object, ...]:
    share = ("--share", "1000 wei", "--reveal-period", 3_000)
    return ("verify", "open", 0, "--prompts", terminal.folder / "prompts.txt", *share, *more)


def write_outputs(path: Path) -> None:
    """Three images that differ."""
    images = np.random.default_rng(5).random((3, 16, 16)).astype(np.float32)
    Outputs(images=images).write(path)


def mined(mining: Mining, devnet: Devnet, blocks: int) -> None:
    """Mine with nobody else at it."""
    with mining.held_up():
        devnet.mine(blocks)


def test_a_task_from_its_pool_to_its_audit(terminal: Terminal, place: Panels, mining: Mining, devnet: Devnet) -> None:
    folder, consensus = terminal.folder, place.consensus
    open_pool(terminal, place)
    assert "was opened already" in terminal.told(
        "verify", "pool", "open", folder / "service.yaml", "--unit", UNIT_WEI, who="owner"
    )
    (folder / "claimed.json").write_text(json.dumps([digest.hex() for digest in near(RIGHT, 2)]))
    (folder / "canaries.json").write_text(json.dumps({"1": RIGHT[1].hex()}))
    sealed = terminal.told("verify", "seal", folder / "claimed.json", who="worker").strip()
    claim = ("--worker", terminal.address("worker"), "--claim", sealed, "--worker-reward", "70 wei")
    opening = asked(terminal, "--canaries", folder / "canaries.json", *claim)
    assert "Task 0 is open" in terminal.told(*opening, who="owner")
    assert "Task 0 was opened already" in terminal.told(*opening, who="owner")
    assert consensus.task_count() == 1
    kept = list((folder / "work" / "owner" / "answers").iterdir())
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]

    refuses(terminal.run("verify", "settle", 0, who="owner"), 2, "is in its phase drawing", "too early")
    place.task = TaskId(0)
    mined(mining, devnet, 130)
    assert "are drawn" in terminal.told("verify", "draw", 0, who="owner")
    refuses(terminal.run("verify", "canaries", 0, who="owner"), 2, "is in its phase seating", "too early")
    place.seat(SITTERS)
    answers = {"ann": RIGHT, "bob": near(RIGHT, 1), "cem": WRONG}
    place.commit(answers)
    place.reveal(answers)
    refuses(terminal.run("verify", "canaries", 0, who="worker"), 2, "does not own task 0", "not the owner's")
    assert "samples 1" in terminal.told("verify", "canaries", 0, who="owner")
    refuses(terminal.run("verify", "claim", 0, who="owner"), 2, "cannot be read", "not the owner's claim")
    assert "3 digests of task 0 are shown" in terminal.told("verify", "claim", 0, who="worker")
    assert "accepted: 2 agree" in terminal.told("verify", "settle", 0, who="worker")

    shown = terminal.told("verify", "show", 0)
    assert "First panel" in shown
    assert all(word in shown for word in ("paid", "penalised", "0*", "in escrow"))
    refuses(terminal.run("verify", "appeal", 0, who="owner"), 1, "0 verifiers of the pool could sit", "nobody is left")
    refuses(terminal.run("verify", "finish", 0, who="owner"), 2, "is in its phase appeal", "too early")
    devnet.advance_to(consensus.state(TaskId(0)).appeal_until_s)
    told = terminal.told("verify", "finish", 0, who="owner")
    assert "task 0 is finished: accepted" in told
    assert "took 0.00000000000000007 ETH to" in terminal.told("verify", "withdraw", who="worker")
    refuses(terminal.run("verify", "withdraw", who="worker"), 2, "nothing is credited", "once")

    overview = json.loads(terminal.told("verify", "show", 0, "--json"))
    assert (overview["phase"], overview["outcome"], overview["worker_accepted"]) == ("finished", "accepted", True)
    assert [seat["verdict"] for seat in overview["panels"][0]["seats"]] == ["paid", "paid", "penalised"]
    assert overview["panels"][0]["seats"][0]["bits"][:2] == [None, 1.0]
    assert "mismatch" not in terminal.told("verify", "audit", 0)
    report = json.loads(terminal.told("verify", "audit", 0, "--json"))
    assert report["ok"]
    assert {check["verdict"] for check in report["checks"]} == {"ok"}
    pool = json.loads(terminal.told("verify", "pool", "show", 0, "--json"))
    assert (pool["verifiers"], pool["tasks"], pool["service"]["name"]) == (3, [0], "digits")
    assert "digits: diffusion by denoiser" in terminal.told("verify", "pool", "show", 0)


def test_an_audit_that_finds_something_says_what_and_fails(
    terminal: Terminal, place: Panels, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_pool(terminal, place)
    place.open_task()
    with terminal.mining.held_up():
        place.devnet.mine(128)
    place.play(dict.fromkeys(SITTERS, RIGHT))
    place.settle()
    monkeypatch.setattr(OutputConsensus, "call_in", lambda *_: ("revealOutputs", {"salt": b"\x01" * 32}))
    result = terminal.run("verify", "audit", 0)
    assert result.exit_code == 1
    assert "audit of task 0: mismatch in seal" in result.stderr
    assert result.stdout.count("mismatch  seal") == 3
    result = terminal.run("verify", "audit", 0, "--json")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (1, False)


def test_mistakes_are_one_line_each_and_cost_nothing(terminal: Terminal, place: Panels) -> None:
    folder, prompts = terminal.folder, terminal.folder / "prompts.txt"
    refuses(terminal.run(*asked(terminal), who="owner"), 1, "there is no pool 0", "no pool")
    for text, words in {
        "[]": "expected a mapping of fields",
        "{": "is neither JSON nor YAML",
        SERVICE.replace("tolerance_bits: 8", "tolerance_bits: 128"): "tolerance_bits",
        SERVICE.replace("kind: dct", "kind: dct, moon: 3"): "has a parameter 'moon'",
        SERVICE.replace("kind: dct", "kind: moon"): "digests are of kind 'moon'",
    }.items():
        (folder / "broken.yaml").write_text(text)
        opening = ("verify", "pool", "open", folder / "broken.yaml", "--unit", UNIT_WEI)
        refuses(terminal.run(*opening, who="owner"), 2, words, text)
    refuses(
        terminal.run("verify", "pool", "open", folder / "none.yaml", "--unit", 5, who="owner"), 2, "cannot be read", ""
    )
    refuses(
        terminal.run("verify", "pool", "open", folder / "service.yaml", "--unit", 0, who="owner"), 2, "unit is 0", ""
    )
    open_pool(terminal, place)
    (folder / "bad.json").write_text(json.dumps(["5a"]))
    (folder / "far.json").write_text(json.dumps({"9": "5a" * 32}))
    (folder / "long.txt").write_text("longer than five\n")
    (folder / "many.txt").write_text("a\n" * 9)
    (folder / "picture.txt").write_bytes(b"\x89PNG\xff\xfe")
    write_outputs(folder / "out.bin")
    worker = ("--worker", terminal.address("worker"))
    mistakes: list[tuple[tuple[object, ...], str]] = [
        (("-k", 4), "verifiers is 4, expected 3, 5 or 7"),
        (("-k", 5), "pool 0 has 3 verifiers, expected at least 5"),
        (("--share", UNIT_WEI), "share is 9000, expected 1 to 3000"),
        (("--prompts", folder / "none.txt"), "cannot be read"),
        (("--prompts", folder / "picture.txt"), "is no text in UTF-8"),
        (("--prompts", folder / "long.txt"), "prompts[0]: has 16 characters, expected at most 5"),
        (("--prompts", folder / "many.txt"), "prompts: are 9, expected at most 8"),
        (("--decoding", "steps=26"), "decoding.steps: is 26, which the service does not allow"),
        (("--decoding", "steps"), "expected NAME=VALUE"),
        (("--canaries", folder / "bad.json"), "expected a JSON mapping"),
        (("--canaries", folder / "far.json"), "a canary of sample 9"),
        (("--canaries", prompts), "is not JSON"),
        (("--canary-sample", 0), "of which outputs"),
        (("--canary-outputs", prompts), "which samples are canaries"),
        (("--canary-outputs", prompts, "--canary-sample", 0), "prompts.txt"),
        (("--canary-outputs", folder / "out.bin", "--canary-sample", 3), "but there are 3 outputs"),
        (("--canary-outputs", folder / "out.bin", "--canaries", prompts), "expected one of them"),
        (worker, "--worker and --claim belong together"),
        ((*worker, "--claim", "0x12"), "expected 64 hexadecimal digits"),
        (("--worker-reward", "5 wei"), "worker_reward is 5 wei, expected 0 without a worker"),
        (("--seat-period", 5), "--seat-period"),
    ]
    for more, words in mistakes:
        result = terminal.run(*asked(terminal, *more), who="owner")
        assert result.exit_code == 2, (more, result.output)
        assert words in result.stderr, (more, result.stderr)
        assert "Traceback" not in result.stderr
    refuses(terminal.run("verify", "seal", folder / "bad.json", who="worker"), 2, "expected a digest of 64", "digits")
    refuses(terminal.run("verify", "show", 0), 1, "there is no task 0", "no task")
    refuses(terminal.run("verify", "audit", 0), 1, "tells of no opening of task 0", "no task")
    refuses(terminal.run("verify", "pool", "show", 1), 1, "there is no pool 1", "no pool")
    assert place.consensus.task_count() == 0
    assert place.consensus.pool_count() == 1


def test_a_pool_for_a_document_that_is_not_to_be_had_is_still_shown(terminal: Terminal, place: Panels) -> None:
    place.open_pool([])
    shown = terminal.told("verify", "pool", "show", place.pool)
    assert "problem" in shown
    refuses(terminal.run(*asked(terminal), who="owner"), 1, "is not in", "no document")


def test_an_opening_that_was_killed_opens_its_task_once(
    terminal: Terminal, place: Panels, mining: Mining, devnet: Devnet
) -> None:
    open_pool(terminal, place)
    opening = asked(terminal)
    with mining.held_up():
        process = terminal.start(*opening, who="owner")
        _wait_for_transaction(devnet, terminal.address("owner"))
        process.kill()
        process.wait()
    assert "Task 0" in terminal.told(*opening, who="owner")
    assert place.consensus.task_count() == 1
    assert place.consensus.state(TaskId(0)).phase is TaskPhase.DRAWING
    assert "Task 1 is open" in terminal.told(*opening, "--again", who="owner")


def _wait_for_transaction(devnet: Devnet, address: str) -> None:
    wait_until(lambda: waiting(devnet, address) == 1, "the opening's transaction")


def test_canaries_and_claims_are_made_of_outputs_by_the_services_digests(terminal: Terminal, place: Panels) -> None:
    open_pool(terminal, place)
    outputs = terminal.folder / "out.bin"
    write_outputs(outputs)
    digests = [row.tobytes() for row in DIGESTS["dct"].digest(Outputs.read(outputs).images)]
    (terminal.folder / "by-hand.json").write_text(json.dumps([digest.hex() for digest in digests]))
    claim = terminal.told("verify", "seal", outputs, "--pool", 0, who="worker")
    assert claim == terminal.told("verify", "seal", terminal.folder / "by-hand.json", who="worker")
    terminal.told(*asked(terminal, "--canary-outputs", outputs, "--canary-sample", 2), who="owner")
    (terminal.folder / "canary.json").write_text(json.dumps({"2": digests[2].hex()}))
    assert "was opened already" in terminal.told(
        *asked(terminal, "--canaries", terminal.folder / "canary.json"), who="owner"
    )


def test_answers_are_sealed_alike_again_by_the_same_account_alone(terminal: Terminal, place: Panels) -> None:
    path: Path = terminal.folder / "claimed.json"
    path.write_text(json.dumps([digest.hex() for digest in RIGHT]))
    first = terminal.told("verify", "seal", path, who="worker")
    assert terminal.told("verify", "seal", path, who="worker") == first
    assert terminal.told("verify", "seal", path, who="owner") != first
