"""What an event does to a job's money: what comes in, what goes out, and what is burned inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from market.chain.events import (
    AggregatorBonded,
    AttemptExpired,
    AttemptUndone,
    BondWithdrawn,
    Claimed,
    DisputeBondWithdrawn,
    DisputeOpened,
    DisputeResolved,
    Event,
    ExamMissed,
    ExamRefuted,
    ExamUnpublished,
    FeeClaimed,
    JobClosed,
    JobOpened,
    Refunded,
    StakesForfeited,
    StakeWithdrawn,
    TrainerEnrolled,
    TrainerWaits,
    WaitEnded,
)


class Flow(StrEnum):
    """Which of the ledger's four sums a movement adds to; `RESTORED` takes from what was burned."""

    DEPOSITED = "deposited"
    PAID = "paid"
    REFUNDED = "refunded"
    BURNED = "burned"
    RESTORED = "restored"


@dataclass(frozen=True)
class Movement:
    """Some money of a job that moved.

    Attributes:
        flow: where to.
        kind: what it was put down as, or is paid for.
        amount_wei: above zero.
        account: whose it was or is, where it is one account's.
        to: whom it was sent to.
    """

    flow: Flow
    kind: str
    amount_wei: int
    account: str | None = None
    to: str | None = None


def movements(event: Event, missed_exam_wei: int = 0) -> list[Movement]:
    """What an event moved, in order.

    Args:
        event: the event.
        missed_exam_wei: of an attempt's undoing: the deposit that its settlement had taken for a missed exam.
    """
    if isinstance(event, JobOpened):
        found = _opening(event)
    elif isinstance(event, AttemptUndone):
        restored = Movement(Flow.RESTORED, "exam_deposit", missed_exam_wei)
        found = [restored, Movement(Flow.BURNED, "bond", event.burned_wei, event.aggregator)]
    else:
        read = _PLAIN.get(type(event))
        found = [] if read is None else [read(event)]
    return [movement for movement in found if movement.amount_wei]


def _opening(event: JobOpened) -> list[Movement]:
    exams_wei = event.terms.exam_deposits_wei
    return [
        Movement(Flow.DEPOSITED, "reward", event.deposit_wei - exams_wei, event.owner),
        Movement(Flow.DEPOSITED, "exam_deposit", exams_wei, event.owner),
    ]


_PLAIN: Mapping[type[Event], Callable[[Any], Movement]] = {
    TrainerEnrolled: lambda e: Movement(Flow.DEPOSITED, "stake", e.stake_wei, e.trainer),
    TrainerWaits: lambda e: Movement(Flow.DEPOSITED, "stake", e.stake_wei, e.trainer),
    AggregatorBonded: lambda e: Movement(Flow.DEPOSITED, "bond", e.bond_wei, e.aggregator),
    DisputeOpened: lambda e: Movement(Flow.DEPOSITED, "dispute_bond", e.bond_wei, e.by),
    Claimed: lambda e: Movement(Flow.PAID, "pay", e.amount_wei, e.trainer, e.to),
    FeeClaimed: lambda e: Movement(Flow.PAID, "fee", e.amount_wei, e.aggregator, e.to),
    StakeWithdrawn: lambda e: Movement(Flow.REFUNDED, "stake", e.amount_wei, e.trainer, e.to),
    WaitEnded: lambda e: Movement(Flow.REFUNDED, "stake", e.amount_wei, e.trainer, e.to),
    BondWithdrawn: lambda e: Movement(Flow.REFUNDED, "bond", e.amount_wei, e.aggregator, e.to),
    DisputeBondWithdrawn: lambda e: Movement(Flow.REFUNDED, "dispute_bond", e.amount_wei, e.by, e.to),
    Refunded: lambda e: Movement(Flow.REFUNDED, "reward", e.amount_wei, e.owner, e.to),
    StakesForfeited: lambda e: Movement(Flow.BURNED, "stake", e.burned_wei),
    AttemptExpired: lambda e: Movement(Flow.BURNED, "bond", e.burned_wei, e.aggregator),
    ExamMissed: lambda e: Movement(Flow.BURNED, "exam_deposit", e.deposit_wei),
    ExamRefuted: lambda e: Movement(Flow.BURNED, "exam_deposit", e.amount_wei),
    ExamUnpublished: lambda e: Movement(Flow.BURNED, "exam_deposit", e.amount_wei),
    DisputeResolved: lambda e: Movement(Flow.BURNED, "dispute_bond", e.burned_wei),
    JobClosed: lambda e: Movement(Flow.BURNED, "reward", e.burned_wei),
}
"""Of the events that move one amount."""
