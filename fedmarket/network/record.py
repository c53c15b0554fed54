"""What runs in a folder, for who asks: written while a network runs, gone when it has ended. No secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from fedmarket.network.folder import NetworkFolder
from fedmarket.network.roles import RoleState
from market.protocol.errors import InvalidInput
from market.storage.durable_file import locked, write_file

FORMAT = "fedmarket/network/1"


@dataclass(frozen=True)
class RoleRecord:
    """One role, as it was when the record was written.

    Attributes:
        name: its name.
        state: what has become of it.
        pid: of its process, while it runs.
        status: its last exit status, once there is one.
        account: the address that it acts for.
    """

    name: str
    state: RoleState
    pid: int | None
    status: int | None
    account: str | None


@dataclass(frozen=True)
class NetworkRecord:
    """A running network.

    Attributes:
        pid: of the process that runs all others.
        rpc_url: of the chain.
        page_url: of the market.
        deployment: the file that names the contracts.
        roles: everybody.
    """

    pid: int
    rpc_url: str
    page_url: str
    deployment: str
    roles: tuple[RoleRecord, ...]

    def save(self, folder: NetworkFolder) -> None:
        """Write it, whole or not at all."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        write_file(folder.record, [text.encode()])

    @classmethod
    def load(cls, folder: NetworkFolder) -> NetworkRecord:
        """Read what `save` wrote.

        Raises:
            InvalidInput: there is none, or it is damaged.
        """
        try:
            fields: dict[str, Any] = json.loads(folder.record.read_text("utf-8"))
            if fields.pop("format") != FORMAT:
                raise ValueError(f"expected {FORMAT!r}")
            roles = [RoleRecord(**{**role, "state": RoleState(role["state"])}) for role in fields.pop("roles")]
            return cls(roles=tuple(roles), **fields)
        except OSError as error:
            raise InvalidInput(f"{folder.record} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInput(f"{folder.record} is damaged: {error}") from error


@contextmanager
def only_network(folder: NetworkFolder) -> Iterator[None]:
    """Be the one network of this folder; the record is gone afterwards.

    Raises:
        InvalidInput: another one runs here.
        StorageError: the folder cannot be written to.
    """
    folder.home.mkdir(parents=True, exist_ok=True)
    with locked(folder.lock, exclusive=True, wait=False) as held:
        if not held:
            raise InvalidInput(
                f"a network runs in this folder already{_whose(folder)}: `fedmarket dev status` shows it"
            )
        folder.record.unlink(missing_ok=True)
        try:
            yield
        finally:
            folder.record.unlink(missing_ok=True)


def is_running(folder: NetworkFolder) -> bool:
    """Whether a network runs in this folder: the kernel drops its lock however it ends."""
    if not folder.lock.exists():
        return False
    with locked(folder.lock, exclusive=False, wait=False) as free:
        return not free


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _whose(folder: NetworkFolder) -> str:
    try:
        return f" (process {NetworkRecord.load(folder).pid})"
    except InvalidInput:
        return ""
