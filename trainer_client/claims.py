"""Taking what was earned: pay that has vested, compensation, and the share of what a closed job divided."""

from __future__ import annotations

from market.chain.transactions import Receipt, TransactionSender
from market.job_history import Credit
from market.protocol.errors import InvalidInput
from market.published_job import PublishedJob


def claimable(job: PublishedJob, trainer: str) -> list[Credit]:
    """The credits that a trainer can take now: vested and not yet claimed.

    Raises:
        InvalidInput: the account never had a seat in this job, and waits for none.
    """
    seat, history = job.market.seat(job.id, trainer), job.history()
    had = seat is not None or any(loss.trainer == trainer for loss in history.losses)
    if not had and not job.market.waiting(job.id, trainer).stake_wei:
        raise InvalidInput(f"{trainer} has no seat in job {job.id}: nothing can have been earned")
    now_s = job.market.chain.timestamp()
    credits = (credit for credit in history.credits(trainer, seat) if credit.vests_at_s <= now_s)
    return [credit for credit in credits if not job.market.outcome(job.id, credit.attempt).claimed >> credit.seat & 1]


def claim(job: PublishedJob, sender: TransactionSender, credit: Credit, to: str | None = None) -> Receipt:
    """Take one credit, to the trainer's own address or another.

    Raises:
        ContractRevert: it has not vested, or was claimed before.
    """
    call = job.market.claim(job.id, credit.attempt, credit.pays, credit.undo, to or sender.address)
    return sender.send(f"claim/{job.id}/{credit.attempt}", call)
