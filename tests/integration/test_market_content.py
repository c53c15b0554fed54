"""Contents over HTTP: in only under the name that their bytes have, out in any range, and nothing half."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select as select_ready
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedmarket.devnet import REPOSITORY, Devnet
from market.app import tidy
from market.chain.deployment import Deployment
from market.db.service_tables import UploadRow
from market.protocol.errors import BlockNotFound, StorageFull
from market.storage import CHUNK_BYTES, GRACE_S, Cid, EmbeddedStore, SourcedStore, content_cid
from market.storage.flat_blocks import FlatBlocks
from market.storage.gateway import GatewayBlocks
from market.uploads import SMALLEST_BYTES, upload_reason
from tests.integration.conftest import account
from tests.integration.marketplace import ON_ANVIL
from tests.integration.service import Running, serving, settings_for

pytestmark = ON_ANVIL

OWNER = account("uploads")
LIMIT_BYTES = 4 << 20
QUOTA_BYTES = 6 << 20


def content(size_bytes: int, seed: str = "") -> bytes:
    """Bytes that no other content has."""
    return hashlib.shake_256(f"{seed}/{size_bytes}".encode()).digest(size_bytes)


@pytest.fixture
def running(
    tmp_path: Path, devnet: Devnet, deployment: Deployment, new_database: Callable[[], str]
) -> Iterator[Running]:
    limits = {"database_url": new_database(), "upload_limit_bytes": LIMIT_BYTES, "upload_quota_bytes": QUOTA_BYTES}
    with serving(settings_for(tmp_path, devnet, deployment, **limits)) as opened:
        yield opened


@pytest.fixture
def session(running: Running) -> dict[str, str]:
    return running.sign_in(OWNER)


@pytest.fixture
def clock(running: Running) -> Callable[[int], None]:
    """Moves the service's clock on."""
    began = running.service.now

    def move(seconds: int) -> None:
        object.__setattr__(running.service, "now", lambda: began() + seconds)

    return move


def put(running: Running, session: dict[str, str], data: bytes, cid: Cid | None = None) -> httpx.Response:
    return running.client.put(f"/api/v1/content/{cid or content_cid(data)}", content=data, headers=session)


def kept(running: Running) -> list[Path]:
    """Every file that the store has, hidden ones too."""
    blocks = running.settings.store / "blocks"
    return [path for path in running.settings.store.rglob("*") if path.is_file() and path != blocks / "SHARDING"]


def blocks(running: Running) -> list[Path]:
    return [path for path in kept(running) if path.suffix == ".data"]


def refused(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:fedmarket:problem:{kind}"


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3_000_000])
def test_upload_comes_back(running: Running, session: dict[str, str], size_bytes: int) -> None:
    data = content(size_bytes)
    cid = content_cid(data)

    answer = put(running, session, data)
    assert answer.status_code == 201
    assert answer.json() == {"cid": str(cid), "size_bytes": size_bytes}
    read = running.client.get(answer.headers["Location"])
    assert read.status_code == 200
    assert read.content == data
    assert read.headers["Content-Length"] == str(size_bytes)


def test_download_is_for_keeping_and_not_for_showing(running: Running, session: dict[str, str]) -> None:
    cid = content_cid(b"<script>")
    put(running, session, b"<script>")
    headers = running.client.head(f"/api/v1/content/{cid}").headers

    assert headers["ETag"] == f'"{cid}"'
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Content-Length"] == "8"
    again = running.client.get(f"/api/v1/content/{cid}", headers={"If-None-Match": headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-", 10, 699_999),
        ("bytes=-7", 699_993, 699_999),
        ("bytes=-9999999", 0, 699_999),
        (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES),
        ("bytes=5-99999999999", 5, 699_999),
        (f"bytes={2 * CHUNK_BYTES}-{2 * CHUNK_BYTES + 9}", 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 9),
    ],
)
def test_range_is_answered_alone(running: Running, session: dict[str, str], asked: str, first: int, last: int) -> None:
    data = content(700_000)
    put(running, session, data)
    answer = running.client.get(f"/api/v1/content/{content_cid(data)}", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == data[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/700000"
    head = running.client.head(f"/api/v1/content/{content_cid(data)}", headers={"Range": asked})
    assert head.headers["Content-Length"] == str(last + 1 - first)


def test_range_costs_what_is_sent_and_not_what_there_is(
    running: Running, session: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(LIMIT_BYTES)
    put(running, session, data)
    touched: list[Cid] = []
    for name in ("read", "holds"):
        original = getattr(FlatBlocks, name)

        def counted(self: FlatBlocks, cid: Cid, original: Callable[..., object] = original) -> object:
            touched.append(cid)
            return original(self, cid)

        monkeypatch.setattr(FlatBlocks, name, counted)

    answer = running.client.get(f"/api/v1/content/{content_cid(data)}", headers={"Range": "bytes=0-0"})
    assert (answer.status_code, answer.content) == (206, data[:1])
    assert len(touched) <= 3


def test_content_whose_first_part_is_gone_is_not_found(running: Running, session: dict[str, str]) -> None:
    data = content(2 * CHUNK_BYTES)
    put(running, session, data)
    running.service.store._blocks.path(content_cid(data[:CHUNK_BYTES])).unlink()
    address = f"/api/v1/content/{content_cid(data)}"

    refused(running.client.get(address), 404, "content-not-held")
    assert running.client.head(address).status_code == 404
    last = running.client.get(address, headers={"Range": "bytes=-9"})
    assert (last.status_code, last.content) == (206, data[-9:])


def test_market_is_a_source_of_blocks(running: Running, session: dict[str, str], tmp_path: Path) -> None:
    data = content(3 * CHUNK_BYTES + 5)
    cid = Cid.parse(put(running, session, data).json()["cid"])
    fetching = SourcedStore(EmbeddedStore(tmp_path / "another"), [GatewayBlocks(running.url)])
    assert fetching.read(cid, len(data)) == data
    assert fetching.local.verify(cid) == len(data)
    with pytest.raises(BlockNotFound, match=running.url):
        fetching.get_block(content_cid(b"nowhere"))


def test_single_block_is_given_raw_and_nothing_else_is_a_gateway(running: Running, session: dict[str, str]) -> None:
    cid = Cid.parse(put(running, session, content(CHUNK_BYTES + 1)).json()["cid"])
    block = running.service.store.get_block(cid)
    raw = {"Accept": "application/vnd.ipld.raw"}
    for target in (f"/ipfs/{cid}?format=raw", f"/api/v1/content/{cid}?format=raw"):
        answer = running.client.get(target)
        assert (answer.status_code, answer.content) == (200, block)
        assert (answer.headers["Content-Type"], answer.headers["ETag"]) == (raw["Accept"], f'"{cid}.raw"')
        head = running.client.head(target)
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(block)), b"")
        assert running.client.get(target, headers={"If-None-Match": f'"{cid}.raw"'}).status_code == 304
    for target in (f"/ipfs/{cid}", f"/api/v1/content/{cid}"):
        assert running.client.get(target, headers=raw).content == block
    assert running.client.get(f"/ipfs/{cid}").status_code == 406
    assert running.client.get(f"/ipfs/{cid}?format=car").status_code == 422
    assert running.client.get(f"/ipfs/{content_cid(b'nowhere')}?format=raw").status_code == 404
    assert running.client.get("/ipfs/../lock?format=raw").status_code == 404


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_range_beyond_the_end_is_refused(running: Running, session: dict[str, str], asked: str) -> None:
    put(running, session, content(100))
    answer = running.client.get(f"/api/v1/content/{content_cid(content(100))}", headers={"Range": asked})

    refused(answer, 416, "requested-range-not-satisfiable")
    assert answer.headers["Content-Range"] == "bytes */100"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"])
def test_range_that_is_none_is_passed_over(running: Running, session: dict[str, str], asked: str) -> None:
    put(running, session, content(100))
    answer = running.client.get(f"/api/v1/content/{content_cid(content(100))}", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, content(100))


def test_bytes_with_another_name_are_refused_and_not_kept(running: Running, session: dict[str, str]) -> None:
    for data, named in ((b"one", b"other"), (content(3_000_000), content(3_000_000, "other")), (b"", content(600_000))):
        refused(put(running, session, data, content_cid(named)), 422, "invalid-content")
    assert kept(running) == [running.settings.store / "lock"]


def test_name_of_another_codec_is_refused(running: Running, session: dict[str, str]) -> None:
    cid = content_cid(b"some")

    refused(put(running, session, b"some", Cid(1, 0x70, cid.digest)), 422, "invalid-content")


def test_upload_that_says_it_is_too_long_is_refused_at_once(running: Running, session: dict[str, str]) -> None:
    with raw(running, session, LIMIT_BYTES + 1) as connection:
        assert b" 413 " in connection.recv(100)
    assert blocks(running) == []


def test_upload_that_becomes_too_long_is_refused_on_the_way(running: Running, session: dict[str, str]) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * LIMIT_BYTES:
            sent += CHUNK_BYTES
            yield bytes(CHUNK_BYTES)

    answer = running.client.put(f"/api/v1/content/{content_cid(b'')}", content=endless(), headers=session)
    refused(answer, 413, "too-large")
    assert kept(running) == [running.settings.store / "lock"]


@pytest.mark.parametrize("is_announced", [True, False])
def test_upload_over_the_accounts_quota_is_refused(
    running: Running, session: dict[str, str], is_announced: bool
) -> None:
    assert put(running, session, content(LIMIT_BYTES)).status_code == 201
    before = len(blocks(running))
    more = content(LIMIT_BYTES, "more")
    sent = more if is_announced else iter([more])
    answer = running.client.put(f"/api/v1/content/{content_cid(more)}", content=sent, headers=session)

    refused(answer, 413, "over-quota")
    assert len(blocks(running)) == before
    assert put(running, session, content(LIMIT_BYTES)).status_code == 201, "what is held already takes no more room"
    other = running.sign_in(account("another quota"))
    assert put(running, other, more).status_code == 201


def test_short_uploads_are_counted_as_what_they_take(running: Running, session: dict[str, str]) -> None:
    put(running, session, b"")

    assert running.client.get("/api/v1/account", headers=session).json()["uploaded_bytes"] == SMALLEST_BYTES


def test_upload_is_pinned_for_its_account(running: Running, session: dict[str, str]) -> None:
    put(running, session, b"some")
    running.service.store.collect_garbage(grace_s=0)

    assert running.service.store.pins() == {content_cid(b"some"): frozenset({upload_reason(OWNER.address)})}
    assert running.client.get(f"/api/v1/content/{content_cid(b'some')}").status_code == 200


def test_upload_that_breaks_off_leaves_nothing(running: Running, session: dict[str, str]) -> None:
    with raw(running, session, LIMIT_BYTES) as connection:
        connection.sendall(content(LIMIT_BYTES // 2))
    wait_until(lambda: "fedmarket_refused_uploads_total 1.0" in running.client.get("/metrics").text)
    assert kept(running) == [running.settings.store / "lock"]
    assert put(running, session, content(100)).status_code == 201


def test_upload_that_stands_still_is_given_up(
    running: Running, session: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.api.content.IDLE_S", 0.3)
    with raw(running, session, LIMIT_BYTES) as connection:
        connection.sendall(content(100))
        assert b" 408 " in connection.recv(100)
    with raw(running, session, LIMIT_BYTES) as connection:
        for _ in range(12):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is given up on the way
                connection.sendall(b"x")
            time.sleep(0.05)
        assert b" 408 " in connection.recv(100)
    assert kept(running) == [running.settings.store / "lock"]


def test_slow_uploads_of_one_account_leave_places_for_others(
    running: Running, session: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.api.upload_places.WAIT_S", 0.5)
    with contextlib.ExitStack() as opened:
        slow = [
            opened.enter_context(raw(running, session, LIMIT_BYTES, content_cid(content(9, f"{number}"))))
            for number in range(8)
        ]
        for connection in slow:
            connection.sendall(b"x")
        shut_out = [connection for connection in slow if answers(connection)]

        assert len(shut_out) == 6
        for connection in shut_out:
            head = connection.recv(4_000)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 15" in head.lower()
        assert put(running, running.sign_in(account("somebody quick")), content(CHUNK_BYTES)).status_code == 201
        assert running.client.get(f"/api/v1/content/{content_cid(content(CHUNK_BYTES))}").status_code == 200
    wait_until(lambda: running.service.upload_places.threads.borrowed_tokens == 0)
    assert put(running, session, content(9)).status_code == 201


def test_places_of_one_address_are_a_half(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.api.upload_places.WAIT_S", 0.5)
    with contextlib.ExitStack() as opened:
        slow = [
            opened.enter_context(raw(running, running.sign_in(account(f"one of many {number}")), LIMIT_BYTES))
            for number in range(6)
        ]
        for connection in slow:
            connection.sendall(b"x")
        assert [answers(connection) for connection in slow].count(False) == running.settings.uploads_at_once // 2


@pytest.mark.parametrize("length", [None, LIMIT_BYTES])
def test_upload_has_the_time_that_its_length_takes_at_the_least_rate(
    running: Running, session: dict[str, str], monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    monkeypatch.setattr("market.api.content.IDLE_S", 0.5)
    monkeypatch.setattr("market.api.content.SLOWEST_BYTES_A_S", 64)
    began_s = time.monotonic()
    with raw(running, session, length) as connection:
        for _ in range(80):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"x" if length else b"1\r\nx\r\n")
            if answers(connection, 0.05):
                break
        assert b" 408 " in connection.recv(100)
    assert 0.5 <= time.monotonic() - began_s < 3
    # 6.5 s for what takes a second: a machine that is busy elsewhere is not taken for a sender that is slow.
    monkeypatch.setattr("market.api.content.SLOWEST_BYTES_A_S", 16)
    data = content(96)

    def steady() -> Iterator[bytes]:
        for at in range(0, 96, 8):
            time.sleep(0.08)
            yield data[at : at + 8]

    answer = running.client.put(f"/api/v1/content/{content_cid(data)}", content=steady(), headers=session)
    assert answer.status_code == 201, "it takes longer than it may stand still"


def test_uploads_at_once_share_one_quota(running: Running, session: dict[str, str]) -> None:
    statuses: list[int] = []
    together = threading.Barrier(3)

    def upload(number: int) -> None:
        data = content(LIMIT_BYTES - CHUNK_BYTES, f"at once {number}")
        with httpx.Client(base_url=running.url, timeout=60, trust_env=False) as client:
            together.wait()
            answer = client.put(f"/api/v1/content/{content_cid(data)}", content=data, headers=session)
            statuses.append(answer.status_code)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 413, 413]
    assert len(running.service.store.pins()) == 1


def test_what_is_refused_for_the_quota_is_never_kept_nor_served(
    tmp_path: Path, devnet: Devnet, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.api.upload_places.ACCOUNT_PLACES", 8)
    mib = 1 << 20
    limits = {"upload_limit_bytes": mib, "upload_quota_bytes": mib, "uploads_at_once": 64}
    with serving(settings_for(tmp_path, devnet, deployment, **limits)) as running, contextlib.ExitStack() as opened:
        sent = []
        for owner in range(3):
            session = running.sign_in(account(f"greedy {owner}"))
            for number in range(8):
                data = content(mib, f"{owner} {number}")
                connection = opened.enter_context(raw(running, session, mib, content_cid(data)))
                connection.sendall(data[:-1])
                sent.append((connection, data))
        for connection, data in sent:
            connection.sendall(data[-1:])
        statuses = [int(connection.recv(100).split()[1]) for connection, _ in sent]
        served = [running.client.get(f"/api/v1/content/{content_cid(data)}").status_code == 200 for _, data in sent]

        assert sorted(statuses) == [201] * 3 + [413] * 21
        assert served == [status == 201 for status in statuses]
        assert len(blocks(running)) == 3 * (mib // CHUNK_BYTES + 1)


def test_full_disk_is_said(running: Running, session: dict[str, str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        refused(put(running, session, content(LIMIT_BYTES)), 507, "storage-full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert blocks(running) == []
    assert put(running, session, content(LIMIT_BYTES)).status_code == 201


@pytest.mark.parametrize(
    "name",
    [
        *("..", "%2e%2e%2flock", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "lock", "%00", "b%00"),
        *("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG", "b" + "a" * 58, "b" + "A" * 58, "b" * 400),
    ],
)
def test_name_that_is_none_reaches_no_file(running: Running, session: dict[str, str], name: str) -> None:
    running.service.store.check_writable()
    for method in ("GET", "HEAD", "PUT"):
        answer = running.client.request(method, f"/api/v1/content/{name}", headers=session)
        assert answer.status_code in (404, 405, 422), (method, answer.status_code)


def test_content_that_is_not_held_is_not_found(running: Running) -> None:
    refused(running.client.get(f"/api/v1/content/{content_cid(b'nowhere')}"), 404, "content-not-held")


def test_other_types_are_refused(running: Running, session: dict[str, str]) -> None:
    for header in ({"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}):
        answer = running.client.put(
            f"/api/v1/content/{content_cid(b'some')}", content=b"some", headers={**session, **header}
        )
        refused(answer, 415, "unsupported-media-type")


def test_what_nobody_used_is_forgotten(running: Running, session: dict[str, str]) -> None:
    from market.api.content import uploads_of

    put(running, session, b"some")
    uploads_of(running.service).forget_unused(before_s=running.service.now() + 1)

    assert running.service.store.pins() == {}
    with Session(running.service.engine) as opened:
        assert opened.scalars(select(UploadRow)).all() == []


def make_old(running: Running) -> None:
    """Let all that the store has be as old as what is collected."""
    past_s = time.time() - GRACE_S - 1
    for path in kept(running):
        os.utime(path, (past_s, past_s))


def test_blocks_of_what_is_forgotten_go_and_those_of_others_stay(
    running: Running, session: dict[str, str], clock: Callable[[int], None]
) -> None:
    store = running.service.store
    theirs = store.add_bytes(content(2 * CHUNK_BYTES, "not pinned yet"))
    running.wait_until_read()
    put(running, session, content(2 * CHUNK_BYTES, "mine"))
    put(running, session, content(2 * CHUNK_BYTES, "not pinned yet"))
    make_old(running)

    tidy(running.service)
    assert len(blocks(running)) == 6
    clock(running.settings.unused_upload_s + 1)
    tidy(running.service)
    assert store.pins() == {}
    assert len(blocks(running)) == 3
    assert store.has(theirs)
    assert running.client.get(f"/api/v1/content/{content_cid(content(2 * CHUNK_BYTES, 'mine'))}").status_code == 404


def test_row_of_an_upload_that_was_killed_is_forgotten_with_what_came(
    running: Running, session: dict[str, str], clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: EmbeddedStore, cid: Cid, reason: str) -> None:
        raise StorageFull("as if it ended here")

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedStore, "pin", die)
        refused(put(running, session, content(CHUNK_BYTES)), 507, "storage-full")
    assert running.client.get("/api/v1/account", headers=session).json()["uploaded_bytes"] == CHUNK_BYTES
    running.wait_until_read()
    make_old(running)
    clock(running.settings.unused_upload_s + 1)
    tidy(running.service)

    with Session(running.service.engine) as opened:
        assert opened.scalars(select(UploadRow)).all() == []
    assert blocks(running) == []


def test_what_is_pinned_by_no_row_is_counted_again_and_then_forgotten(
    running: Running, session: dict[str, str], clock: Callable[[int], None]
) -> None:
    put(running, session, b"some")
    with Session(running.service.engine) as opened, opened.begin():
        opened.execute(delete(UploadRow))
    running.wait_until_read()
    tidy(running.service)

    assert running.client.get("/api/v1/account", headers=session).json()["uploaded_bytes"] == SMALLEST_BYTES
    assert len(running.service.store.pins()) == 1, "the jobs that name it may be yet to be read"
    clock(running.settings.unused_upload_s + 1)
    tidy(running.service)
    assert running.service.store.pins() == {}


def test_what_seems_unused_is_kept_while_the_chain_is_not_read(
    running: Running, session: dict[str, str], clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(running, session, b"some")
    clock(running.settings.unused_upload_s + 1)
    monkeypatch.setattr("market.app.lag_or_none", lambda service: 1_000)
    tidy(running.service)
    assert len(running.service.store.pins()) == 1


def test_service_that_is_killed_during_an_upload_keeps_nothing_half(
    tmp_path: Path, devnet: Devnet, deployment: Deployment
) -> None:
    deployment.save(tmp_path / "deployment.json")
    data = content(3 << 20)
    for round_number in range(2):
        with in_a_process(tmp_path, devnet) as (process, url), httpx.Client(base_url=url, trust_env=False) as client:
            running = Running(url, None, client)  # type: ignore[arg-type]
            session = running.sign_in(OWNER)
            with raw(running, session, len(data), content_cid(data)) as connection:
                connection.sendall(data[: len(data) // 2])
                time.sleep(0.3)
                process.send_signal(signal.SIGKILL)
                process.wait(10)
        store = EmbeddedStore(tmp_path / "store")
        assert not store.has(content_cid(data)), round_number
        assert [path for path in (tmp_path / "store").rglob("*.data") if path.is_file()] == []
        assert store.pins() == {}
    with in_a_process(tmp_path, devnet) as (_, url), httpx.Client(base_url=url, trust_env=False) as client:
        running = Running(url, None, client)  # type: ignore[arg-type]
        assert put(running, running.sign_in(OWNER), data).status_code == 201
        assert client.get(f"/api/v1/content/{content_cid(data)}").content == data


class in_a_process:  # noqa: N801
    """`fedmarket market run` in a process of its own, that can be killed."""

    def __init__(self, folder: Path, devnet: Devnet) -> None:
        options = ["--rpc", devnet.url, "--deployment", "deployment.json", "--store", "store", "--port", "0"]
        command = [sys.executable, "-m", "fedmarket", "market", "run", *options, "--database", "sqlite:///market.db"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self._errors = (folder / "errors.txt").open("wb")
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("market: http://127.0.0.1:"), line
        return self._process, line.removeprefix("market: ").strip()

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        assert self._process.wait(20) in (0, -signal.SIGKILL)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def answers(connection: socket.socket, within_s: float = 1.5) -> bool:
    return bool(select_ready([connection], [], [], within_s)[0])


def raw(running: Running, session: dict[str, str], length: int | None, cid: Cid | None = None) -> socket.socket:
    """A connection on which the head of an upload was sent."""
    address = urlsplit(running.url)
    connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=10)
    head = f"PUT /api/v1/content/{cid or content_cid(b'')} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head += f"Authorization: {session['Authorization']}\r\n{framing}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def wait_until(holds: object) -> None:
    assert callable(holds)
    give_up_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
