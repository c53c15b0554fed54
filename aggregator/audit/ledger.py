"""A job's money, recomputed from its events alone: each event moves amounts between the parts of the ledger.

`contracts/src/libraries/Escrow.sol` makes the same moves. deposited = paid + refunded + burned + locked after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import cached_property
from typing import Any, Final

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import JOB, Check, differing, judge
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
    RoundSettled,
    RoundSkipped,
    StakesForfeited,
    StakeWithdrawn,
    TrainerEnrolled,
    TrainerWaits,
    WaitEnded,
)
from market.chain.packed import unpack_pays
from market.chain.records import Ledger
from market.job_history import JobHistory
from market.protocol.identifiers import Wei
from market.protocol.terms import JobTerms

Move = Callable[[Ledger, Any, JobTerms], Ledger]

EMPTY: Final = Ledger(*[Wei(0)] * len(fields(Ledger)))


def balances(history: JobHistory, terms: JobTerms) -> Iterator[tuple[Event, Ledger]]:
    """Each event with the ledger after it.

    Raises:
        InvalidInput: a packed pay array is no whole number of entries.
    """
    ledger = EMPTY
    done: dict[int, list[Event]] = {}  # what a settlement did, by attempt: undoing it takes that back
    for event in history.events:
        if isinstance(event, AttemptUndone):
            for earlier in done.pop(event.attempt, []):
                ledger = _reversed(ledger, earlier, terms, history)
        elif isinstance(event, RoundSettled | ExamMissed):
            done.setdefault(event.attempt, []).append(event)
        ledger = _applied(ledger, event, terms, history)
        yield event, ledger


class Books:
    """A job's ledger as it was before each round's settlement and before the close divides what carried over."""

    def __init__(self, record: ChainRecord) -> None:
        self._record = record

    @cached_property
    def before(self) -> Mapping[int, Ledger]:
        """The ledger, by the number of the attempt or of the close.

        Raises:
            InvalidInput: a packed pay array is no whole number of entries.
        """
        found: dict[int, Ledger] = {}
        ledger = EMPTY
        for event, after in balances(self._record.history, self._record.terms):
            if isinstance(event, RoundSettled | JobClosed):
                found[event.attempt] = ledger
            ledger = after
        return found


def _moved(ledger: Ledger, **amounts_wei: int) -> Ledger:
    """The ledger with these amounts added to its parts; a negative one is taken away."""
    return replace(
        ledger, **{f"{part}_wei": getattr(ledger, f"{part}_wei") + amounts_wei[part] for part in amounts_wei}
    )


def _applied(ledger: Ledger, event: Event, terms: JobTerms, history: JobHistory) -> Ledger:
    """The ledger after an event."""
    if type(event) in MOVES:
        ledger = MOVES[type(event)](ledger, event, terms)
    # A settlement's move credits the fee: one that was not earned, which the event alone does not tell, carries over.
    if isinstance(event, RoundSettled) and not history.attempt(event.attempt).earns_fee:
        ledger = _moved(ledger, credits=-terms.aggregator_fee_wei, carry=terms.aggregator_fee_wei)
    return ledger


def _reversed(ledger: Ledger, event: Event, terms: JobTerms, history: JobHistory) -> Ledger:
    """The ledger as if an event had not moved anything."""
    moved = _applied(EMPTY, event, terms, history)
    parts = (part.name for part in fields(Ledger))
    return replace(ledger, **{name: getattr(ledger, name) - getattr(moved, name) for name in parts})


# ------------------------------------------------------------------ in


def _opened(ledger: Ledger, event: JobOpened, terms: JobTerms) -> Ledger:
    budget, exams, received = terms.budget_wei, terms.exam_deposits_wei, event.deposit_wei
    return _moved(ledger, deposited=received, budget=budget, exams=exams, refundable=received - budget - exams)


def _enrolled(ledger: Ledger, event: TrainerEnrolled | TrainerWaits, terms: JobTerms) -> Ledger:
    return _moved(ledger, deposited=event.stake_wei, stakes=event.stake_wei)


def _bonded(ledger: Ledger, event: AggregatorBonded, terms: JobTerms) -> Ledger:
    return _moved(ledger, deposited=event.bond_wei, bonds=event.bond_wei)


def _disputed(ledger: Ledger, event: DisputeOpened, terms: JobTerms) -> Ledger:
    return _moved(ledger, deposited=event.bond_wei, disputes=event.bond_wei)


# ------------------------------------------------------------------ within


def _settled(ledger: Ledger, event: RoundSettled, terms: JobTerms) -> Ledger:
    """Pay and fee are credited. What of the budget is neither credited nor returned carries over."""
    budget = terms.round_reward_wei + terms.aggregator_fee_wei
    credited = sum(unpack_pays(event.pays)) + terms.aggregator_fee_wei
    carried = budget - credited - event.returned_wei
    return _moved(ledger, budget=-budget, carry=carried, credits=credited, refundable=event.returned_wei)


def _skipped(ledger: Ledger, event: RoundSkipped, terms: JobTerms) -> Ledger:
    """Only the reward of a round that never had its minimum returns."""
    reward, fee = terms.round_reward_wei, terms.aggregator_fee_wei
    carried = reward if event.had_minimum else 0
    return _moved(ledger, budget=-reward - fee, carry=carried, refundable=reward - carried + fee)


def _exams_lost(ledger: Ledger, event: ExamMissed | ExamUnpublished | ExamRefuted, terms: JobTerms) -> Ledger:
    """What the owner put up for its exams burns."""
    amount = event.deposit_wei if isinstance(event, ExamMissed) else event.amount_wei
    return _moved(ledger, exams=-amount, burned=amount)


def _forfeited(ledger: Ledger, event: StakesForfeited, terms: JobTerms) -> Ledger:
    return _moved(ledger, stakes=-event.burned_wei, burned=event.burned_wei)


def _resolved(ledger: Ledger, event: DisputeResolved, terms: JobTerms) -> Ledger:
    """A bond that is lost burns; one that was won stays until it is taken back."""
    return _moved(ledger, disputes=-event.burned_wei, burned=event.burned_wei)


def _bond_broken(ledger: Ledger, event: AttemptExpired | AttemptUndone, terms: JobTerms) -> Ledger:
    """The bond becomes compensation, and the rest of it burns."""
    pays = sum(unpack_pays(event.pays))
    return _moved(ledger, bonds=-pays - event.burned_wei, credits=pays, burned=event.burned_wei)


def _closed(ledger: Ledger, event: JobClosed, terms: JobTerms) -> Ledger:
    """What is left of the budget returns but for what carries over, and what is left of the exams' deposits returns.

    Then the carry is divided, and the rest burns.
    """
    carried = ledger.budget_wei + ledger.exams_wei - event.refundable_wei
    pays = sum(unpack_pays(event.pays))
    return _moved(
        ledger,
        budget=-ledger.budget_wei,
        exams=-ledger.exams_wei,
        refundable=event.refundable_wei,
        carry=carried - pays - event.burned_wei,
        credits=pays,
        burned=event.burned_wei,
    )


# ------------------------------------------------------------------ out


def _paid(ledger: Ledger, event: Claimed | FeeClaimed, terms: JobTerms) -> Ledger:
    return _moved(ledger, credits=-event.amount_wei, paid=event.amount_wei)


def _stake_withdrawn(ledger: Ledger, event: StakeWithdrawn | WaitEnded, terms: JobTerms) -> Ledger:
    return _moved(ledger, stakes=-event.amount_wei, refunded=event.amount_wei)


def _bond_withdrawn(ledger: Ledger, event: BondWithdrawn, terms: JobTerms) -> Ledger:
    return _moved(ledger, bonds=-event.amount_wei, refunded=event.amount_wei)


def _dispute_bond_withdrawn(ledger: Ledger, event: DisputeBondWithdrawn, terms: JobTerms) -> Ledger:
    return _moved(ledger, disputes=-event.amount_wei, refunded=event.amount_wei)


def _refunded(ledger: Ledger, event: Refunded, terms: JobTerms) -> Ledger:
    return _moved(ledger, refundable=-event.amount_wei, refunded=event.amount_wei)


MOVES: Final[Mapping[type[Event], Move]] = {
    JobOpened: _opened,
    TrainerEnrolled: _enrolled,
    TrainerWaits: _enrolled,
    AggregatorBonded: _bonded,
    RoundSettled: _settled,
    RoundSkipped: _skipped,
    ExamMissed: _exams_lost,
    ExamUnpublished: _exams_lost,
    StakesForfeited: _forfeited,
    ExamRefuted: _exams_lost,
    AttemptExpired: _bond_broken,
    AttemptUndone: _bond_broken,
    DisputeOpened: _disputed,
    DisputeResolved: _resolved,
    DisputeBondWithdrawn: _dispute_bond_withdrawn,
    JobClosed: _closed,
    Claimed: _paid,
    FeeClaimed: _paid,
    StakeWithdrawn: _stake_withdrawn,
    WaitEnded: _stake_withdrawn,
    BondWithdrawn: _bond_withdrawn,
    Refunded: _refunded,
}
"""Every event that moves money, and how."""


# ------------------------------------------------------------------ checks


def check_conservation(record: ChainRecord) -> Check:
    """After every event: deposited = paid + refunded + burned + locked, and no part below zero."""
    detail = f"deposited = paid + refunded + burned + locked after each of {len(record.history.events)} events"
    return judge("conservation", JOB, _imbalances(record), detail)


def _imbalances(record: ChainRecord) -> Iterator[str]:
    for event, ledger in balances(record.history, record.terms):
        where = f"after {type(event).__name__} in block {event.block_number}"
        for part in fields(ledger):
            if getattr(ledger, part.name) < 0:
                yield f"{where} {part.name} is {getattr(ledger, part.name)}"
        if not ledger.is_balanced:
            gone = ledger.paid_wei + ledger.refunded_wei + ledger.burned_wei
            yield f"{where} {ledger.deposited_wei} wei came in, {gone} are gone and {ledger.locked_wei} locked"
        if isinstance(event, JobClosed) and ledger.carry_wei:
            yield f"{where} {ledger.carry_wei} wei of the carry are neither paid nor burned"
        if isinstance(event, Refunded) and ledger.refundable_wei:
            yield f"{where} the owner is still owed {ledger.refundable_wei} wei"


def check_ledger(record: ChainRecord) -> Check:
    """The events add up to the contract's ledger, part by part."""
    ledger = record.ledger
    gone = f"paid {ledger.paid_wei} + refunded {ledger.refunded_wei} + burned {ledger.burned_wei}"
    detail = f"deposited {ledger.deposited_wei} = {gone} + locked {ledger.locked_wei} wei"
    return judge("ledger", JOB, _ledger_differences(record), detail)


def _ledger_differences(record: ChainRecord) -> Iterator[str]:
    *_, (_, replayed) = balances(record.history, record.terms)
    for part in fields(Ledger):
        yield from differing(part.name, getattr(record.ledger, part.name), getattr(replayed, part.name))


def check_balance(record: ChainRecord) -> Check:
    """The contract has what it owes, this job's part included."""
    detail = f"the contract has {record.balance_wei} wei and owes {record.owed_wei}"
    return judge("balance", JOB, _shortfalls(record), detail)


def _shortfalls(record: ChainRecord) -> Iterator[str]:
    here = record.ledger.locked_wei + record.ledger.burned_wei
    if record.owed_wei < here:
        yield f"the contract says it owes {record.owed_wei} wei, this job alone has {here}"
    if record.balance_wei < record.owed_wei:
        yield f"the contract has {record.balance_wei} wei and owes {record.owed_wei}"
