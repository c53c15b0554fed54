"""Bodies that never come: who sends them is answered, and holds nothing for long."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from market.db.engine import connect
from tests.served import reader, served


@pytest.mark.parametrize("trickle", [b"", b" "], ids=["nothing comes", "a byte at a time"])
def test_body_that_does_not_come_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trickle: bytes) -> None:
    monkeypatch.setattr("market.api.limits.BODY_S", 0.5)
    engine = connect(f"sqlite:///{tmp_path / 'market.db'}")
    with served(reader(engine, tmp_path)) as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
            head = f"POST /api/v1/specs/check HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 60000\r\n\r\n{{".encode())
            began_s = time.monotonic()
            connection.settimeout(0.1)
            answer = b""
            while not answer:
                assert time.monotonic() < began_s + 5
                try:
                    connection.sendall(trickle)
                    answer = connection.recv(4_000)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        assert b"connection: close" in answer.lower()
    engine.dispose()
