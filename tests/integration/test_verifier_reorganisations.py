"""A chain that goes back between draw, seat, commit and reveal: nothing is lost, and nobody commits to two contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.chain.connection import Chain
from market.chain.consensus_events import OutputsCommitted, OutputsRevealed, Penalised
from market.chain.deployment import Deployment
from market.protocol.consensus import Outcome
from market.protocol.seat_draw import DELAY_BLOCKS
from tests.integration.marketplace import ON_ANVIL
from tests.integration.verifiers import SHARE_WEI, VERIFIERS, Verification
from trainer_client.verifier.session import VerifierSession

pytestmark = ON_ANVIL

STAGES = ("seat", "commit", "reveal", "decision")


@pytest.fixture
def place(devnet: Devnet, deployment: Deployment, chain: Chain, actors: Any, tmp_path: Path) -> Verification:
    opened = Verification(devnet, deployment.consensus_on(chain), actors, tmp_path)
    opened.open_pool()
    opened.stake()
    opened.open_task()
    return opened


def play_until(stage: str, place: Verification, *sessions: VerifierSession) -> None:
    place.seat(*sessions)
    if stage == "seat":
        return
    place.to_commit()
    place.act(*sessions)
    if stage == "commit":
        return
    place.to_reveal()
    place.act(*sessions)
    if stage == "decision":
        place.pass_turns(*sessions)


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_chain_that_goes_back_to_before_the_draw_costs_nobody_anything(
    place: Verification, stage: str, restarted: bool
) -> None:
    sessions = [place.session(name) for name in VERIFIERS]
    before = place.devnet.snapshot()
    play_until(stage, place, *sessions)
    sealed = {name: place.opening(name) for name in VERIFIERS}
    place.devnet.revert(before)
    place.devnet.advance(17)  # other blocks, and so another draw
    if restarted:
        for name in VERIFIERS:
            place.restart(name).recover()
        sessions = [place.session(name) for name in VERIFIERS]
    place.devnet.mine(DELAY_BLOCKS)
    place.send("owner", "draws this time", place.consensus.draw_seats(place.task))
    place.play(*sessions)

    assert place.consensus.state(place.task).outcome is Outcome.ACCEPTED
    assert len(place.events(OutputsCommitted)) == len(place.events(OutputsRevealed)) == len(VERIFIERS)
    assert {name: place.opening(name) for name in VERIFIERS} == sealed
    assert place.events(Penalised) == []
    assert [place.credits(name) for name in VERIFIERS] == [SHARE_WEI] * 3
    place.check_books()
