"""The demo's clock: lets the chain's time jump to the next phase once everybody has acted in this one.

Phases can so be as long as a slow machine needs without anybody waiting for them. Only a development chain has such a
clock; everywhere else time passes by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.records import JobState
from market.protocol.identifiers import JobId
from market.protocol.rounds import Phase

HEARTBEAT_S = 0.25
"""A block so often, for those who wait for confirmations."""


@dataclass(frozen=True)
class Everybody:
    """Says whether all who will act in a phase of an attempt have done so."""

    enrolled: Callable[[JobState], bool]
    committed: Callable[[JobState], bool]
    revealed: Callable[[JobState], bool]
    examined: Callable[[JobState], bool]


class Clock:
    """Moves a development chain's time on for one job."""

    def __init__(self, devnet: Devnet, market: JobMarket, job: JobId, everybody: Everybody) -> None:
        """Bind the clock to a chain and a job; `run` starts it."""
        self._devnet, self._market, self._job, self._everybody = devnet, market, job, everybody
        self._terms = market.terms(job)

    def run(self, stop: threading.Event) -> None:
        """Tick until told to stop."""
        while not stop.wait(HEARTBEAT_S):
            self.tick()

    def tick(self) -> None:
        """Mine a block; at the phase's end where nobody needs the rest of the phase, else now."""
        state = self._market.state(self._job)
        target_s = self._next_phase_s(state, self._market.phase(self._job))
        self._devnet.advance_to(target_s) if target_s else self._devnet.mine()

    def _next_phase_s(self, state: JobState, phase: Phase) -> int | None:
        schedule = self._terms.schedule(state.attempt_start_s)
        if phase is Phase.ENROLMENT and self._everybody.enrolled(state):
            return schedule.start_s
        if phase is Phase.COMMIT and self._everybody.committed(state):
            return schedule.commit_end_s
        if phase is Phase.REVEAL and self._everybody.revealed(state):
            return schedule.reveal_end_s
        if phase is Phase.EXAM and self._everybody.examined(state):
            return schedule.exam_end_s
        if phase is Phase.FINISHED and self._terms.disputes.attestors and state.attempt:
            vests_at_s = self._market.outcome(self._job, state.attempt - 1).vests_at_s
            return vests_at_s if vests_at_s > self._devnet.timestamp() else None
        return None
