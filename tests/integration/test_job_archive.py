"""A whole job in one file: exported, its store deleted, and audited from the file and the chain alone."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.devnet import Devnet
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.job_contents import look_for
from market.job_history import JobHistory
from market.protocol.errors import StorageError
from market.storage import CarBlocks, EmbeddedStore
from market.storage.flat_blocks import FlatBlocks
from tests.integration.hand_made_exams import HandExamined, opposing
from tests.integration.marketplace import ON_ANVIL, srs_folder

pytestmark = ON_ANVIL

Run = Callable[..., Result]


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> HandExamined:
    """A job of two examined rounds, played to its end; seat 3 failed the exams, and its exam was shown."""
    played = HandExamined(devnet, deployed, actors, tmp_path).post(rounds=2).join(4)
    played.craft_of(3, opposing)
    played.play_examined()
    played.play_examined()
    assert played.show_exams()
    played.close()
    return played


@pytest.fixture
def run(devnet: Devnet, deployment: Deployment, tmp_path: Path) -> Run:
    """Run a command as anybody does, with the job's storage or another."""
    deployment.save(tmp_path / "deployment.json")

    def command(*arguments: object, store: Path | None = None) -> Result:
        settings = {
            "FEDMARKET_RPC": devnet.url,
            "FEDMARKET_DEPLOYMENT": str(tmp_path / "deployment.json"),
            "FEDMARKET_STORE": str(store or tmp_path / "store"),
            "FEDMARKET_SRS": str(srs_folder()),
        }
        return CliRunner(env=settings).invoke(main, [str(argument) for argument in arguments])

    return command


def report(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def block_file(place: HandExamined, digest: bytes) -> Path:
    blocks = FlatBlocks(place.store.root / "blocks")
    [found] = [held.path for held in blocks if held.digest == digest]
    return found


def test_an_auditor_needs_the_file_and_the_chain_alone(place: HandExamined, run: Run, tmp_path: Path) -> None:
    before = report(run("audit", place.id, "--json"))
    assert before["ok"]

    exported = run("storage", "export", place.id, tmp_path / "job.car")
    assert (exported.exit_code, exported.stderr) == (0, "")
    # The document, the first model and two more; eight updates; two sealed exams; the book with five slices and two r.
    assert "22 contents of job" in exported.stdout

    shutil.rmtree(place.store.root)
    assert report(run("audit", place.id, "--json", "--car", tmp_path / "job.car")) == before
    assert not place.store.root.exists(), "nothing is copied out of the file"

    imported = run("storage", "import", tmp_path / "job.car", store=tmp_path / "other")
    assert (imported.exit_code, imported.stderr) == (0, "")
    other = EmbeddedStore(tmp_path / "other")
    other.collect_garbage(grace_s=0)
    assert report(run("audit", place.id, "--json", store=tmp_path / "other")) == before


def test_what_is_not_held_is_named_and_the_rest_is_exported(place: HandExamined, run: Run, tmp_path: Path) -> None:
    history = place.view("onlooker").history()
    block_file(place, history.attempt(1).reveals[place.seat("trainer 2")].content).unlink()
    damaged = block_file(place, history.attempt(0).reveals[place.seat("trainer 1")].content)
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    before = report(run("audit", place.id, "--json"))
    assert "unproven" in {check["verdict"] for check in before["checks"]}

    exported = run("storage", "export", place.id, tmp_path / "job.car")

    assert exported.exit_code == 1
    lacking = "the update of seat 1 in attempt 0; the update of seat 2 in attempt 1"
    assert exported.stderr == (
        f"fedmarket: error: {tmp_path / 'job.car'} lacks 2 of the 22 contents of job {place.id}: {lacking}\n"
    )
    missing = [line for line in exported.stdout.splitlines() if line.startswith("missing: ")]
    assert "is corrupt" in missing[0]
    assert "is not in" in missing[1]
    shutil.rmtree(place.store.root)
    after = report(run("audit", place.id, "--json", "--car", tmp_path / "job.car"))
    assert [(c["name"], c["verdict"]) for c in after["checks"]] == [(c["name"], c["verdict"]) for c in before["checks"]]


def test_a_file_that_is_cut_off_or_has_a_bit_flipped_is_refused_and_no_verdict_given(
    place: HandExamined, run: Run, tmp_path: Path
) -> None:
    assert run("storage", "export", place.id, tmp_path / "job.car").exit_code == 0
    whole, generator = (tmp_path / "job.car").read_bytes(), random.Random(7)
    print("seed 7")
    flipped = tmp_path / "flipped.car"
    for number in range(200):
        place_of, bit = generator.randrange(len(whole)), generator.randrange(8)
        altered = bytearray(whole)
        altered[place_of] ^= 1 << bit
        flipped.write_bytes(altered)
        with pytest.raises(StorageError, match=r"block|root|CAR|content"), CarBlocks(flipped):
            pass
        if number % 20 == 0:
            for command in (("audit", place.id, "--car", flipped), ("storage", "import", flipped)):
                refused = run(*command, store=tmp_path / f"store {number}")
                assert (refused.exit_code, refused.stdout) == (1, ""), (place_of, bit)
                assert refused.stderr.startswith("fedmarket: error: ")
            assert EmbeddedStore(tmp_path / f"store {number}").pins() == {}
    for kept in (0.1, 0.5, 0.99):
        flipped.write_bytes(whole[: int(kept * len(whole))])
        refused = run("audit", place.id, "--car", flipped)
        assert (refused.exit_code, refused.stdout) == (1, "")


def test_a_job_that_is_not_there_and_a_file_that_is_not_there_are_told(run: Run, tmp_path: Path) -> None:
    unknown = run("storage", "export", 99, tmp_path / "job.car")
    assert unknown.exit_code == 1
    assert "there is no job 99" in unknown.stderr
    assert not (tmp_path / "job.car").exists()
    for command in (("audit", 0, "--car"), ("storage", "import")):
        missing = run(*command, tmp_path / "job.car")
        assert missing.exit_code == 1
        assert "No such file" in missing.stderr


def test_a_running_job_names_what_it_has_so_far(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path
) -> None:
    place = HandExamined(devnet, deployed, actors, tmp_path).post(rounds=2).join(4)
    place.play_examined()
    history = JobHistory(place.market.events(place.id))
    names = [content.name for content in look_for(history, place.store).held]
    assert names == [
        "the document",
        "the initial model",
        *(f"the update of seat {seat} in attempt 0" for seat in range(4)),
        "the sealed exam of attempt 0",
        "the model of round 0, attempt 0",
        "the exam's public slice",
    ]
