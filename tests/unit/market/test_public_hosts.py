"""Addresses that strangers announced: which are followed, how far, and for how long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from market.protocol.errors import InvalidInput
from market.public_hosts import PublicHosts, checked_endpoint, get_bounded, is_public


@contextmanager
def serving(answer: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org", "https://example.org"),
        ("http://example.org:8080/blocks/", "http://example.org:8080/blocks"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
    ],
)
def test_an_endpoint_is_a_host_and_a_path(url: str, expected: str) -> None:
    assert checked_endpoint(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "gopher://example.org:70",
        "http://",
        "http://somebody@example.org",
        "http://somebody:secret@example.org",
        "https://example.org/?a=b",
        "https://example.org/#a",
        "https://example.org:0",
        "https://example.org:99999",
        "https://example.org/a b",
        "https://example.org/\x00",
        "https://exämple.org",
        "http://[::1",
        "https://example.org/" + "a" * 200,
    ],
)
def test_anything_else_is_no_endpoint(url: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        checked_endpoint(url)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_an_address_of_this_machine_or_its_network_is_not(address: str) -> None:
    assert not is_public(address)


def test_a_name_that_stands_for_a_private_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **settings: found)
    with (
        httpx.Client(transport=PublicHosts()) as http,
        pytest.raises(httpx.ConnectError, match=r"is 10\.0\.0\.1, which"),
    ):
        http.get("http://example.org")


def test_this_machine_is_reached_on_a_development_chain_alone() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(request.headers["Host"].encode())

    with serving(answer) as url:
        with httpx.Client(transport=PublicHosts(allow_private=True)) as http:
            assert get_bounded(http, url, 100, 5) == url.removeprefix("http://").encode()
        with httpx.Client(transport=PublicHosts()) as http, pytest.raises(httpx.ConnectError, match="no public"):
            get_bounded(http, url, 100, 5)


def test_redirects_are_not_followed() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", "http://169.254.169.254/latest")
        request.end_headers()

    with (
        serving(answer) as url,
        httpx.Client(transport=PublicHosts(allow_private=True)) as http,
        pytest.raises(httpx.HTTPStatusError, match="status 302"),
    ):
        get_bounded(http, url, 100, 5)


def test_an_answer_without_an_end_is_left() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):  # the other side leaves
            while True:
                request.wfile.write(b"\x00" * 1000)

    with (
        serving(answer) as url,
        httpx.Client(transport=PublicHosts(allow_private=True)) as http,
        pytest.raises(httpx.ReadError, match="more than 5000 bytes"),
    ):
        get_bounded(http, url, 5_000, 60)


def test_an_answer_that_comes_drop_by_drop_is_left() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):  # the other side leaves
            while True:
                time.sleep(0.01)
                request.wfile.write(b"\x00")

    with (
        serving(answer) as url,
        httpx.Client(transport=PublicHosts(allow_private=True)) as http,
        pytest.raises(httpx.ReadTimeout, match="took longer than"),
    ):
        get_bounded(http, url, 1 << 30, 0.1)
