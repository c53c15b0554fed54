"""An examiner's session on a real chain: killed at every point, late, delegated, refused; and what it publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.protocol.rounds import Phase
from tests.integration.examined import ExaminedMarketplace
from tests.integration.marketplace import ON_ANVIL

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> ExaminedMarketplace:
    return ExaminedMarketplace(devnet, deployed, actors, tmp_path)


def test_a_job_is_examined_from_its_opening_to_its_close(place: ExaminedMarketplace) -> None:
    place.post(rounds=2).join(5)
    first = place.play_examined()
    assert first.examined
    print(place.told, first.settled)
    place.finish()
    assert place.phase is Phase.FINISHED
