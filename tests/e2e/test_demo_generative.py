"""The generative demo as a person runs it: a process of its own, judged by what it writes and shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedmarket.demo.generative.scenario import SHARE_WEI, STAKE_WEI
from market.storage import Cid, EmbeddedStore
from trainer_client.generation import Outputs

pytestmark = pytest.mark.timeout(600)

HONEST = ("honest 1", "honest 2", "honest 3")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One round: a model that draws no digit that anybody could read is still one that machines agree about."""
    folder = tmp_path_factory.mktemp("generative")
    report, kept = folder / "report.json", folder / "kept"
    command = [sys.executable, "-m", "fedmarket", "demo", "--generative", "--rounds", "1", "--seed", "3"]
    command += ["--task-seed", "11", "--report", str(report), "--keep", str(kept)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return {**written, "terminal": done.stdout, "kept": kept}


@pytest.fixture
def verifiers(demo: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {verifier["name"]: verifier for verifier in demo["verifiers"]}


def test_honest_verifiers_of_unlike_precision_are_accepted_and_paid(
    demo: dict[str, Any], verifiers: dict[str, dict[str, Any]]
) -> None:
    for name in HONEST:
        assert verifiers[name]["verdict"] == "paid"
        apart = verifiers[name]["bits_from_accepted"]
        assert sum(bits > demo["tolerance_bits"] for bits in apart) <= demo["allowed"]
        assert verifiers[name]["paid_wei"] >= SHARE_WEI
        assert verifiers[name]["lost_wei"] == 0


def test_the_task_is_accepted_and_every_sample_of_it(demo: dict[str, Any]) -> None:
    assert demo["outcome"] == "accepted"
    assert demo["medoid"] in HONEST
    assert all(demo["accepted"])
    assert len(demo["accepted"]) == len(demo["prompts"]) == 10


def test_the_tolerance_is_measured_on_the_model_itself_between_honest_and_other_outputs(demo: dict[str, Any]) -> None:
    found = demo["calibration"]
    assert found["serve"][0] <= demo["tolerance_bits"] <= found["serve"][1]
    assert found["honest_bits"] < min(found["other_bits"].values())
    assert set(found["accepted"]) == {"seed", "prompt", "model before training"}
    document = EmbeddedStore(demo["kept"] / "store").read(Cid.parse(found["content"]), 1 << 20)
    assert json.loads(document)["tolerance_bits"] == demo["tolerance_bits"]
    service = EmbeddedStore(demo["kept"] / "store").read(Cid.parse(demo["service"]), 1 << 20)
    assert json.loads(service)["calibration"] == found["content"]


def test_the_lazy_verifier_deviates_and_loses_its_stake(
    demo: dict[str, Any], verifiers: dict[str, dict[str, Any]]
) -> None:
    lazy = verifiers["lazy"]
    assert lazy["verdict"] == "penalised"
    assert lazy["lost_wei"] == STAKE_WEI
    assert lazy["paid_wei"] == 0
    assert min(lazy["bits_from_accepted"]) > demo["tolerance_bits"]


def test_the_copier_is_refused_twice_and_loses_its_stake(verifiers: dict[str, dict[str, Any]]) -> None:
    copier = verifiers["copier"]
    assert [line.split(":")[0] for line in copier["refused"]] == ["WrongSeal", "WrongTaskPhase"]
    assert copier["digests"] == []
    assert copier["lost_wei"] == STAKE_WEI
    assert copier["paid_wei"] == 0


def test_every_wei_is_accounted_for(demo: dict[str, Any]) -> None:
    money = demo["money"]
    assert demo["balanced"]
    assert demo["training"]["balanced"]
    kept = ("withdrawn", "burned", "stakes", "escrowed", "credits")
    assert money["deposited"] == sum(money[name] for name in kept)
    # The two cheats' stakes, and the shares that they do not get.
    assert money["burned"] == 2 * (STAKE_WEI + SHARE_WEI)
    assert money["withdrawn"] == 3 * SHARE_WEI
    assert money["stakes"] == 3 * STAKE_WEI
    assert money["escrowed"] == money["credits"] == 0


def test_job_and_task_are_replayed_from_the_chain(demo: dict[str, Any]) -> None:
    assert demo["audit"]["ok"]
    assert demo["training"]["audit_ok"]


def test_the_accepted_outputs_are_in_storage_under_their_content_id(demo: dict[str, Any]) -> None:
    content = EmbeddedStore(demo["kept"] / "store").read(Cid.parse(demo["outputs"]), 1 << 20)
    outputs = Outputs.parse(content)
    assert outputs.images is not None
    assert outputs.images.shape == (10, 8, 8)


def test_the_terminal_says_who_was_paid_who_was_not_and_why(demo: dict[str, Any]) -> None:
    terminal = " ".join(demo["terminal"].split())
    for words in (
        "Verifiers",
        "The tolerance",
        "Most bits apart of 256",
        "The consensus contract's money",
        "refused by the contract: WrongSeal",
        "to be silent costs the stake",
        "bits from the accepted ones",
        "it comes to the same",
    ):
        assert words in terminal


def test_another_kind_of_demo_has_no_task(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fedmarket", "demo", "--task-seed", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--generative" in done.stderr
    assert "Traceback" not in done.stderr
