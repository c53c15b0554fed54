"""A job that nobody has worked for yet, and a way to audit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AGGREGATORS, AuditedJob, Verdicts, audited


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


@pytest.fixture
def checks(store: EmbeddedStore, tmp_path: Path) -> Verdicts:
    """Audit a job, or a record of it."""

    def run(job: Any) -> list[Any]:
        return audited(job.record() if isinstance(job, AuditedJob) else job, store, tmp_path / "vectors")

    return run


@pytest.fixture
def job(store: EmbeddedStore) -> AuditedJob:
    """Four trainers and two aggregators, before the first commit."""
    opened = AuditedJob(store)
    opened.enrol(0, 1, 2, 3)
    opened.bond(AGGREGATORS[0])
    opened.bond(AGGREGATORS[1])
    return opened
