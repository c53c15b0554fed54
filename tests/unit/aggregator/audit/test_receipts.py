"""Audits of jobs in which attestors' receipts covered updates, by the rules or against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aggregator.audit.chain_record import ChainRecord
from market.chain import events as on_chain
from market.chain.records import ExclusionReason
from market.protocol.identifiers import Seat
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, ATTESTORS
from tests.unit.aggregator.audit.verdicts import Verdicts, mismatches
from zk.srs import Srs

ANSWERS = {"disputes": {"attestors": list(ATTESTORS), "answer_s": 60, "bond": "11 wei"}}


@pytest.fixture
def revealed(store: EmbeddedStore, srs: Srs) -> AuditedJob:
    """Four trainers have revealed; two of three attestors are a quorum."""
    job = AuditedJob(store, srs, ANSWERS)
    job.enrol(0, 1, 2, 3)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    job.commit(job.updates((0, 1, 2, 3)))
    job.reveal(0, 1, 2, 3)
    return job


def settled(job: AuditedJob, excluded: dict[int, ExclusionReason] | None = None) -> AuditedJob:
    """Settle without these seats."""
    job.settle({seat: sealed.row.values for seat, sealed in job.committed.items()}, excluded)
    return job


def test_receipts_by_the_rules_break_none(revealed: AuditedJob, checks: Verdicts) -> None:
    revealed.file_receipts(0, 2)
    revealed.file_receipts(1, attestors=(0, 1, 2))
    job = settled(revealed, {3: ExclusionReason.UNAVAILABLE})
    found = checks(job.record())
    assert mismatches(found) == set(), [c for c in found if not c.ok]


def test_what_was_held_and_is_said_to_be_unavailable_is_named(revealed: AuditedJob, checks: Verdicts) -> None:
    revealed.file_receipts(2, 3)
    job = settled(revealed, {3: ExclusionReason.UNAVAILABLE})
    failed = {check.name: check.detail for check in checks(job.record()) if not check.ok}
    assert set(failed) == {"exclusions"}
    assert "seat 3 was excluded as unavailable, though a quorum of attestors held its update" in failed["exclusions"]


def _late(job: AuditedJob) -> ChainRecord:
    [filed] = job.events_of(on_chain.ReceiptsFiled)
    job.times[filed.block_number] = job.now_s
    return job.record()


CHEATS: dict[str, tuple[str, Callable[[AuditedJob], Any]]] = {
    "a minority": ("1 attestors cover updates", lambda job: job.forged(on_chain.ReceiptsFiled, attestors=(1,))),
    "a stranger": ("receipts of attestors [3]", lambda job: job.forged(on_chain.ReceiptsFiled, attestors=(0, 3))),
    "nobody": ("covered nobody", lambda job: job.forged(on_chain.ReceiptsFiled, seats=())),
    "who has not revealed": (
        "seats [4] are covered and have not revealed",
        lambda job: job.forged(on_chain.ReceiptsFiled, seats=(Seat(0), Seat(4))),
    ),
    "in the aggregator's time": ("in phase settle and not reveal or exam", _late),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_receipts_against_the_rules_are_named(revealed: AuditedJob, checks: Verdicts, cheat: str) -> None:
    revealed.file_receipts(0, 1)
    expected, play = CHEATS[cheat]
    failed = {check.name: check.detail for check in checks(play(settled(revealed))) if not check.ok}
    assert expected in failed["schedule"]


def test_a_contract_that_covers_others_than_its_events_say_is_named(revealed: AuditedJob, checks: Verdicts) -> None:
    revealed.file_receipts(0, 1)
    record = settled(revealed).record()
    record = replace(record, covered={**record.covered, 0: (Seat(0), Seat(1), Seat(3))})
    failed = {check.name: check.detail for check in checks(record) if not check.ok}
    assert set(failed) == {"state"}
    assert "the seats that receipts cover in attempt 0" in failed["state"]
