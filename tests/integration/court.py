"""Jobs with attestors on a real chain: who disputes, who answers, and who settles otherwise than its worker would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.audit import audit_job
from fedmarket.attestor import AttestorSession
from fedmarket.exam_grader import ModelGrader
from market.chain.records import Fact
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from tests.integration.hand_made_exams import HandExamined
from tests.integration.marketplace import Marketplace

ANSWER_S = 120
BOND_WEI = 10**14
ATTESTORS = ("attestor 0", "attestor 1", "attestor 2")


@dataclass
class Court(Marketplace):
    """A job with three attestors, two of whom decide."""

    def post(self, **changes: Any) -> Court:
        super().post(**{"disputes": disputes_of(self), **changes})
        return self

    def join(self, trainers: int = 4, aggregators: Any = ("alice", "bob")) -> Court:
        super().join(trainers, aggregators)
        return self


@dataclass
class ExaminedCourt(HandExamined):
    """The same, with an exam."""

    def post(self, **changes: Any) -> ExaminedCourt:
        super().post(**{"disputes": disputes_of(self), **changes})
        return self


def disputes_of(place: Marketplace) -> dict[str, Any]:
    """The section of the spec that names the attestors."""
    accounts = [place.actor(name).address for name in ATTESTORS]
    return {"attestors": accounts, "answer_s": ANSWER_S, "bond": f"{BOND_WEI} wei"}


def attestor(place: Marketplace, name: str) -> AttestorSession:
    """An attestor's session as a new process starts it; whoever contests has shown it what opens the updates."""
    session = (place.view(name), place.actor(name), place.work_folder(name), place.srs)
    return AttestorSession(*session, openings=place.shown(), report=place.listen(name), poll_s=0.01)


def attend(place: Marketplace, *names: str) -> None:
    """Let new sessions do what is due."""
    for name in names or ATTESTORS:
        if place.phase is not Phase.DISPUTED and len(names) != 1:
            return
        attestor(place, name).advance(*place.now())


def watch(place: Marketplace) -> None:
    """Let every attestor look at the running attempt."""
    for name in ATTESTORS:
        attestor(place, name).advance(*place.now())


def dispute(place: Marketplace, name: str, fact: Fact, attempt: int) -> None:
    """Let somebody dispute a fact of an attempt."""
    job: PublishedJob = place.view(name)
    history = job.history()
    disputed = history.attempt(attempt)
    pays, undo = (disputed.settled.pays, history.undo_of(disputed)) if disputed.settled else (b"", None)
    if fact is Fact.EXAM:
        pays, undo = b"", None
    call = job.market.dispute(job.id, job.terms, attempt, fact, pays, undo)
    place.send(name, f"dispute {attempt} {fact}", call)


def settle_with(place: Marketplace, change: Callable[[Any], Any]) -> None:
    """Settle with something else in the settlement than the worker would hand in."""
    place.advance("exam_end_s")
    worker, state = place.worker("alice"), place.state
    history = worker.job.history()
    material = worker._gather(history, state.attempt)
    assert material is not None
    settlement = change(worker._settlement(state, history, material, worker._decide(material)))
    place.send("alice", f"settle {state.attempt}", place.market.settle_round(place.id, state.attempt, settlement))


def audited(place: Marketplace, folder: Path) -> list[str]:
    """What an audit finds wrong."""
    view = place.view("onlooker")
    report = audit_job(view.market, place.store, place.id, place.srs, folder, grader=ModelGrader(), openings=place)
    return [f"{check.name}: {check.detail}" for check in report.checks if not check.ok]
