"""How long a worker waits for updates that somebody holds back, on a job that has only these."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aggregator.worker.updates import SHORTEST_TURN_S, TURNS_SHARE, RevealedUpdates, turn_s
from market.protocol.errors import BlockNotFound
from market.protocol.identifiers import Digest

SEATS = 64


@pytest.mark.parametrize("settle_s", [64, 300, 3_600, 86_400])
@pytest.mark.parametrize("missing", [0, 1, 7, SEATS])
def test_all_turns_together_take_a_small_part_of_the_settle_phase(settle_s: int, missing: int) -> None:
    turns_s = missing * turn_s(settle_s, missing)
    assert turns_s <= max(TURNS_SHARE * settle_s, SHORTEST_TURN_S * missing)
    assert turns_s <= settle_s / 2  # what is left is for proving


def test_each_of_many_updates_that_are_held_back_is_waited_for_once_and_shortly() -> None:
    waited: list[tuple[Digest, float]] = []

    def bring(digest: Digest, limit_s: float) -> None:
        waited.append((digest, limit_s))
        raise BlockNotFound(digest.hex(), "anywhere yet")

    job: Any = SimpleNamespace(
        id=3,
        market=SimpleNamespace(seal_context=lambda *place: place),
        terms=SimpleNamespace(settle_period_s=600),
        bring_update=bring,
    )
    reveals = {
        seat: SimpleNamespace(seat=seat, content=Digest(bytes([seat]) * 32), commitment=b"") for seat in range(SEATS)
    }
    attempt: Any = SimpleNamespace(number=0, started=SimpleNamespace(round=1), reveals=reveals)
    none: Any = None
    collected = RevealedUpdates(job, none, none, none).collect(attempt)
    assert len(collected.exclusions) == SEATS
    assert not collected.is_complete
    assert [digest for digest, _ in waited] == [reveal.content for reveal in reveals.values()]
    assert sum(limit_s for _, limit_s in waited) <= TURNS_SHARE * 600
