"""The consensus contract as a verifier looks at it: the tasks of the pools that it follows."""

from __future__ import annotations

from collections.abc import Iterator

from market.chain.consensus_records import FIRST_PANEL, PanelState, SeatState, TaskState, TaskTerms
from market.chain.output_consensus import OutputConsensus
from market.protocol.identifiers import PoolId, TaskId
from market.protocol.terms import NATIVE
from trainer_client.verifier.turn import PanelView, SeatView, Stage, TaskView


def read_task(consensus: OutputConsensus, task: TaskId, terms: TaskTerms) -> TaskView:
    """Where a task stands.

    Raises:
        ContractRevert: there is no such task.
        ChainUnreachable: the node does not answer.
    """
    state = consensus.state(task)
    panel = consensus.panel(task, state.panel)
    return TaskView(
        id=task,
        pool=terms.pool,
        request=terms.request,
        seed=terms.seed,
        samples=terms.samples,
        stage=Stage(state.phase),
        panel=_panel_view(state.panel, panel),
        was_appealed=_was_appealed(state),
        appeal_bond_wei=terms.appeal_bond_wei,
        commit_period_s=terms.commit_period_s,
    )


def earlier_seat(consensus: OutputConsensus, task: TaskId, before: int, account: str) -> bool:
    """Whether an account sat in a panel before this one."""
    panels = (consensus.panel(task, index) for index in range(FIRST_PANEL, before))
    return any(seat.verifier == account for panel in panels for seat in panel.seats)


class FollowedTasks:
    """The tasks of some pools that are not finished. What was seen to be finished is not looked at again."""

    def __init__(self, consensus: OutputConsensus) -> None:
        """Look at nothing yet."""
        self._consensus = consensus
        self._seen = 0
        self._open: dict[TaskId, TaskTerms] = {}

    def look(self, pools: frozenset[PoolId]) -> Iterator[tuple[TaskId, TaskTerms]]:
        """Those there are now, by number.

        Raises:
            ChainUnreachable: the node does not answer.
        """
        count = self._consensus.task_count()
        if count < self._seen:  # after a reorganisation the same numbers may be other tasks
            self._seen = 0
            self._open.clear()
        for number in range(self._seen, count):
            self._open[TaskId(number)] = self._consensus.terms(TaskId(number))
            self._seen = number + 1
        yield from ((task, terms) for task, terms in sorted(self._open.items()) if terms.pool in pools)

    def refresh(self, task: TaskId) -> TaskTerms:
        """A task's terms as the chain has them now: after a reorganisation they may be others."""
        self._open[task] = self._consensus.terms(task)
        return self._open[task]

    def leave(self, task: TaskId) -> None:
        """Look at a task no more."""
        self._open.pop(task, None)


def _was_appealed(state: TaskState) -> bool:
    return state.appellant != NATIVE


def _panel_view(index: int, panel: PanelState) -> PanelView:
    revealed = (SeatState.REVEALED, SeatState.VOID)
    seats = (SeatView(seat.verifier, seat.number, seat.seal, seat.state in revealed) for seat in panel.seats)
    return PanelView(
        index=index,
        size=panel.size,
        draw_block=panel.draw_block,
        seed=panel.seed,
        seat_until_s=panel.seat_until_s,
        commit_until_s=panel.commit_until_s,
        reveal_until_s=panel.reveal_until_s,
        seats=tuple(seats),
        clique=panel.clique,
    )
