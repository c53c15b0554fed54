"""Sign-in with Ethereum at a real service: what is refused, and that a token is good for its account alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import select
from sqlalchemy.orm import Session

from fedmarket.devnet import Devnet
from market.api.dependencies import token_hash
from market.api.sign_in import NONCE_S
from market.chain.calls import PreparedCall
from market.chain.deployment import Deployment
from market.db.service_tables import NonceRow, SessionRow
from market.protocol.sign_in_message import SignInMessage, moment_text
from tests.integration.conftest import Actors, account
from tests.integration.marketplace import ON_ANVIL
from tests.integration.service import Running, serving, settings_for, signature

pytestmark = ON_ANVIL

OWNER = account("sign-in")
OTHER = account("somebody else")


@pytest.fixture
def running(
    tmp_path: Path, devnet: Devnet, deployment: Deployment, new_database: Callable[[], str]
) -> Iterator[Running]:
    with serving(settings_for(tmp_path, devnet, deployment, database_url=new_database())) as opened:
        yield opened


@pytest.fixture
def clock(running: Running) -> Callable[[int], None]:
    """Moves the service's clock on."""
    began = running.service.now

    def move(seconds: int) -> None:
        object.__setattr__(running.service, "now", lambda: began() + seconds)

    return move


def refused(answer: httpx.Response, words: str) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert words in answer.json()["detail"]


def changed(running: Running, **changes: Any) -> str:
    """A message of this service, with fields that are not."""
    return replace(SignInMessage.parse(running.offer(OWNER)["message"]), **changes).to_text()


def test_account_that_signs_gets_a_session(running: Running) -> None:
    answer = running.client.get("/api/v1/account", headers=running.sign_in(OWNER))

    assert answer.status_code == 200
    assert answer.json()["account"] == OWNER.address
    assert answer.headers["Cache-Control"] == "no-store"


def test_message_is_for_this_service_and_chain(running: Running) -> None:
    offer = running.offer(OWNER)
    message = SignInMessage.parse(offer["message"])

    assert message.domain == running.url.removeprefix("http://")
    assert message.uri == running.url
    assert message.chain_id == running.service.deployment.chain_id
    assert message.nonce == offer["nonce"]
    assert len(message.nonce) >= 32


def test_only_the_hash_of_a_token_is_kept(running: Running) -> None:
    token = running.sign_in(OWNER)["Authorization"].removeprefix("Bearer ")

    with Session(running.service.engine) as session:
        [row] = session.scalars(select(SessionRow)).all()
    assert row.token_hash == token_hash(token)


def test_message_is_good_once(running: Running) -> None:
    message = running.offer(OWNER)["message"]

    assert running.hand_in(message, OWNER).status_code == 201
    refused(running.hand_in(message, OWNER), "nonce is unknown, used or expired")


def test_of_many_who_hand_in_one_message_at_once_one_is_signed_in(running: Running) -> None:
    message = running.offer(OWNER)["message"]
    signed = {"message": message, "signature": signature(message, OWNER)}
    statuses: list[int] = []
    together = threading.Barrier(8)

    def hand_in() -> None:
        with httpx.Client(base_url=running.url, timeout=30, trust_env=False) as client:
            together.wait()
            statuses.append(client.post("/api/v1/sign-in", json=signed).status_code)

    threads = [threading.Thread(target=hand_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [401] * 7


def test_nonce_that_was_never_given_is_refused(running: Running) -> None:
    refused(running.hand_in(changed(running, nonce="A" * 32), OWNER), "nonce is unknown")


def test_nonce_expires(running: Running, clock: Callable[[int], None]) -> None:
    message = changed(running, expiration_time=None)
    clock(NONCE_S + 1)

    refused(running.hand_in(message, OWNER), "nonce is unknown, used or expired")


def test_message_expires(running: Running, clock: Callable[[int], None]) -> None:
    message = running.offer(OWNER)["message"]
    clock(NONCE_S + 1)

    refused(running.hand_in(message, OWNER), "it expired at")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domain": "evil.example"}, "it is for evil.example"),
        ({"domain": "127.0.0.1"}, "it is for 127.0.0.1"),
        ({"scheme": "https"}, "its scheme is https"),
        ({"uri": "https://evil.example"}, "its URI is https://evil.example"),
        ({"chain_id": 1}, "it is for chain 1"),
        ({"issued_at": moment_text(4_000_000_000)}, "later"),
        ({"expiration_time": "2021-09-30T16:25:24Z"}, "it expired at 2021"),
        ({"not_before": moment_text(4_000_000_000)}, "it is not good before"),
        ({"address": OTHER.address}, "the signature is not that of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_message_for_something_else_is_refused(running: Running, changes: dict[str, Any], words: str) -> None:
    refused(running.hand_in(changed(running, **changes), OWNER), words)


def test_refused_message_leaves_its_nonce_as_it_was(running: Running) -> None:
    message = running.offer(OWNER)["message"]

    refused(running.hand_in(message, OTHER), "signature")
    assert running.hand_in(message, OWNER).status_code == 201


def test_signature_of_other_text_is_refused(running: Running) -> None:
    message = running.offer(OWNER)["message"]
    body = {"message": message, "signature": signature(message + " ", OWNER)}

    refused(running.client.post("/api/v1/sign-in", json=body), "the signature is not that of")


@pytest.mark.parametrize(
    "sent", ["0x00", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64 + "05", "0x" + "11" * 200]
)
def test_bytes_that_are_no_signature_are_refused(running: Running, sent: str) -> None:
    body = {"message": running.offer(OWNER)["message"], "signature": sent}

    refused(running.client.post("/api/v1/sign-in", json=body), "the signature is not that of")


@pytest.mark.parametrize("message", ["", "hello", "x" * 5_000])
def test_text_that_is_no_such_message_is_refused(running: Running, message: str) -> None:
    assert running.hand_in(message, OWNER).status_code == 422


def test_session_ends(running: Running, clock: Callable[[int], None]) -> None:
    session = running.sign_in(OWNER)
    clock(running.settings.session_s + 1)

    refused(running.client.get("/api/v1/account", headers=session), "this session is over")


def test_who_signs_out_is_signed_out(running: Running) -> None:
    session, other = running.sign_in(OWNER), running.sign_in(OWNER)

    assert running.client.delete("/api/v1/session", headers=session).status_code == 204
    refused(running.client.get("/api/v1/account", headers=session), "this session is over")
    assert running.client.get("/api/v1/account", headers=other).status_code == 200


def test_what_is_over_is_forgotten(running: Running, clock: Callable[[int], None]) -> None:
    running.sign_in(OWNER)
    running.offer(OWNER)
    clock(running.settings.session_s + 1)
    running.offer(OTHER)

    with Session(running.service.engine) as session:
        assert len(session.scalars(select(NonceRow)).all()) == 1
        assert session.scalars(select(SessionRow)).all() == []


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic eDp5", "Bearer " + "x" * 5_000], ids=repr)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/account"),
        ("DELETE", "/api/v1/session"),
        ("POST", "/api/v1/jobs"),
        ("PUT", "/api/v1/content/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"),
    ],
)
def test_nothing_is_written_without_a_session(running: Running, header: str | None, method: str, path: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    body: dict[str, Any] = {"content": b"some"} if method == "PUT" else {"json": {}} if method == "POST" else {}

    refused(running.client.request(method, path, headers=headers, **body), "")


@pytest.fixture
def wallet(actors: Actors, compile_solidity: Callable[[str], bytes]) -> tuple[str, LocalAccount]:
    """A contract account, and the key whose signatures it takes for its own."""
    code = compile_solidity("Wallet") + bytes(12) + bytes.fromhex(OWNER.address[2:])
    receipt = actors["deployer of wallets"].send("wallet", PreparedCall(None, code, label="deploy Wallet"))
    assert receipt.contract is not None
    return receipt.contract, OWNER


def test_contract_account_signs_in_by_what_it_takes_for_a_signature(
    running: Running, wallet: tuple[str, LocalAccount]
) -> None:
    address, key = wallet
    message = changed(running, address=address)

    refused(running.hand_in(message, OTHER), "the signature is not that of")
    answer = running.hand_in(message, key)
    assert answer.status_code == 201
    assert answer.json()["account"] == address


@pytest.mark.parametrize("is_used", [False, True])
def test_chain_is_not_asked_about_a_message_without_a_nonce_that_holds(
    running: Running, wallet: tuple[str, LocalAccount], monkeypatch: pytest.MonkeyPatch, is_used: bool
) -> None:
    address, key = wallet
    message = changed(running, address=address, **({} if is_used else {"nonce": "n" * 32}))
    if is_used:
        assert running.hand_in(message, key).status_code == 201
    asked: list[object] = []
    monkeypatch.setattr("market.api.sign_in.accepts", lambda *about: asked.append(about))

    for _ in range(3):
        refused(running.hand_in(message, key), "nonce is unknown, used or expired")
    assert asked == []
