"""The clock of a task: lets the chain's time jump to what comes next once everybody has acted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fedmarket.demo.clock import HEARTBEAT_S
from fedmarket.devnet import Devnet
from market.chain.consensus_records import NONE_32, PanelState, SeatState, TaskPhase, TaskState
from market.chain.output_consensus import OutputConsensus
from market.protocol.identifiers import TaskId

REVEALED = (SeatState.REVEALED, SeatState.VOID)


@dataclass(eq=False)
class TaskClock:
    """Moves a development chain's time on for one task.

    Attributes:
        devnet: the chain.
        consensus: the contract.
        task: the task.
        revealed: whether all who will reveal have done so.
        watch: is shown the task's state and panel at every tick.
    """

    devnet: Devnet
    consensus: OutputConsensus
    task: TaskId
    revealed: Callable[[PanelState], bool]
    watch: Callable[[TaskState, PanelState], None]

    def run(self, stop: threading.Event) -> None:
        """Tick until the task is finished, or told to stop; either way everybody is told to."""
        while not stop.wait(HEARTBEAT_S):
            state = self.consensus.state(self.task)
            panel = self.consensus.panel(self.task, state.panel)
            self.watch(state, panel)
            if state.phase is TaskPhase.FINISHED:
                stop.set()
                return
            self._tick(state, panel)

    def _tick(self, state: TaskState, panel: PanelState) -> None:
        """Mine a block; many where a block is waited for, and at the phase's end where nobody needs the rest of it."""
        target_s = self._next_s(state, panel)
        if target_s:
            self.devnet.advance_to(target_s)
        else:
            missing = panel.draw_block - self.consensus.chain.block_number()
            self.devnet.mine(max(1, missing + 1) if state.phase is TaskPhase.DRAWING else 1)

    def _next_s(self, state: TaskState, panel: PanelState) -> int | None:
        is_full = len(panel.seats) == panel.size
        if state.phase is TaskPhase.SEATING and is_full:
            return panel.seat_until_s
        if state.phase is TaskPhase.COMMIT and all(seat.seal != NONE_32 for seat in panel.seats):
            return panel.commit_until_s
        if state.phase is TaskPhase.REVEAL and self.revealed(panel):
            return panel.reveal_until_s
        return state.appeal_until_s if state.phase is TaskPhase.APPEAL else None
