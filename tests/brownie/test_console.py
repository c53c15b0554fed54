"""The Brownie console on a real chain: run by `make test-brownie`, and not by a plain pytest.

Brownie has a virtual environment of its own, and nothing of it is imported here: its plugin would take this run over.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedmarket.cli import main
from fedmarket.devnet import REPOSITORY, Devnet
from market.chain.deployment import Deployment

PYTHON = REPOSITORY / ".venv-brownie" / "bin" / "python"
CONSOLE = REPOSITORY / "tools" / "brownie" / "console.py"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A chain with a marketplace; what finds it."""
    deployment = tmp_path_factory.mktemp("network") / "deployment.json"
    with Devnet() as chain:
        made = CliRunner().invoke(main, ["dev", "deploy", "--rpc", chain.url, "--deployment", str(deployment)])
        assert made.exit_code == 0, made.stderr
        yield {"FEDMARKET_RPC": chain.url, "FEDMARKET_DEPLOYMENT": str(deployment)}


def console(
    folder: Path, network: dict[str, str], *arguments: object, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, CONSOLE, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **network, "NO_COLOR": "1"},
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_script_reads_the_deployed_contracts(tmp_path: Path, network: dict[str, str]) -> None:
    deployment = Deployment.load(Path(network["FEDMARKET_DEPLOYMENT"]))
    script = tmp_path / "look.py"
    seen = "market.jobCount(), market.address, rules.address, verifier.srsId(), directory.address, chain.id"
    script.write_text(f'print("saw", {seen})\n')

    ran = console(tmp_path, network, script)

    assert ran.returncode == 0, ran.stderr
    contracts = f"{deployment.job_market} {deployment.round_rules} 0x{deployment.srs_id.hex()} {deployment.directory}"
    assert ran.stdout.endswith(f"saw 0 {contracts} 31337\n")


def test_lines_that_are_typed_are_answered(tmp_path: Path, network: dict[str, str]) -> None:
    ran = console(tmp_path, network, typed='print("there are", market.jobCount(), "jobs")\n')

    assert ran.returncode == 0, ran.stderr
    assert "there are 0 jobs" in ran.stdout
    assert "market, rules, verifier and directory are the deployed contracts" in ran.stdout + ran.stderr


def test_nothing_is_written_where_it_is_run(tmp_path: Path, network: dict[str, str]) -> None:
    home = tmp_path / "home"
    home.mkdir()

    ran = console(tmp_path, {**network, "HOME": str(home)}, typed="market.jobCount()\n")

    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == [home]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [(["--rpc", "http://127.0.0.1:9"], 1, "no market at"), (["--deployment", "nowhere.json"], 2, "nowhere.json")],
)
def test_a_network_that_is_not_there_is_one_line(
    tmp_path: Path, network: dict[str, str], arguments: list[str], status: int, words: str
) -> None:
    ran = console(tmp_path, network, *arguments)

    assert (ran.returncode, len(ran.stderr.splitlines())) == (status, 1), ran.stderr
    assert words in ran.stderr
