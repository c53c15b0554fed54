"""The made-up market keeps what the real one does: its sums agree, and it shows every phase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from market.db.engine import connect
from market.db.migrate import upgrade
from market.db.tables import CreditRow, JobRow, MovementRow, SittingRow
from market.protocol.rounds import Phase
from market.queries.attempts import gram
from market.queries.jobs import JobFilter, jobs
from tests.market_rows import seed_market


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = connect(f"sqlite:///{tmp_path_factory.mktemp('rows')}/market.db")
    upgrade(made)
    seed_market(made, jobs=24, rounds=6, trainers=8)
    yield made
    made.dispose()


def test_jobs_are_in_every_phase(engine: Engine) -> None:
    with Session(engine) as session:
        found, _ = jobs(session, JobFilter())
    assert {job.phase for job in found} == {phase.name.lower() for phase in Phase}


def test_movements_add_up_to_what_jobs_say(engine: Engine) -> None:
    with Session(engine) as session:
        sums: dict[tuple[int, str], int] = defaultdict(int)
        for row in session.scalars(select(MovementRow)):
            sums[row.job, row.flow] += row.amount_wei
        for job in session.scalars(select(JobRow)):
            for flow in ("deposited", "paid", "refunded", "burned"):
                assert sums[job.job, flow] == getattr(job, f"{flow}_wei"), (job.job, flow)
            assert job.deposited_wei >= job.paid_wei + job.refunded_wei + job.burned_wei, job.job


def test_sittings_add_up_to_credits(engine: Engine) -> None:
    with Session(engine) as session:
        earned: dict[tuple[int, int], int] = defaultdict(int)
        for row in session.scalars(select(CreditRow)):
            earned[row.job, row.seat] += row.amount_wei
        for sitting in session.scalars(select(SittingRow)):
            assert earned[sitting.job, sitting.seat] == sitting.earned_wei


def test_matrices_are_read_as_a_rounds(engine: Engine) -> None:
    with Session(engine) as session:
        matrix = gram(session, 0, 0)
    assert matrix is not None
    assert all(row[i] == 1 for i, row in enumerate(matrix.cosines))
    assert len(matrix.public_rows) == 6
