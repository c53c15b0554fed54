"""Hosts that strangers named: only those of the public internet are gone to, and to what was looked at."""

from __future__ import annotations

import socket

import pytest

from market.protocol.errors import SourceUnavailable
from market.storage.cid import Cid
from market.storage.gateway import GatewayBlocks
from market.storage.public_hosts import is_public
from market.storage.punctual_http import PunctualHttp
from tests.unit.storage.hostile_servers import answering, behaving


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
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1",
        "fec0::1",
    ],
)
def test_an_address_of_this_machine_or_its_network_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("private", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:192.168.0.1"])
def test_a_name_that_stands_for_a_private_address_too_is_not_gone_to(
    monkeypatch: pytest.MonkeyPatch, private: str
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.216.34", private)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **settings: found)
    http = PunctualHttp("http://example.org", "a stranger", public_only=True)
    with pytest.raises(SourceUnavailable, match=f"is {private}, which is no public address"):
        http.exchange("GET", "/", timeout_s=5, limit_bytes=100)


def test_a_name_is_looked_up_once_and_what_was_looked_at_is_gone_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is looked at and private a moment later leads nowhere private."""
    gone_to: list[str] = []

    def look_up(host: str, *arguments: object, **settings: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]

    def connect(address: tuple[str, int], *arguments: object, **settings: object) -> socket.socket:
        gone_to.append(address[0])
        raise OSError("nobody is asked in a test")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SourceUnavailable):
        PunctualHttp("http://example.org", "a stranger", public_only=True).exchange(
            "GET", "/", timeout_s=5, limit_bytes=100
        )
    assert set(gone_to) == {"93.184.216.34"}


def test_this_machine_is_gone_to_where_no_stranger_named_it() -> None:
    block = b"a block"
    cid = Cid.of_block(block, 0x55)
    with behaving(answering("200 OK", block)) as url:
        assert GatewayBlocks(url).get_block(cid) == block
        with pytest.raises(SourceUnavailable, match="no public address"):
            GatewayBlocks(url, public_only=True).get_block(cid)
