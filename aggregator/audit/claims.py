"""Whether what was taken is what was due: once, by whom, and not before it vested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, differing, judge
from market.chain.events import (
    AttemptExpired,
    AttemptUndone,
    Claimed,
    FeeClaimed,
    JobClosed,
    RoundSettled,
)
from market.chain.packed import unpack_pays
from market.job_history import Attempt


@dataclass(frozen=True)
class Due:
    """What an attempt, or the close, leaves to be claimed.

    Attributes:
        attempt: the number under which it is claimed.
        pays_wei: by seat.
        vests_at_s: from when on.
        aggregator: whose fee is due, None where none is.
    """

    attempt: int
    pays_wei: tuple[int, ...]
    vests_at_s: int
    aggregator: str | None


End = RoundSettled | AttemptExpired | AttemptUndone | JobClosed


def due_of(record: ChainRecord, end: End) -> Due:
    """What the event leaves to be claimed.

    Raises:
        InvalidInput: its pay array is no whole number of entries.
    """
    put_off = isinstance(end, RoundSettled)
    vests_at_s = record.time_s(end) if isinstance(end, JobClosed) else end.vests_at_s
    vests_at_s = record.history.attempt(end.attempt).vests_at_s if put_off else vests_at_s
    earned = isinstance(end, RoundSettled) and record.history.attempt(end.attempt).earns_fee
    aggregator = end.aggregator if earned and isinstance(end, RoundSettled) else None
    return Due(end.attempt, tuple(unpack_pays(end.pays)), vests_at_s, aggregator)


def check_claims(record: ChainRecord, attempt: int) -> Check:
    """Each claim is the claimant's own entry of the pay array, taken once and after it vested; the fee likewise.

    Args:
        record: the job.
        attempt: number of an ended attempt, or of the close.
    """
    claims = [event for event in record.history.of(Claimed) if event.attempt == attempt]
    fees = [event for event in record.history.of(FeeClaimed) if event.attempt == attempt]
    taken_wei = sum(event.amount_wei for event in claims) + sum(event.amount_wei for event in fees)
    detail = f"{len(claims)} pays and {len(fees)} fees taken, {taken_wei} wei"
    return judge("claims", record.subject(attempt), _problems(record, attempt, claims, fees), detail)


def stray_claims(record: ChainRecord) -> list[int]:
    """Numbers under which something was taken though no ended attempt and no close has them."""
    claimed = {event.attempt for event in record.history.of(Claimed)}
    claimed |= {event.attempt for event in record.history.of(FeeClaimed)}
    ended = {number for number, attempt in record.history.attempts.items() if attempt.skipped}
    return sorted(number for number in claimed - ended if _end(record, number) is None)


def _problems(record: ChainRecord, attempt: int, claims: list[Claimed], fees: list[FeeClaimed]) -> Iterator[str]:
    end = _end(record, attempt)
    if end is None:
        if claims or fees:
            yield "something was taken of an attempt that left nothing"
        return
    due = due_of(record, end)
    yield from _claim_problems(record, due, claims)
    yield from _fee_problems(record, due, fees)
    outcome = record.outcomes[attempt]
    yield from differing("the mask of seats that claimed", outcome.claimed, sum(1 << seat for seat in _seats(claims)))
    gone = bool(fees) or _is_unearned(record, attempt)
    yield from differing("whether the fee is taken or was never earned", outcome.fee_gone, gone)


def _is_unearned(record: ChainRecord, number: int) -> bool:
    """Whether an attempt was settled without a fee becoming due; that it was undone later changes nothing of it."""
    attempt = record.history.attempts.get(number)
    return attempt is not None and bool(attempt.settled or attempt.overturned) and not attempt.earns_fee


def _end(record: ChainRecord, attempt: int) -> End | None:
    closed = record.history.closed
    if closed and closed.attempt == attempt:
        return closed
    ended: Attempt | None = record.history.attempts.get(attempt)
    return (ended.settled or ended.expired or ended.undone) if ended else None


def _claim_problems(record: ChainRecord, due: Due, claims: list[Claimed]) -> Iterator[str]:
    for seat, times in Counter(event.seat for event in claims).items():
        if times > 1:
            yield f"seat {seat} claimed {times} times"
    for event in claims:
        if event.seat >= len(due.pays_wei):
            yield f"seat {event.seat} claimed, the pay array has {len(due.pays_wei)} entries"
            continue
        trainer = record.history.holder(event.seat, due.attempt)
        yield from differing(f"who claimed for seat {event.seat}", event.trainer, trainer)
        yield from differing(f"what seat {event.seat} took in wei", event.amount_wei, due.pays_wei[event.seat])
        if record.time_s(event) < due.vests_at_s:
            yield f"seat {event.seat} claimed at {record.time_s(event)}, before {due.vests_at_s}"


def _fee_problems(record: ChainRecord, due: Due, fees: list[FeeClaimed]) -> Iterator[str]:
    if len(fees) > 1:
        yield f"the fee was taken {len(fees)} times"
    for event in fees:
        yield from differing("who took the fee", event.aggregator, due.aggregator)
        yield from differing("the fee in wei", event.amount_wei, record.terms.aggregator_fee_wei)
        if record.time_s(event) < due.vests_at_s:
            yield f"the fee was taken at {record.time_s(event)}, before {due.vests_at_s}"


def _seats(claims: list[Claimed]) -> set[int]:
    return {event.seat for event in claims}
