"""The market's service as a program asks it. What it answers is believed no more than the chain bears out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from pydantic import BaseModel, ValidationError

from market import views
from market.api.shapes import (
    AccountState,
    HeldContent,
    Measured,
    PostingRequest,
    PreparedPosting,
    Problem,
    SignedIn,
    SignInOffer,
    SpecReport,
    UnsignedTransaction,
)
from market.chain.calls import PreparedCall
from market.chain.connection import LOOPBACK_HOSTS
from market.protocol.errors import FalseTransaction, InvalidInput, ServiceRefused, ServiceUnreachable
from market.protocol.sign_in_message import SignInMessage
from market.storage import Cid
from market.storage.file_dag import build_file

API = "/api/v1"
PIECE_BYTES = 1 << 16
TIMEOUT_S = 60.0

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are sent."""

Shape = TypeVar("Shape", bound=BaseModel)


class MarketClient:
    """One market's service. Use it as a context manager; threads may not share it.

    Raises:
        ServiceUnreachable: from any method: nothing answers, or what answers is no market.
        ServiceRefused: from any method: the service says no; the error has the status and the problem's type.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is asked yet.

        Args:
            url: scheme, host and port; https, but for this machine.
            transport: in place of a connection.

        Raises:
            InvalidInput: the address is none, or what is said there could be read on the way.
        """
        parts = urlsplit(url)
        is_here = parts.hostname in LOOPBACK_HOSTS
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"{url!r} is no address of a market: expected https://HOST or http://127.0.0.1:PORT")
        if parts.scheme == "http" and not is_here and transport is None:
            raise InvalidInput(f"{url!r}: expected https://, since a session could be read on the way")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT_S,
            transport=transport,
            trust_env=not is_here,  # the environment's proxy cannot reach this machine's own ports
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    # ------------------------------------------------------------------ who asks

    def sign_in(self, account: LocalAccount, chain_id: int) -> SignedIn:
        """Sign in; what is sent from now on is sent in this account's name.

        Args:
            account: who signs.
            chain_id: of the chain that the caller means.

        Raises:
            FalseTransaction: the service wants something else signed than a sign-in to itself, on this chain.
        """
        offer = self._post("/sign-in/nonce", {"address": account.address}, SignInOffer)
        self._check_offer(offer.message, account.address, chain_id)
        signature = bytes(account.sign_message(encode_defunct(text=offer.message)).signature)
        signed = self._post("/sign-in", {"message": offer.message, "signature": f"0x{signature.hex()}"}, SignedIn)
        self._http.headers["Authorization"] = f"Bearer {signed.token}"
        return signed

    def account(self) -> AccountState:
        """Who is signed in, and how much of the quota is used."""
        return self.get("/account", AccountState)

    def sign_out(self) -> None:
        """End the session."""
        self._ask("DELETE", "/session")
        del self._http.headers["Authorization"]

    # ------------------------------------------------------------------ contents

    def upload(self, source: Path | bytes, progress: Progress = lambda sent, total: None) -> Cid:
        """Upload a file or some bytes, once; returns the name that follows from them.

        Raises:
            InvalidInput: the file cannot be read.
        """
        try:
            with _opened(source) as stream:
                cid = build_file(stream, lambda block_cid, block: None)
                size_bytes = stream.tell()
                if not self.has(cid):
                    stream.seek(0)
                    self._put(cid, stream, size_bytes, progress)
        except OSError as error:
            raise InvalidInput(f"{source!r:.200} cannot be read: {error.strerror}") from error
        progress(size_bytes, size_bytes)
        return cid

    def has(self, cid: Cid) -> bool:
        """Whether the service holds content."""
        try:
            self._ask("HEAD", f"/content/{cid}")
        except ServiceRefused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    # ------------------------------------------------------------------ posting

    def check_spec(self, spec: str) -> SpecReport:
        """What is wrong with a job's spec, in YAML."""
        answer = self._ask("POST", "/specs/check", content=spec.encode(), headers={"Content-Type": "application/yaml"})
        return self._parsed(answer, SpecReport)

    def prepare_job(self, asked: PostingRequest) -> PreparedPosting:
        """Have a job's contents checked and pinned, and the transaction made that opens it."""
        return self._post("/jobs", asked.model_dump(), PreparedPosting)

    def report_evaluation(self, job: int, version: int, measured: Measured) -> None:
        """Say how well a model of one's own job does."""
        self._ask("PUT", f"/jobs/{job}/models/{version}/evaluation", json=measured.model_dump())

    # ------------------------------------------------------------------ reading

    def network(self) -> views.Network:
        """Which chain the service reads, and how far it is."""
        return self.get("/network", views.Network)

    def jobs(self, **wanted: str | bool | None) -> Iterator[views.JobSummary]:
        """Jobs; `state`, `owner`, `token`, `has_exam`, `text` and `sort` as the API describes them."""
        return self.pages("/jobs", views.JobSummary, wanted)

    def job(self, number: int) -> views.Job:
        """One job."""
        return self.get(f"/jobs/{number}", views.Job)

    def attempts(self, job: int) -> Iterator[views.Attempt]:
        """A job's attempts in order."""
        return self.pages(f"/jobs/{job}/attempts", views.Attempt)

    def updates(self, job: int, attempt: int | None = None, trainer: str | None = None) -> Iterator[views.Update]:
        """What was submitted, with what came of it."""
        return self.pages(f"/jobs/{job}/updates", views.Update, {"attempt": attempt, "trainer": trainer})

    def gram(self, job: int, attempt: int) -> views.GramMatrix:
        """A settled attempt's matrix."""
        return self.get(f"/jobs/{job}/attempts/{attempt}/gram", views.GramMatrix)

    def proof(self, job: int, attempt: int) -> views.Proof:
        """What proved it."""
        return self.get(f"/jobs/{job}/attempts/{attempt}/proof", views.Proof)

    def payouts(self, job: int, trainer: str | None = None, claimed: bool | None = None) -> Iterator[views.Credit]:
        """What seats earned."""
        return self.pages(f"/jobs/{job}/payouts", views.Credit, {"trainer": trainer, "claimed": claimed})

    def movements(self, job: int, account: str | None = None) -> Iterator[views.Movement]:
        """Every wei that came in, went out or was burned."""
        return self.pages(f"/jobs/{job}/movements", views.Movement, {"account": account})

    def models(self, job: int) -> Iterator[views.ModelVersion]:
        """A job's models, the initial one first."""
        return self.pages(f"/jobs/{job}/models", views.ModelVersion)

    def trainer(self, address: str) -> views.TrainerSummary:
        """One trainer over all jobs."""
        return self.get(f"/trainers/{address}", views.TrainerSummary)

    def aggregator(self, address: str) -> views.AggregatorSummary:
        """One aggregator over all jobs."""
        return self.get(f"/aggregators/{address}", views.AggregatorSummary)

    def events(self, job: int | None = None, kind: str | None = None) -> Iterator[views.ChainEvent]:
        """The contract's events in order."""
        return self.pages("/events", views.ChainEvent, {"job": job, "kind": kind})

    def get(self, path: str, shape: type[Shape], query: Mapping[str, Any] | None = None) -> Shape:
        """Read one thing.

        Args:
            path: below /api/v1.
            shape: what it is.
            query: as the API describes it; None values are left out.
        """
        present = {name: value for name, value in (query or {}).items() if value is not None}
        return self._parsed(self._ask("GET", path, params=present), shape)

    def pages(self, path: str, shape: type[Shape], query: Mapping[str, Any] | None = None) -> Iterator[Shape]:
        """Read a list to its end, page after page; arguments as of `get`."""
        cursor: str | None = None
        while True:
            page = self.get(path, _AnyPage, {**(query or {}), "cursor": cursor})
            for item in page.items:
                yield self._validated(item, shape)
            if page.next is None:
                return
            cursor = page.next

    # ------------------------------------------------------------------ asking

    def _post(self, path: str, body: Mapping[str, Any], shape: type[Shape]) -> Shape:
        return self._parsed(self._ask("POST", path, json=body), shape)

    def _put(self, cid: Cid, stream: BinaryIO, size_bytes: int, progress: Progress) -> None:
        headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        answer = self._ask("PUT", f"/content/{cid}", content=_pieces(stream, size_bytes, progress), headers=headers)
        held = self._parsed(answer, HeldContent)
        if (held.cid, held.size_bytes) != (str(cid), size_bytes):
            raise ServiceUnreachable(f"the market at {self.url} says that it holds {held.cid}, expected {cid}")

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, API + path, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = str(error) or type(error).__name__
            raise ServiceUnreachable(f"no market answers at {self.url}: {words[:200]}") from error
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: httpx.Response) -> ServiceRefused:
        try:
            said = Problem.model_validate_json(answer.content)
        except ValidationError:
            return ServiceRefused(answer.status_code, "about:blank", answer.reason_phrase)
        errors = tuple((wrong.field, wrong.detail) for wrong in said.errors)
        return ServiceRefused(answer.status_code, said.type, said.detail, errors)

    def _parsed(self, answer: httpx.Response, shape: type[Shape]) -> Shape:
        try:
            return shape.model_validate_json(answer.content)
        except ValidationError as error:
            raise self._no_market(error) from error

    def _validated(self, unverified_item: Any, shape: type[Shape]) -> Shape:
        try:
            return shape.model_validate(unverified_item)
        except ValidationError as error:
            raise self._no_market(error) from error

    def _no_market(self, error: ValidationError) -> ServiceUnreachable:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return ServiceUnreachable(f"what answers at {self.url} is no market of this version: {where}: {first['msg']}")

    def _check_offer(self, unverified_text: str, address: str, chain_id: int) -> None:
        """See that what is to be signed is a sign-in to this service, and nothing that is good anywhere else."""
        message = SignInMessage.parse(unverified_text)
        expected = (urlsplit(self.url).netloc, self.url, address, chain_id)
        found = (message.domain, message.uri, message.address, message.chain_id)
        if found != expected:
            raise FalseTransaction(
                f"the market at {self.url} wants a sign-in signed for {message.domain} on chain {message.chain_id}, "
                f"expected {expected[0]} on chain {chain_id}"
            )


class _AnyPage(BaseModel):
    items: list[Any]
    next: str | None


def check_transaction(unverified: UnsignedTransaction, expected: PreparedCall, chain_id: int) -> None:
    """See that a transaction is the very call that this program would make.

    Raises:
        FalseTransaction: it is another one: it must not be signed.
    """
    facts = (
        ("recipient", unverified.to, expected.to),
        ("chain", unverified.chain_id, chain_id),
        ("value", unverified.value_wei, str(expected.value_wei)),
        ("data", unverified.data, "0x" + expected.data.hex()),
    )
    for name, found, meant in facts:
        if found != meant:
            raise FalseTransaction(
                f"the market prepared a false transaction: its {name} is {found!s:.80}, expected {meant!s:.80}; "
                "nothing was signed"
            )


def _opened(source: Path | bytes) -> AbstractContextManager[BinaryIO]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _pieces(stream: BinaryIO, size_bytes: int, progress: Progress) -> Iterator[bytes]:
    sent = 0
    while piece := stream.read(PIECE_BYTES):
        yield piece
        sent += len(piece)
        progress(min(sent, size_bytes), size_bytes)
