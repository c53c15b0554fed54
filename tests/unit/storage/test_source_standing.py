from __future__ import annotations

import pytest

from market.storage import EmbeddedStore, source_standing
from market.storage.source_standing import FAILURES, LONGEST_S, SHORTEST_S, SLOW_S, Standing


class Clock:
    """A clock that is moved by hand."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class Source:
    name = "source"

    def __init__(self, store: EmbeddedStore) -> None:
        self.get_block = store.get_block


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(source_standing, "time", clock)
    return clock


@pytest.fixture
def standing(store: EmbeddedStore, clock: Clock) -> Standing:
    return Standing(Source(store))


def fail(standing: Standing) -> None:
    for _ in range(FAILURES):
        assert standing.left_out is None
        standing.failed("is down")


def test_source_is_left_out_longer_each_time_it_fails_again(standing: Standing, clock: Clock) -> None:
    for times in range(12):
        fail(standing)
        assert standing.left_out is not None
        assert standing.left_out.startswith("is down; left out for")
        clock.now_s += min(LONGEST_S, SHORTEST_S * 2**times) - 0.5
        assert standing.left_out is not None
        clock.now_s += 1


def test_answer_makes_up_for_failures(standing: Standing, clock: Clock) -> None:
    fail(standing)
    clock.now_s += SHORTEST_S
    standing.answered(0.1)
    fail(standing)
    clock.now_s += SHORTEST_S
    assert standing.left_out is None
    standing.failed("is down")
    standing.had_not()
    fail(standing)


def test_liar_is_left_out_at_once(standing: Standing) -> None:
    standing.lied("sent other bytes")
    assert standing.left_out is not None


def test_slow_source_is_asked_last_until_it_is_quick_again(standing: Standing) -> None:
    for _ in range(FAILURES):
        assert not standing.is_slow
        standing.answered(SLOW_S + 1)
    assert standing.is_slow
    assert standing.left_out is None
    standing.answered(0.1)
    assert not standing.is_slow
