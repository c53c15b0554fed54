"""A job that nobody has worked for yet, and a way to audit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS
from tests.unit.aggregator.audit.verdicts import Verdicts, audited
from zk.srs import Srs, make_insecure, open_srs

POINTS = 64


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


@pytest.fixture(scope="session")
def srs(tmp_path_factory: pytest.TempPathFactory) -> Srs:
    """Powers of a τ that everybody knows, as many as the jobs of these tests need."""
    path = tmp_path_factory.mktemp("srs") / "insecure.ptau"
    make_insecure(path, POINTS)
    return open_srs(path)


@pytest.fixture
def checks(store: EmbeddedStore, srs: Srs, tmp_path: Path) -> Verdicts:
    """Audit a job, or a record of it."""

    def run(job: Any) -> list[Any]:
        return audited(job.record() if isinstance(job, AuditedJob) else job, store, srs, tmp_path / "vectors")

    return run


@pytest.fixture
def job(store: EmbeddedStore, srs: Srs) -> AuditedJob:
    """Four trainers and two aggregators, before the first commit."""
    opened = AuditedJob(store, srs)
    opened.enrol(0, 1, 2, 3)
    opened.bond(AGGREGATORS[0])
    opened.bond(AGGREGATORS[1])
    return opened
