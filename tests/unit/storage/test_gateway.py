from __future__ import annotations

import hashlib
import socket
import threading

import pytest

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidInput, SourceUnavailable
from market.storage import Cid, EmbeddedStore
from market.storage.block_server import BlockServer
from market.storage.content_store import MAX_BLOCK_BYTES
from market.storage.gateway import GatewayBlocks
from tests.unit.storage.conftest import Content
from tests.unit.storage.hostile_servers import Conduct, answering, behaving, dripping, endless, request, silent

BLOCK = b"a block"
CID = Cid.of_block(BLOCK, 0x55)


def test_block_of_another_store_is_read(store: EmbeddedStore, content: Content) -> None:
    cid = store.add_bytes(content(600_000))
    with BlockServer(store) as server:
        assert GatewayBlocks(server.url).get_block(cid) == store.get_block(cid)


def test_block_that_is_not_there_is_not_found_and_the_gateway_named(store: EmbeddedStore) -> None:
    with BlockServer(store) as server, pytest.raises(BlockNotFound, match=server.url):
        GatewayBlocks(server.url).get_block(CID)


def test_other_bytes_are_refused_and_their_sender_named() -> None:
    with behaving(answering("200 OK", b"b block")) as url, pytest.raises(CorruptBlock, match=url):
        GatewayBlocks(url).get_block(CID)


def test_one_flipped_bit_is_seen() -> None:
    flipped = bytes([BLOCK[0] ^ 1]) + BLOCK[1:]
    with behaving(answering("200 OK", flipped)) as url, pytest.raises(CorruptBlock, match=str(CID)):
        GatewayBlocks(url).get_block(CID)


def test_body_longer_than_any_block_is_not_read_on() -> None:
    with behaving(endless) as url, pytest.raises(CorruptBlock, match=f"more than {MAX_BLOCK_BYTES}"):
        GatewayBlocks(url).get_block(CID)


def test_body_that_is_cut_off_is_no_block() -> None:
    conduct = answering("200 OK", BLOCK[:3], length=len(BLOCK))
    with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="broke off"):
        GatewayBlocks(url).get_block(CID)


@pytest.mark.parametrize("conduct", [silent, dripping])
def test_server_that_keeps_one_waiting_is_left_in_time(conduct: Conduct) -> None:
    with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="no whole answer within"):
        GatewayBlocks(url, timeout_s=0.5).get_block(CID)


def test_body_that_never_ends_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def conduct(connection: socket.socket, over: threading.Event) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not over.wait(0.05):
            connection.sendall(b".")

    monkeypatch.setattr("market.storage.gateway.BODY_S", 0.5)
    with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="no whole answer within"):
        GatewayBlocks(url, timeout_s=0.5).get_block(CID)


def test_block_that_comes_slowly_has_longer_than_one_that_does_not_come() -> None:
    def conduct(connection: socket.socket, over: threading.Event) -> None:
        request(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BLOCK)}\r\n\r\n".encode())
        over.wait(0.6)
        connection.sendall(BLOCK)

    with behaving(conduct) as url:
        assert GatewayBlocks(url, timeout_s=0.5).get_block(CID) == BLOCK


def test_server_that_is_down_is_named() -> None:
    with behaving(silent) as url:
        pass
    with pytest.raises(SourceUnavailable, match=f"{url}: cannot be reached"):
        GatewayBlocks(url).get_block(CID)


def test_redirect_is_not_followed(store: EmbeddedStore) -> None:
    cid = store.add_bytes(BLOCK)
    with BlockServer(store) as server:
        conduct = answering("302 Found", b"", f"Location: {server.url}/ipfs/{cid}?format=raw")
        with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="redirects"):
            GatewayBlocks(url).get_block(cid)


def test_compressed_answer_is_not_unpacked() -> None:
    with (
        behaving(answering("200 OK", b"\x1f\x8b", "Content-Encoding: gzip")) as url,
        pytest.raises(CorruptBlock, match="another hash"),
    ):
        GatewayBlocks(url).get_block(CID)


def test_what_is_no_http_is_no_gateway() -> None:
    def conduct(connection: socket.socket, over: threading.Event) -> None:
        request(connection)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

    with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="broke off"):
        GatewayBlocks(url).get_block(CID)


def test_what_may_pass_is_asked_for_again() -> None:
    asked: list[int] = []

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        while request(connection):
            asked.append(1)
            status, body = ("200 OK", BLOCK) if len(asked) == 3 else ("503 Busy", b"")
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with behaving(conduct) as url:
        assert GatewayBlocks(url).get_block(CID) == BLOCK


def test_what_will_not_pass_is_asked_for_once() -> None:
    asked: list[bytes] = []

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        while head := request(connection):
            asked.append(head)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with behaving(conduct) as url, pytest.raises(SourceUnavailable, match="403"):
        GatewayBlocks(url).get_block(CID)
    assert len(asked) == 1
    assert asked[0].startswith(f"GET /ipfs/{CID}?format=raw HTTP/1.1\r\n".encode())
    assert b"\r\nAccept: application/vnd.ipld.raw\r\n" in asked[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "http://",
        "http://host:99999",
        "http://ho st",
        "http://host/?a=b",
        "http://host#a",
        "http://[::1",
        "http://a\nb",
        "http://münchen",
        f"http://{'a' * 64}.org",
    ],
)
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        GatewayBlocks(url)


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as refusal:
        GatewayBlocks("https://me:secret@example.org")
    assert "secret" not in str(refusal.value)


def test_threads_share_a_gateway(store: EmbeddedStore) -> None:
    blocks = [hashlib.sha256(bytes([i])).digest() for i in range(40)]
    cids = [store.add_bytes(block) for block in blocks]
    found: dict[Cid, bytes] = {}
    with BlockServer(store) as server:
        gateway = GatewayBlocks(server.url)

        def take(part: list[Cid]) -> None:
            for cid in part:
                found[cid] = gateway.get_block(cid)

        threads = [threading.Thread(target=take, args=(cids[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[cid] for cid in cids] == blocks


def test_tries_end_with_the_time() -> None:
    with behaving(answering("500 Oops")) as url, pytest.raises(SourceUnavailable, match="500"):
        GatewayBlocks(url, timeout_s=0.2).get_block(CID)
