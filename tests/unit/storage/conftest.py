"""A store in an empty folder, and the content of the shared vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from market.storage import EmbeddedStore

Content = Callable[[int], bytes]


def deterministic_content(size_bytes: int) -> bytes:
    """Byte i is (i ^ i>>8 ^ i>>16 ^ i>>24) & 255, the formula of tests/vectors/cids.json."""
    low = bytes((i ^ i >> 8) & 255 for i in range(1 << 16))
    pieces = []
    for high in range(-(-size_bytes // len(low))):
        mask = (high ^ high >> 8) & 255
        pieces.append(low.translate(bytes(value ^ mask for value in range(256))))
    return b"".join(pieces)[:size_bytes]


@pytest.fixture(scope="session")
def content() -> Content:
    return deterministic_content


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")
