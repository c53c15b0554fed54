"""Jobs whose models are sealed: who is given the key reads and works, everybody else finds bytes; and false keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.audit import audit_job
from aggregator.worker import AggregatorWorker
from fedmarket.devnet import Devnet
from fedmarket.exam_folder import ExamFolder
from fedmarket.exam_grader import ModelGrader
from fedmarket.key_session import KeySession
from fedmarket.owner import KeyMaker, cut_exam, initial_model, publish
from market.chain.deployment import Deployment
from market.chain.directory import Directory
from market.chain.events import JobOpened
from market.chain.job_market import JobMarket
from market.chain.records import Fact
from market.content_key import CONTENT_KEY_TOPIC, ContentKey, handover
from market.model_access import KeyGrants, ModelAccess
from market.model_opening import fetch_verified
from market.protocol import integer_model
from market.protocol.errors import AuditMismatch, CannotUnseal, InvalidInput, InvalidModel, ModelsSealed
from market.protocol.identifiers import Digest
from market.protocol.job_spec import JobSpec
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from market.sealing import SealingKey
from tests.integration.court import ATTESTORS, attend, attestor, dispute, disputes_of
from tests.integration.examined import EXAM, REFERENCE_SEED, RULES, ExaminedMarketplace
from tests.integration.marketplace import ON_ANVIL, Marketplace, samples, spec
from trainer_client.exam import slice_bytes

pytestmark = ON_ANVIL

D = 15


class SealedMarketplace(Marketplace):
    """A marketplace with a job whose models are sealed."""

    def post(self, **changes: Any) -> Any:
        """Publish and open the job."""
        parsed = spec(self.features, models="sealed", **changes)
        owner = self.actor("owner")
        keys = KeyMaker(owner.account, self.market.chain.chain_id, self.market.address)
        model, exam = initial_model(parsed, None), self.cut_exam(parsed)
        self.prepared = publish(parsed, model, self.store, self.srs, exam, keys)
        self.document_cid, self.model_cid = self.prepared.document_cid, self.prepared.model_cid
        self.terms = self.prepared.terms(self.devnet.timestamp())
        receipt = self.send("owner", f"open {self.prepared.intent.hex()}", self.opening_call(self.prepared))
        [opened] = [event for event in self.market.events_in(receipt.logs) if isinstance(event, JobOpened)]
        self.id = opened.job
        return self

    def join(self, trainers: int, aggregators: Iterable[str] = ("alice",)) -> Any:
        """Let trainers enrol and ask, aggregators bond unseen, and the owner give its key to all of them."""
        super().join(trainers, ())
        for name in aggregators:
            self.worker(name).bond(unseen=True)
        self.ask()
        self.grant()
        return self

    def ask(self, *names: str) -> None:
        """Let trainers say what to seal to."""
        for name in names or self.trainers:
            self.access(name).announce(self.actor(name))

    def grant(self, *named: str) -> list[str]:
        """Let the owner give the key to all that lack it."""
        job = self.view("owner")
        ModelAccess(job, self.actor("owner").account).require()
        return KeyGrants(job, self.actor("owner")).give([self.actor(name).address for name in named])

    def view(self, name: str) -> PublishedJob:
        """The job as an actor reads it, over its own connection and cache."""
        chain = self.actor(name).chain
        market, directory = JobMarket(chain, self.market.address), Directory(chain, self.directory)
        return PublishedJob(market, self.store, self.id, self.work_folder(name) / "cache", directory)

    def access(self, name: str, job: PublishedJob | None = None) -> ModelAccess:
        """An actor's way to the models, as a new process has it."""
        return ModelAccess(job or self.view(name), self.actor(name).account)

    def can_read(self, name: str) -> bool:
        """Whether an actor that starts now has the key."""
        return self.access(name).look()

    def hand_over(self, by: str, to: str, sealed: bytes, number: int = 0) -> None:
        """Hand something over in the directory."""
        directory = Directory(self.market.chain, self.directory)
        call = directory.deliver(self.id, CONTENT_KEY_TOPIC, [self.actor(to).address], [sealed])
        self.send(by, f"deliver {to} {number}", call)

    def public_key(self, name: str) -> bytes:
        """What an actor is sealed to in this job."""
        market = self.market
        return SealingKey.of_account(self.actor(name).account, market.chain.chain_id, market.address, self.id).public

    def content_key(self) -> ContentKey:
        """The job's."""
        job = self.view("owner")
        self.access("owner", job).require()
        assert job.models.seal is not None
        return job.models.seal.key


class SealedExam(SealedMarketplace, ExaminedMarketplace):
    """The same, with an exam, which another account than the owner's sets."""

    def cut_exam(self, parsed: JobSpec) -> ExamFolder:
        """The exam that the job is opened with."""
        parts = cut_exam(parsed, samples(REFERENCE_SEED, self.features, 200))
        return ExamFolder.create(self.exam_path, [slice_bytes(part) for part in parts])


@pytest.fixture
def place(
    devnet: Devnet, deployed: JobMarket, deployment: Deployment, actors: Any, tmp_path: Path
) -> SealedMarketplace:
    return SealedMarketplace(devnet, deployed, actors, tmp_path, directory=deployment.directory)


# ---------------------------------------------------------------------- the honest path


def test_rounds_of_a_sealed_job_settle_and_whoever_takes_part_reads_its_models(place: SealedMarketplace) -> None:
    place.post().join(4)
    for _ in range(2):
        attempt = place.play_round()
        assert attempt.settled is not None
        assert len(attempt.settled.accepted) == 4
    for name in ("owner", "alice", *place.trainers):
        job = place.view(name)
        place.access(name, job).require()
        versions = job.history().versions()
        assert len(versions) == 3
        model = fetch_verified(job, place.srs, versions)
        cached = [path for path in place.work_folder(name).rglob("*.i64") if np.array_equal(model, _read(path))]
        assert [path.stat().st_mode & 0o777 for path in cached] == [0o600]
    place.check_books()


def test_an_outsider_with_chain_and_storage_finds_that_the_models_are_sealed(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.play_round()
    job = place.view("outsider")
    assert not place.can_read("outsider")
    digest = place.state.model
    with pytest.raises(ModelsSealed, match="sealed"):
        job.model(digest)
    with pytest.raises(ModelsSealed, match="has not been given their key"):
        place.access("outsider").require()
    stored = place.store.read(job.models.cid(digest), 1 << 20)
    assert len(stored) == job.models.size_bytes
    with pytest.raises(ModelsSealed):
        KeySession(job, place.actor("outsider"))


def test_what_the_outsider_asks_for_it_is_not_given(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.access("outsider").announce(place.actor("outsider"))
    assert place.grant() == []
    assert not place.can_read("outsider")
    assert place.grant("outsider") == [place.actor("outsider").address]
    assert place.can_read("outsider")


def test_everybody_is_given_the_key_once(place: SealedMarketplace) -> None:
    place.post().join(3)
    assert place.grant() == []
    assert place.can_read("trainer 0")


def test_who_announced_a_wrong_key_first_is_given_it_again_by_name(place: SealedMarketplace) -> None:
    place.post()
    place.trainers = []
    place.enrol("trainer 0")
    directory = Directory(place.market.chain, place.directory)
    place.send("trainer 0", "announce", directory.announce(place.id, b"\x09" + bytes(31)))
    assert place.grant() == [place.actor("trainer 0").address]
    assert not place.can_read("trainer 0")
    place.ask("trainer 0")
    assert place.grant() == []
    place.grant("trainer 0")
    assert place.can_read("trainer 0")


def test_to_a_key_that_agrees_with_everybody_nothing_is_given(place: SealedMarketplace) -> None:
    place.post()
    place.trainers = []
    for name in ("trainer 0", "trainer 1"):
        place.enrol(name)
    directory = Directory(place.market.chain, place.directory)
    place.send("trainer 0", "announce", directory.announce(place.id, b"\x01" + bytes(31)))
    place.ask("trainer 1")
    assert place.grant() == [place.actor("trainer 1").address]
    with pytest.raises(InvalidInput, match="cannot be given the key"):
        place.grant("trainer 0")


def test_an_aggregator_gives_the_key_to_who_comes_later(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.enrol("late")
    place.ask("late")
    assert not place.can_read("late")
    worker = place.worker("alice")
    worker.advance(*place.now())
    assert place.told["alice"][-1] == f"gave the key of the job's models to {place.actor('late').address}"
    assert place.can_read("late")
    told = len(place.told["alice"])
    worker.advance(*place.now())
    place.worker("alice").advance(*place.now())
    assert place.told["alice"][told:] == []


def test_an_aggregator_gives_the_key_to_its_successor(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.worker("bob").bond(unseen=True)
    assert not place.can_read("bob")
    place.worker("alice").advance(*place.now())
    assert place.can_read("bob")


def test_the_owner_gives_the_key_to_who_comes_while_it_runs(place: SealedMarketplace) -> None:
    place.post()
    session = KeySession(place.view("owner"), place.actor("owner"), report=place.listen("owner"))
    assert not session.advance(*place.now())
    place.trainers = []
    place.enrol("trainer 0")
    place.ask("trainer 0")
    assert session.advance(*place.now())
    assert place.can_read("trainer 0")


def test_an_aggregator_that_does_not_bond_unseen_waits_for_the_key(place: SealedMarketplace) -> None:
    place.post()
    worker = place.worker("alice")
    with pytest.raises(ModelsSealed, match="has not been given their key"):
        worker.bond()
    worker.wait_for_key(lambda: True)
    assert f"fedmarket job grant {place.id} --to {place.actor('alice').address}" in place.told["alice"][-1]
    place.grant("alice")
    place.devnet.mine()
    worker.wait_for_key()
    worker.bond()
    assert place.told["alice"][-1] == "bonded"


def test_a_trainer_without_a_key_waits_and_goes_on_when_it_comes(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.enrol("late")
    place.crafts["late"] = place.crafts["trainer 0"]
    place.advance("start_s")
    session = place.session("late")
    for _ in range(3):
        session.advance(*place.now())
        place.devnet.mine()
    waiting = [line for line in place.told["late"] if "waiting" in line]
    assert waiting == [f"round 0: waiting for the model: {place.access('late').missing()}"]
    place.grant()
    place.devnet.mine()
    assert session.advance(*place.now())
    assert place.told["late"][-1] == "round 0: committed"


def test_an_aggregator_without_a_key_settles_nothing_and_goes_on_when_it_comes(place: SealedMarketplace) -> None:
    place.post()
    Marketplace.join(place, 3, ())
    place.worker("alice").bond(unseen=True)
    assert place.told["alice"] == [f"bonded unseen: {place.access('alice').missing()}"]
    place.advance("start_s")
    worker = place.worker("alice")
    worker.advance(*place.now())
    worker.advance(*place.now())
    assert place.told["alice"][1:] == [f"waiting for the key: {place.access('alice').missing()}"]
    place.grant()
    place.ask()
    place.devnet.mine()
    worker.advance(*place.now())
    assert all(place.can_read(name) for name in place.trainers)


def test_the_same_posting_has_the_same_key_and_document_and_the_next_another(place: SealedMarketplace) -> None:
    parsed, owner = spec(4, models="sealed"), place.actor("owner").account
    used: set[bytes] = set()
    keys = KeyMaker(owner, place.market.chain.chain_id, place.market.address, used.__contains__)
    model = initial_model(parsed, None)
    first = publish(parsed, model, place.store, place.srs, keys=keys)
    again = publish(parsed, model, place.store, place.srs, keys=keys)
    assert (first.document_cid, first.model_cid) == (again.document_cid, again.model_cid)
    used.add(first.intent)
    other = publish(parsed, model, place.store, place.srs, keys=keys)
    assert other.document_cid != first.document_cid
    assert other.model_cid != first.model_cid
    with pytest.raises(InvalidInput, match="seals its models: expected an account"):
        publish(parsed, model, place.store, place.srs)


def test_a_model_that_is_published_again_has_the_same_name(place: SealedMarketplace) -> None:
    place.post().join(3)
    names = set()
    for name in ("owner", "alice"):
        job = place.view(name)
        place.access(name, job).require()
        names.add(job.add_model(place.prepared.model, "test"))
    assert names == {Digest(place.model_cid.digest)}


def test_an_examiner_of_its_own_is_given_the_key_and_the_exams_are_set_on_what_it_opens(
    devnet: Devnet, deployed: JobMarket, deployment: Deployment, actors: Any, tmp_path: Path
) -> None:
    place = SealedExam(devnet, deployed, actors, tmp_path, directory=deployment.directory)
    examiner = place.actor("examiner").address
    place.post(rules=RULES, exam={**EXAM, "examiner": examiner}, rounds=1)
    place.examine("examiner")
    assert examiner in place.grant()
    place.join(4)
    number = place.state.attempt
    place.commit()
    assert place.examine("examiner")
    place.reveal()
    place.open_exam("examiner")
    assert place.settle()
    assert place.attempt(number).examined
    devnet.mine()
    place.examiner("examiner").run()
    found = audited(place, tmp_path / "audit", place.content_key(), ModelGrader())
    assert found["exam"] == found["exam reference"] == {"ok"}


# ---------------------------------------------------------------------- cheats


def test_a_false_key_that_came_first_is_passed_over(place: SealedMarketplace) -> None:
    place.post()
    place.trainers = []
    place.enrol("trainer 0")
    here = handover(place.market.chain.chain_id, place.market.address, place.id)
    public = place.public_key("trainer 0")
    false = ContentKey.of_owner(place.actor("stranger").account, 1, place.market.address, bytes(32))
    place.hand_over("stranger", "trainer 0", false.seal_for(public, here), 0)
    place.hand_over("stranger", "trainer 0", b"nothing", 1)
    job = place.view("trainer 0")
    access = place.access("trainer 0", job)
    assert not access.look()
    place.ask("trainer 0")
    assert place.grant() == [place.actor("trainer 0").address]
    assert access.look()
    assert job.models.seal is not None
    assert job.models.seal.key == place.content_key()


def test_however_many_false_keys_come_the_owners_is_found(
    place: SealedMarketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.model_access.TRIED_AT_ONCE", 2)
    place.post()
    place.trainers = []
    place.enrol("trainer 0")
    place.ask("trainer 0")
    for number in range(5):
        place.hand_over("stranger", "trainer 0", bytes([number]), number)
    place.grant()
    assert place.can_read("trainer 0")


def test_what_a_stranger_delivers_stops_nobody_from_handing_the_key_over(place: SealedMarketplace) -> None:
    place.post()
    place.trainers = []
    place.enrol("trainer 0")
    place.ask("trainer 0")
    place.hand_over("stranger", "trainer 0", b"false")
    assert place.grant() == [place.actor("trainer 0").address]


def test_a_key_for_another_job_does_not_open_this_one(place: SealedMarketplace) -> None:
    place.post().join(3)
    first, key = place.id, place.content_key()
    place.post(name="another")
    assert place.id != first
    other = place.content_key()
    assert other != key
    place.enrol("trainer 1")
    there = handover(place.market.chain.chain_id, place.market.address, first)
    here = handover(place.market.chain.chain_id, place.market.address, place.id)
    public = place.public_key("trainer 1")
    place.hand_over("owner", "trainer 1", other.seal_for(public, there), 0)
    place.hand_over("owner", "trainer 1", key.seal_for(public, here), 1)
    assert not place.can_read("trainer 1")


def test_a_model_of_another_job_does_not_pass_for_this_ones(place: SealedMarketplace) -> None:
    place.post()
    foreign = place.model_cid
    place.post(name="another")
    job = place.view("owner")
    place.access("owner", job).require()
    with pytest.raises(InvalidModel, match="the sealed model does not open"):
        job.model(Digest(foreign.digest))


def test_an_earlier_model_of_the_job_does_not_pass_for_a_later_one(place: SealedMarketplace) -> None:
    place.post().join(3)
    place.play_round()
    job = place.view("owner")
    place.access("owner", job).require()
    versions = job.history().versions()
    relabelled = [versions[0], replace(versions[1], digest=versions[0].digest)]
    with pytest.raises(AuditMismatch, match="is not what the chain committed to"):
        fetch_verified(job, place.srs, relabelled)


class Careless(AggregatorWorker):
    """Publishes a model that nobody can open: one bit of its last chunk is off."""

    def _publish(self, model: Any, state: Any) -> Digest:
        seal = self.job.models.seal
        assert seal is not None
        sealed = bytearray(b"".join(seal.seal(model)))
        sealed[-1] ^= 1
        cid = self.job.store.add_bytes(bytes(sealed))
        self.job.store.pin(cid, "unreadable")
        return Digest(cid.digest)


@pytest.fixture
def court(place: SealedMarketplace) -> SealedMarketplace:
    """Three attestors, two of whom decide; all have the key but the last."""
    place.post(disputes=disputes_of(place)).join(3)
    place.ask(*ATTESTORS[:2])
    place.grant()
    return place


def test_a_model_that_does_not_open_is_found_out_by_the_attestors_that_have_the_key(court: SealedMarketplace) -> None:
    before = court.state.model
    court.commit()
    court.reveal()
    court.advance("exam_end_s")
    view, sender = court.view("alice"), court.actor("alice")
    worker = Careless(view, sender, court.srs, report=court.listen("alice"), poll_s=0.01)
    assert worker.advance(*court.now())
    assert court.state.model != before
    dispute(court, "owner", Fact.MODEL, 0)
    attend(court, ATTESTORS[2])
    assert court.told[ATTESTORS[2]][-1].endswith("it cannot be told from here; not answered")
    attend(court, *ATTESTORS[:2])
    assert court.phase is not Phase.DISPUTED
    assert court.state.model == before
    assert all("answered that it does not hold" in court.told[name][-1] for name in ATTESTORS[:2])
    court.check_books()


def test_a_sealed_model_that_opens_is_upheld(court: SealedMarketplace) -> None:
    court.play_round()
    model = court.state.model
    dispute(court, "owner", Fact.MODEL, 0)
    attend(court, *ATTESTORS[:2])
    assert court.phase is not Phase.DISPUTED
    assert court.state.model == model
    assert all(court.told[name][-1].endswith("answered that it holds") for name in ATTESTORS[:2])


def test_an_attestor_asks_for_the_key_by_itself_and_pins_what_it_cannot_read(place: SealedMarketplace) -> None:
    place.post(disputes=disputes_of(place))
    attestor(place, ATTESTORS[0]).advance(*place.now())
    assert frozenset({f"job {place.id} attestor", "job tiny"}) == place.store.pins()[place.model_cid]
    assert place.grant() == [place.actor(ATTESTORS[0]).address]
    assert place.can_read(ATTESTORS[0])


# ---------------------------------------------------------------------- audits


def audited(
    place: SealedMarketplace, folder: Path, key: ContentKey | None, grader: ModelGrader | None = None
) -> dict[str, set[str]]:
    """The verdicts of an audit, by check."""
    market, found = place.view("onlooker").market, dict[str, set[str]]()
    report = audit_job(market, place.store, place.id, place.srs, folder, grader=grader, content_key=key)
    for check in report.checks:
        found.setdefault(check.name, set()).add(check.verdict)
        if check.verdict == "unproven":
            assert "sealed" in check.detail
    return found


def test_an_audit_with_the_key_proves_the_models_and_one_without_says_that_they_are_sealed(
    place: SealedMarketplace, tmp_path: Path
) -> None:
    place.post().join(3)
    place.play_round()
    place.play_round()
    models = ("initial model", "model", "current model")
    with_key = audited(place, tmp_path / "audit", place.content_key())
    assert {name: with_key[name] for name in models} == {name: {"ok"} for name in models}
    without = audited(place, tmp_path / "audit", None)
    assert {name: without[name] for name in models} == {name: {"unproven"} for name in models}
    assert set().union(*without.values()) == {"ok", "unproven"}


def test_an_audit_with_the_key_finds_a_model_that_does_not_open(place: SealedMarketplace, tmp_path: Path) -> None:
    place.post().join(3)
    place.commit()
    place.reveal()
    place.advance("exam_end_s")
    worker = Careless(place.view("alice"), place.actor("alice"), place.srs, report=place.listen("alice"), poll_s=0.01)
    assert worker.advance(*place.now())
    found = audited(place, tmp_path / "audit", place.content_key())
    assert found["model"] == found["current model"] == {"mismatch"}


def test_the_key_of_another_job_is_refused_by_an_audit(place: SealedMarketplace, tmp_path: Path) -> None:
    place.post()
    key = place.content_key()
    place.post(name="another")
    with pytest.raises(CannotUnseal, match="another job"):
        audited(place, tmp_path / "audit", key)


def _read(path: Path) -> integer_model.Integers:
    return integer_model.read(path, D)
