"""Many jobs in one process: what befalls one of them is no other's trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from fedmarket.attestor_service import AttestorService, Following, NamedJobs
from market.protocol.errors import BlockNotFound, ChainUnreachable, InvalidInput
from market.protocol.identifiers import JobId
from market.protocol.rounds import Phase

PATIENCE_S = 30


@dataclass
class Jobs:
    """Jobs that are followed until they are said to be closed; those with trouble raise it once."""

    troubles: dict[int, Exception] = field(default_factory=dict)
    open_troubles: dict[int, Exception] = field(default_factory=dict)
    followed: list[int] = field(default_factory=list)
    closed: dict[int, threading.Event] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def event(self, job: int) -> threading.Event:
        return self.closed.setdefault(job, threading.Event())

    def open(self, job: JobId) -> Following:
        if trouble := self.open_troubles.pop(job, None):
            raise trouble

        def follow(should_stop: Callable[[], bool]) -> None:
            self.followed.append(job)
            if trouble := self.troubles.pop(job, None):
                raise trouble
            while not should_stop() and not self.event(job).wait(0.01):
                pass

        return follow

    def service(self, **settings: Any) -> AttestorService:
        return AttestorService(self.open, self.told.append, look_s=0.01, retry_s=0.01, **settings)


def until(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Stops when this holds, which it has to."""
    left = [PATIENCE_S * 100]

    def should_stop() -> bool:
        left[0] -= 1
        assert left[0], "what was waited for did not happen"
        return condition()

    return should_stop


def test_jobs_are_followed_until_all_are_closed() -> None:
    jobs = Jobs()
    jobs.event(0).set()
    jobs.event(1).set()
    service = jobs.service()
    service.follow([JobId(0), JobId(1)])
    assert sorted(jobs.followed) == [0, 1]
    assert service.closed == {0, 1}


def test_a_job_in_trouble_is_told_of_and_tried_again_while_the_others_go_on() -> None:
    jobs = Jobs({0: ChainUnreachable("the node is away")}, {2: BlockNotFound("bafk", "the store")})
    service = jobs.service()
    service.follow([JobId(0), JobId(1), JobId(2)], until(lambda: sorted(jobs.followed) == [0, 0, 1, 2]))
    assert jobs.told == ["job 0: the node is away; tried again"]
    assert service.closed == set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_one_job_is_not_taken_for_its_end() -> None:
    jobs = Jobs({0: ZeroDivisionError("a defect")})
    jobs.event(1).set()
    service = jobs.service()
    with pytest.raises(RuntimeError, match=r"jobs \[0\] were not followed"):
        service.follow([JobId(0), JobId(1)])
    assert service.closed == {1}


def test_who_is_no_attestor_of_a_job_is_told_at_once() -> None:
    jobs = Jobs(open_troubles={1: InvalidInput("is no attestor of job 1")})
    with pytest.raises(InvalidInput, match="no attestor of job 1"):
        jobs.service().follow([JobId(0), JobId(1)])
    assert jobs.followed == []


def test_a_single_job_that_cannot_be_followed_ends_the_command() -> None:
    jobs = Jobs(open_troubles={0: BlockNotFound("bafk", "the store")})
    with pytest.raises(BlockNotFound):
        jobs.service().follow([JobId(0)])


def test_jobs_that_open_later_are_followed_too() -> None:
    jobs, looks = Jobs(open_troubles={5: BlockNotFound("bafk", "the store")}), [[JobId(3)], [], [JobId(5)]]
    beside: list[int] = []

    def look() -> list[JobId]:
        if not looks:
            raise ChainUnreachable("the node is away")
        return looks.pop(0)

    jobs.service(meanwhile=lambda: beside.append(1)).follow_all(look, until(lambda: sorted(jobs.followed) == [3, 5]))
    assert any("block bafk is not in the store" in line for line in jobs.told)
    assert beside


def test_jobs_are_named_by_their_terms_and_looked_at_once() -> None:
    asked: list[int] = []

    class Market:
        count = 3

        def job_count(self) -> int:
            return self.count

        def terms(self, job: JobId) -> Any:
            asked.append(job)
            return SimpleNamespace(disputes=SimpleNamespace(attestors=("0xA",) if job != 1 else ("0xB",)))

        def phase(self, job: JobId) -> Phase:
            return Phase.CLOSED if job == 2 else Phase.COMMIT

    market: Any = Market()
    named = NamedJobs(market, "0xA")
    assert named.look() == [0]
    market.count = 4
    assert named.look() == [3]
    assert asked == [0, 1, 2, 3]
