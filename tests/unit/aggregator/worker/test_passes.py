"""In which order, and for how long, an aggregator looks for updates that are not to be had yet."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

import aggregator.worker.updates as updates
from aggregator.worker.updates import PASS_S, RevealedUpdates
from market.chain.records import ExclusionReason
from market.protocol.identifiers import Digest, JobId, Seat

SLOWLY_S, SOON_S = 60.0, 1.0


class Looking:
    """Looks for the updates of some seats, each of which takes its time, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes_s: Mapping[int, float]) -> None:
        self.now_s, self.takes_s, self.looked = 0.0, dict(takes_s), list[int]()
        self.there: dict[int, ExclusionReason] = {}
        reveals = {
            Seat(seat): SimpleNamespace(seat=Seat(seat), content=digest(seat), commitment=b"") for seat in takes_s
        }
        self.attempt: Any = SimpleNamespace(reveals=reveals, number=0, started=SimpleNamespace(round=0))
        monkeypatch.setattr(updates, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        monkeypatch.setattr(updates, "fetch_update", self.fetch)
        job: Any = SimpleNamespace(id=JobId(0), market=SimpleNamespace(seal_context=lambda *place: place))
        nothing: Any = None
        self.revealed = RevealedUpdates(job, nothing, nothing, nothing)

    def fetch(self, job: Any, srs: Any, layout: Any, key: Any, place: Any, reveal: Any) -> ExclusionReason:
        self.looked.append(reveal.seat)
        self.now_s += self.takes_s[reveal.seat]
        return self.there.get(reveal.seat, ExclusionReason.UNAVAILABLE)

    def collect(self) -> list[int]:
        """The seats that one pass looks for."""
        self.looked.clear()
        self.revealed.collect(self.attempt)
        return list(self.looked)


def digest(seat: int) -> Digest:
    return Digest(bytes([seat]) * 32)


def test_trainers_who_send_slowly_do_not_make_the_aggregator_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them could hold every pass up, until the settle phase is over and the bond lost."""
    looking = Looking(monkeypatch, dict.fromkeys(range(8), SLOWLY_S))
    assert looking.collect() == list(range(8))  # each at least once
    for _ in range(5):
        before_s = looking.now_s
        assert len(looking.collect()) == 1
        assert looking.now_s - before_s <= PASS_S + SLOWLY_S


def test_slow_ones_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, dict.fromkeys(range(3), SLOWLY_S))
    looking.collect()
    assert [looking.collect() for _ in range(4)] == [[0], [1], [2], [0]]


def test_slow_ones_are_looked_for_after_those_that_are_merely_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, {0: SLOWLY_S, 1: SLOWLY_S, 2: SOON_S, 3: SOON_S})
    looking.collect()
    assert looking.collect() == [2, 3, 0]
    looking.there[3] = ExclusionReason.UNREADABLE
    assert looking.collect() == [2, 3, 1]
    assert looking.collect() == [2, 0]  # what was judged is not looked at again


def test_what_was_not_looked_for_in_a_pass_is_unavailable_still(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, dict.fromkeys(range(3), SLOWLY_S))
    looking.there[1] = ExclusionReason.MISMATCH
    for _ in range(3):
        collected = looking.revealed.collect(looking.attempt)
        assert collected.exclusions == {
            Seat(0): ExclusionReason.UNAVAILABLE,
            Seat(1): ExclusionReason.MISMATCH,
            Seat(2): ExclusionReason.UNAVAILABLE,
        }
        assert not collected.is_complete
