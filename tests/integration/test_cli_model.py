"""`fedmarket model verify`: one line and an exit status on whether a model is what the chain committed to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.devnet import Devnet
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.protocol import integer_model
from tests.integration.marketplace import ON_ANVIL, Marketplace, srs_folder

pytestmark = ON_ANVIL

D = 15
Verify = Callable[..., Result]


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


@pytest.fixture
def run(place: Marketplace, deployment: Deployment, tmp_path: Path) -> Verify:
    """Runs `fedmarket`, with everything about the market in the environment."""
    deployment.save(tmp_path / "deployment.json")
    environment = {
        "FEDMARKET_RPC": place.devnet.url,
        "FEDMARKET_DEPLOYMENT": str(tmp_path / "deployment.json"),
        "FEDMARKET_STORE": str(place.store.root),
        "FEDMARKET_SRS": str(srs_folder()),
    }
    return lambda *arguments: CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, status: int, words: str) -> None:
    assert (result.exit_code, result.stdout) == (status, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("fedmarket: error: ")
    assert words in line


def test_every_true_model_is_told_in_one_line(place: Marketplace, run: Verify, tmp_path: Path) -> None:
    place.post().join(4)
    before = run("model", "verify", place.id)
    assert before.stdout == "job 0: the initial model is what the chain committed to (15 parameters)\n"
    for _ in range(2):
        place.play_round()
    for arguments, name in (
        ((), "the model of round 1"),
        (("--round", 1), "the model of round 1"),
        (("--round", 0), "the model of round 0"),
        (("--initial",), "the initial model"),
    ):
        result = run("model", "verify", place.id, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"job 0: {name} is what the chain committed to (15 parameters)\n"

    file = tmp_path / "model.i64"
    assert run("job", "model", place.id, file).stdout == f"wrote 15 integers to {file}\n"
    assert run("model", "verify", place.id, file).exit_code == 0
    refused(run("model", "verify", place.id, file, "--round", 0), 1, "the model of round 0 is not what the chain")


def test_a_round_that_accepted_nobody_leaves_the_model_before_it(place: Marketplace, run: Verify) -> None:
    place.post(rules={"significance": 3.0}).join(3)
    for seat, name in enumerate(place.trainers):
        vector = np.zeros(D)
        vector[seat] = 900.0
        place.crafts[name] = lambda task, vector=vector: (vector * 2.0**-14).astype(np.float32)
    attempt = place.play_round()
    assert attempt.settled is not None
    assert attempt.settled.accepted == ()
    result = run("model", "verify", place.id, "--round", 0)
    assert result.stdout == "job 0: the initial model is what the chain committed to (15 parameters)\n"


def test_a_false_model_is_told_in_one_line(place: Marketplace, run: Verify, tmp_path: Path) -> None:
    place.post().join(3)
    model = place.prepared.model
    off, file = model.copy(), tmp_path / "model.i64"
    off[7] += 1
    integer_model.write(off, file)
    refused(
        run("model", "verify", place.id, file), 1, "job 0: the initial model is not what the chain committed to: its"
    )
    out_of_range = model.copy()
    out_of_range[0] = 1 << 47
    for data, words in (
        (model.tobytes()[:-8], f"{8 * (D - 1)} bytes, expected {8 * D} (15 entries)"),
        (model.tobytes() + b"\0", "121 bytes, expected 120"),
        (b"", "0 bytes, expected 120"),
        (out_of_range.tobytes(), f"entry 0 is {1 << 47}, expected a magnitude of at most {(1 << 47) - 1}"),
    ):
        file.write_bytes(data)
        refused(run("model", "verify", place.id, file), 1, words)


def test_a_model_that_storage_does_not_have_is_told(place: Marketplace, run: Verify) -> None:
    place.post()
    data = integer_model.to_bytes(place.prepared.model)
    [block] = [path for path in place.store.root.rglob("*.data") if path.read_bytes() == data]
    block.unlink()
    refused(run("model", "verify", place.id), 1, f"block {place.model_cid} is not in")


def test_mistakes_are_told_in_one_line(place: Marketplace, run: Verify, tmp_path: Path) -> None:
    place.post().join(3)
    rounded = tmp_path / "model.npz"
    assert run("job", "model", place.id, rounded).exit_code == 0
    for arguments, status, words in (
        ((place.id, "--round", 0), 2, "round 0 of job 0 is not settled: no round is yet"),
        ((place.id, "--round", 1, "--initial"), 2, "--initial and --round name two models"),
        ((place.id, tmp_path / "nowhere.i64"), 2, "nowhere.i64: expected a file of a model's integers"),
        ((place.id, rounded), 2, "has rounded parameters: expected the model's integers"),
        ((7,), 1, "there is no job 7 in this market"),
    ):
        refused(run("model", "verify", *arguments), status, words)
    place.play_round()
    refused(run("model", "verify", place.id, "--round", 3), 2, "round 3 of job 0 is not settled: settled are 0")


def test_the_insecure_srs_is_made_on_the_spot_and_damage_to_it_is_told(
    place: Marketplace, run: Verify, tmp_path: Path
) -> None:
    place.post()
    folder = tmp_path / "srs"
    assert run("model", "verify", place.id, "--srs", folder).exit_code == 0
    [file] = folder.glob("*.ptau")
    assert "insecure" in file.name
    other = file.rename(tmp_path / "kept")
    other.write_bytes(b"nothing")
    refused(run("model", "verify", place.id, "--srs", other), 2, "kept")
