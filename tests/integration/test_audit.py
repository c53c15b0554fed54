"""The audit of jobs that were played on a real chain, and what it says when storage or the aggregator is not honest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregator.audit import AuditReport, Check, audit_job
from aggregator.gram import gram_matrix
from aggregator.round import public_rows, run_round
from aggregator.worker import fetch_update, model_versions
from fedmarket.devnet import Devnet
from market.chain.calls import PreparedCall
from market.chain.erc20 import Erc20
from market.chain.events import JobOpened
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, Settlement
from market.job_history import JobHistory
from market.protocol import integer_model
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import Digest, JobId
from market.protocol.job_spec import JobDocument, parse_spec
from market.protocol.manifest import ParameterManifest
from market.protocol.seal import seal
from market.protocol.terms import NATIVE
from market.published_job import PublishedJob
from market.storage import Cid, EmbeddedStore

D = 50
TRAINERS = [f"trainer {seat}" for seat in range(4)]
MUCH_WEI = 10**20


def spec(token: str) -> dict[str, Any]:
    periods = {"enrol_s": 600, "commit_s": 300, "reveal_s": 300, "settle_s": 300, "vesting_s": 100, "deadline_s": 9_000}
    money = {"round_reward": 10**15 + 1, "aggregator_fee": 10**13, "trainer_stake": 10**16, "aggregator_bond": 10**16}
    return {
        "name": "audited",
        "model": {"architecture": "linear"},
        "rounds": 3,
        "seats": 5,
        "periods": periods,
        "money": money | {"compensation": 10**12, "token": "native" if token == NATIVE else token},
    }


@dataclass
class RealJob:
    """A job on the chain with its actors; each method is what they do in one phase."""

    devnet: Devnet
    market: JobMarket
    actors: Any
    store: EmbeddedStore
    folder: Path
    token: str = NATIVE
    openings: dict[str, tuple[Digest, bytes]] = field(default_factory=dict)

    def open(self) -> None:
        parsed = parse_spec(spec(self.token))
        model = self.store.add_bytes(integer_model.to_bytes(np.arange(D, dtype=np.int64) << 20))
        manifest = ParameterManifest.from_shapes({"w": (D,)}).to_json()
        document = JobDocument(spec=parsed, manifest=manifest, initial_model=str(model))
        self.document = self.store.add_bytes(document.to_bytes())
        self.terms = parsed.to_terms(D, self.devnet.timestamp() + 60)
        self.give_tokens(["owner", "alice", "bob", *TRAINERS])
        call = self.market.open_job(self.terms, Digest(self.document.digest), Digest(model.digest))
        receipt = self.send("owner", "open", call)
        [opened] = [event for event in self.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
        self.id = opened.job

    def give_tokens(self, names: Iterable[str]) -> None:
        if self.token == NATIVE:
            return
        coin = Erc20(self.market.chain, self.token)
        for name in names:
            self.send("mint", f"give {name}", coin.transfer(self.actors[name].address, MUCH_WEI))
            self.send(name, "approve", coin.approve(self.market.address, MUCH_WEI))

    def send(self, name: str, key: str, call: PreparedCall) -> Any:
        return self.actors[name].send(key, call)

    def join(self) -> None:
        for name in TRAINERS:
            self.enrol(name)
        for name in ("alice", "bob"):
            self.send(name, "bond", self.market.bond(self.id, self.terms))

    def enrol(self, name: str) -> None:
        self.send(name, f"enrol {self.attempt}", self.market.enrol(self.id, self.terms))

    @property
    def attempt(self) -> int:
        return self.market.state(self.id).attempt

    def advance(self, phase: str) -> None:
        schedule = self.terms.schedule(self.market.state(self.id).attempt_start_s)
        self.devnet.advance_to(getattr(schedule, phase))

    def commit(self, names: Iterable[str] = TRAINERS) -> dict[str, NDArray[np.int16]]:
        self.advance("start_s")
        state = self.market.state(self.id)
        random = np.random.default_rng(state.attempt)
        common = random.integers(-900, 900, D)
        updates = {name: (common + random.integers(-300, 300, D)).astype(np.int16) for name in names}
        for name, update in updates.items():
            content, salt = Digest(Cid.of_block(update.tobytes(), 0x55).digest), random.bytes(32)
            self.openings[name] = content, salt
            context = self.market.seal_context(self.id, state.round, state.attempt)
            sealed = seal(context, self.actors[name].address, content, salt)
            self.send(name, f"commit {state.attempt}", self.market.commit(self.id, state.attempt, sealed))
        return updates

    def reveal(self, updates: dict[str, NDArray[np.int16]], unsent: Iterable[str] = ()) -> None:
        self.advance("commit_end_s")
        for name, update in updates.items():
            if name not in unsent:
                self.store.add_bytes(update.tobytes())
            content, salt = self.openings[name]
            call = self.market.reveal(self.id, self.attempt, self.actors[name].address, content, salt)
            self.send(name, f"reveal {self.attempt}", call)

    def published(self) -> PublishedJob:
        return PublishedJob(self.market, self.store, self.id, self.folder / "cache")

    def settle(self, name: str) -> None:
        """Settle as an honest aggregator does."""
        self.advance("reveal_end_s")
        job, state = self.published(), self.market.state(self.id)
        history = job.history()
        attempt = history.attempt(state.attempt)
        fetched = {seat: fetch_update(job, reveal.content) for seat, reveal in sorted(attempt.reveals.items())}
        updates = [update for update in fetched.values() if not isinstance(update, ExclusionReason)]
        excluded = {seat: reason for seat, reason in fetched.items() if isinstance(reason, ExclusionReason)}
        versions = model_versions(job, history, state.attempt)
        result = run_round(self.terms.rules, updates, versions, attempt.started.shift, state.step_q16)
        model = state.model if result.model is None else self.keep(result.model)
        settlement = Settlement(excluded, result.gram.pack(), model, history.packed_lifetime())
        self.send(name, f"settle {state.attempt}", self.market.settle_round(self.id, state.attempt, settlement))

    def settle_falsely(self, name: str, updates: dict[str, NDArray[np.int16]]) -> None:
        """Settle with the matrix of other updates and another model."""
        self.advance("reveal_end_s")
        job, state = self.published(), self.market.state(self.id)
        history = job.history()
        versions = model_versions(job, history, state.attempt)
        rows = [update // 2 * (1 + (place == 1)) for place, update in enumerate(updates.values())]
        gram = gram_matrix(rows, public_rows(versions))
        settlement = Settlement({}, gram.pack(), self.keep(versions[-1].model + 1), history.packed_lifetime())
        assert run_round(self.terms.rules, rows, versions, 0, state.step_q16).decision.accepted
        self.send(name, "settle falsely", self.market.settle_round(self.id, state.attempt, settlement))

    def keep(self, model: NDArray[np.int64]) -> Digest:
        return Digest(self.store.add_bytes(integer_model.to_bytes(model)).digest)

    def play(self) -> None:
        """A settled round, an expired attempt with a forfeit, an exclusion, a skipped round, and the end."""
        self.reveal(self.commit())
        self.settle("alice")
        updates = self.commit()
        del updates["trainer 3"]
        self.reveal(updates)
        self.advance("settle_end_s")
        self.send("bob", "expire", self.market.expire_round(self.id, self.attempt))
        self.enrol("trainer 3")
        self.reveal(self.commit(), unsent=["trainer 2"])
        self.middle_block = self.market.chain.block_number()
        self.settle("bob")
        self.commit(TRAINERS[:2])
        self.advance("commit_end_s")
        self.send("bob", "skip", self.market.skip_round(self.id, self.attempt))
        self.end()

    def end(self) -> None:
        history = self.published().history()
        self.devnet.advance(self.terms.vesting_period_s)
        self.send("owner", "close", self.market.close_job(self.id, history.packed_lifetime()))
        self.claim_all(self.published().history())
        self.send("alice", "fee", self.market.claim_fee(self.id, 0, self.actors["alice"].address))
        self.send("bob", "unbond", self.market.withdraw_bond(self.id, self.actors["bob"].address))
        self.send("owner", "refund", self.market.refund(self.id, self.actors["owner"].address))

    def claim_all(self, history: JobHistory) -> None:
        for name in TRAINERS[:3]:
            address = self.actors[name].address
            seat = self.market.seat(self.id, address)
            assert seat is not None
            for credit in history.credits(seat):
                call = self.market.claim(self.id, credit.attempt, credit.pays, address)
                self.send(name, f"claim {credit.attempt}", call)

    def audit(self, market: JobMarket | None = None, progress: Callable[[Check], None] | None = None) -> AuditReport:
        return audit_job(market or self.market, self.store, self.id, self.folder / "audit", progress=progress)

    def block_file(self, digest: bytes) -> Path:
        [found] = [path for path in self.store.root.rglob("*") if path.is_file() and digest == sha256_of(path)]
        return found


def sha256_of(path: Path) -> bytes:
    return Cid.of_block(path.read_bytes(), 0x55).digest


@pytest.fixture
def job(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> RealJob:
    """A job that four trainers and two aggregators joined."""
    joined = RealJob(devnet, deployed, actors, EmbeddedStore(tmp_path / "store"), tmp_path)
    joined.open()
    joined.join()
    return joined


def verdicts(report: AuditReport, verdict: str) -> list[tuple[str, str]]:
    return [(check.name, check.subject) for check in report.checks if check.verdict == verdict]


def test_a_whole_job_passes_every_check_now_and_as_of_any_block(job: RealJob) -> None:
    job.play()
    told: list[Check] = []
    report = job.audit(progress=told.append)
    assert verdicts(report, "mismatch") + verdicts(report, "unproven") == [], report.first_mismatch
    assert report.ok
    assert told == list(report.checks)
    assert {"settled", "expired", "skipped"} <= {
        end for attempt in job.published().history().attempts.values() for end in vars(attempt) if vars(attempt)[end]
    }
    assert json.loads(json.dumps(report.to_json()))["ok"] is True
    earlier = job.audit(job.market.at(job.middle_block))
    assert earlier.ok, earlier.first_mismatch
    assert earlier.block_number == job.middle_block


def test_a_job_paid_in_a_token_passes_every_check(
    devnet: Devnet, deployed: JobMarket, actors: Any, compile_solidity: Callable[[str], bytes], tmp_path: Path
) -> None:
    receipt = actors["mint"].send("coin", PreparedCall(None, compile_solidity("Coin"), label="deploy Coin"))
    job = RealJob(devnet, deployed, actors, EmbeddedStore(tmp_path / "store"), tmp_path, token=receipt.contract)
    job.open()
    job.join()
    job.reveal(job.commit())
    job.settle("alice")
    report = job.audit()
    assert report.ok, report.first_mismatch


def test_a_job_closed_at_its_deadline_with_an_attempt_open_passes_every_check(job: RealJob) -> None:
    updates = job.commit()
    del updates["trainer 3"]
    job.reveal(updates)
    job.devnet.advance_to(job.terms.deadline_s)
    job.send("bob", "close", job.market.close_job(job.id, job.published().history().packed_lifetime()))
    report = job.audit()
    assert report.ok, report.first_mismatch
    assert {"attempt 0" in check.subject for check in report.checks if check.name == "pay"} == {True, False}


def test_what_is_wrong_with_the_storage_is_named(job: RealJob) -> None:
    job.reveal(job.commit())
    job.settle("alice")
    job.block_file(job.openings["trainer 1"][0]).unlink()
    report = job.audit()
    assert report.ok
    assert verdicts(report, "unproven") == [("gram", "round 0, attempt 0"), ("model", "round 0, attempt 0")]
    model = job.block_file(job.market.state(job.id).model)
    model.chmod(0o644)
    model.write_bytes(bytes(8) + model.read_bytes()[8:])
    assert verdicts(job.audit(), "mismatch") == [("current model", "job")]
    job.block_file(job.document.digest).unlink()
    report = job.audit()
    assert verdicts(report, "mismatch") == [("document", "job"), ("current model", "job")]
    assert report.first_mismatch is not None
    assert report.first_mismatch.name == "document"


def test_an_aggregator_that_invents_matrix_and_model_is_named(job: RealJob) -> None:
    updates = job.commit()
    job.reveal(updates)
    job.settle_falsely("alice", updates)
    assert verdicts(job.audit(), "mismatch") == [("gram", "round 0, attempt 0"), ("model", "round 0, attempt 0")]


def test_an_unknown_job_is_refused_by_the_contract(job: RealJob) -> None:
    with pytest.raises(ContractRevert, match="UnknownJob"):
        audit_job(job.market, job.store, JobId(99), job.folder / "audit")
