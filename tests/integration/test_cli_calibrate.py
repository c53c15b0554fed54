"""`fedmarket verify calibrate` as people use it: a service's document, a model, and what comes of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.devnet import REPOSITORY
from fedmarket.example_models import example_model
from market.protocol import integer_model
from market.protocol.generation import ServiceDocument
from market.storage import Cid, EmbeddedStore
from tests.unit.trainer_client.calibration.tiny import tiny_model, tiny_service

ERRORS = ("--honest-error", "0.02", "--false-error", "0.02")


def arguments(folder: Path, *more: str, samples: int = 150) -> list[str]:
    service, model = folder / "service.json", folder / "model.i64"
    service.write_bytes(tiny_service("bafkreia").to_bytes())
    integer_model.write(tiny_model(), model)
    return [
        "verify", "calibrate", "--service", str(service), "--model", str(model), "--decoding", '{"steps": 3}',
        "--samples", str(samples), "--store", str(folder / "store"), "--out", str(folder / "out"), *ERRORS, *more,
    ]  # fmt: skip


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def one_line(result: Result) -> str:
    lines = [line for line in result.stderr.splitlines() if line.startswith("fedmarket: error: ")]
    assert result.exit_code == 2
    assert len(lines) == 1
    return lines[0]


def test_a_service_gets_its_tolerance_and_the_document_that_it_comes_from(tmp_path: Path) -> None:
    other = tmp_path / "another.i64"
    integer_model.write(-4 * tiny_model(1), other)
    result = run(*arguments(tmp_path, "--other-model", str(other)))
    assert result.exit_code == 0, result.output
    made = ServiceDocument.from_bytes((tmp_path / "out/service.json").read_bytes())
    assert made.model == tiny_service("bafkreia").model
    assert made.calibration is not None
    stored = EmbeddedStore(tmp_path / "store").read(Cid.parse(made.calibration), 1 << 22)
    assert stored == (tmp_path / "out/calibration.json").read_bytes()
    told = json.loads(stored)
    assert (told["tolerance_bits"], told["slack"]["permille"]) == (made.tolerance_bits, made.slack_permille)
    assert told["told_apart"] == ["seed", "model another"]
    assert f"tolerance {made.tolerance_bits} bits" in result.stdout
    assert "model another accepted" in result.stdout
    assert {"distances.png", "trade_off.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_an_interrupted_calibration_goes_on_and_gives_the_same(tmp_path: Path) -> None:
    words = arguments(tmp_path, samples=600)
    process = subprocess.Popen(
        [sys.executable, "-m", "fedmarket", *words], cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    kept = tmp_path / "out/measurements"
    until = time.monotonic() + 90
    while not list(kept.glob("*.digests")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on from there" in told
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.digests")}

    assert run(*words).exit_code == 0
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.digests")}
    assert before.items() <= after.items()
    assert len(after) > len(before)
    resumed = (tmp_path / "out/calibration.json").read_bytes()
    for path in kept.iterdir():
        path.unlink()
    assert run(*words).exit_code == 0
    assert (tmp_path / "out/calibration.json").read_bytes() == resumed


def test_overlapping_distributions_are_refused_with_a_picture(tmp_path: Path) -> None:
    same = tmp_path / "same.i64"
    integer_model.write(tiny_model(), same)
    told = one_line(run(*arguments(tmp_path, "--other-model", str(same))))
    assert "the distributions overlap" in told
    assert "another model same is accepted at" in told
    assert (tmp_path / "out/distances.png").exists()
    assert not (tmp_path / "out/service.json").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--samples", "10"), "to show an honest error of 2.00 % takes 19 at least"),
        (("--digest", "nothing"), "'nothing'"),
        (("--digest", "simhash:centre"), "KIND:NAME=N"),
        (("--decoding", "{"), "--decoding is not JSON"),
        (("--decoding", '{"steps": "many"}'), "steps"),
        (("--example", "vae"), "expected one of --service FILE, --example NAME"),
        (("--honest-error", "0"), "the honest error asked for is 0.0"),
        (("--other-model", "/nowhere.i64"), "/nowhere.i64"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    assert said in one_line(run(*arguments(tmp_path, *more)))


def test_a_model_of_a_job_s_spec_is_calibrated_without_a_document(tmp_path: Path) -> None:
    model, spec = tmp_path / "model.i64", REPOSITORY / "fedmarket/examples/generative/vae.yaml"
    integer_model.write(np.ascontiguousarray(example_model("vae")), model)
    result = run(
        "verify", "calibrate", "--model", str(model), "--spec", str(spec), "--generator", "vae", "--samples", "150",
        "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--json", *ERRORS,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["service"]["digest"] == {"centre": 1, "kind": "simhash"}
    assert EmbeddedStore(tmp_path / "store").size(Cid.parse(told["service"]["model"]["parameters"])) == 8 * len(
        example_model("vae")
    )


def test_prompts_are_a_text_a_line_or_json(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text('[null, {"a": 1}]', "utf-8")
    assert "prompt 1 is {'a': 1}" in one_line(run(*arguments(tmp_path, "--prompts", str(prompts))))
    prompts.write_text("", "utf-8")
    assert "has no prompts" in one_line(run(*arguments(tmp_path, "--prompts", str(prompts))))
    prompts.write_text("a text\n", "utf-8")
    assert "expected null" in one_line(run(*arguments(tmp_path, "--prompts", str(prompts))))
