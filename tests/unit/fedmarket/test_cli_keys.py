"""Keys on the command line: made, shown, never printed, never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedmarket.cli import main
from fedmarket.connection import is_light
from market.chain import keystore

PASSWORD = "correct horse"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


def run(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, arguments)], input=typed)


def test_a_new_key_opens_with_its_password_and_is_private(tmp_path: Path, password_file: Path) -> None:
    file = tmp_path / "owner.json"

    made = run("new", "--light", file, "--password-file", password_file)

    account = keystore.load(file, PASSWORD)
    assert made.stdout == f"{account.address}\n"
    assert account.key.hex() not in made.output
    assert file.stat().st_mode & 0o077 == 0
    assert run("show", file).stdout == f"{account.address}\n"


def test_a_password_can_be_typed_twice(tmp_path: Path) -> None:
    file = tmp_path / "owner.json"

    result = run("new", "--light", file, typed=f"{PASSWORD}\n{PASSWORD}\n")

    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert keystore.load(file, PASSWORD).address in result.stdout


def test_without_a_terminal_and_a_file_there_is_no_password(tmp_path: Path) -> None:
    result = run("new", "--light", tmp_path / "owner.json")

    assert result.exit_code == 2
    assert "name a file with --password-file" in result.stderr
    assert not (tmp_path / "owner.json").exists()


def test_a_key_is_never_overwritten(tmp_path: Path, password_file: Path) -> None:
    file = tmp_path / "owner.json"
    run("new", "--light", file, "--password-file", password_file)
    before = file.read_bytes()

    result = run("new", "--light", file, "--password-file", password_file)

    assert result.exit_code == 2
    assert result.stderr == f"fedmarket: error: keystore {file} exists already: keys are never overwritten\n"
    assert file.read_bytes() == before


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path, password_file: Path) -> None:
    password_file.chmod(0o644)

    result = run("new", "--light", tmp_path / "owner.json", "--password-file", password_file)

    assert result.exit_code == 2
    assert "is open to others" in result.stderr


@pytest.mark.parametrize(("contents", "words"), [("{", "damaged"), ("[]", "damaged"), (None, "cannot be read")])
def test_a_file_that_is_no_keystore_is_named(tmp_path: Path, contents: str | None, words: str) -> None:
    file = tmp_path / "owner.json"
    if contents is not None:
        file.write_text(contents)
        file.chmod(0o600)

    result = run("show", file)

    assert result.exit_code == 2
    assert f"keystore {file}" in result.stderr
    assert words in result.stderr


@pytest.mark.parametrize(("n", "light"), [(1 << 12, True), (1 << 18, False)])
def test_a_cheap_keystore_is_known_by_its_work_factor(tmp_path: Path, n: int, light: bool) -> None:
    file = tmp_path / "key.json"
    file.write_text(
        json.dumps({"version": 3, "address": "11" * 20, "crypto": {"kdf": "scrypt", "kdfparams": {"n": n}}})
    )
    file.chmod(0o600)

    assert is_light(file) is light
