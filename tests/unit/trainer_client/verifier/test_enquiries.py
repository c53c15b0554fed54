from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from market.protocol.errors import StorageError
from trainer_client.verifier import enquiries
from trainer_client.verifier.enquiries import MOST, Enquiries
from trainer_client.verifier.services import Pool

POOL = Pool(b"\x01" * 32, 1, 30, 0, 256)


class Slow:
    """Services whose contents come when they are let; those of request 9 never."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked: list[bytes] = []

    def known(self, *key: Any) -> None:
        return None

    def question(self, pool: Pool, digest: bytes, samples: int) -> Any:
        self.asked.append(digest)
        self.let.wait(60)
        if digest == b"\x09":
            raise StorageError("nobody has it")
        return digest


@pytest.fixture
def services() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.let.set()


def test_contents_on_their_way_are_asked_for_once_and_keep_nobody_waiting(
    services: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enquiries, "PATIENCE_S", 0.0)
    asking = Enquiries(services)  # type: ignore[arg-type]
    for _ in range(3):
        asking.begin()
        assert asking.question(POOL, b"\x01", 1) is None
    monkeypatch.setattr(enquiries, "PATIENCE_S", 60.0)
    services.let.set()
    asking.begin()
    answer: object = asking.question(POOL, b"\x01", 1)
    assert answer == b"\x01"
    assert services.asked == [b"\x01"]


def test_what_cannot_be_had_is_told_and_asked_for_again(services: Slow) -> None:
    asking = Enquiries(services)  # type: ignore[arg-type]
    services.let.set()
    for _ in range(2):
        asking.begin()
        with pytest.raises(StorageError, match="nobody has it"):
            asking.question(POOL, b"\x09", 1)
    assert len(services.asked) == 2


def test_only_so_many_contents_are_waited_for_at_once(services: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enquiries, "PATIENCE_S", 0.0)
    asking = Enquiries(services)  # type: ignore[arg-type]
    asking.begin()
    for number in range(2 * MOST):
        assert asking.question(POOL, bytes([100 + number]), 1) is None
    assert len(asking._under_way) == MOST
