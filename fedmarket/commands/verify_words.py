"""Tasks as a person reads of them: which there are, where they stand, and what is to be done."""

from __future__ import annotations

import click

from fedmarket.commands.amounts import duration
from market.chain.consensus_records import TaskPhase, TaskState
from market.chain.output_consensus import OutputConsensus
from market.protocol.identifiers import TaskId

task_argument = click.argument("task_number", metavar="TASK", type=click.IntRange(min=0))
"""A task's number, from zero."""

WHAT_NEXT = {
    TaskPhase.DRAWING: "anyone may draw its seats once the block that decides is there",
    TaskPhase.SEATING: "verifiers take the seats that they have drawn",
    TaskPhase.COMMIT: "verifiers generate, and seal their digests",
    TaskPhase.REVEAL: "verifiers open their seals; the owner shows its canaries, the worker its claim",
    TaskPhase.SETTLE: "anyone may settle the panel",
    TaskPhase.APPEAL: "it is decided, and can be appealed against",
    TaskPhase.FINISH: "anyone may finish it",
    TaskPhase.FINISHED: "credits stay to be withdrawn",
}


def time_left_s(consensus: OutputConsensus, task: TaskId, state: TaskState) -> int | None:
    """How long the phase lasts at most, by the latest block's timestamp; None where no clock ends it."""
    if state.phase is TaskPhase.APPEAL:
        until_s = state.appeal_until_s
    elif state.phase in (TaskPhase.SEATING, TaskPhase.COMMIT, TaskPhase.REVEAL):
        panel = consensus.panel(task, state.panel)
        until_s = {
            TaskPhase.SEATING: panel.seat_until_s,
            TaskPhase.COMMIT: panel.commit_until_s,
            TaskPhase.REVEAL: panel.reveal_until_s,
        }[state.phase]
    else:
        return None
    return max(0, until_s - consensus.chain.timestamp())


def what_next(consensus: OutputConsensus, task: TaskId, state: TaskState) -> str:
    """Where a task stands, for how long, and what is to be done."""
    left_s = time_left_s(consensus, task, state)
    left = "" if left_s is None else f", {duration(left_s)} left"
    blocks = ""
    if state.phase is TaskPhase.DRAWING:
        missing = consensus.panel(task, state.panel).draw_block - consensus.chain.block_number()
        blocks = f", {missing} blocks to go" if missing > 0 else ""
    if state.phase is TaskPhase.FINISHED:
        return f"task {task} is finished: {WHAT_NEXT[state.phase]}"
    return f"task {task} is in its phase {state.phase.name.lower()}{left}{blocks}: {WHAT_NEXT[state.phase]}"
