"""Connecting, and what is said where that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from fedmarket.devnet import Devnet
from market.chain.connection import Chain
from market.protocol.errors import ChainUnreachable, NodeRefused, WrongChain


def test_connection_knows_its_chain(devnet: Any) -> None:
    chain = Chain.connect(devnet.url, expected_chain_id=31337)
    assert chain.chain_id == 31337
    assert chain.is_development_chain
    assert chain.timestamp() == devnet.timestamp()


def test_other_chain_is_refused_with_both_numbers(devnet: Any) -> None:
    with pytest.raises(WrongChain, match=r"serves chain 31337, expected chain 1$"):
        Chain.connect(devnet.url, expected_chain_id=1)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is no address of a node"),
        ("nonsense", "is no address of a node"),
        ("127.0.0.1:8545", "is no address of a node"),
        ("ws://127.0.0.1:8545", "expected http://HOST:PORT"),
        ("http://", "is no address of a node"),
        ("http://[bad", "is no address"),
        ("http://127.0.0.1:99999", "is no address"),
        ("http://127.0.0.1:1", "no node answers at http://127.0.0.1:1: connection refused"),
    ],
)
def test_address_without_a_node_is_refused_in_one_line(url: str, reason: str) -> None:
    with pytest.raises(ChainUnreachable) as caught:
        Chain.connect(url)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


class Impostor:
    """A server on loopback that answers every request with the next of these answers, the last one for ever."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        impostor = self
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body = answers[min(impostor.requests, len(answers) - 1)]
                impostor.requests += 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def impostors() -> Iterator[list[Impostor]]:
    running: list[Impostor] = []
    yield running
    for impostor in running:
        impostor.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"hello"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'"x"'),
        (200, b'{"error": "x"}'),
        (200, b'{"jsonrpc": "2.0", "id": 0, "result": null}'),
        (200, b'{"jsonrpc": "2.0", "id": 0, "result": "zz"}'),
        (404, b"not found"),
        (503, b"busy"),
    ],
)
def test_what_is_no_node_is_refused_in_one_line(status: int, body: bytes, impostors: list[Impostor]) -> None:
    impostors.append(Impostor((status, body)))
    with pytest.raises(ChainUnreachable) as caught:
        Chain.connect(impostors[0].url)
    assert "\n" not in str(caught.value)


def test_node_that_refuses_says_so_in_its_own_words(impostors: list[Impostor]) -> None:
    impostors.append(Impostor((200, b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": "pay first"}}')))
    with pytest.raises(NodeRefused, match="refused: pay first"):
        Chain.connect(impostors[0].url)


def test_messages_never_show_the_path_or_user_of_an_address(impostors: list[Impostor]) -> None:
    impostors.append(Impostor((500, b"")))
    with pytest.raises(ChainUnreachable) as caught:
        Chain.connect(impostors[0].url.replace("http://", "http://user:hunter2@") + "/v3/my-api-key")
    assert "my-api-key" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_read_is_tried_again_where_the_way_to_the_node_fails(impostors: list[Impostor]) -> None:
    good = b'{"jsonrpc": "2.0", "id": 0, "result": "0x7"}'
    client = b'{"jsonrpc": "2.0", "id": 0, "result": "node/1"}'
    impostors.append(Impostor((200, good), (200, client), (503, b""), (503, b""), (200, good)))
    chain = Chain.connect(impostors[0].url)
    assert chain.block_number() == 7
    assert impostors[0].requests == 5


def test_read_gives_up_after_a_bounded_number_of_attempts(
    impostors: list[Impostor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.chain.connection.FIRST_PAUSE_S", 0.001)
    good = b'{"jsonrpc": "2.0", "id": 0, "result": "0x7"}'
    impostors.append(Impostor((200, good), (200, good), (503, b"")))
    chain = Chain.connect(impostors[0].url)
    with pytest.raises(ChainUnreachable, match="HTTP status 503"):
        chain.block_number()
    assert impostors[0].requests == 2 + 5


def test_public_chain_with_a_development_number_is_no_development_chain(impostors: list[Impostor]) -> None:
    def named(client: bytes) -> Chain:
        number = b'{"jsonrpc": "2.0", "id": 0, "result": "0x7a69"}'
        impostors.append(Impostor((200, number), (200, b'{"jsonrpc": "2.0", "id": 0, "result": "' + client + b'"}')))
        return Chain.connect(impostors[-1].url)

    assert not named(b"Geth/v1.14").is_development_chain
    assert named(b"HardhatNetwork/2.22").is_development_chain


def test_a_proxy_in_the_environment_does_not_stand_before_loopback(
    devnet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert Chain.connect(devnet.url).chain_id == 31337


def test_block_that_does_not_exist_is_refused(chain: Chain) -> None:
    """As by a node that lags behind the one that answered before."""
    with pytest.raises(NodeRefused):
        chain.block(10**9)
    assert not chain.has_block(10**9, bytes(32))
    assert not chain.has_block(0, bytes(32))
    assert chain.has_block(0, bytes(chain.block(0)["hash"]))


def test_wait_for_ends_when_the_moment_comes(devnet: Any, chain: Chain) -> None:
    moment_s = chain.timestamp() + 500
    looks: list[int] = []

    def advance_at_the_third_look() -> bool:
        looks.append(1)
        if len(looks) == 3:
            devnet.advance(500)
        return False

    assert chain.wait_for(moment_s, poll_s=0.001, should_stop=advance_at_the_third_look)
    assert len(looks) == 3


def test_wait_for_ends_when_it_should_stop(chain: Chain) -> None:
    assert not chain.wait_for(chain.timestamp() + 500, poll_s=0.001, should_stop=lambda: True)


def test_requests_come_from_several_threads(chain: Chain) -> None:
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(chain.block_number())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == [chain.block_number()] * 8


def test_devnet_is_gone_after_it_is_closed() -> None:
    with Devnet() as running:
        url = running.url
    with pytest.raises(requests.ConnectionError):
        requests.post(url, json={}, timeout=5)
