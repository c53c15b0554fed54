"""Replicas of a job's training on a real chain: asked for as its terms say, trained by its trainers, and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from aggregator.audit import Check, audit_job
from fedmarket.devnet import Devnet
from fedmarket.replicator import ReplicaSession
from market.chain.connection import Chain
from market.chain.consensus_records import TaskPhase
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.chain.output_consensus import OutputConsensus
from market.protocol.consensus import Outcome
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import PoolId
from market.protocol.package_spec import PackageInput
from market.protocol.replication_spec import TOLERANCE_BITS
from market.replicas import IntervalFinding, JobReplicas
from market.storage import Cid
from tests.integration.marketplace import ON_ANVIL, Marketplace, constant, samples
from tests.integration.verifiers import EXACT, Verification, of_dtype
from trainer_client.exam import slice_bytes
from trainer_client.exported.packing import PackageFolder, pack
from trainer_client.generation import Outputs
from trainer_client.job_model import JobModel
from trainer_client.replication import ReplicaGenerator, interval_seed, train_interval
from trainer_client.verifier.services import Pool, Service, Services
from trainer_client.verifier.session import VerifierSession

pytestmark = ON_ANVIL

SHARE_WEI = 10**15
REPLICAS = ("trainer 0", "trainer 1", "trainer 2")
TERMS = {"every": 2, "share": SHARE_WEI, "seat_s": 600, "commit_s": 3_000, "reveal_s": 600, "appeal_s": 600}


class LazyServices(Services):
    """Trains for one epoch where the job says more."""

    def ready(self, pool: Pool) -> Service:
        service = super().ready(pool)
        generator = service.generator
        assert isinstance(generator, ReplicaGenerator)
        training = replace(generator.job_model.training, epochs=1)
        lazy = replace(generator, job_model=replace(generator.job_model, training=training))
        return replace(service, generator=lazy)


@dataclass
class Replicas(Verification):
    """A job whose terms ask for replicas, and its trainers as they do them."""

    place: Marketplace = field(default_factory=lambda: pytest.fail("a job is needed"))

    def job_replicas(self) -> JobReplicas:
        return JobReplicas(self.consensus, self.place.id, self.place.prepared.spec)

    def owner(self) -> ReplicaSession:
        """The owner's session, as a new process starts it."""
        told = self.told.setdefault("owner", []).append
        return ReplicaSession(self.place.view("owner"), self.consensus, self.place.actor("owner"), report=told)

    def ask(self) -> None:
        """Let the owner open what is due."""
        while self.owner().advance(*self.place.now()):
            pass
        replicas = self.job_replicas()
        assert replicas.pool is not None
        self.pool = PoolId(replicas.pool)
        if tasks := replicas.tasks():
            self.task = tasks[max(tasks)]

    def stake_units(self, units: int = 1) -> None:
        for name in REPLICAS:
            self.send(name, f"stake {self.pool}", self.consensus.stake(self.pool, units, 3 * SHARE_WEI))

    def session(self, name: str, kind: type[Services] = Services, **settings: Any) -> VerifierSession:
        actor, store = self.actor(name), self.place.store
        open_job = self.place.view(name)
        services = kind(store, self.work_folder(name) / "cache", lambda number: open_job, lambda job: self.place.srs)
        consensus = OutputConsensus(actor.chain, self.consensus.address)
        execution = settings.pop("execution", EXACT)
        report = self.told.setdefault(name, []).append
        return VerifierSession(
            consensus, actor, services, store, self.work_folder(name), execution, report=report, poll_s=0.01, **settings
        )

    def finding(self) -> IntervalFinding:
        return list(self.job_replicas().findings(self.place.state.round))[-1]

    def checks(self) -> list[Check]:
        """What an audit says of the replicas."""
        place = self.place
        report = audit_job(
            *(place.market, place.store, place.id, place.srs, place.folder / "audit"), consensus=self.consensus
        )
        assert report.ok
        return [check for check in report.checks if check.name == "replicas"]


@pytest.fixture
def posted(
    devnet: Devnet, deployed: JobMarket, deployment: Deployment, chain: Chain, actors: Any, tmp_path: Path
) -> Callable[..., Replicas]:
    """Posts a job of three trainers that asks for replicas."""

    def post(package: PackageFolder | None = None, **changes: Any) -> Replicas:
        place = Marketplace(devnet, deployed, actors, tmp_path, package=package)
        shards = [str(place.store.add_bytes(slice_bytes(samples(seed)))) for seed in (70, 71)]
        place.post(replication={"shards": shards, **TERMS, **changes}, training={"epochs": 3})
        place.join(3)
        return Replicas(devnet, deployment.consensus_on(chain), actors, tmp_path, place=place)

    return post


def test_replicas_are_asked_for_at_the_stated_rounds_agree_and_are_paid(posted: Callable[..., Replicas]) -> None:
    here = posted()
    here.ask()
    here.stake_units()
    here.ask()
    assert list(here.job_replicas().tasks()) == [0]
    here.play(here.session(REPLICAS[0]), here.session(REPLICAS[1]), here.session(REPLICAS[2]))

    finding = here.finding()
    assert finding.outcome is Outcome.ACCEPTED, here.told
    assert {replica.verdict for replica in finding.replicas} == {"agrees"}
    assert all(replica.bits is not None and replica.bits <= TOLERANCE_BITS for replica in finding.replicas)
    assert [here.credits(name) for name in REPLICAS] == [SHARE_WEI] * 3
    here.check_books()

    here.place.play_round()
    assert list(here.job_replicas().tasks()) == [0]
    here.place.play_round()
    here.ask()
    assert list(here.job_replicas().tasks()) == [0, 2]
    assert [check.subject for check in here.checks()] == ["round 0", "round 2"]
    assert here.checks()[0].verdict == "ok"
    assert "3 of 3 replicas agree" in here.checks()[0].detail
    assert here.checks()[1].verdict == "unproven"


def test_the_accepted_update_is_the_one_that_anybody_trains_again(posted: Callable[..., Replicas]) -> None:
    here = posted()
    here.ask()
    here.stake_units()
    here.ask()
    here.play(*(here.session(name) for name in REPLICAS))
    finding, place = here.finding(), here.place
    assert finding.outputs is not None
    accepted = Outputs.parse(place.store.read(Cid.from_digest(finding.outputs, 0), 1 << 20))
    shard = str(here.job_replicas().section.shards[1])
    job_model = JobModel.of_spec(place.prepared.spec)
    again = train_interval(job_model, place.prepared.model, samples(71), interval_seed(0, 1, shard))
    assert accepted.counts is not None
    assert np.array_equal(accepted.counts[1], again)


def test_a_model_of_the_owners_own_is_trained_again_from_its_files(
    posted: Callable[..., Replicas], tmp_path: Path
) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 3))
    here = posted(pack(module, PackageInput(shape=(4,), classes=3), tmp_path / "package").folder)
    here.ask()
    here.stake_units()
    here.ask()
    here.play(*(here.session(name) for name in REPLICAS))
    finding = here.finding()
    assert finding.outcome is Outcome.ACCEPTED, here.told
    assert [replica.verdict for replica in finding.replicas] == ["agrees"] * 3


def test_a_lazy_replica_is_named_and_loses_its_stake(posted: Callable[..., Replicas]) -> None:
    here = posted()
    here.ask()
    here.stake_units()
    here.ask()
    lazy = here.session(REPLICAS[2], LazyServices)
    here.play(here.session(REPLICAS[0]), here.session(REPLICAS[1], execution=of_dtype("float32", batch_size=3)), lazy)

    finding = here.finding()
    assert finding.outcome is Outcome.ACCEPTED
    [found] = finding.found_out
    assert (found.address, found.verdict) == (here.address(REPLICAS[2]), "deviates")
    assert found.bits is not None
    assert found.bits > TOLERANCE_BITS
    assert [here.credits(name) for name in REPLICAS] == [SHARE_WEI, SHARE_WEI, 0]
    assert here.units(REPLICAS[2]) == 0
    [check] = here.checks()
    assert f"{found.address} deviates by {found.bits} bits" in check.detail
    here.check_books()


def test_a_replica_that_trains_nothing_is_named_as_silent(posted: Callable[..., Replicas]) -> None:
    here = posted()
    here.ask()
    here.stake_units()
    here.ask()
    sessions = [here.session(name) for name in REPLICAS]
    here.seat(*sessions)
    here.to_commit()
    here.act(*sessions[:2])
    here.to_reveal()
    here.act(*sessions[:2])
    here.to_settle()
    here.finish(*sessions[:2])

    finding = here.finding()
    assert finding.phase is TaskPhase.FINISHED
    assert [replica.verdict for replica in finding.found_out] == ["silent"]
    assert finding.found_out[0].address == here.address(REPLICAS[2])
    assert "did not show what it sealed" in finding.sentence()


def test_nothing_is_opened_twice_whoever_asks_and_however_often(posted: Callable[..., Replicas]) -> None:
    here = posted()
    here.ask()
    here.stake_units()
    for _ in range(3):
        here.ask()
    assert here.consensus.pool_count() == 1
    assert len(here.consensus.tasks_of(here.pool)) == 1


def test_without_enough_replicas_nothing_is_locked_and_it_is_said_what_is_missing(
    posted: Callable[..., Replicas],
) -> None:
    here = posted()
    here.ask()
    assert here.consensus.task_count() == 0
    assert here.told["owner"][-1].startswith("0 of 3 replicas have staked in pool 0")


def test_a_job_whose_shard_nobody_has_asks_for_nothing(posted: Callable[..., Replicas]) -> None:
    here = posted(shards=[str(Cid.of_block(b"gone", 0x55))])
    assert not here.owner().advance(*here.place.now())
    assert here.consensus.pool_count() == 0
    assert "no replicas were asked for" in here.told["owner"][-1]


def test_a_job_that_asks_for_none_has_no_replicas(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path
) -> None:
    place = Marketplace(devnet, deployed, actors, tmp_path).post()
    with pytest.raises(InvalidInput, match="ask for no replicas"):
        JobReplicas(OutputConsensus(deployed.chain, deployed.address), place.id, place.prepared.spec)


def test_seats_that_say_that_they_train_alike_are_compared_by_the_proven_matrix(
    posted: Callable[..., Replicas],
) -> None:
    here = posted(seats=[0, 1, 2])
    honest = np.random.default_rng(5).integers(-900, 900, 15)
    for name in REPLICAS[:2]:
        here.place.crafts[name] = constant(honest)
    here.place.crafts[REPLICAS[2]] = constant(honest + np.random.default_rng(6).integers(-500, 500, 15))
    here.place.play_round()
    [check] = [check for check in here.checks() if check.subject == "round 0, attempt 0"]
    assert "seats 0 and 1 by 0" in check.detail
    assert check.detail.endswith("deviating: 2")
