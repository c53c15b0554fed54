"""Pushes a task on: whoever wants may draw its seats, settle its panels and finish it, and somebody has to."""

from __future__ import annotations

from market.chain.calls import PreparedCall
from market.chain.consensus_records import TaskPhase, TaskState
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import TransactionSender
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import TaskId
from market.task_history import TaskHistory


def consensus_upkeep(consensus: OutputConsensus, sender: TransactionSender, task: TaskId) -> str | None:
    """Send the next call that is open to anybody, where one is due.

    Somebody else may do it at the same time: then nothing is lost but a little gas, or nothing at all.

    Args:
        consensus: the contract's gateway.
        sender: who pays for it.
        task: the task's number.

    Returns:
        What was done, in words; None where nothing is due, or somebody else has done it.

    Raises:
        ContractRevert: the contract refuses, though the task is where it was.
    """
    state = consensus.state(task)
    due = due_call(consensus, task, state)
    if due is None:
        return None
    key, call, told = due
    try:
        sender.send(key, call)
    except ContractRevert:
        if _place(consensus.state(task)) == _place(state) and due_call(consensus, task, state) == due:
            raise
        return None
    return told


def due_call(consensus: OutputConsensus, task: TaskId, state: TaskState) -> tuple[str, PreparedCall, str] | None:
    """The next call that is open to anybody: its intent, itself, and what it does in words; None before one is due."""
    match state.phase:
        case TaskPhase.DRAWING:
            return _draw(consensus, task, state)
        case TaskPhase.SETTLE:
            history = TaskHistory.of_events(task, consensus.events(task))
            call = consensus.settle(task, history.evidence(history.current))
            return (
                intent(consensus, "settle", task, state.panel),
                call,
                f"panel {state.panel} of task {task} is settled",
            )
        case TaskPhase.FINISH:
            return intent(consensus, "finish", task), consensus.finish(task), f"task {task} is finished"
        case _:
            return None


def intent(consensus: OutputConsensus, what: str, *numbers: int) -> str:
    """Names something that an account does once with this contract."""
    return "/".join(["consensus", consensus.address[2:10].lower(), what, *map(str, numbers)])


def _draw(consensus: OutputConsensus, task: TaskId, state: TaskState) -> tuple[str, PreparedCall, str] | None:
    block = consensus.panel(task, state.panel).draw_block
    # Also once that block is out of reach: then this fixes another.
    if consensus.chain.block_number() < block:
        return None
    key = intent(consensus, "draw", task, state.panel, block)
    return key, consensus.draw_seats(task), f"panel {state.panel} of task {task} is drawn"


def _place(state: TaskState) -> tuple[int, int]:
    return int(state.phase), state.panel
