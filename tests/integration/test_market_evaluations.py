"""What owners say of their models' accuracy: their word alone, and of models that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from tests.integration.conftest import Actors, account
from tests.integration.marketplace import ON_ANVIL, Marketplace, names
from tests.integration.service import Running, serving, settings_for

pytestmark = ON_ANVIL

PLACE = "/api/v1/jobs/0/models/1/evaluation"
TOLD = "/api/v1/jobs/0/evaluations"
MEASURED = {"accuracy": 0.75, "loss": 0.5, "samples": 120}


@pytest.fixture
def running(
    devnet: Devnet,
    deployment: Deployment,
    deployed: JobMarket,
    actors: Actors,
    tmp_path: Path,
    new_database: Callable[[], str],
) -> Iterator[Running]:
    """A service over a job with two models, on either database."""
    place = Marketplace(devnet, deployed, actors, tmp_path, 20)
    place.post(rounds=2, seats=4).join(4)
    assert place.play_round(names(4)).settled
    with serving(settings_for(tmp_path, devnet, deployment, database_url=new_database())) as opened:
        opened.wait_until_read()
        yield opened


@pytest.fixture
def owner(running: Running, actors: Actors) -> dict[str, str]:
    return running.sign_in(actors.account("owner"))


def test_an_owners_word_is_told_as_its_own(running: Running, owner: dict[str, str], actors: Actors) -> None:
    assert running.client.put(PLACE, json=MEASURED, headers=owner).status_code == 204
    [told] = running.client.get(TOLD).json()
    assert told["account"] == actors.account("owner").address
    assert (told["version"], told["round"], told["attempt"]) == (1, 0, 0)
    assert {name: told[name] for name in MEASURED} == MEASURED


def test_a_second_measurement_takes_the_place_of_the_first(running: Running, owner: dict[str, str]) -> None:
    for accuracy in (0.1, None, 0.9):
        answer = running.client.put(PLACE, json={**MEASURED, "accuracy": accuracy}, headers=owner)
        assert answer.status_code == 204, answer.text
        assert [told["accuracy"] for told in running.client.get(TOLD).json()] == [accuracy]


def test_measurements_that_come_at_once_are_all_taken_and_one_is_kept(running: Running, owner: dict[str, str]) -> None:
    def report(samples: int) -> int:
        return running.client.put(PLACE, json={**MEASURED, "samples": samples}, headers=owner).status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(report, range(1, 73)))
    assert set(statuses) == {204}
    assert len(running.client.get(TOLD).json()) == 1


def test_nobody_else_is_listened_to(running: Running) -> None:
    assert running.client.put(PLACE, json=MEASURED).status_code == 401
    stranger = running.sign_in(account("a stranger"))
    assert running.client.put(PLACE, json=MEASURED, headers=stranger).status_code == 403
    assert running.client.get(TOLD).json() == []


@pytest.mark.parametrize("path", ["/api/v1/jobs/7/models/0/evaluation", "/api/v1/jobs/0/models/9/evaluation"])
def test_what_is_not_there_cannot_be_measured(running: Running, owner: dict[str, str], path: str) -> None:
    assert running.client.put(path, json=MEASURED, headers=owner).status_code == 404
    assert running.client.get("/api/v1/jobs/7/evaluations").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [{"accuracy": 1.01}, {"accuracy": -0.1}, {"loss": None}, {"loss": "NaN"}, {"samples": 0}, {"samples": 1 << 31}],
    ids=str,
)
def test_figures_that_nobody_can_measure_are_refused(
    running: Running, owner: dict[str, str], wrong: dict[str, Any]
) -> None:
    answer = running.client.put(PLACE, json={**MEASURED, **wrong}, headers=owner)
    assert answer.status_code == 422, answer.text
    assert running.client.get(TOLD).json() == []


def test_the_page_plots_it_and_says_whose_word_it_is(running: Running, owner: dict[str, str]) -> None:
    assert "by the owner" not in running.client.get("/jobs/0").text
    running.client.put(PLACE, json=MEASURED, headers=owner)
    page = running.client.get("/jobs/0").text
    assert "Accuracy, by the owner&#39;s word" in page or "Accuracy, by the owner's word" in page
    assert "75.0%" in page
