"""The scripts in tools/ behave like the native programs that their callers take them for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"
SOURCE = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\n"


def run(
    program: Path, *arguments: str, stdin: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], input=stdin, cwd=folder, capture_output=True, text=True, timeout=60)


def compile_import(folder: Path, name: str, *arguments: str) -> list[str]:
    """Compile one source that imports `name`, in `folder`, and give the messages of the errors."""
    request = {"language": "Solidity", "sources": {"Main.sol": {"content": SOURCE + f'import "{name}";'}}}
    answer = json.loads(
        run(TOOLS / "solc", "--standard-json", *arguments, stdin=json.dumps(request), folder=folder).stdout
    )
    return [error["message"] for error in answer.get("errors", [])]


def test_solc_tells_its_version_as_the_native_compiler_does() -> None:
    first, second = (run(TOOLS / "solc", "--version").stdout for _ in range(2))
    assert first == second
    assert first.splitlines() == [
        "solc, the solidity compiler commandline interface",
        "Version: 0.8.30+commit.73712a01.Linux.g++",
    ]


def test_solc_reads_its_request_from_a_file_too(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"language": "Solidity", "sources": {"A.sol": {"content": "contract"}}}', "utf-8")
    answer = json.loads(run(TOOLS / "solc", "--standard-json", str(request)).stdout)
    assert answer["errors"][0]["type"] == "ParserError"


def test_solc_reads_imports_below_its_base_include_and_allowed_folders(tmp_path: Path) -> None:
    for folder in ("base", "include", "allowed"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.sol").write_text(SOURCE, "utf-8")
    options = ("--base-path", "base", "--include-path=include", "--allow-paths", "allowed,elsewhere")
    assert compile_import(tmp_path, "base.sol", *options) == []
    assert compile_import(tmp_path, "include.sol", *options) == []
    assert compile_import(tmp_path, f"{tmp_path}/allowed/allowed.sol", *options) == []


def test_solc_reads_no_import_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "secret.sol").write_text(SOURCE, "utf-8")
    (tmp_path / "base" / "link.sol").symlink_to(tmp_path / "secret.sol")
    outside = f"{tmp_path}/secret.sol"
    for name in (outside, "link.sol"):
        (message,) = compile_import(tmp_path, name, "--base-path", "base")
        assert "outside of allowed directories" in message
    (message,) = compile_import(tmp_path, outside, "--no-import-callback")
    assert "not found" in message


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "only --version and --standard-json"),
        (("--optimize", "--standard-json"), "unknown option --optimize"),
        (("--standard-json", "--base-path"), "--base-path needs a value"),
        (("--standard-json", "missing.json"), "no such file"),
    ],
)
def test_solc_refuses_what_it_cannot_do_in_one_line(arguments: tuple[str, ...], problem: str) -> None:
    refusal = run(TOOLS / "solc", *arguments)
    assert refusal.returncode == 1
    assert problem in refusal.stderr
    assert len(refusal.stderr.splitlines()) == 1


@pytest.mark.parametrize("tool", ["anvil", "forge"])
def test_foundry_tools_pass_on_the_exit_status(tool: str) -> None:
    assert run(TOOLS / tool, "--version").stdout.startswith(f"{tool} Version: 1.7.1")
    assert run(TOOLS / tool, "--no-such-option").returncode == 2


@pytest.mark.parametrize("tool", ["anvil", "forge", "solc"])
def test_missing_packages_are_named(tool: str, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(TOOLS / tool, tmp_path / "tools" / tool)
    refusal = run(tmp_path / "tools" / tool, "--version")
    assert refusal.returncode == 1
    assert "npm ci" in refusal.stderr
    assert len(refusal.stderr.splitlines()) == 1
