"""Ethereum keystore files (version 3): the only form in which a private key is kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from eth_account import Account
from eth_account.signers.local import LocalAccount

from market.protocol.errors import InvalidKeystore

Kdf = Literal["scrypt", "scrypt-light", "pbkdf2"]

_WORK_FACTORS: dict[Kdf, tuple[Literal["scrypt", "pbkdf2"], int]] = {
    "scrypt": ("scrypt", 1 << 18),  # 1 s and 256 MB for each guess at the password
    "scrypt-light": ("scrypt", 1 << 12),  # 4 MB: for keys of test networks
    "pbkdf2": ("pbkdf2", 1_000_000),  # where 256 MB are not to be had
}

_TOO_OPEN = stat.S_IRWXO | stat.S_IWGRP
"""Nobody else may read a key file, or change it. The group may read: so containers hand secrets in."""


def create(path: Path, password: str, kdf: Kdf = "scrypt") -> LocalAccount:
    """Make a new key and write it, encrypted, readable by this user only. An existing file is never overwritten.

    Raises:
        InvalidKeystore: the password is empty, the file exists, or it cannot be written.
    """
    return store(path, Account.create(), password, kdf)


def store(path: Path, account: LocalAccount, password: str, kdf: Kdf = "scrypt") -> LocalAccount:
    """Write an existing key as `create` writes a new one. Raises as it does."""
    if not password:
        raise InvalidKeystore(f"keystore {path}: the password is empty")
    if path.exists():
        raise InvalidKeystore(f"keystore {path} exists already: keys are never overwritten")
    name, iterations = _WORK_FACTORS[kdf]
    contents = json.dumps(Account.encrypt(account.key, password, kdf=name, iterations=iterations))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path, contents)
    except FileExistsError as error:
        raise InvalidKeystore(f"keystore {path} exists already: keys are never overwritten") from error
    except OSError as error:
        raise InvalidKeystore(f"keystore {path} cannot be written: {error.strerror}") from error
    return account


def load(path: Path, password: str) -> LocalAccount:
    """Open a keystore.

    Raises:
        InvalidKeystore: the file is missing, damaged, open to others, or the password is another one.
    """
    text = _read_private(path, "keystore")
    try:
        unverified_keystore = json.loads(text)
    except ValueError as error:
        raise InvalidKeystore(f"keystore {path} is damaged: it is not JSON") from error
    if not isinstance(unverified_keystore, dict) or unverified_keystore.get("version") != 3:
        raise InvalidKeystore(f"keystore {path} is not an Ethereum keystore of version 3")
    account: LocalAccount = Account.from_key(_decrypt(path, unverified_keystore, password))
    stated = str(unverified_keystore.get("address", account.address)).lower().removeprefix("0x")
    if stated != account.address.lower().removeprefix("0x"):
        raise InvalidKeystore(
            f"keystore {path} is damaged: it states address 0x{stated} and holds {account.address}'s key"
        )
    return account


def address_in(path: Path) -> str | None:
    """The address that a keystore states, without its password; None where it states none.

    Raises:
        InvalidKeystore: the file is missing, or no keystore.
    """
    try:
        stated = json.loads(_read_private(path, "keystore")).get("address")
    except (ValueError, AttributeError) as error:
        raise InvalidKeystore(f"keystore {path} is damaged: it is not a JSON object") from error
    return None if stated is None else "0x" + str(stated).lower().removeprefix("0x")


def read_password(file: Path | None, prompt: Callable[[], str]) -> str:
    """A password from a file's first line, or from a prompt: never from a command line, which the whole machine sees.

    Raises:
        InvalidKeystore: the file is missing, open to others, or empty.
    """
    if file is None:
        return prompt()
    lines = _read_private(file, "password file").splitlines()
    if not lines or not lines[0]:
        raise InvalidKeystore(f"password file {file} is empty: expected the password in its first line")
    return lines[0]


def _decrypt(path: Path, unverified_keystore: dict[str, Any], password: str) -> bytes:
    try:
        return bytes(Account.decrypt(unverified_keystore, password))
    except ValueError as error:
        if "MAC" in str(error):
            raise InvalidKeystore(f"keystore {path} does not open: wrong password, or the file is damaged") from error
        raise InvalidKeystore(f"keystore {path} is damaged: {str(error)[:100]}") from error
    except (KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise InvalidKeystore(f"keystore {path} is damaged: a field is missing or of another kind") from error


def _read_private(path: Path, what: str) -> str:
    try:
        mode = path.stat().st_mode
        if mode & _TOO_OPEN:
            raise InvalidKeystore(
                f"{what} {path} is open to others (mode {stat.S_IMODE(mode):04o}): run `chmod 600 {path}`"
            )
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidKeystore(f"{what} {path} cannot be read: {reason}") from error


def _write_new(path: Path, contents: str) -> None:
    """Complete or not at all, and never over another file: a link fails where the name is taken."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(contents)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
