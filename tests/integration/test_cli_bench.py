"""`fedmarket bench` from beginning to end: a proof that the contract accepts, and a job that cheats do not get into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedmarket.bench.report import FORMAT
from fedmarket.cli import main


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("chunks", "argument_bytes"), [(1, 224), (3, 352)])
def test_a_small_round_is_proven_verified_and_reported_as_one_json_object(
    tmp_path: Path, chunks: int, argument_bytes: int
) -> None:
    options = {"dimension": 500, "trainers": 3, "chunks": chunks, "repeat": 2, "srs": tmp_path / "srs"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(main, ["bench", "proof", *arguments, "--json"])

    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["format"], report["dimension"], report["trainers"]) == (FORMAT, 500, 3)
    assert report["size_bytes"]["argument"] == argument_bytes
    assert report["gas"] > 21_000 + 16 * argument_bytes
    assert all(seconds > 0 for seconds in report["seconds"].values())
    assert sum(report["prove_seconds"].values()) == pytest.approx(report["seconds"]["prove"], rel=0.5)
    assert report["srs_was_there"] is False
    assert [file.name for file in (tmp_path / "srs").glob("*.ptau")] == ["insecure.ptau"]


@pytest.mark.timeout(300)
def test_the_srs_is_found_the_second_time_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    arguments = ["bench", "proof", "--dimension", "64", "--trainers", "3", "--repeat", "1", "--srs", str(tmp_path)]
    first = CliRunner().invoke(main, arguments)
    second = CliRunner().invoke(main, arguments)
    file = tmp_path / "insecure.ptau"
    file.write_bytes(file.read_bytes()[:-100])
    third = CliRunner().invoke(main, arguments)

    assert [result.exit_code for result in (first, second, third)] == [0, 0, 0]
    assert [result.stdout.split("points, ")[1][:5] for result in (first, second, third)] == ["made;", "found", "made;"]


def test_a_gallery_is_played_once_and_reported_as_one_json_object_with_pictures(tmp_path: Path) -> None:
    journal, plots = tmp_path / "attacks.jsonl", tmp_path / "plots"
    arguments = ["bench", "attacks", "--attack", "noise", "--journal", str(journal), "--plots", str(plots), "--json"]
    first = CliRunner().invoke(main, arguments)
    played = journal.read_bytes()
    second = CliRunner().invoke(main, arguments)

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert journal.read_bytes() == played
    report = json.loads(first.stdout)
    assert report["format"] == "fedmarket-bench-attacks/1"
    noise = {line["rule"]: line["cheat_weight"] for line in report["lines"] if line["attack"] == "noise"}
    assert noise == {"exam": 0.0, "fedavg": pytest.approx(2 / 7, abs=1e-3)}
    assert [picture.suffix for picture in plots.iterdir()] == [".png"]


def test_an_unknown_rule_of_the_gallery_is_refused_by_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "attacks", "--rule", "trust", "--journal", str(tmp_path / "j")])
    assert result.exit_code != 0
    assert "rule 'trust' is unknown, expected one of exam" in result.stderr
