"""Audits of jobs in which facts were disputed: time that stood still, settlements undone, answers that were counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from market.chain import events as on_chain
from market.chain.records import ExclusionReason, Fact, Verdict
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_round
from tests.unit.aggregator.audit.examined_job import ExaminedJob, joined, play_without
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, ATTESTORS, OWNER, trainer
from tests.unit.aggregator.audit.verdicts import Verdicts, mismatches
from zk.srs import Srs

ANSWERS = {"disputes": {"attestors": list(ATTESTORS), "answer_s": 60, "bond": "11 wei"}}
A, B, C = ATTESTORS


@pytest.fixture
def disputable(store: EmbeddedStore, srs: Srs) -> AuditedJob:
    """Four trainers and two aggregators; two of three attestors decide."""
    job = AuditedJob(store, srs, ANSWERS)
    job.enrol(0, 1, 2, 3)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    play_round(job, 0, 1, 2, 3)
    job.now_s += 3
    return job


def overturned(job: AuditedJob) -> AuditedJob:
    """Seat 1 disputes the last model, and two attestors find it false."""
    job.dispute(Fact.MODEL, job.attempt - 1, seat=1)
    job.now_s += 7
    job.answer(A, C, holds=False)
    job.resolve(Verdict.FAILS)
    return job


def test_an_undone_settlement_breaks_no_rule_and_its_round_is_paid_once(
    disputable: AuditedJob, checks: Verdicts
) -> None:
    job = overturned(disputable)
    assert (job.round, job.attempt) == (0, 2)
    play_round(job, 0, 1, 2, 3)
    for seat in range(4):
        job.claim(0, seat)  # the compensation
        job.claim(2, seat)
    job.claim_fee(2)
    job.take_dispute_bond(trainer(1))
    found = checks(job.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]
    (dispute,) = [check for check in found if check.name == "dispute"]
    assert "fails, by the word of 2 attestors" in dispute.detail


@pytest.mark.parametrize(("verdict", "holds"), [(Verdict.HOLDS, True), (Verdict.UNANSWERED, None)])
def test_a_dispute_in_vain_puts_everything_off_and_breaks_no_rule(
    disputable: AuditedJob, checks: Verdicts, verdict: Verdict, holds: bool | None
) -> None:
    job = disputable
    before_s = (job.start_s, job.terms.deadline_s, job.outcomes[0].vests_at_s)
    job.dispute(Fact.MODEL, 0, seat=2)
    job.now_s += 60 if holds is None else 59
    if holds is not None:
        job.answer(A, B, holds=holds)
    job.resolve(verdict)
    waited_s = 60 if holds is None else 59
    assert (job.start_s, job.terms.deadline_s, job.outcomes[0].vests_at_s) == tuple(s + waited_s for s in before_s)
    play_round(job, 0, 1, 2, 3)
    job.claim(0, 2)
    found = checks(job.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]


def test_a_job_that_stands_still_breaks_no_rule(disputable: AuditedJob, checks: Verdicts) -> None:
    disputable.dispute(Fact.MODEL, 0, seat=2)
    disputable.answer(B, holds=True)
    found = checks(disputable.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]
    assert any("not answered yet" in check.detail for check in found if check.name == "dispute")


def test_a_contested_exclusion_that_is_undone_breaks_no_rule(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = AuditedJob(store, srs, ANSWERS)
    job.enrol(0, 1, 2, 3)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    play_round(job, 0, 1, 2, 3, excluded={3: ExclusionReason.UNAVAILABLE})
    job.dispute(Fact.EXCLUSION, 0, seat=3)
    job.answer(B, C, holds=False)
    job.resolve(Verdict.FAILS)
    play_round(job, 0, 1, 2, 3)
    found = checks(job.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]
    assert any("exclusion of seat 3" in check.detail for check in found if check.name == "dispute")


def _undone_first(events: list[Any]) -> list[Any]:
    return [event for event in events if not isinstance(event, on_chain.AttemptUndone)]


CHEATS: dict[str, tuple[str, Callable[[AuditedJob], Any]]] = {
    "an answer of somebody else": ("dispute", lambda job: job.forged(on_chain.DisputeAnswered, attestor=OWNER)),
    "an attestor counted twice": ("dispute", lambda job: job.forged(on_chain.DisputeAnswered, 1, attestor=A)),
    "a minority that decides": ("dispute", lambda job: job.forged(on_chain.DisputeAnswered, holds=True)),
    "a bond that is too small": ("dispute", lambda job: job.forged(on_chain.DisputeOpened, bond_wei=10)),
    "more time than the terms give": ("dispute", lambda job: job.forged(on_chain.DisputeOpened, answer_until_s=9**9)),
    "a bond burned though it was won": ("dispute", lambda job: job.forged(on_chain.DisputeResolved, burned_wei=11)),
    "a deadline put off too far": (
        "schedule",
        lambda job: job.forged(on_chain.DisputeResolved, deadline_s=job.terms.deadline_s + 1),
    ),
    "an undone round under another number": ("schedule", lambda job: job.forged(on_chain.AttemptUndone, round=1)),
    "compensation for who revealed nothing": (
        "pay",
        lambda job: job.forged(on_chain.AttemptUndone, pays=bytes(80)),
    ),
    "somebody else's dispute bond": ("schedule", lambda job: job.forged(on_chain.DisputeBondWithdrawn, by=OWNER)),
    "a settlement that was not undone": ("schedule", lambda job: job.record(_undone_first(job.events))),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_dispute_that_went_otherwise_is_named(disputable: AuditedJob, checks: Verdicts, cheat: str) -> None:
    job = overturned(disputable)
    job.take_dispute_bond(trainer(1))
    name, forge = CHEATS[cheat]
    assert name in mismatches(checks(forge(job)))


def test_a_dispute_after_the_pay_vested_is_named(disputable: AuditedJob, checks: Verdicts) -> None:
    disputable.now_s = disputable.outcomes[0].vests_at_s
    disputable.dispute(Fact.MODEL, 0, seat=2)
    assert "schedule" in mismatches(checks(disputable.record()))


def test_a_dispute_given_up_too_early_is_named(disputable: AuditedJob, checks: Verdicts) -> None:
    disputable.dispute(Fact.MODEL, 0, seat=2)
    disputable.now_s += 59
    disputable.resolve(Verdict.UNANSWERED)
    assert mismatches(checks(disputable.record())) == {"dispute"}


def test_an_act_while_time_stands_still_is_named(disputable: AuditedJob, checks: Verdicts) -> None:
    disputable.dispute(Fact.MODEL, 0, seat=2)
    disputable.emit(on_chain.UpdateCommitted, attempt=1, trainer=trainer(0), seat=0, seal=b"\x01" * 32)
    assert "schedule" in mismatches(checks(disputable.record()))


def test_an_undone_exam_is_charged_to_its_owner_once(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = joined(ExaminedJob(store, srs, ANSWERS))
    play_without(job)
    overturned(job)
    play_without(job)
    assert len(list(job.events_of(on_chain.ExamMissed))) == 2
    found = checks(job.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]
