"""Where verifiers have models from: jobs of the market, opened against what the chain committed to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.protocol.errors import StorageError
from market.protocol.generation import JobModel
from tests.integration.marketplace import ON_ANVIL, Marketplace
from trainer_client.verifier.services import Services

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    opened = Marketplace(devnet, deployed, actors, tmp_path).post(rounds=1)
    opened.join(3)
    return opened


@pytest.fixture
def services(place: Marketplace, tmp_path: Path) -> Services:
    return Services(place.store, tmp_path / "cache", lambda job: place.view("verifier"), lambda job: place.srs)


def test_a_jobs_model_is_the_one_that_the_chain_committed_to(place: Marketplace, services: Services) -> None:
    place.play_round()
    last = services.job_model(JobModel(job=place.id))
    assert np.array_equal(last, services.job_model(JobModel(job=place.id, round=0)))
    assert np.array_equal(last, place.view("verifier").model(place.state.model))


def test_a_model_that_is_not_made_yet_is_waited_for(place: Marketplace, services: Services) -> None:
    with pytest.raises(StorageError, match="not over"):
        services.job_model(JobModel(job=place.id))
    with pytest.raises(StorageError, match="round 0"):
        services.job_model(JobModel(job=place.id, round=0))
