"""What is around every request of the service, and how it starts and ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fedmarket.devnet import REPOSITORY, Devnet
from market.api.limits import JSON_LIMIT_BYTES
from market.api.readiness import KEPT_S
from market.chain.deployment import Deployment
from market.server import JsonLines, TextLines, prepare_server
from market.storage import content_cid
from tests.integration.conftest import account
from tests.integration.marketplace import ON_ANVIL
from tests.integration.service import Running, serving, settings_for, signature
from tests.integration.terminal import wait_until

pytestmark = ON_ANVIL

OWNER = account("service")


@pytest.fixture
def running(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> Iterator[Running]:
    settings = settings_for(tmp_path, devnet, deployment, cors_origins="https://page.example")
    with serving(settings) as opened:
        yield opened


def problem(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = answer.json()
    assert said["type"] == f"urn:fedmarket:problem:{kind}"
    assert said["status"] == status
    assert said["instance"] == answer.request.url.path
    assert said["request_id"] == answer.headers["X-Request-ID"]
    assert said["title"]
    assert said["detail"]


# ------------------------------------------------------------------ problems


def test_refusals_of_the_framework_are_problems_too(running: Running) -> None:
    client = running.client
    problem(client.get("/nowhere"), 404, "not-found")
    wrong_method = client.patch("/api/v1/account")
    problem(wrong_method, 405, "method-not-allowed")
    assert wrong_method.headers["Allow"] == "GET"
    problem(client.post("/api/v1/sign-in/nonce", content=b"x"), 415, "unsupported-media-type")
    as_json = {"Content-Type": "application/json"}
    problem(client.post("/api/v1/sign-in/nonce", content=b"{", headers=as_json), 422, "invalid-input")
    wrong = client.post("/api/v1/sign-in/nonce", json={"address": "0x12"})
    problem(wrong, 422, "invalid-input")
    assert wrong.json()["errors"][0]["field"] == "body.address"


def test_json_that_nobody_can_read_is_refused(running: Running) -> None:
    for body in (b"[" * 50_000, b'{"address": ' + b"9" * 10_000 + b"}", b"\xff\xfe", b'{"address": NaN}', b'"\\ud800"'):
        answer = running.client.post(
            "/api/v1/sign-in/nonce", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), (body[:20], answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_what_nobody_foresaw_is_said_without_a_word_on_why(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("a secret of the service")

    monkeypatch.setattr("market.api.sign_in.forget_expired", broken)
    answer = running.client.post("/api/v1/sign-in/nonce", json={"address": OWNER.address})

    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    [failure] = [record for record in caplog.records if record.exc_info]
    assert "a secret of the service" in caplog.text
    assert failure.__dict__["request_id"] == answer.json()["request_id"]


def test_long_json_is_refused(running: Running) -> None:
    as_json = {"Content-Type": "application/json"}
    body = b'{"address": "' + b"0" * JSON_LIMIT_BYTES + b'"}'
    for content in (body, iter([body[:40_000], body[40_000:]])):
        problem(running.client.post("/api/v1/sign-in/nonce", content=content, headers=as_json), 413, "too-large")


# ------------------------------------------------------------------ headers


def test_every_answer_has_the_headers_that_keep_a_browser_safe(running: Running) -> None:
    for path in ("/healthz", "/nowhere", "/api/v1/account", "/api/v1/openapi.json", "/metrics"):
        headers = running.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def test_request_keeps_a_sane_id_and_gets_one_in_place_of_another(running: Running) -> None:
    assert (
        running.client.get("/healthz", headers={"X-Request-ID": "trace-0123"}).headers["X-Request-ID"] == "trace-0123"
    )
    for unsafe in ("short", "x" * 100, "with space 0", 'quote"quote"', "a\tb\tc\td\te"):
        answered = running.client.get("/healthz", headers={"X-Request-ID": unsafe}).headers["X-Request-ID"]
        assert answered != unsafe
        assert len(answered) == 16


def test_only_named_origins_may_call_from_a_browser(running: Running) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    path = f"/api/v1/content/{content_cid(b'')}"
    allowed = running.client.options(path, headers={"Origin": "https://page.example", **asked})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
    other = running.client.options(path, headers={"Origin": "https://evil.example", **asked})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert "Access-Control-Allow-Origin" not in running.client.get("/healthz", headers={"Origin": "null"}).headers
    assert "Access-Control-Allow-Credentials" not in allowed.headers


def test_https_is_kept_where_the_service_is_known_by_it(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> None:
    with serving(settings_for(tmp_path, devnet, deployment, public_url="https://market.example")) as running:
        assert "max-age" in running.client.get("/healthz").headers["Strict-Transport-Security"]
        assert "\nURI: https://market.example\n" in running.offer(OWNER)["message"]
        assert running.sign_in(OWNER)


# ------------------------------------------------------------------ limits


def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> None:
    settings = settings_for(tmp_path, devnet, deployment, reads_a_minute=5, writes_a_minute=2)
    with serving(settings) as running:
        client = running.client
        left = [client.get("/api/v1/account").headers["RateLimit-Remaining"] for _ in range(5)]
        assert left == ["4", "3", "2", "1", "0"]
        refused = client.get("/api/v1/account")
        problem(refused, 429, "too-many-requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 12
        assert refused.headers["RateLimit-Limit"] == "5"
        for _ in range(2):
            assert running.offer(OWNER)
        problem(client.post("/api/v1/sign-in/nonce", json={"address": OWNER.address}), 429, "too-many-requests")
        assert client.get("/healthz").status_code == client.get("/metrics").status_code == 200
        forged = client.get("/api/v1/account", headers={"X-Forwarded-For": "198.51.100.7"})
        assert forged.status_code == 429


def test_clients_behind_a_trusted_proxy_are_counted_each(
    tmp_path: Path, devnet: Devnet, deployment: Deployment
) -> None:
    settings = settings_for(tmp_path, devnet, deployment, reads_a_minute=1, trusted_proxies="127.0.0.1")
    with serving(settings) as running:
        statuses = [
            running.client.get("/api/v1/account", headers={"X-Forwarded-For": client}).status_code
            for client in ("198.51.100.1", "198.51.100.2", "198.51.100.1")
        ]
        assert statuses == [401, 401, 429]
        assert running.client.get("/metrics", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 403


# ------------------------------------------------------------------ how it is


def test_ready_service_says_so(running: Running) -> None:
    assert running.client.get("/healthz").json() == {"status": "ok"}
    wait_ready(running)
    assert running.client.get("/readyz").json() == {"status": "ready"}


def wait_ready(running: Running) -> None:
    give_up_s = time.monotonic() + 20
    while running.client.get("/readyz").status_code != 200:
        assert time.monotonic() < give_up_s, running.client.get("/readyz").text
        time.sleep(0.05)


def test_service_that_is_not_ready_says_what_is_not(running: Running, devnet: Devnet) -> None:
    wait_ready(running)
    store = running.settings.store
    moved = store.rename(store.with_name("moved"))
    store.write_text("in its place")
    time.sleep(KEPT_S)
    answer = running.client.get("/readyz")
    problem(answer, 503, "not-ready")
    assert [error["field"] for error in answer.json()["errors"]] == ["storage"]
    store.unlink()
    moved.rename(store)
    time.sleep(KEPT_S)
    assert running.client.get("/readyz").status_code == 200


def test_many_who_ask_whether_it_is_ready_are_answered_from_one_look(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_ready(running)
    looks: list[float] = []

    def hangs() -> None:
        looks.append(time.monotonic())
        time.sleep(2)

    monkeypatch.setattr(running.service.store, "check_writable", hangs)
    time.sleep(KEPT_S)
    with ThreadPoolExecutor(60) as clients:
        asked = [clients.submit(httpx.get, f"{running.url}/readyz", timeout=20, trust_env=False) for _ in range(60)]
        wait_until(lambda: bool(looks), "the look")
        begun_s = time.monotonic()
        # It is more than the threads that there are: none of them may wait for the one that hangs.
        assert running.client.get("/api/v1/jobs").status_code == 200
        assert time.monotonic() - begun_s < 1
        assert {answer.result().status_code for answer in asked} == {200}
    assert len(looks) == 1


def test_service_without_its_chain_lives_and_is_not_ready(
    tmp_path: Path, devnet: Devnet, deployment: Deployment
) -> None:
    with passing_on(devnet) as (url, cut), serving(settings_for(tmp_path, devnet, deployment, rpc_url=url)) as running:
        wait_ready(running)
        cut()
        time.sleep(KEPT_S)
        assert running.client.get("/healthz").status_code == 200
        answer = running.client.get("/readyz")
        problem(answer, 503, "not-ready")
        assert {"chain", "indexer"} <= {error["field"] for error in answer.json()["errors"]}
        assert "fedmarket_indexer_lag_blocks -1.0" in running.client.get("/metrics").text


class passing_on:  # noqa: N801
    """A port that passes everything on to the chain until it is cut."""

    def __init__(self, devnet: Devnet) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._target = ("127.0.0.1", int(devnet.url.rpartition(":")[2]))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> tuple[str, object]:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}", self.cut

    def __exit__(self, *error: object) -> None:
        self.cut()

    def cut(self) -> None:
        # A thread that waits in accept keeps a socket listening: it has to be woken.
        for opened in (self._listening, *self._open):
            with_suppressed(opened.shutdown, socket.SHUT_RDWR)
            opened.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            return


def with_suppressed(act: object, *arguments: object) -> None:
    assert callable(act)
    try:
        act(*arguments)
    except OSError:
        return


def test_metrics_count_by_route_and_not_by_path(running: Running) -> None:
    session = running.sign_in(OWNER)
    for data in (b"one", b"two"):
        running.client.put(f"/api/v1/content/{content_cid(data)}", content=data, headers=session)
    for number in range(3):
        running.client.get(f"/nowhere/{number}")
    # Requests are counted once their answers are out: the last may be read before that.
    unmatched = 'fedmarket_requests_total{method="GET",route="unmatched",status="404"} 3.0'
    wait_until(lambda: unmatched in running.client.get("/metrics").text, "the last request to be counted")
    text = running.client.get("/metrics").text

    assert 'fedmarket_requests_total{method="PUT",route="/api/v1/content/{cid}",status="201"} 2.0' in text
    assert 'fedmarket_request_seconds_bucket{le="0.02",method="PUT",route="/api/v1/content/{cid}"}' in text
    assert "fedmarket_uploads_total 2.0" in text
    assert "fedmarket_uploaded_bytes_total 6.0" in text
    assert "fedmarket_indexer_lag_blocks" in text
    assert "nowhere" not in text


# ------------------------------------------------------------------ what is logged


def test_log_has_every_request_and_no_secret(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "market")
    message = running.offer(OWNER)["message"]
    signed = signature(message, OWNER)
    answer = running.client.post("/api/v1/sign-in", json={"message": message, "signature": signed})
    token = answer.json()["token"]
    running.client.get("/api/v1/account?token=in-the-query", headers={"Authorization": f"Bearer {token}"})
    running.client.get("/api/v1/account", headers={"Authorization": f"Bearer {token}x"})
    running.client.get("/line%0Abreak")
    running.client.get("/healthz", headers={"X-Request-ID": "trace-0123"})

    wait_until(lambda: "trace-0123" in {vars(record).get("request_id") for record in caplog.records}, "the last line")
    for formatter in (TextLines(), JsonLines()):
        lines = [formatter.format(record) for record in caplog.records if record.name == "market.requests"]
        text = "\n".join(lines)
        assert len(lines) == len(text.split("\n")) == 6
        assert "POST /api/v1/sign-in 201" in text
        assert "trace-0123" in lines[-1]
        for secret in (token, signed, signed[2:20], "in-the-query", "Bearer"):
            assert secret not in text
    last = json.loads(lines[-1])
    assert (last["method"], last["route"], last["status"]) == ("GET", "/healthz", 200)
    assert last["milliseconds"] > 0


# ------------------------------------------------------------------ the command


class Command:
    """`fedmarket market run` in a process of its own."""

    def __init__(self, folder: Path, devnet: Devnet, *options: str, **variables: str) -> None:
        command = [sys.executable, "-m", "fedmarket", "market", "run", "--rpc", devnet.url, *options]
        own = {name: value for name, value in os.environ.items() if not name.startswith("FEDMARKET_")}
        environment = {**own, "PYTHONPATH": str(REPOSITORY), **variables}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def url(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("market: http://127.0.0.1:"), line
        return line.removeprefix("market: ").rstrip("\n")

    def ended(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=30)
        return self.process.returncode, output, errors


HERE = ("--deployment", "deployment.json", "--store", "store", "--database", "sqlite:///market.db", "--port", "0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_ends_when_told_whoever_listens_to_a_stream(
    tmp_path: Path, devnet: Devnet, deployment: Deployment, number: signal.Signals
) -> None:
    deployment.save(tmp_path / "deployment.json")
    with Command(tmp_path, devnet, *HERE) as command:
        url = command.url()
        with (
            httpx.Client(base_url=url, trust_env=False) as client,
            client.stream("GET", "/api/v1/events/stream") as stream,
        ):
            assert next(stream.iter_lines()).startswith("retry")
            asked_s = time.monotonic()
            command.process.send_signal(number)
            status, output, errors = command.ended()
            assert time.monotonic() - asked_s < 4
        assert (status, output) == (0, "")
        assert "market: stopped" in errors
        assert "Traceback" not in errors


def test_command_reads_variables_and_logs_json(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> None:
    deployment.save(tmp_path / "contracts.json")
    variables = {
        "FEDMARKET_MARKET_DEPLOYMENT": "contracts.json",
        "FEDMARKET_DEPLOYMENT": "nowhere.json",
        "FEDMARKET_MARKET_PORT": "1",
        "FEDMARKET_MARKET_LOG_JSON": "true",
        "FEDMARKET_MARKET_DATABASE_URL": "sqlite:///other.db",
    }
    with Command(tmp_path, devnet, "--port", "0", **variables) as command:
        url = command.url()
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        command.process.terminate()
        _, _, errors = command.ended()
    assert (tmp_path / "other.db").exists()
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert "GET /healthz 200" in {line["message"] for line in lines}


def test_command_says_in_one_line_what_is_wrong(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> None:
    deployment.save(tmp_path / "deployment.json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        mistakes: dict[str, tuple[tuple[str, ...], dict[str, str], int, str]] = {
            "no contracts": (("--deployment", "nowhere.json"), {}, 2, "deployment nowhere.json cannot be read"),
            "port": (("--port", port), {}, 2, f"cannot listen on 127.0.0.1 port {port}"),
            "no chain": (("--rpc", "http://127.0.0.1:9"), {}, 1, "no node answers"),
            "variable": ((), {"FEDMARKET_MARKET_SESSION_S": "0"}, 2, "FEDMARKET_MARKET_SESSION_S: "),
            "database": (("--database", "mysql://x"), {}, 2, "kind mysql"),
        }
        for options, variables, expected, words in mistakes.values():
            with Command(tmp_path, devnet, *HERE, *options, **variables) as command:
                status, output, errors = command.ended()
            assert (status, output) == (expected, ""), errors
            assert len(errors.splitlines()) == 1, errors
            assert words in errors


def test_service_does_not_start_where_it_is_not_safe(
    tmp_path: Path, devnet: Devnet, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market.chain.connection import Chain
    from market.protocol.errors import InvalidInput

    monkeypatch.setattr(Chain, "is_development_chain", property(lambda chain: False))
    with pytest.raises(InvalidInput, match="FEDMARKET_MARKET_DATABASE_URL"):
        prepare_server(settings_for(tmp_path, devnet, deployment), print)
