"""The demo as a person runs it: a process of its own, judged by what it writes and what it leaves behind."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from market.storage import EmbeddedStore

ETHER = 10**18
STAKE_WEI = 2 * ETHER
SETTLEMENT_GAS = 1_020_000
MEMORY_LIMIT_KIB = 2 * 1024 * 1024
CHEATS = ("poisoner", "free rider", "copier")


def play(folder: Path, *options: str) -> dict[str, Any]:
    """Run the demo to its end and return its report."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "fedmarket", "demo", "--report", str(report), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return {**written, "terminal": done.stdout}


@pytest.fixture(scope="module", params=["anvil", pytest.param("ganache", marks=pytest.mark.ganache)])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three rounds, enough for every cheat to have had its try."""
    folder = tmp_path_factory.mktemp("demo")
    kept = folder / "kept"
    options = ("--chain", request.param, "--rounds", "3", "--keep", str(kept), "--plot", str(folder / "plot.png"))
    running = {process.pid for process in psutil.Process().children(recursive=True)}
    report = play(folder, *options)
    left = [process.name() for process in psutil.Process().children(recursive=True) if process.pid not in running]
    return {**report, "folder": folder, "kept": kept, "left": left}


pytestmark = pytest.mark.timeout(600)


def test_the_audit_holds(demo: dict[str, Any]) -> None:
    assert demo["audit"]["ok"]
    assert all(check["verdict"] == "ok" for check in demo["audit"]["checks"])


def test_without_the_aggregators_key_it_is_told_that_the_updates_are_its_word(demo: dict[str, Any]) -> None:
    seen = {
        check["verdict"]: check["name"] for check in demo["audit_without_key"]["checks"] if check["verdict"] != "ok"
    }
    assert seen == {"unproven": "updates"}
    terminal = " ".join(demo["terminal"].split())
    assert "opened with the aggregator's key: all hold." in terminal
    assert "3 of them (sealed updates open their commitments) on the aggregator's word." in terminal


def test_every_wei_is_accounted_for_and_none_stays_behind(demo: dict[str, Any]) -> None:
    escrow = demo["escrow"]
    assert escrow["deposited"] == escrow["paid"] + escrow["refunded"] + escrow["burned"] + escrow["locked"]
    assert escrow["locked"] == 0


def test_cheats_are_paid_nothing_and_are_in_no_average(demo: dict[str, Any]) -> None:
    cheats = [trainer for trainer in demo["trainers"] if trainer["behaviour"] in CHEATS]
    assert len(cheats) == 3
    assert {cheat["paid_wei"] for cheat in cheats} == {0}
    averaged = {address for entry in demo["rounds"] for address in entry["accepted"]}
    assert not averaged & {cheat["address"] for cheat in cheats}


def test_every_round_is_examined_and_no_deposit_is_lost(demo: dict[str, Any]) -> None:
    assert demo["examined"]
    assert all(entry["exam"] is not None for entry in demo["rounds"])
    calls = {call: used["calls"] for call, used in demo["gas"].items()}
    assert calls["commitExam"] == calls["openExam"] == len(demo["rounds"])
    assert calls["publishExam"] == 1
    checks = [check["name"] for check in demo["audit"]["checks"]]
    assert checks.count("exam reference") == len(demo["rounds"])


def test_the_exam_fails_the_poisoner_and_the_free_rider_in_every_round_and_says_why(demo: dict[str, Any]) -> None:
    cheats = {t["address"]: t["behaviour"] for t in demo["trainers"] if t["behaviour"] in ("poisoner", "free rider")}
    taken = [item for entry in demo["rounds"] for item in entry["exam"]["marks"].items()]
    marks = [(cheats[address], mark) for address, mark in taken if address in cheats]
    assert len(marks) == 2 * len(demo["rounds"])
    assert not any(mark["passed"] for _, mark in marks)
    assert all(mark["reason"].startswith("failed the exam: ") for _, mark in marks)
    first = {behaviour: mark["mark"] for behaviour, mark in marks[:2]}
    assert first["poisoner"] < 0


def test_whoever_is_in_an_average_passed_the_exam(demo: dict[str, Any]) -> None:
    for entry in demo["rounds"]:
        assert all(entry["exam"]["marks"][trainer]["passed"] for trainer in entry["accepted"])
    assert any(entry["accepted"] for entry in demo["rounds"])


def test_the_copier_loses_the_stake_that_it_bet_and_nobody_else_loses_any(demo: dict[str, Any]) -> None:
    lost = {trainer["behaviour"]: trainer["stake_forfeited_wei"] for trainer in demo["trainers"]}
    assert lost == {"honest": 0, "poisoner": 0, "free rider": 0, "copier": STAKE_WEI}


def test_honest_trainers_share_the_rounds_rewards(demo: dict[str, Any]) -> None:
    paid_rounds = sum(1 for entry in demo["rounds"] if entry["accepted"])
    paid_wei = sum(trainer["paid_wei"] for trainer in demo["trainers"] if trainer["behaviour"] == "honest")
    # What a round does not pay goes to trainers at the close: all of it but dust reaches them where any round paid.
    assert paid_rounds > 0
    assert len(demo["rounds"]) * ETHER - 100 <= paid_wei <= len(demo["rounds"]) * ETHER


def test_the_model_learns(demo: dict[str, Any]) -> None:
    assert max(entry["accuracy"] for entry in demo["rounds"]) > demo["initial_accuracy"]


def test_the_terminal_shows_plot_tables_and_verdict(demo: dict[str, Any]) -> None:
    for words in (
        "Proofs: 3 of 3 verified on-chain",
        "Accuracy on held-out digits",
        "Trainers",
        "The owner's exam",
        "failed the exam",
        "Escrow",
        "settleRound",
        "Audit:",
    ):
        assert words in demo["terminal"]


def test_every_round_is_proven_and_verified_on_the_chain(demo: dict[str, Any]) -> None:
    assert demo["proofs"]["verified"] == len(demo["rounds"]) == 3
    assert demo["proofs"]["prove_s"] > 0
    assert max(entry["gas"] for entry in demo["rounds"]) <= SETTLEMENT_GAS


def test_the_plot_is_a_picture(demo: dict[str, Any]) -> None:
    assert (demo["folder"] / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_keep_leaves_a_sound_storage_behind(demo: dict[str, Any]) -> None:
    store = EmbeddedStore(demo["kept"] / "store")
    pins = store.pins()
    assert len(pins) >= 2 + len(demo["rounds"])
    assert all(store.verify(cid) > 0 for cid in pins)


def test_no_process_is_left_behind_and_memory_stays_below_two_gigabytes(demo: dict[str, Any]) -> None:
    assert demo["left"] == []
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MEMORY_LIMIT_KIB


def test_without_an_exam_the_trainers_judge_one_another(tmp_path: Path) -> None:
    report = play(tmp_path, "--without-exam", "--rounds", "1")
    assert not report["examined"]
    assert [entry["exam"] for entry in report["rounds"]] == [None]
    assert report["audit"]["ok"]
    assert "openExam" not in report["gas"]
    assert "The owner's exam" not in report["terminal"]


def test_more_rounds_than_the_owner_has_samples_for_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fedmarket", "demo", "--rounds", "30"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "30 rounds of exams take" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "precious").write_text("mine", "utf-8")
    command = [sys.executable, "-m", "fedmarket", "demo", "--keep", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in kept.iterdir()] == ["precious"]
