"""`fedmarket bench proof`: what it refuses, what it writes to disk, and what it makes of a stage that fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from fedmarket.bench.processes import StageFailed, run_stage
from fedmarket.bench.report import FORMAT, Machine, ProofReport, versions
from fedmarket.bench.stages import STAGES, peak_memory_mib
from fedmarket.bench.workload import SLICE, Workload, available_memory_bytes
from fedmarket.cli import main
from market.protocol.errors import InvalidInput

ROUND = Workload(dimension=100, trainers=3, chunks=1, repeat=1, srs="insecure.ptau")
PLENTY_BYTES = 2**60


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", "proof", *arguments])


def unseen(*progress: object) -> None:
    """Show nothing."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dimension", "0", "--trainers", "4"), "dimension is 0, expected 1 to"),
        (("--dimension", "-5", "--trainers", "4"), "dimension is -5, expected 1 to"),
        (("--dimension", "8", "--trainers", "2"), "trainers is 2, expected 3 to 64"),
        (("--dimension", "8", "--trainers", "65"), "trainers is 65, expected 3 to 64"),
        (("--dimension", "8", "--trainers", "3", "--chunks", "0"), "chunks is 0, expected 1 to 64"),
        (("--dimension", "8", "--trainers", "3", "--chunks", "65"), "chunks is 65, expected 1 to 64"),
        (("--dimension", "8", "--trainers", "64", "--chunks", "15"), "1050 points, expected at most 1024"),
        (("--dimension", "8", "--trainers", "3", "--repeat", "0"), "repeat is 0, expected 1 to"),
        (("--dimension", "x", "--trainers", "3"), "'x' is not a valid integer"),
        (("--dimension", "8"), "Missing option '--trainers'"),
    ],
)
def test_a_round_that_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (2, 1, "")
    assert result.stderr.startswith("fedmarket: error: ")
    assert words in result.stderr


def test_a_round_that_does_not_fit_the_memory_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"the prover takes, in memory, 250 MiB, but 95 MiB are free"):
        ROUND.require_room(tmp_path, 100_000_000)
    assert not list(tmp_path.iterdir())


def test_a_round_that_does_not_fit_the_disk_is_refused(tmp_path: Path) -> None:
    largest = replace(ROUND, dimension=2**30, trainers=64)
    if shutil.disk_usage(tmp_path).free > largest.disk_bytes:
        pytest.skip("the largest round fits this machine's disk")

    with pytest.raises(InvalidInput, match=r"the rows take, in .*, 172,032 MiB, but .* MiB are free"):
        largest.require_room(tmp_path, PLENTY_BYTES)


def test_a_small_round_fits(tmp_path: Path) -> None:
    replace(ROUND, srs=str(tmp_path / "not" / "yet" / "insecure.ptau")).require_room(tmp_path, available_memory_bytes())


def test_a_round_in_more_chunks_takes_less_memory() -> None:
    whole = replace(ROUND, dimension=2**22)

    assert replace(whole, chunks=8).memory_bytes < whole.memory_bytes / 3


@pytest.mark.parametrize("dimension", [1, 100, SLICE, SLICE + 1])
def test_rows_are_drawn_in_range_and_can_be_drawn_again(tmp_path: Path, dimension: int) -> None:
    work = replace(ROUND, dimension=dimension)
    written: list[tuple[int, int]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        work.write(tmp_path / name, lambda done, total: written.append((done, total)))
    one, two = tmp_path / "one", tmp_path / "two"

    assert Workload.read(one) == work
    assert (work.updates(one).shape, work.updates(one).dtype.name) == ((3, dimension), "int16")
    assert (work.public_rows(one).shape, work.public_rows(one).dtype.name) == ((5, dimension), "int64")
    assert sum(file.stat().st_size for file in one.iterdir() if file.suffix != ".json") == work.disk_bytes
    assert np.array_equal(work.updates(one), work.updates(two))
    assert abs(work.public_rows(one)).max() < 2**36
    assert written[7] == (8, 8)


def test_rows_use_their_whole_range(tmp_path: Path) -> None:
    work = replace(ROUND, dimension=20_000)
    work.write(tmp_path, unseen)

    updates, public = work.updates(tmp_path), work.public_rows(tmp_path)
    assert updates.min() < -(2**14) < 2**14 < updates.max()
    assert all(abs(row).max() > 2 ** (bits - 1) for row, bits in zip(public, (28, 28, 28, 36, 36), strict=True))


def test_a_stage_that_says_what_is_wrong_is_quoted(tmp_path: Path) -> None:
    damaged = tmp_path / "insecure.ptau"
    damaged.write_bytes(b"ptau" + bytes(100))
    replace(ROUND, srs=str(damaged)).write(tmp_path, unseen)

    with pytest.raises(InvalidInput, match=r"insecure\.ptau: the format's version is 0"):
        run_stage("commit", tmp_path, unseen)


def test_a_stage_that_breaks_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("not a plan")

    with pytest.raises(StageFailed, match=r"^gram: json.*JSONDecodeError[^\n]*$"):
        run_stage("gram", tmp_path, unseen)


def test_a_stage_without_its_files_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"No such file or directory: .*plan\.json"):
        run_stage("gram", tmp_path, unseen)


def test_the_peak_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    ballast = np.ones(300 * 2**20, np.uint8)
    script = "from fedmarket.bench.stages import peak_memory_mib; print(peak_memory_mib())"
    peak_mib = float(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)

    assert ballast[-1] == 1
    assert 20 < peak_mib < 290 < peak_memory_mib()


def example() -> ProofReport:
    by_stage = dict.fromkeys(STAGES, 1.5)
    sizes = {"argument": 224, "proof": 608}
    machine = Machine(2, "a processor", 1024, "Linux x86_64")
    return ProofReport(100, 3, 1, 3, 112, False, by_stage, {"multiply": 1.0}, by_stage, sizes, 330_000, machine, {})


def test_the_json_document_has_every_field_of_the_report_and_its_format() -> None:
    document = json.loads(json.dumps(example().to_json()))

    assert list(document) == ["format", *(field.name for field in fields(ProofReport))]
    assert document["format"] == FORMAT
    assert document["machine"] == asdict(example().machine)


def test_the_tables_show_every_stage_and_size() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        example().show(console)
    shown = capture.get()

    assert all(
        words in shown for words in ("d = 100, n = 3", "multiply", "verify", "330,000 gas", "224 bytes", "2 cores")
    )


def test_versions_and_machine_are_those_of_this_process() -> None:
    found, machine = versions("anvil"), Machine.here()

    assert found["python"] == sys.version.split()[0]
    assert found["numpy"] == np.__version__
    assert machine.cores >= 1
    assert machine.memory_mib > 100
