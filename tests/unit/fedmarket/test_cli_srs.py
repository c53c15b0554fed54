"""Reference strings on the command line: made, imported, shown, and every mistake told in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedmarket import cli
from fedmarket.cli import main
from tests.unit.zk.ptau_files import PtauFile, g1, header
from zk.errors import InvalidProof, InvalidSrs
from zk.srs import INSECURE_FILE, INSECURE_SRS_ID, Anchor, find_srs, make_insecure, open_srs

REPOSITORY = Path(cli.__file__).parents[1]


def run(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["srs", *map(str, arguments), "--srs", str(folder)])


def refuses(result: Result, words: str) -> None:
    assert (len(result.stderr.splitlines()), result.exit_code) == (1, 2), (result.stderr, result.exception)
    assert result.stderr.startswith("fedmarket: error: ")
    assert words in result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "srs"


@pytest.fixture
def ceremony(tmp_path: Path) -> Path:
    return PtauFile().write(tmp_path / "pot.ptau")


def test_the_insecure_srs_is_made_and_called_insecure(folder: Path) -> None:
    made = run(folder, "make", "--points", 100)

    assert made.exit_code == 0
    assert INSECURE_SRS_ID.hex() in made.stdout
    assert "88 a chunk" in made.stdout
    assert "no: everybody knows its tau" in made.stdout
    assert len(open_srs(folder / INSECURE_FILE).points) == 100


def test_an_import_is_found_by_its_id(folder: Path, ceremony: Path) -> None:
    result = run(folder, "import", ceremony, "--points", 14)

    assert result.exit_code == 0
    [path] = folder.glob("*.ptau")
    srs = find_srs(folder, bytes.fromhex(path.stem), 14)
    assert len(srs.points) == 14
    assert path.stem in result.stdout
    assert "2 a chunk" in result.stdout
    assert "a ceremony of power 28, checked when it was imported" in result.stdout


def test_all_points_are_taken_unless_told_otherwise(folder: Path, ceremony: Path) -> None:
    run(folder, "import", ceremony)

    [path] = folder.glob("*.ptau")
    assert len(open_srs(path).points) == 15


def test_what_is_here_is_shown(folder: Path, ceremony: Path) -> None:
    assert "no SRS in" in run(folder, "show").stdout
    run(folder, "import", ceremony)
    run(folder, "make", "--points", 20)

    shown = run(folder, "show")

    assert shown.exit_code == 0
    assert shown.stdout.count("points ") == 2
    assert "no: everybody" in shown.stdout
    one = run(folder, "show", folder / INSECURE_FILE)
    assert one.stdout.count("points ") == 1


def test_a_damaged_file_is_named_and_the_others_are_shown(folder: Path) -> None:
    run(folder, "make", "--points", 20)
    (folder / "broken.ptau").write_bytes(b"ptau")

    shown = run(folder, "show")

    assert INSECURE_SRS_ID.hex() in shown.stdout
    refuses(shown, "broken.ptau is truncated")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (PtauFile(header=header(2**255 - 19)), "expected BN254"),
        (PtauFile(magic=b"zkey"), "is no powers-of-tau file"),
        (PtauFile(tau_g1=[g1(k) for k in (*range(9), 10, 9)]), "are not successive powers of the tau"),
    ],
    ids=["other curve", "other format", "swapped points"],
)
def test_a_wrong_file_is_refused_and_nothing_is_kept(tmp_path: Path, folder: Path, file: PtauFile, words: str) -> None:
    refuses(run(folder, "import", file.write(tmp_path / "pot.ptau")), words)
    assert {path.name for path in folder.glob("*")} <= {".lock"}


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, folder: Path, ceremony: Path) -> None:
    refuses(run(folder, "import", tmp_path / "nothing.ptau"), "No such file")
    refuses(run(folder, "import", ceremony, "--points", 16), "has 15 points, expected 16")
    refuses(run(folder, "import", ceremony, "--points", "many"), "'many' is not a valid integer")
    refuses(run(folder, "make", "--points", 1), "cannot have 1 points")
    refuses(run(folder, "make"), "Missing option '--points'")
    refuses(run(folder, "show", ceremony), "has not been checked: `fedmarket srs import")
    insecure = make_insecure(folder / INSECURE_FILE, 20).path
    refuses(run(folder, "import", insecure), "is the insecure SRS that `fedmarket srs make` makes")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, ceremony: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")

    result = run(file, "import", ceremony)

    assert result.exit_code == 1
    assert result.stderr == f"fedmarket: error: {file}: File exists\n"


@pytest.mark.parametrize(("error", "status"), [(InvalidSrs("too\nshort"), 2), (InvalidProof("opens to another"), 1)])
def test_the_proof_systems_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, folder: Path, ceremony: Path, error: Exception, status: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Anchor, "read", fail)

    result = run(folder, "import", ceremony)

    assert (result.stderr, result.exit_code) == (f"fedmarket: error: {' '.join(str(error).split())}\n", status)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fedmarket", "srs", "make", "--points", str(1 << 24), "--srs", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_points(folder, process)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()

    assert process.returncode == 128 + number
    assert said == "nothing was written: start it again when you like\n"
    assert [path.name for path in folder.iterdir()] == [".lock"]


def wait_for_points(folder: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if any(path.stat().st_size > 1 << 20 for path in folder.glob(".*.part")):
            return
        assert process.poll() is None
        time.sleep(0.1)
    pytest.fail("no points were written")


def test_the_commands_load_the_arithmetic_only_when_they_run() -> None:
    script = (
        "import sys, fedmarket.cli, fedmarket.commands.srs; print([n for n in ('numba', 'zk.srs') if n in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
