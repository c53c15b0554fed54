"""The audit of jobs that were played on a real chain, and what it says when storage or the aggregator is not honest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import aggregator.proving
from aggregator.audit import AuditReport, Check, audit_job
from aggregator.audit.chain_record import read_record
from aggregator.audit.job_audit import audit
from aggregator.worker import AggregatorWorker
from fedmarket.devnet import Devnet
from market import sealing
from market.chain.calls import PreparedCall
from market.chain.erc20 import Erc20
from market.chain.events import JobOpened, RoundProven
from market.chain.job_market import JobMarket
from market.chain.records import Settlement
from market.job_history import Attempt, JobHistory
from market.protocol import integer_model
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import Digest, JobId
from market.protocol.job_spec import JobDocument, parse_spec
from market.protocol.manifest import ParameterManifest
from market.protocol.seal import SealContext, seal
from market.protocol.terms import NATIVE
from market.protocol.update import StoredUpdate
from market.published_job import PublishedJob
from market.sealing import SealingKey, UpdateSeal
from market.storage import Cid, EmbeddedStore
from tests.integration.marketplace import development_srs
from tests.sealed_updates import sealed_update
from tests.unit.aggregator.cheating_prover import prove_with_false_blinders
from zk.commitment import Blinders, Layout, commit
from zk.srs import Srs, make_insecure, open_srs
from zk.transcript import GramProof

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


@dataclass(frozen=True)
class Opening:
    """What opens a seal."""

    content: Digest
    commitment: bytes
    salt: bytes
    stored: bytes


@dataclass
class RealJob:
    """A job on the chain with its actors; each method is what they do in one phase."""

    devnet: Devnet
    market: JobMarket
    actors: Any
    store: EmbeddedStore
    folder: Path
    token: str = NATIVE
    openings: dict[str, Opening] = field(default_factory=dict)

    def open(self) -> None:
        parsed = parse_spec(spec(self.token))
        initial = np.arange(D, dtype=np.int64) << 20
        model = self.store.add_bytes(integer_model.to_bytes(initial))
        commitment = commit(self.srs, self.layout, initial, Blinders.zero(self.layout))
        manifest = ParameterManifest.from_shapes({"w": (D,)}).to_json()
        document = JobDocument(spec=parsed, manifest=manifest, initial_model=str(model))
        self.document = self.store.add_bytes(document.to_bytes())
        self.terms = parsed.to_terms(D, self.devnet.timestamp() + 60)
        self.give_tokens(["owner", "alice", "bob", *TRAINERS])
        digests = Digest(self.document.digest), Digest(model.digest)
        call = self.market.open_job(self.terms, *digests, commitment, self.srs.id)
        receipt = self.send("owner", "open", call)
        [opened] = [event for event in self.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
        self.id = opened.job

    @property
    def srs(self) -> Srs:
        return development_srs()

    @property
    def layout(self) -> Layout:
        return Layout(D, 1)

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
            self.send(name, "bond", self.market.bond(self.id, self.terms, self.key(name).public))

    def key(self, aggregator: str) -> SealingKey:
        account = self.actors[aggregator].account
        return SealingKey.of_account(account, self.market.chain.chain_id, self.market.address, self.id)

    def of(self, attempt: Attempt, update: UpdateSeal) -> sealing.Opening | None:
        """What opens an update: both aggregators audit together."""
        names = {self.actors[name].address: name for name in ("alice", "bob")}
        return self.key(names[attempt.started.aggregator])

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
            context = self.market.seal_context(self.id, state.round, state.attempt)
            address = self.actors[name].address
            opening = self.openings[name] = self.opening(context, address, update, random.bytes(32))
            sealed = seal(context, address, opening.commitment, opening.content, opening.salt)
            self.send(name, f"commit {state.attempt}", self.market.commit(self.id, state.attempt, sealed))
        return updates

    def opening(
        self, place: SealContext, trainer: str, update: NDArray[np.int16], salt: bytes, committed: bytes = b""
    ) -> Opening:
        blinders = Blinders.fresh(self.layout)
        commitment = committed or commit(self.srs, self.layout, update, blinders)
        public = self.market.sealing_key(self.id, self.market.aggregators(self.id)[0])
        assert public is not None
        bound = self.published().update_seal(place, trainer, commitment)
        stored = sealed_update(public, bound, StoredUpdate(update, blinders.to_bytes()))
        return Opening(Digest(Cid.of_block(stored, 0x55).digest), commitment, salt, stored)

    def reveal(self, updates: dict[str, NDArray[np.int16]], unsent: Iterable[str] = ()) -> None:
        self.advance("commit_end_s")
        for name in updates:
            opening = self.openings[name]
            if name not in unsent:
                self.store.add_bytes(opening.stored)
            values = (opening.commitment, opening.content, opening.salt)
            call = self.market.reveal(self.id, self.attempt, self.actors[name].address, *values)
            self.send(name, f"reveal {self.attempt}", call)

    def published(self) -> PublishedJob:
        return PublishedJob(self.market, self.store, self.id, self.folder / "cache")

    def settle(self, name: str, forge: Callable[[Settlement], Settlement] = lambda honest: honest) -> None:
        """Settle as an honest aggregator does, or with what it would send altered."""
        self.advance("reveal_end_s")
        self.devnet.advance(self.terms.settle_period_s // 2)  # what is not in storage by now is excluded
        worker = AggregatorWorker(self.published(), self.actors[name], self.srs)
        history, state = worker.job.history(), self.market.state(self.id)
        material = worker._gather(history, state.attempt)
        assert material is not None
        settlement = forge(worker._settlement(state, history, material, worker._decide(material)))
        self.send(name, f"settle {state.attempt}", self.market.settle_round(self.id, state.attempt, settlement))

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
            for credit in history.credits(address, seat):
                call = self.market.claim(self.id, credit.attempt, credit.pays, credit.undo, address)
                self.send(name, f"claim {credit.attempt}", call)

    def audit(self, market: JobMarket | None = None, **settings: Any) -> AuditReport:
        place = (market or self.market, self.store, self.id, self.srs, self.folder / "audit")
        return audit_job(*place, **{"openings": self, **settings})

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
    # Whoever has no key takes on the aggregators' word what is in the updates, and nothing else.
    [*others] = {check.name for check in job.audit(openings=None).checks if check.verdict == "unproven"}
    assert others == ["updates"]
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
    job.block_file(job.openings["trainer 1"].content).unlink()
    report = job.audit()
    assert report.ok
    assert verdicts(report, "unproven") == [("updates", "round 0, attempt 0")]
    model = job.block_file(job.market.state(job.id).model)
    model.chmod(0o644)
    model.write_bytes(bytes(8) + model.read_bytes()[8:])
    report = job.audit()
    assert verdicts(report, "mismatch") == [("current model", "job")]
    assert ("model", "round 0, attempt 0") in verdicts(report, "unproven")
    job.block_file(job.document.digest).unlink()
    report = job.audit()
    assert verdicts(report, "mismatch") == [("document", "job"), ("current model", "job")]
    assert report.first_mismatch is not None
    assert report.first_mismatch.name == "document"


def test_an_aggregator_that_publishes_another_model_is_named(job: RealJob) -> None:
    job.reveal(job.commit())
    other = job.keep(np.zeros(D, dtype=np.int64))
    job.settle("alice", lambda honest: replace(honest, model=other))
    report = job.audit()
    assert verdicts(report, "mismatch") == [("model", "round 0, attempt 0"), ("current model", "job")]


def test_an_aggregator_that_publishes_false_blinders_is_named(job: RealJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove_falsely(srs: Srs, statement: Any, rows: Any, mask: Any, progress: Any) -> GramProof:
        return prove_with_false_blinders(monkeypatch, srs, statement, rows, bytes(191) + b"\x01")

    job.reveal(job.commit())
    with monkeypatch.context() as patched:
        patched.setattr(aggregator.proving, "prove", prove_falsely)
        job.settle("alice")
    report = job.audit()
    assert verdicts(report, "mismatch") == [("model", "round 0, attempt 0"), ("current model", "job")]
    assert report.first_mismatch is not None
    assert "the blinders that were published are false" in report.first_mismatch.detail


def test_a_trainer_whose_update_is_not_what_it_committed_to_is_rightly_excluded(job: RealJob) -> None:
    updates = job.commit(TRAINERS[:3])
    state = job.market.state(job.id)
    context = job.market.seal_context(job.id, state.round, state.attempt)
    address, commitment = job.actors["trainer 3"].address, job.openings["trainer 0"].commitment
    other = job.opening(context, address, next(iter(updates.values())) + 1, bytes(32), commitment)
    unlike = Opening(other.content, commitment, bytes(32), other.stored)
    sealed = seal(context, address, unlike.commitment, unlike.content, unlike.salt)
    job.send("trainer 3", "commit to something else", job.market.commit(job.id, state.attempt, sealed))
    job.openings["trainer 3"] = unlike
    job.reveal(dict.fromkeys(TRAINERS, np.zeros(D, dtype=np.int16)))
    job.settle("alice")
    report = job.audit()
    assert verdicts(report, "mismatch") + verdicts(report, "unproven") == [], report.first_mismatch
    [exclusions] = [check for check in report.checks if check.name == "exclusions"]
    assert exclusions.detail == "excluded: seat 3 mismatch"


@pytest.mark.parametrize("part", ["gram", "proof"])
def test_a_node_that_doctors_the_proof_it_serves_is_found_out(job: RealJob, part: str) -> None:
    job.reveal(job.commit())
    job.settle("alice")
    record = read_record(job.market, job.id)
    events = [doctored(event, part) if isinstance(event, RoundProven) else event for event in record.history.events]
    folder = job.folder / "doctored"
    folder.mkdir()
    found = audit(replace(record, history=JobHistory(events)), job.store, job.srs, folder)
    assert "proof" in {check.name for check in found if not check.ok}


def doctored(event: RoundProven, part: str) -> RoundProven:
    data = getattr(event, part)
    return replace(event, **{part: data[:31] + bytes([data[31] ^ 1]) + data[32:]})


def test_an_audit_without_the_jobs_srs_says_what_it_needs(job: RealJob, tmp_path: Path) -> None:
    make_insecure(tmp_path / "insecure-short.ptau", D)
    with pytest.raises(InvalidInput, match=f"expected at least {D + 12}"):
        audit_job(job.market, job.store, job.id, open_srs(tmp_path / "insecure-short.ptau"), job.folder / "audit")


def test_an_unknown_job_is_refused_by_the_contract(job: RealJob) -> None:
    with pytest.raises(ContractRevert, match="UnknownJob"):
        audit_job(job.market, job.store, JobId(99), job.srs, job.folder / "audit")
