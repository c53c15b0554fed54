from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from market.protocol.errors import StorageError
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, block_server
from market.storage.block_server import BlockServer
from market.storage.file_dag import CIDV0_PROFILE, build_file
from tests.unit.storage.conftest import Content

ABSENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
RAW = {"Accept": "application/vnd.ipld.raw"}


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[httpx.Client]:
    with BlockServer(store) as server, httpx.Client(base_url=server.url, trust_env=False) as opened:
        yield opened


def test_block_is_served_by_query_and_by_header(store: EmbeddedStore, client: httpx.Client, content: Content) -> None:
    root = store.add_bytes(content(CHUNK_BYTES + 1))
    by_query = client.get(f"/ipfs/{root}?format=raw")
    by_header = client.get(f"/ipfs/{root}", headers=RAW)
    assert by_query.content == by_header.content == store.get_block(root)
    assert by_query.headers["Content-Type"] == RAW["Accept"]
    assert by_query.headers["ETag"] == f'"{root}.raw"'
    assert "immutable" in by_query.headers["Cache-Control"]
    assert by_query.headers["X-Content-Type-Options"] == "nosniff"


def test_head_tells_the_length_alone(store: EmbeddedStore, client: httpx.Client) -> None:
    cid = store.add_bytes(b"12345")
    answer = client.head(f"/ipfs/{cid}?format=raw")
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "5", b"")
    assert client.get(f"/ipfs/{cid}?format=raw").content == b"12345"


def test_block_under_a_cid_of_version_0_is_served(store: EmbeddedStore, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    blocks: list[tuple[Cid, bytes]] = []
    with (tmp_path / "file").open("rb") as stream:
        cid = build_file(stream, lambda block_cid, block: blocks.append((block_cid, block)), CIDV0_PROFILE)
    store.put_blocks(blocks)
    assert str(cid).startswith("Qm")
    assert client.get(f"/ipfs/{cid}?format=raw").content == blocks[0][1]


def test_who_has_the_block_is_not_sent_it_again(store: EmbeddedStore, client: httpx.Client) -> None:
    cid = store.add_bytes(b"12345")
    answer = client.get(f"/ipfs/{cid}?format=raw", headers={"If-None-Match": f'"other", W/"{cid}.raw"'})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/ipfs/{ABSENT}?format=raw", 404),
        (f"/ipfs/{ABSENT}", 406),
        (f"/ipfs/{ABSENT}?format=car", 406),
        (f"/ipfs/{ABSENT}?format=raw&format=car", 406),
        ("/ipfs/?format=raw", 400),
        ("/ipfs/nonsense?format=raw", 400),
        (f"/ipfs/{ABSENT[:-1]}?format=raw", 400),
        (f"/ipfs/{ABSENT}/etc/passwd?format=raw", 400),
        ("/ipfs/../lock?format=raw", 400),
        ("/ipfs/%2e%2e/lock?format=raw", 400),
        ("/", 404),
        ("/lock", 404),
        ("/blocks/SHARDING", 404),
        (f"/api/v0/block/get?arg={ABSENT}", 404),
        ("//evil.example/ipfs/x", 404),
        ("/" + "a" * 501, 400),
    ],
)
def test_nothing_else_is_served(store: EmbeddedStore, client: httpx.Client, target: str, status: int) -> None:
    store.add_bytes(b"so that the folder exists")
    # httpx would tidy the path up.
    with closing(HTTPConnection(client.base_url.host, client.base_url.port)) as plain:
        plain.request("GET", target)
        answer = plain.getresponse()
        assert answer.status == status
        assert len(answer.read()) < 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(store: EmbeddedStore, client: httpx.Client, method: str) -> None:
    cid = store.add_bytes(b"12345")
    assert client.request(method, f"/ipfs/{cid}?format=raw").status_code in (400, 501)
    assert store.has(cid)


def test_damaged_block_is_not_served(store: EmbeddedStore, client: httpx.Client) -> None:
    cid = store.add_bytes(b"12345")
    store._blocks.path(cid).write_bytes(b"12346")
    assert client.get(f"/ipfs/{cid}?format=raw").status_code == 404


def test_request_with_a_body_ends_the_connection(client: httpx.Client) -> None:
    answer = client.request("GET", f"/ipfs/{ABSENT}?format=raw", content=b"GET /ipfs/x HTTP/1.1\r\n\r\n")
    assert (answer.status_code, answer.headers["Connection"]) == (400, "close")


def test_routes_answer_with_what_follows_them(store: EmbeddedStore) -> None:
    def receipts(rest: str) -> bytes | None:
        if rest == "broken":
            raise StorageError("no disk")
        return f'{{"asked":"{rest}"}}'.encode() if rest else None

    with (
        BlockServer(store, routes={"/receipts/": receipts}) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        answer = client.get("/receipts/7/0?ignored=1")
        assert answer.json() == {"asked": "7/0"}
        assert answer.headers["Content-Type"] == "application/json"
        assert client.get("/receipts/").status_code == 404
        assert client.get("/receipts").status_code == 404
        assert client.get("/receipts/broken").status_code == 500
        assert client.get(httpx.URL(server.url, raw_path=b"/receipts/../a")).status_code == 404
        assert client.get(httpx.URL(server.url, raw_path=b"/receipts/%41")).status_code == 404


def connected(server: BlockServer) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20)


def ask(connection: socket.socket, path: str = "/") -> bytes:
    connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    return connection.recv(100)


@pytest.fixture
def answering_slowly(store: EmbeddedStore) -> Iterator[tuple[BlockServer, threading.Semaphore, threading.Event]]:
    """A server; released once for each of `/slow/` that is being answered; answers when the event is set."""
    asked, may_answer = threading.Semaphore(0), threading.Event()

    def slow(rest: str) -> bytes:
        asked.release()
        assert may_answer.wait(60)
        return b"{}"

    with BlockServer(store, routes={"/slow/": slow}) as server:
        try:
            yield server, asked, may_answer
        finally:
            may_answer.set()


Slow = tuple[BlockServer, threading.Semaphore, threading.Event]


def test_who_is_one_too_many_is_told_so(answering_slowly: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_server, "PLACES", 2)
    server, asked, may_answer = answering_slowly
    with ExitStack() as held:
        busy = [held.enter_context(connected(server)) for _ in range(2)]
        for connection in busy:
            connection.sendall(b"GET /slow/1 HTTP/1.1\r\n\r\n")
            assert asked.acquire(timeout=20)
        with connected(server) as third:
            assert third.recv(100).startswith(b"HTTP/1.1 503")
        may_answer.set()
        assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in busy)


def test_connections_that_ask_for_nothing_keep_nobody_out(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_server, "PLACES", 2)
    cid = store.add_bytes(b"12345")
    with BlockServer(store) as server, ExitStack() as held:
        silent = held.enter_context(connected(server))
        half = held.enter_context(connected(server))
        half.sendall(b"GET / HTTP/1.1\r\nX-Wait: ")
        others = [held.enter_context(connected(server)) for _ in range(2)]
        for other in others:
            assert ask(other, f"/ipfs/{cid}?format=raw").startswith(b"HTTP/1.1 200")
        assert silent.recv(100) == half.recv(100) == b""


def test_one_address_has_a_part_of_the_places(answering_slowly: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_server, "OF_ONE", 1)
    server, asked, _ = answering_slowly
    with ExitStack() as held:
        for _ in range(2):  # this machine may have all
            held.enter_context(connected(server)).sendall(b"GET /slow/1 HTTP/1.1\r\n\r\n")
            assert asked.acquire(timeout=20)
        monkeypatch.setattr(block_server, "_counted_as", lambda host: "192.0.2.1")
        held.enter_context(connected(server)).sendall(b"GET /slow/1 HTTP/1.1\r\n\r\n")
        assert asked.acquire(timeout=20)
        with connected(server) as second:
            assert second.recv(100).startswith(b"HTTP/1.1 503")
        monkeypatch.setattr(block_server, "_counted_as", lambda host: "192.0.2.2")
        assert ask(held.enter_context(connected(server))).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.2", "this machine"),
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
    ],
)
def test_connections_are_counted_by_whose_address_they_come_from(host: str, counted: str) -> None:
    assert block_server._counted_as(host) == counted


def test_a_disk_that_refuses_is_an_answer(store: EmbeddedStore, client: httpx.Client) -> None:
    cid = store.add_bytes(b"12345")
    path = store._blocks.path(cid)
    path.unlink()
    path.mkdir()
    assert client.get(f"/ipfs/{cid}?format=raw").status_code == 500


def test_who_takes_too_long_is_cut_off(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_server, "REQUEST_S", 0.2)
    with BlockServer(store) as server:
        parts = urlsplit(server.url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nX-Wait: ")
            assert slow.recv(100) == b""


def test_taken_port_is_an_error(store: EmbeddedStore) -> None:
    with BlockServer(store) as server, pytest.raises(OSError, match="in use"):
        BlockServer(store, port=int(server.url.rpartition(":")[2]))
