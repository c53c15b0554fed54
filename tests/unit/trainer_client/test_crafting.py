"""When an update has to be ready, and what seeds its training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from trainer_client.crafting import Alarm, Foresight, training_seed


class Chain:
    """A chain's clock, and how often it was asked."""

    def __init__(self, now_s: int, takes_s: float = 0.0) -> None:
        self.now_s, self.asked, self.takes_s = now_s, 0, takes_s

    def left_to(self, latest_s: int) -> Callable[[], int]:
        def left_s() -> int:
            self.asked += 1
            return latest_s - self.now_s

        return left_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The machine's clock, which stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_alarm_rings_when_the_chains_time_has_come(clock: list[float]) -> None:
    chain = Chain(1000)
    alarm = Alarm(chain.left_to(1010))
    assert not alarm()
    chain.now_s, clock[0] = 1009, clock[0] + 2
    assert not alarm()
    chain.now_s, clock[0] = 1010, clock[0] + 2
    assert alarm()


def test_the_alarm_asks_once_a_second_and_reckons_on_meanwhile(clock: list[float]) -> None:
    chain = Chain(1000)
    alarm = Alarm(chain.left_to(1010))
    for _ in range(5):
        assert not alarm()
    clock[0] += 0.5
    assert not alarm()
    assert (chain.asked, alarm.left_s()) == (1, 9.5)


def test_a_chain_that_is_slow_to_answer_is_asked_less_often_but_not_too_late(clock: list[float]) -> None:
    chain = Chain(1000)

    def slow() -> int:
        clock[0] += 0.5
        return chain.left_to(1400)()

    alarm = Alarm(slow)
    alarm()
    clock[0] += 49
    alarm()
    assert chain.asked == 1
    clock[0] += 2
    chain.now_s = 1380
    alarm()  # 20 s are left: it asks again within 5
    clock[0] += 5.1
    alarm()
    assert chain.asked == 3


def test_every_attempt_of_every_job_has_its_own_seed() -> None:
    seeds = {training_seed(seed, job, attempt) for seed in range(3) for job in range(3) for attempt in range(3)}
    assert len(seeds) == 27
    assert training_seed(1, 2, 0) == training_seed(1, 2, 0)


def test_a_step_that_would_not_be_over_in_time_is_not_begun(clock: list[float]) -> None:
    chain = Chain(1000)
    foresight = Foresight(Alarm(chain.left_to(1100)))

    def step(takes_s: float) -> bool:
        clock[0] += takes_s
        chain.now_s += int(takes_s)
        return foresight()

    assert not foresight()
    assert not step(30)
    assert not step(30)  # 40 s are left, enough for another one
    assert step(30)  # and now 10


def test_a_single_slow_step_says_nothing_of_the_next(clock: list[float]) -> None:
    chain = Chain(1000)
    foresight = Foresight(Alarm(chain.left_to(1100)))
    foresight()
    for takes_s in (1, 70, 1, 1):
        clock[0] += takes_s
        chain.now_s += takes_s
        assert not foresight()


def test_as_long_as_the_last_moment_is_not_known_no_step_is_too_long(clock: list[float]) -> None:
    """Rounds to come take the update, too: how soon the last of them ends nobody knows."""
    left = [math.inf]
    foresight = Foresight(Alarm(lambda: left[-1]))
    for _ in range(3):
        clock[0] += 500
        assert not foresight()
    left.append(600.0)
    clock[0] += 500
    assert not foresight()
    left.append(100.0)
    clock[0] += 500
    assert foresight()


def test_a_slow_chain_is_asked_in_time_for_a_moment_that_nobody_knew(clock: list[float]) -> None:
    """The last round's phase of 60 s opens while its trainer is at work."""
    opens_s, ends_s = 1000.0, 1048.0

    def left_s() -> float:
        clock[0] += 1.6
        return math.inf if clock[0] < opens_s else ends_s - clock[0]

    alarm = Alarm(left_s, least_s=48.0)
    while not alarm():
        clock[0] += 1.0
    assert ends_s - 1 <= clock[0] <= ends_s + 3
