"""What the API tells of a market: all of it, in parts that miss and repeat nothing, by few questions asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from market import views
from market.db.tables import CreditRow, EventRow, JobRow, MovementRow, SittingRow, UpdateRow
from tests.served import reader, served
from tests.unit.market.api.conftest import filled, statements

API = "/api/v1"

LISTS = (
    "/jobs",
    "/jobs?sort=oldest",
    "/jobs?sort=reward",
    "/jobs?sort=deadline",
    "/jobs/1/attempts",
    "/jobs/1/updates",
    "/jobs/1/payouts",
    "/jobs/1/movements",
    "/jobs/1/models",
    "/trainers",
    "/aggregators",
    "/events?job=1",
)


def everything(client: httpx.Client, path: str, limit: int) -> list[dict[str, Any]]:
    """All entries of a list, asked for in parts."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        more = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = client.get(httpx.URL(API + path).copy_merge_params(more))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= limit
        found += answer.json()["items"]
        cursor = answer.json()["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize("path", LISTS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 60))
def test_the_parts_of_a_list_are_the_list(client: httpx.Client, path: str, limit: int) -> None:
    assert everything(client, path, limit) == everything(client, path, 200)


@pytest.mark.parametrize(
    ("path", "table"),
    [("/jobs", JobRow), ("/events", EventRow)],
    ids=["jobs", "events"],
)
def test_a_list_has_every_row(client: httpx.Client, engine: Engine, path: str, table: Any) -> None:
    with Session(engine) as session:
        rows = session.scalar(select(func.count()).select_from(table))
    assert len(everything(client, path, 150)) == rows


@pytest.mark.parametrize(
    ("path", "table"),
    [("updates", UpdateRow), ("payouts", CreditRow), ("movements", MovementRow), ("trainers", SittingRow)],
)
def test_a_jobs_list_has_every_row_of_that_job_and_none_of_another(
    client: httpx.Client, engine: Engine, path: str, table: Any
) -> None:
    for job in range(5):
        with Session(engine) as session:
            rows = session.scalar(select(func.count()).where(table.job == job))
        if path == "trainers":
            found = client.get(f"{API}/jobs/{job}/{path}").json()
        else:
            found = everything(client, f"/jobs/{job}/{path}", 200)
        assert len(found) == rows
        assert {entry["job"] for entry in found} <= {job}


@pytest.mark.parametrize(
    ("sort", "key", "descending"),
    [
        ("newest", lambda job: job["job"], True),
        ("oldest", lambda job: job["job"], False),
        ("reward", lambda job: (int(job["round_reward_wei"]), job["job"]), True),
        ("deadline", lambda job: (job["deadline_s"], job["job"]), False),
    ],
)
def test_jobs_come_in_the_order_asked_for(client: httpx.Client, sort: str, key: Any, descending: bool) -> None:
    found = everything(client, f"/jobs?sort={sort}", 7)
    assert found == sorted(found, key=key, reverse=descending)


def test_filters_leave_the_jobs_that_were_asked_for(client: httpx.Client) -> None:
    found = everything(client, "/jobs", 200)
    states: dict[str, Any] = {
        "open": lambda job: job["phase"] != "closed",
        "closed": lambda job: job["phase"] == "closed",
        "disputed": lambda job: job["phase"] == "disputed",
        "seats": lambda job: job["phase"] != "closed" and job["seats_taken"] < job["seats"],
    }
    for state, wanted in states.items():
        assert everything(client, f"/jobs?state={state}", 200) == [job for job in found if wanted(job)]
    owner = found[3]["owner"]
    assert everything(client, f"/jobs?owner={owner.lower()}", 200) == [job for job in found if job["owner"] == owner]
    for answer in ("true", "false"):
        assert all(job["has_exam"] == (answer == "true") for job in everything(client, f"/jobs?has_exam={answer}", 200))
    assert everything(client, "/jobs?text=%25", 200) == [job for job in found if "%" in (job["name"] or "")]


def test_a_trainers_totals_are_the_sums_of_its_seats(client: httpx.Client) -> None:
    for trainer in everything(client, "/trainers", 200)[:10]:
        seats = everything(client, f"/trainers/{trainer['trainer']}/seats", 3)
        for amount in ("earned_wei", "claimed_wei"):
            assert sum(int(it[amount]) for it in trainer["earnings"]) == sum(int(seat[amount]) for seat in seats)
        assert len({it["token"] for it in trainer["earnings"]}) == len(trainer["earnings"])
        assert trainer["accepted"] == sum(seat["accepted"] for seat in seats)
        assert client.get(f"{API}/trainers/{trainer['trainer'].lower()}").json() == trainer


def test_a_job_says_where_its_money_is(client: httpx.Client) -> None:
    for job in everything(client, "/jobs", 200):
        moved: dict[str, int] = defaultdict(int)
        for movement in everything(client, f"/jobs/{job['job']}/movements", 200):
            moved[movement["flow"]] += int(movement["amount_wei"])
        escrow = {name.removesuffix("_wei"): int(amount) for name, amount in job["escrow"].items()}
        assert {flow: escrow[flow] for flow in ("deposited", "paid", "refunded", "burned")} == {
            flow: moved[flow] for flow in ("deposited", "paid", "refunded", "burned")
        }
        assert escrow["locked"] == escrow["deposited"] - escrow["paid"] - escrow["refunded"] - escrow["burned"]


def test_a_matrix_has_a_row_for_each_included_update_and_its_proof_beside_it(client: httpx.Client) -> None:
    seen = 0
    for attempt in everything(client, "/jobs/1/attempts", 200):
        place = f"{API}/jobs/1/attempts/{attempt['attempt']}"
        gram = client.get(f"{place}/gram")
        if not attempt["proven"]:
            assert gram.status_code == 404
            continue
        seen += 1
        matrix = views.GramMatrix.model_validate(gram.json())
        updates = everything(client, f"/jobs/1/updates?attempt={attempt['attempt']}", 200)
        included = [update["seat"] for update in updates if update["row"] is not None]
        assert matrix.seats == included
        assert [len(row) for row in matrix.updates] == [len(included)] * len(included)
        assert all(row[i] in (1.0, None) for i, row in enumerate(matrix.cosines))
        proof = client.get(f"{place}/proof").json()
        assert proof["transaction"] == attempt["transaction"]
    assert seen


@pytest.mark.parametrize(
    "path",
    [
        *("/jobs/99999", "/jobs/99999/attempts", "/jobs/99999/updates", "/jobs/99999/payouts", "/jobs/99999/models"),
        *("/jobs/0/attempts/999", "/jobs/0/attempts/999/gram", "/jobs/0/attempts/999/proof", "/jobs/0/models/999"),
        *("/jobs/99999/movements", "/jobs/99999/trainers", "/jobs/99999/waiting", "/jobs/99999/disputes"),
        *(f"/trainers/0x{'ab' * 20}", f"/aggregators/0x{'ab' * 20}", "/nothing"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(client: httpx.Client, path: str) -> None:
    answer = client.get(API + path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/jobs/-1", "/jobs/9007199254740992", "/jobs/x", "/jobs?limit=0", "/jobs?limit=201", "/jobs?cursor=!"),
        *(
            "/jobs?cursor=WzFd&sort=reward",
            "/jobs?sort=best",
            "/jobs?text=a%00b",
            "/trainers/0x12",
            "/jobs?owner=me",
            "/events?kind=Nothing",
        ),
        # A number that no column can hold, and one that another list's column could.
        *("/jobs?cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDhd", "/jobs/1/updates?cursor=WzEsNDAwMDBd", "/trainers?cursor=WzFd"),
        *("/jobs?sort=reward&cursor=Wy0xLDFd", "/jobs?cursor=W10", "/jobs?cursor=W251bGxd", "/jobs?cursor=WzEuNV0"),
        *("/events/stream?after=1-2", "/events/stream?after=1-0011223344556677-9999999999-1"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_field_at_fault(client: httpx.Client, path: str) -> None:
    answer = client.get(API + path)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


QUESTIONS = (
    *("/jobs?limit=200", "/jobs/1", "/jobs/1/attempts?limit=200", "/jobs/1/updates?limit=200", "/jobs/1/trainers"),
    *("/jobs/1/payouts?limit=200", "/jobs/1/movements?limit=200", "/jobs/1/models?limit=200", "/trainers?limit=200"),
    *("/aggregators?limit=200", "/events?limit=200", "/jobs/1/attempts/0/gram", "/jobs/1/disputes"),
)


def test_the_number_of_questions_to_the_database_does_not_grow_with_its_rows(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    counts = []
    for jobs, rounds, trainers in ((3, 2, 4), (30, 20, 24)):
        engine = filled(new_database(), jobs=jobs, rounds=rounds, trainers=trainers)
        with served(reader(engine, tmp_path)) as address, httpx.Client(base_url=address) as asking:
            counts.append({path: _questions(engine, asking, path) for path in QUESTIONS})
        engine.dispose()
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 4


def _questions(engine: Engine, asking: httpx.Client, path: str) -> int:
    with statements(engine) as asked:
        asking.get(API + path)
    return len(asked)
