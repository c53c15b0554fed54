"""What an audit says of updates that it cannot open, and of those that do not open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator.audit.report import Check
from aggregator.audit.updates import Openings
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.sealing import Opening, SealingKey, UpdateSeal
from market.storage import EmbeddedStore
from tests.sealed_updates import RECIPIENT, OpenedBy
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_round
from tests.unit.aggregator.audit.job_on_chain import UPDATE_BYTES
from tests.unit.aggregator.audit.verdicts import audited, block_file, mismatches, the_mismatch
from zk.srs import Srs


@pytest.fixture
def found(store: EmbeddedStore, srs: Srs, tmp_path: Path) -> Any:
    """Audit a job as somebody who has no key, or these openings."""

    def run(job: AuditedJob, openings: Openings | None = None) -> list[Check]:
        return audited(job.record(), store, srs, tmp_path / "vectors", openings=openings)

    return run


def unproven(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if check.verdict == "unproven"}


def test_whoever_has_no_key_takes_on_word_only_what_needs_the_updates(job: AuditedJob, found: Any) -> None:
    play_round(job)
    play_round(job)
    checks = found(job)
    assert mismatches(checks) == set()
    assert unproven(checks) == {
        "updates": "in storage, whole, and sealed to the aggregator: seats 0, 1, 2, 3; that they open their "
        "commitments is taken on the aggregator's word"
    }
    by_name = {check.name: check for check in checks}
    assert by_name["gram"].verdict == by_name["proof"].verdict == by_name["model"].verdict == "ok"
    assert by_name["gram"].detail == "0 of 4 updates with the public rows give it again, the proof has the rest"
    assert "not all that it was made of is open to this audit" in by_name["model"].detail


def test_a_blob_that_is_gone_or_damaged_is_told_from_one_that_is_closed(
    job: AuditedJob, store: EmbeddedStore, found: Any
) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    gone, damaged = job.committed[1].content, job.committed[2].content
    job.settle(updates)
    block_file(store, gone, UPDATE_BYTES).unlink()
    file = block_file(store, damaged, UPDATE_BYTES)
    file.chmod(0o644)
    file.write_bytes(bytes(UPDATE_BYTES))
    detail = unproven(found(job))["updates"]
    assert detail.startswith("not in storage: seats 1, 2; that their updates could be read is taken")
    assert "whole, and sealed to the aggregator: seats 0, 3;" in detail


def test_a_blob_of_a_length_that_no_update_has_is_named_without_a_key(job: AuditedJob, found: Any) -> None:
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates, stored={3: updates[3][:-1]})
    job.reveal(*updates)
    job.settle(updates)
    detail = the_mismatch(found(job), "updates").detail
    assert "the update of seat 3 counts, but" in detail
    assert f"{UPDATE_BYTES - 2} bytes, expected {UPDATE_BYTES} of a sealed update" in detail


@pytest.mark.parametrize("reason", [ExclusionReason.MISMATCH, ExclusionReason.UNREADABLE, ExclusionReason.UNAVAILABLE])
def test_an_exclusion_is_the_aggregators_word_for_whoever_has_no_key(
    job: AuditedJob, found: Any, reason: ExclusionReason
) -> None:
    play_round(job, excluded={3: reason})
    checks = found(job)
    assert mismatches(checks) == set()
    assert set(unproven(checks)) == {"updates", "exclusions"}
    assert f"seat 3 was excluded as {reason.name.lower()}" in unproven(checks)["exclusions"]


class OpensOne:
    """What a trainer opens: its own update, and nobody else's."""

    def __init__(self, trainer: str) -> None:
        self._trainer = trainer

    def of(self, attempt: Attempt, update: UpdateSeal) -> Opening | None:
        return RECIPIENT if update.trainer == self._trainer else None


def test_a_trainer_sees_of_its_own_update_that_it_was_wrongly_excluded(job: AuditedJob, found: Any) -> None:
    play_round(job, excluded={3: ExclusionReason.UNREADABLE})
    checks = found(job, OpensOne(job.who(3)))
    assert mismatches(checks) == {"exclusions"}
    assert "seats 0, 1, 2;" in unproven(checks)["updates"]


def test_an_update_that_was_sealed_to_another_key_and_counts_is_named(job: AuditedJob, found: Any) -> None:
    play_round(job)
    other = SealingKey.of_account(_account(), 1, "0x" + "11" * 20, job.record().job)
    assert "does not open" in the_mismatch(found(job, OpenedBy(other)), "updates").detail


def _account() -> Any:
    from eth_account import Account

    return Account.from_key(bytes(range(1, 33)))
