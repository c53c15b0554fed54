from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from market.chain import keystore
from market.protocol.errors import InvalidKeystore

PASSWORD = "correct horse"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "keys" / "owner.json"
    return path, keystore.create(path, PASSWORD, "scrypt-light").address


def test_created_key_opens_with_its_password(made: tuple[Path, str]) -> None:
    path, address = made
    assert keystore.load(path, PASSWORD).address == address
    assert keystore.address_in(path) == address.lower()


def test_created_file_is_private_and_leaves_no_draft(made: tuple[Path, str]) -> None:
    path, _ = made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_key_is_not_in_the_file_in_the_clear(tmp_path: Path) -> None:
    account = keystore.create(tmp_path / "k.json", PASSWORD, "scrypt-light")
    assert account.key.hex().removeprefix("0x") not in (tmp_path / "k.json").read_text().lower()


def test_existing_file_is_never_overwritten(made: tuple[Path, str]) -> None:
    path, address = made
    with pytest.raises(InvalidKeystore, match="exists already"):
        keystore.create(path, "another", "scrypt-light")
    assert keystore.load(path, PASSWORD).address == address


def test_wrong_password_is_refused_in_one_line(made: tuple[Path, str]) -> None:
    with pytest.raises(InvalidKeystore, match="wrong password") as caught:
        keystore.load(made[0], "incorrect horse")
    assert "\n" not in str(caught.value)


def test_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeystore, match="password is empty"):
        keystore.create(tmp_path / "k.json", "", "scrypt-light")
    assert not (tmp_path / "k.json").exists()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeystore, match=r"nowhere\.json cannot be read: No such file"):
        keystore.load(tmp_path / "nowhere.json", PASSWORD)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602])
def test_file_open_to_others_is_refused(made: tuple[Path, str], mode: int) -> None:
    made[0].chmod(mode)
    with pytest.raises(InvalidKeystore, match=f"mode {mode:04o}.*chmod 600"):
        keystore.load(made[0], PASSWORD)


def test_file_that_the_group_may_read_opens(made: tuple[Path, str]) -> None:
    made[0].chmod(0o440)
    assert keystore.load(made[0], PASSWORD).address == made[1]


def damage(path: Path, change: Any) -> None:
    contents = json.loads(path.read_text())
    change(contents)
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("crypto"),
        lambda c: c.update(version=4),
        lambda c: c.update(crypto="x"),
        lambda c: c["crypto"].pop("kdfparams"),
        lambda c: c["crypto"].update(kdf="rot13"),
        lambda c: c["crypto"]["kdfparams"].update(salt="zz"),
        lambda c: c["crypto"]["kdfparams"].update(n=3),
        lambda c: c["crypto"]["kdfparams"].update(n="many"),
        lambda c: c["crypto"]["kdfparams"].update(n=1 << 40),
        lambda c: c["crypto"].update(ciphertext="00" * 32),
        lambda c: c["crypto"].update(mac="00"),
        lambda c: c["crypto"].update(mac=7),
        lambda c: c["crypto"]["cipherparams"].update(iv=None),
        lambda c: c.update(address="00" * 20),
    ],
)
def test_damaged_keystore_is_refused_in_one_line(made: tuple[Path, str], change: Any) -> None:
    damage(made[0], change)
    with pytest.raises(InvalidKeystore, match=r"owner\.json") as caught:
        keystore.load(made[0], PASSWORD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"version": 3}'])
def test_what_is_no_keystore_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidKeystore):
        keystore.load(path, PASSWORD)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_bytes(b"\xff\xfe\x00")
    path.chmod(0o600)
    with pytest.raises(InvalidKeystore, match="it is not text"):
        keystore.load(path, PASSWORD)


def test_password_comes_from_the_first_line_of_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret words\nnot this\n")
    file.chmod(0o600)
    assert keystore.read_password(file, lambda: "prompted") == "secret words"
    file.chmod(0o644)
    with pytest.raises(InvalidKeystore, match="open to others"):
        keystore.read_password(file, lambda: "prompted")


def test_password_is_asked_for_where_there_is_no_file(tmp_path: Path) -> None:
    assert keystore.read_password(None, lambda: "prompted") == "prompted"
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "empty").chmod(0o600)
    with pytest.raises(InvalidKeystore, match="is empty"):
        keystore.read_password(tmp_path / "empty", lambda: "prompted")
