from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from market.protocol.errors import StorageError
from market.storage.durable_file import locked, make_folder, sweep_leftovers, write_file


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_file(path, [b"one ", b"model"])
    write_file(path, [b"another"])
    assert path.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield b"half of it"
        raise KeyboardInterrupt

    path = tmp_path / "model.bin"
    write_file(path, [b"old"])
    with pytest.raises(KeyboardInterrupt):
        write_file(path, interrupted())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    seen: list[bool] = []

    def watched() -> Iterator[bytes]:
        for part in (b"one ", b"model"):
            seen.append(path.exists())
            yield part
        seen.append(path.exists())

    write_file(path, watched())
    assert seen == [False, False, False]
    assert path.read_bytes() == b"one model"


def test_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    pipe, null = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    null.symlink_to(os.devnull)
    for path in (pipe, null):
        with pytest.raises(StorageError, match="is no file: expected one, or nothing yet"):
            write_file(path, [b"data"])
    assert pipe.is_fifo()
    assert null.is_symlink()
    assert sorted(tmp_path.iterdir()) == [null, pipe]


def test_many_threads_may_create_the_same_folder(tmp_path: Path) -> None:
    threads = 8
    ready = threading.Barrier(threads)

    def create(number: int) -> None:
        ready.wait(timeout=30)
        make_folder(tmp_path / str(number) / "a" / "b")

    with ThreadPoolExecutor(threads) as pool:
        for number in range(200):
            list(pool.map(create, [number] * threads))
    assert len(list(tmp_path.glob("*/a/b"))) == 200


def test_only_leftovers_are_swept(tmp_path: Path) -> None:
    for name in (".0123.part", ".hidden", "named.part", "model.bin"):
        (tmp_path / name).touch()
    sweep_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "named.part", "model.bin"}


@pytest.mark.parametrize(
    ("held", "wanted", "given"), [(False, False, True), (False, True, False), (True, False, False)]
)
def test_a_lock_is_shared_or_held_alone(tmp_path: Path, held: bool, wanted: bool, given: bool) -> None:
    path = tmp_path / "lock"
    with locked(path, exclusive=held), locked(path, exclusive=wanted, wait=False) as got:
        assert got is given
    with locked(path, exclusive=True, wait=False) as free:
        assert free


def test_a_lock_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"), locked(tmp_path / "missing" / "lock", exclusive=True):
        pass
