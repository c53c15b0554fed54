"""The consensus contract as a verifier looks at it: the tasks of the pools that it follows."""

from __future__ import annotations

from collections.abc import Iterator

from market.chain.consensus_records import PanelState, SeatState, TaskState, TaskTerms
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
        share_wei=terms.share_wei,
    )


class FollowedTasks:
    """The tasks of some pools that are not finished. What was seen to be finished is not looked at again."""

    def __init__(self, consensus: OutputConsensus) -> None:
        """Look at nothing yet."""
        self._consensus = consensus
        self._begin(0, b"")

    def _begin(self, block: int, block_hash: bytes) -> None:
        self._block, self._block_hash = block, block_hash
        self._seen = 0
        self._open: dict[TaskId, TaskTerms] = {}

    def look(self, pools: frozenset[PoolId]) -> Iterator[TaskView]:
        """Those there are now, by number.

        Raises:
            ChainUnreachable: the node does not answer.
        """
        chain = self._consensus.chain
        if self._block_hash and not chain.has_block(self._block, self._block_hash):
            self._begin(0, b"")  # after a reorganisation the same numbers may be other tasks
        latest = chain.block()
        self._block, self._block_hash = int(latest["number"]), bytes(latest["hash"])
        for number in range(self._seen, self._consensus.task_count()):
            self._open[TaskId(number)] = self._consensus.terms(TaskId(number))
            self._seen = number + 1
        for task, terms in sorted(self._open.items()):
            if terms.pool in pools:
                yield read_task(self._consensus, task, terms)

    @property
    def numbers(self) -> list[TaskId]:
        """Those that were not finished at the last look, in all pools."""
        return sorted(self._open)

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
