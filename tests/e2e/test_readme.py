"""The README's role pages, run as written: one shell, one after the other, on a chain of their own."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys

import pytest

from fedmarket.devnet import REPOSITORY
from tests.unit.fedmarket.command_lines import parses

QUICKER = {
    "rounds: 8": "rounds: 1",
    "enrol_s: 120": "enrol_s: 45",
    "commit_s: 60": "commit_s: 30",
    "reveal_s: 20": "reveal_s: 12",
    "settle_s: 40": "settle_s: 20",
    "vesting_s: 30": "vesting_s: 5",
}
"""One round in place of eight, and short phases: all else is as the reader has it."""

BEGINNING = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
"""Whatever happens, the chain ends with the shell."""

ENDING = """
attestor=$(jobs -p '%?attestor run')  # stays until the job is closed
market=$(jobs -p '%?market run')  # and this one for ever
for process in $(jobs -p | tail -n +2); do  # owner, trainers; the first is the chain
    [ $process = $attestor ] || [ $process = $market ] || wait $process
done
sleep 8
fedmarket job close 0 --keystore keys/owner.json
fedmarket job model 0 model.npz
for i in 0 1 2; do fedmarket trainer claim 0 --stake --keystore keys/trainer-$i.json; done
fedmarket aggregator claim 0 --keystore keys/aggregator.json
fedmarket audit 0
fedmarket job show 0
"""


def role_pages() -> str:
    """All shell blocks from the network's page to the auditor's, without the installation."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    pages = text[text.index("## A network of one's own") : text.index("## What holds")]
    blocks = re.findall(r"^```sh\n(.*?)^```", pages, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 9, "a page of the README gained or lost its commands"
    return "".join(blocks).replace("make set-up && source .venv/bin/activate\n", "")


def quickened(script: str) -> str:
    edits = "".join(f" -e 's/{slow}/{quick}/'" for slow, quick in QUICKER.items())
    edit = "> job.yaml   # commented; edit it\n"
    assert edit in script
    return script.replace(edit, f"{edit}sed -i.bak{edits} job.yaml\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder, port = tmp_path_factory.mktemp("reader"), free_port()
    launcher = folder / "bin" / "fedmarket"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m fedmarket "$@"\n', "utf-8")
    launcher.chmod(0o755)
    script = quickened(role_pages()).replace("fedmarket dev chain ", f"fedmarket dev chain --port {port} ")
    market_port = free_port()
    script = script.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{market_port}")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FEDMARKET_")},
        "PATH": f"{launcher.parent}:{os.environ['PATH']}",
        "FEDMARKET_RPC": f"http://127.0.0.1:{port}",
        "FEDMARKET_MARKET_PORT": str(market_port),
    }
    return subprocess.run(
        ["bash", "-e", "-c", BEGINNING + script + ENDING],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )


pytestmark = pytest.mark.timeout(480)


def test_every_command_of_the_role_pages_succeeds(walked: subprocess.CompletedProcess[str]) -> None:
    assert walked.returncode == 0, walked.stdout[-4000:] + walked.stderr[-4000:]


def test_no_command_shows_a_traceback(walked: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in walked.stdout + walked.stderr


def test_the_readers_job_ends_settled_paid_and_audited(walked: subprocess.CompletedProcess[str]) -> None:
    assert "mismatch" not in walked.stdout
    assert "closed" in walked.stdout


def test_every_file_that_the_readme_names_exists() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    named = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_every_command_that_the_readme_shows_at_a_prompt_exists() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    shown = re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE)
    commands = [shlex.split(part) for line in shown for part in line.split(" && ")]
    assert commands
    for program, *arguments in commands:
        if program == "fedmarket":
            parses(arguments)
        else:
            assert program in ("docker", "make") or os.access(REPOSITORY / program, os.X_OK), program


def test_every_make_target_that_the_readme_names_exists() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", text)) - {"and"}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []
