"""Verifiers on a real chain, with a real model and real storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.chain.connection import Chain
from market.chain.consensus_records import TaskPhase
from market.chain.deployment import Deployment
from market.protocol.consensus import Outcome
from tests.integration.marketplace import ON_ANVIL
from tests.integration.verifiers import SHARE_WEI, VERIFIERS, Verification, of_dtype

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployment: Deployment, chain: Chain, actors: Any, tmp_path: Path) -> Verification:
    opened = Verification(devnet, deployment.consensus_on(chain), actors, tmp_path)
    opened.open_pool()
    opened.stake()
    return opened


def test_three_verifiers_of_unlike_precision_agree_and_are_paid(place: Verification) -> None:
    place.open_task()
    sessions = [
        place.session("ann"),
        place.session("bob", execution=of_dtype("bfloat16", batch_size=3)),
        place.session("cem", execution=of_dtype("float16", batch_size=6, kernels="plain")),
    ]
    place.play(*sessions)

    state = place.consensus.state(place.task)
    assert (state.phase, state.outcome) == (TaskPhase.FINISHED, Outcome.ACCEPTED)
    assert [place.credits(name) for name in VERIFIERS] == [SHARE_WEI] * 3
    place.check_books()
