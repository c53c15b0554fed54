"""Posting by the service: what it checks, what it prepares, and that a service that lies gets nothing signed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from fedmarket import service_posting
from fedmarket.devnet import Devnet
from fedmarket.owner import KeyMaker, PreparedJob, initial_model, publish
from market.api.shapes import PostingRequest, PreparedPosting, UnsignedTransaction
from market.app import tidy
from market.chain.calls import PreparedCall
from market.chain.deployment import Deployment
from market.chain.erc20 import Erc20
from market.chain.events import JobOpened
from market.chain.job_market import JobMarket
from market.client import MarketClient
from market.protocol.errors import BlockNotFound, FalseTransaction, ServiceRefused, ServiceUnreachable
from market.protocol.job_spec import JobDocument, load_spec
from market.storage import Cid, EmbeddedStore, content_cid
from market.uploads import job_reason, upload_reason
from tests.integration.conftest import BALANCE_WEI, Actors
from tests.integration.marketplace import ON_ANVIL, development_srs, spec
from tests.integration.packages import names, packed, post
from tests.integration.service import Running, serving, settings_for
from tests.integration.terminal import Terminal, refuses, transactions, wait_until

pytestmark = ON_ANVIL


@pytest.fixture
def running(tmp_path: Path, devnet: Devnet, deployment: Deployment) -> Iterator[Running]:
    with serving(settings_for(tmp_path, devnet, deployment)) as opened:
        yield opened


@pytest.fixture
def client(running: Running, actors: Actors) -> Iterator[MarketClient]:
    """A client that the owner signed in with."""
    with MarketClient(running.url) as opened:
        opened.sign_in(actors["owner"].account, running.service.deployment.chain_id)
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "local")


@pytest.fixture
def prepared(local: EmbeddedStore) -> PreparedJob:
    parsed = spec(4)
    return publish(parsed, initial_model(parsed, None), local, development_srs())


def upload(client: MarketClient, local: EmbeddedStore, *cids: Cid) -> None:
    for cid in cids:
        assert client.upload(local.read(cid, 1 << 30)) == cid


def request(prepared: PreparedJob, actors: Actors, **changes: str) -> PostingRequest:
    asked = PostingRequest(
        spec_cid=str(prepared.document_cid),
        initial_model_cid=str(prepared.model_cid),
        initial_commitment="0x" + prepared.commitment.hex(),
        srs_id="0x" + prepared.srs_id.hex(),
        owner=actors["owner"].address,
    )
    return asked.model_copy(update=changes)


def call_of(unsigned: UnsignedTransaction) -> PreparedCall:
    return PreparedCall(unsigned.to, bytes.fromhex(unsigned.data[2:]), int(unsigned.value_wei), "signed")


def test_transaction_that_the_service_prepares_opens_the_job(
    client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors, deployed: JobMarket
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)
    answer = client.prepare_job(request(prepared, actors))

    assert answer.approval is None
    assert answer.model_checked
    assert answer.transaction.to == deployed.address
    assert answer.transaction.chain_id == deployed.chain.chain_id
    assert answer.transaction.value_wei == answer.deposit_wei == str(prepared.terms(0).deposit_wei)
    receipt = actors["owner"].send("open", call_of(answer.transaction))
    assert answer.transaction.gas is not None
    assert receipt.gas_used <= answer.transaction.gas
    [opened] = [event for event in deployed.events_in(receipt.logs) if isinstance(event, JobOpened)]
    assert opened.owner == actors["owner"].address
    assert opened.terms == prepared.terms(answer.posted_s)


def test_sealed_models_are_taken_unread_and_shown_as_sealed(
    running: Running, client: MarketClient, local: EmbeddedStore, actors: Actors, deployed: JobMarket
) -> None:
    parsed = spec(4, models="sealed")
    keys = KeyMaker(actors["owner"].account, deployed.chain.chain_id, deployed.address)
    prepared = publish(parsed, initial_model(parsed, None), local, development_srs(), keys=keys)
    upload(client, local, prepared.document_cid, prepared.model_cid)
    answer = client.prepare_job(request(prepared, actors))
    assert not answer.model_checked
    actors["owner"].send("open", call_of(answer.transaction))
    wait_until(lambda: running.client.get("/api/v1/jobs/0").json().get("models_sealed") is True, "the document")
    [model] = running.client.get("/api/v1/jobs/0/models").json()["items"]
    assert (model["sealed"], model["cid"], model["size_bytes"]) == (True, str(prepared.model_cid), 32 + 8 * 15 + 16)
    assert running.client.get("/api/v1/jobs/0/models/0").json() == model
    for page in ("/audit/0", "/jobs/0"):
        assert "sealed to those who take part" in running.client.get(page).text


def test_a_model_is_neither_taken_for_open_nor_for_sealed_where_it_is_not(
    client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors, deployed: JobMarket
) -> None:
    parsed = spec(4, models="sealed")
    keys = KeyMaker(actors["owner"].account, deployed.chain.chain_id, deployed.address)
    sealed = publish(parsed, initial_model(parsed, None), local, development_srs(), keys=keys)
    for document, model, expected in (
        (sealed.document, prepared.model_cid, "168 for 15 parameters"),
        (prepared.document, sealed.model_cid, "120 for 15 parameters"),
    ):
        crossed = document.model_copy(update={"initial_model": str(model)})
        cid = local.add_bytes(crossed.to_bytes())
        upload(client, local, cid, model)
        with pytest.raises(ServiceRefused, match=expected):
            client.prepare_job(request(prepared, actors, spec_cid=str(cid), initial_model_cid=str(model)))


def test_contents_stay_until_a_job_names_them_and_then_off_the_quota(
    running: Running, client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)
    store = running.service.store
    answer = client.prepare_job(request(prepared, actors))
    pinned = frozenset({upload_reason(actors["owner"].address)})
    assert store.pins() == {prepared.document_cid: pinned, prepared.model_cid: pinned}
    assert client.account().uploaded_bytes > 0

    actors["owner"].send("open", call_of(answer.transaction))
    wait_until(lambda: running.client.get("/api/v1/jobs/0").status_code == 200, "the job")
    tidy(running.service)
    assert store.pins() == {cid: frozenset({job_reason(cid)}) for cid in (prepared.document_cid, prepared.model_cid)}
    assert client.account().uploaded_bytes == 0


def test_one_damaged_upload_that_a_job_names_keeps_no_other_on_the_quota(
    running: Running, client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)
    store = running.service.store
    answer = client.prepare_job(request(prepared, actors))
    actors["owner"].send("open", call_of(answer.transaction))
    wait_until(lambda: running.client.get("/api/v1/jobs/0").status_code == 200, "the job")
    first, second = sorted((prepared.document_cid, prepared.model_cid), key=str)
    store._blocks.path(first).unlink()
    with contextlib.suppress(BlockNotFound):  # of the collection: a pin reaches what is gone
        tidy(running.service)

    assert store.pins()[second] == frozenset({job_reason(second)})


def refused(error: pytest.ExceptionInfo[ServiceRefused], status: int, kind: str, words: str) -> None:
    assert (error.value.status, error.value.kind) == (status, f"urn:fedmarket:problem:{kind}"), str(error.value)
    assert words in str(error.value)


def test_contents_have_to_be_uploaded_first(
    client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors
) -> None:
    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors))
    refused(error, 404, "content-not-held", str(prepared.document_cid))
    upload(client, local, prepared.document_cid)
    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors))
    refused(error, 404, "content-not-held", "upload it first")


def test_only_the_owner_posts(client: MarketClient, prepared: PreparedJob, actors: Actors) -> None:
    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors, owner=actors["thief"].address))
    refused(error, 403, "not-allowed", "is signed in")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"srs_id": "0x" + "11" * 32}, "expected this market's"),
        ({"initial_commitment": "0x" + "00" * 128}, "has 128 bytes, expected 64"),
        ({"initial_model_cid": str(content_cid(b"another"))}, "the document says"),
        ({"spec_cid": str(Cid(1, 0x70, bytes(32)))}, "the name of one raw block"),
        ({"spec_cid": "b" + "a" * 58}, "CID"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_together_is_refused(
    client: MarketClient,
    prepared: PreparedJob,
    local: EmbeddedStore,
    actors: Actors,
    changes: dict[str, str],
    words: str,
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)

    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors, **changes))
    assert error.value.status == 422
    assert words in str(error.value)


def other_document(client: MarketClient, prepared: PreparedJob, change: Callable[[dict[str, Any]], None]) -> str:
    """The document with a change, uploaded."""
    fields = json.loads(prepared.document.to_bytes())
    change(fields)
    return str(client.upload(json.dumps(fields).encode()))


def _long_model(fields: dict[str, Any]) -> None:
    fields["initial_model"] = str(content_cid(np.zeros(16, "<i8").tobytes()))


def _wild_model(fields: dict[str, Any]) -> None:
    fields["initial_model"] = str(content_cid(np.full(15, 1 << 60, "<i8").tobytes()))


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "unknown field": (lambda fields: fields["spec"].update(colour="red"), "invalid-job-spec", "spec.colour"),
    "no rounds": (lambda fields: fields["spec"].update(rounds=0), "invalid-job-spec", "spec.rounds"),
    "poor stake": (
        lambda fields: fields["spec"]["money"].update(trainer_stake=1),
        "invalid-terms",
        "trainer_stake_wei",
    ),
    "deadline": (lambda fields: fields["spec"]["periods"].update(deadline_s=1), "invalid-terms", "deadline"),
    "no token": (lambda fields: fields["spec"]["money"].update(token="0x" + "11" * 20), "invalid-input", "ERC-20"),
    "dear": (lambda fields: fields["spec"]["money"].update(aggregator_fee=BALANCE_WEI), "invalid-input", "wei"),
    "odd entry": (lambda fields: fields["manifest"][0].update(x="y"), "invalid-job-spec", "manifest"),
    "half a character": (
        lambda fields: fields["spec"]["model"]["arguments"].update(x="\ud800"),
        "invalid-job-spec",
        "half a character",
    ),
    "no number": (
        lambda fields: fields["spec"]["model"]["arguments"].update(x=float("nan")),
        "invalid-job-spec",
        "NaN",
    ),
    "long model": (_long_model, "invalid-model", "has 128 bytes, expected 120"),
    "wild model": (_wild_model, "invalid-model", "entry 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_document_that_cannot_be_a_job_is_refused(
    client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors, mistake: str
) -> None:
    change, kind, words = MISTAKES[mistake]
    upload(client, local, prepared.model_cid)
    models = [client.upload(np.zeros(16, "<i8").tobytes()), client.upload(np.full(15, 1 << 60, "<i8").tobytes())]
    document_cid = other_document(client, prepared, change)
    named = next((str(cid) for cid in models if "model" in mistake and mistake[0] == "lw"[models.index(cid)]), None)

    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(
            request(prepared, actors, spec_cid=document_cid, initial_model_cid=named or str(prepared.model_cid))
        )
    refused(error, 422, kind, words)


@pytest.mark.parametrize("document", [b"", b"{}", b"[" * 1000, b"\xff", b'{"format": "fedmarket/job/2"}'])
def test_bytes_that_are_no_document_are_refused(
    client: MarketClient, prepared: PreparedJob, actors: Actors, document: bytes
) -> None:
    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors, spec_cid=str(client.upload(document))))
    refused(error, 422, "invalid-job-spec", "")


def test_what_the_contract_would_refuse_is_refused_in_its_words(
    client: MarketClient, prepared: PreparedJob, local: EmbeddedStore, actors: Actors
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)

    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors, initial_commitment="0x" + "11" * 64))
    assert (error.value.status, error.value.kind) == (422, "urn:fedmarket:problem:contract-refuses"), str(error.value)


@pytest.mark.parametrize(
    ("mistake", "changes"),
    [("dear", {}), (None, {"initial_commitment": "0x" + "00" * 128}), (None, {"srs_id": "0x" + "11" * 32})],
)
def test_model_of_a_job_that_cannot_be_opened_is_never_read(
    client: MarketClient,
    prepared: PreparedJob,
    local: EmbeddedStore,
    actors: Actors,
    monkeypatch: pytest.MonkeyPatch,
    mistake: str | None,
    changes: dict[str, str],
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)
    if mistake is not None:
        changes = {"spec_cid": other_document(client, prepared, MISTAKES[mistake][0])}
    read: list[object] = []
    monkeypatch.setattr("market.api.posting.check_model", lambda *model: read.append(model))

    with pytest.raises(ServiceRefused) as error:
        client.prepare_job(request(prepared, actors, **changes))
    assert error.value.status == 422
    assert read == []
    client.prepare_job(request(prepared, actors))
    assert len(read) == 1


def test_models_are_read_one_at_a_time_and_readers_do_not_wait(
    running: Running,
    client: MarketClient,
    prepared: PreparedJob,
    local: EmbeddedStore,
    actors: Actors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload(client, local, prepared.document_cid, prepared.model_cid)
    monkeypatch.setattr("market.api.posting.WAIT_S", 2.0)
    reading, go_on = threading.Semaphore(0), threading.Event()

    def read_slowly(*model: object) -> None:
        reading.release()
        assert go_on.wait(30)

    monkeypatch.setattr("market.api.posting.check_model", read_slowly)
    with ThreadPoolExecutor(50) as pool:
        asked = request(prepared, actors).model_dump()
        headers = {"Authorization": client._http.headers["Authorization"]}
        posts = [
            pool.submit(httpx.post, f"{running.url}/api/v1/jobs", json=asked, headers=headers, timeout=30)
            for _ in range(50)
        ]
        try:
            assert reading.acquire(timeout=20)
            wait_until(lambda: sum(post.done() for post in posts) == 49, "all but one to be told to come again")
            assert running.client.get("/api/v1/jobs").status_code == 200
            assert not reading.acquire(timeout=0.1)
        finally:
            go_on.set()
        answers = [post.result() for post in posts]
    assert sorted(answer.status_code for answer in answers) == [201] + [503] * 49
    assert {answer.headers.get("Retry-After") for answer in answers} == {None, "15"}


def test_job_in_a_token_comes_with_the_approval_that_it_takes(
    client: MarketClient,
    local: EmbeddedStore,
    actors: Actors,
    deployed: JobMarket,
    compile_solidity: Callable[[str], bytes],
) -> None:
    owner = actors["owner"]
    token = owner.send("coin", PreparedCall(None, compile_solidity("Token"))).contract
    assert token is not None
    parsed = spec(
        4,
        money={
            "token": token,
            "round_reward": 100,
            "aggregator_fee": 0,
            "compensation": 0,
            "trainer_stake": 300,
            "aggregator_bond": 300,
        },
    )
    prepared = publish(parsed, initial_model(parsed, None), local, development_srs())
    upload(client, local, prepared.document_cid, prepared.model_cid)

    first = client.prepare_job(request(prepared, actors))
    assert first.approval is not None
    assert (first.approval.to, first.transaction.gas) == (token, None)
    owner.send("approve", call_of(first.approval))
    assert Erc20(owner.chain, token).allowance(owner.address, deployed.address) == int(first.deposit_wei)
    second = client.prepare_job(request(prepared, actors))
    assert second.approval is None
    assert second.transaction.gas
    assert deployed.events_in(owner.send("open", call_of(second.transaction)).logs)


# ------------------------------------------------------------------ specs


def test_good_spec_is_called_good(running: Running, client: MarketClient) -> None:
    for example in ("digits.yaml", "digits-median.yaml"):
        path = Path(service_posting.__file__).parent / "examples" / example
        report = client.check_spec(path.read_text("utf-8"))
        assert report.valid, report
        assert int(report.deposit_wei or 0) > 0
        load_spec(path)


def test_all_that_is_wrong_is_said_at_once(client: MarketClient) -> None:
    wrong = yaml.safe_dump({"name": "", "rounds": "many", "seats": 2, "colour": "red"})
    report = client.check_spec(wrong)

    assert not report.valid
    assert report.deposit_wei is None
    fields = {error.field for error in report.errors}
    assert {"name", "rounds", "seats", "colour", "model", "periods", "money"} <= fields


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"a: [",
        b"- " * 10_000,
        b"[" * 30_000,
        b"{a: " * 10_000,
        b"a: &a [b, b]\nc: *a\n",
        b"? {a: b}\n: c\n",
        b"2001-99-99",
        b"rounds: 2001-99-99",
        b"rounds: " + b"9" * 10_000,
        b"rounds: 0x" + b"9" * 10_000,
        b"rounds: 1" + b":1" * 10_000,
        b"rounds: .inf",
        b"!!python/object:os.system {}",
        b"!!binary /",
        b"name: !!set {a, b}",
        b'a: !!int ""',
        b'a: !!float ""',
        b'a: !!float "-"',
        b'a: !!bool "x"',
        b'a: !!timestamp "x"',
        b'a: !!null "x"',
        b"a: !!omap x",
        b"a: !!pairs [x]",
        b"a: !!str [x]",
        b"a: !!map [x]",
        b'rounds: !!int "_"',
        b'a: !!int "-"',
        b'a: !!int "0x"',
        b'a: !!int "1:x"',
        b'!!int "": 1',
        b'!<tag:yaml.org,2002:int> ""',
        b'a: !<tag:yaml.org,2002:int> ""',
        b'"\\ud800": 1',
        b'{"\\ud800": 1}',
        b'{"name": "\\ud800", "description": "\\udfff"}',
        b'{"rounds": NaN, "seats": -Infinity, "training": {"epochs": 1e999}}',
        b"a: .nan\n.inf: -.inf",
        b"name: \xf0\x9f\xa6\x84\x00",
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("media_type", ["application/json", "application/yaml"])
def test_text_that_is_no_spec_is_never_a_failure(running: Running, body: bytes, media_type: str) -> None:
    answer = running.client.post("/api/v1/specs/check", content=body, headers={"Content-Type": media_type})

    # What is no mapping of fields is refused; one with wrong fields is what this question is for.
    assert answer.status_code in (200, 422), answer.text
    assert answer.json().get("valid", False) is False
    assert answer.json()["errors"]
    assert len(answer.content) < 100_000


def test_spec_of_another_type_is_refused(running: Running) -> None:
    assert running.client.post("/api/v1/specs/check", content=b"x").status_code == 415


# ------------------------------------------------------------------ a service that lies


@pytest.fixture
def terminals_service(devnet: Devnet, deployment: Deployment, tmp_path: Path) -> Iterator[Running]:
    """A service with a store of its own."""
    folder = tmp_path / "service"
    folder.mkdir()
    with serving(settings_for(folder, devnet, deployment)) as opened:
        yield opened


@pytest.fixture
def served_terminal(terminal: Terminal, terminals_service: Running) -> str:
    """Its address."""
    return terminals_service.url


def test_job_is_posted_by_a_service(
    terminal: Terminal, served_terminal: str, deployed: JobMarket, tmp_path: Path
) -> None:
    arguments = ("job", "post", terminal.folder / "job.yaml", "--market", served_terminal)

    assert "Job 0" in terminal.told(*arguments, who="owner")
    assert "Job 0 was posted already" in terminal.told(*arguments, who="owner")
    [opened] = deployed.events(kinds=[JobOpened])
    assert isinstance(opened, JobOpened)
    held = EmbeddedStore(tmp_path / "service" / "store")
    document = JobDocument.from_bytes(held.read(Cid.from_digest(opened.spec, 0), 1 << 20))
    assert held.has(Cid.parse(document.initial_model))


def test_a_model_of_the_owners_own_is_posted_by_a_service(
    terminal: Terminal, terminals_service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its service takes no job without all that the model is made of, and keeps that as long as the job's."""
    spec, url = packed(terminal), terminals_service.url
    files = names(terminal)
    with monkeypatch.context() as forgetful:
        whole = service_posting._contents
        forgetful.setattr(service_posting, "_contents", lambda job: [cid for cid in whole(job) if cid not in files])
        warm = ("--warm-start", terminal.folder / "owner.npz")
        result = terminal.run("job", "post", spec, *warm, "--market", url, who="owner")
        refuses(result, 1, "upload it first", "a model without its files")
    post(terminal, spec, "--market", url)
    wait_until(lambda: terminals_service.client.get("/api/v1/jobs/0").status_code == 200, "the job")
    tidy(terminals_service.service)
    pins = terminals_service.service.store.pins()
    assert [pins[cid] for cid in files] == [frozenset({job_reason(cid)}) for cid in files]


LIES: dict[str, tuple[Callable[[PreparedPosting], PreparedPosting], str]] = {}


def lie(words: str) -> Callable[[Callable[[UnsignedTransaction], dict[str, Any]]], None]:
    def note(change: Callable[[UnsignedTransaction], dict[str, Any]]) -> None:
        def told(answer: PreparedPosting) -> PreparedPosting:
            return answer.model_copy(
                update={"transaction": answer.transaction.model_copy(update=change(answer.transaction))}
            )

        LIES[words] = (told, words)

    return note


lie("its recipient is")(lambda transaction: {"to": "0x" + "11" * 20})
lie("its chain is")(lambda transaction: {"chain_id": 1})
lie("its value is")(lambda transaction: {"value_wei": str(int(transaction.value_wei) + 1)})
lie("its data is")(lambda transaction: {"data": transaction.data[:-2] + "01"})
for late_s in (-100_000, -1, 61, 300):
    LIES[f"counts from {late_s} s before"] = (
        lambda answer, late_s=late_s: answer.model_copy(update={"posted_s": answer.posted_s - late_s}),  # type: ignore[misc]
        "counts the job's periods from",
    )
LIES["its data is 0x"] = (lambda answer: answer.model_copy(update={"posted_s": answer.posted_s - 1}), "its data is")


@pytest.mark.parametrize("name", LIES)
def test_nothing_is_signed_for_a_service_that_prepares_another_transaction(
    terminal: Terminal, served_terminal: str, devnet: Devnet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told, words = LIES[name]
    honest = MarketClient.prepare_job
    monkeypatch.setattr(MarketClient, "prepare_job", lambda client, asked: told(honest(client, asked)))
    result = terminal.run("job", "post", terminal.folder / "job.yaml", "--market", served_terminal, who="owner")

    refuses(result, 1, words, name)
    assert transactions(devnet, terminal.address("owner")) == 0


@pytest.mark.parametrize(("enrol_s", "allowed_s"), [(1000, 60), (100, 10)])
@pytest.mark.parametrize("more_s", [-5, 1])
def test_service_may_be_late_by_a_small_part_of_the_enrolment(
    terminal: Terminal,
    served_terminal: str,
    deployed: JobMarket,
    devnet: Devnet,
    monkeypatch: pytest.MonkeyPatch,
    enrol_s: int,
    allowed_s: int,
    more_s: int,
) -> None:
    job = terminal.folder / "job.yaml"
    job.write_text(job.read_text("utf-8").replace("enrol_s: 1000", f"enrol_s: {enrol_s}"), "utf-8")
    honest = MarketClient.prepare_job

    def prepare_job(client: MarketClient, asked: PostingRequest) -> PreparedPosting:
        answer = honest(client, asked)
        devnet.advance_to(answer.posted_s + allowed_s + more_s)
        return answer

    monkeypatch.setattr(MarketClient, "prepare_job", prepare_job)
    result = terminal.run("job", "post", job, "--market", served_terminal, who="owner")

    if more_s > 0:
        refuses(result, 1, f"expected at most {allowed_s} s before that", "late")
        assert transactions(devnet, terminal.address("owner")) == 0
    else:
        assert "Job 0" in result.stdout
        assert len(deployed.events(kinds=[JobOpened])) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("URI: http://127.0.0.1", "URI: http://127.0.0.2"),
        ("127.0.0.1", "bank.example"),
        ("Chain ID: 31337", "Chain ID: 1"),
    ],
)
def test_client_signs_in_nowhere_else(running: Running, actors: Actors, old: str, new: str) -> None:
    def proxy(asked: httpx.Request) -> httpx.Response:
        answer = httpx.request(asked.method, asked.url, content=asked.read(), headers=asked.headers, trust_env=False)
        return httpx.Response(answer.status_code, text=answer.text.replace(old, new, 1))

    with (
        MarketClient(running.url, httpx.MockTransport(proxy)) as client,
        pytest.raises(FalseTransaction, match="wants a sign-in signed"),
    ):
        client.sign_in(actors["owner"].account, running.service.deployment.chain_id)


# ------------------------------------------------------------------ the client


def test_client_takes_no_other_server_for_a_market(devnet: Devnet) -> None:
    with MarketClient(devnet.url) as client, pytest.raises((ServiceUnreachable, ServiceRefused)):
        client.account()


def test_client_tells_how_far_an_upload_is(client: MarketClient, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))
    told: list[tuple[int, int]] = []

    assert client.upload(path, lambda sent, total: told.append((sent, total))) == content_cid(bytes(300_000))
    assert told[-1] == (300_000, 300_000)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert len(told) > 3
    told.clear()
    client.upload(path, lambda sent, total: told.append((sent, total)))
    assert told == [(300_000, 300_000)], "what is held is not sent again"


def test_client_hears_of_a_limit(tmp_path: Path, devnet: Devnet, deployment: Deployment, actors: Actors) -> None:
    settings = settings_for(tmp_path, devnet, deployment, upload_limit_bytes=1_000)
    with serving(settings) as running, MarketClient(running.url) as client:
        client.sign_in(actors["owner"].account, deployment.chain_id)
        with pytest.raises(ServiceRefused) as error:
            client.upload(bytes(20_000_000))
    refused(error, 413, "too-large", "at most 1000 bytes")


def test_who_signed_out_is_told_so(client: MarketClient) -> None:
    client.sign_out()

    with pytest.raises(ServiceRefused) as error:
        client.account()
    refused(error, 401, "not-signed-in", "")
