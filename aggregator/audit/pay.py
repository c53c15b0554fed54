"""Whether every round, every expiry and the close were paid as the rules of payouts say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aggregator import payouts
from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.ledger import Books
from aggregator.audit.report import Check, differing, judge
from aggregator.audit.timeline import Timeline
from aggregator.payouts import RoundPay
from market.chain.events import AttemptExpired, AttemptUndone, JobClosed, RoundSettled
from market.chain.packed import pay_hash, unpack_pays
from market.chain.records import NO_UNDO
from market.job_history import Attempt
from market.protocol.identifiers import Seat
from market.protocol.terms import NATIVE, JobTerms, PayMode

NOBODY = NATIVE
"""The zero address, where nobody settled."""

NO_HASH = bytes(24)


def check_settled_pay(record: ChainRecord, books: Books, attempt: Attempt, settled: RoundSettled) -> Check:
    """The pay array follows from the scores, the exclusions and the carry, and the contract holds its hash."""

    def detail() -> str:
        return f"{sum(unpack_pays(settled.pays))} wei paid, {settled.returned_wei} returned"

    return judge("pay", record.subject(attempt.number), _settled_problems(record, books, attempt, settled), detail)


def _settled_problems(record: ChainRecord, books: Books, attempt: Attempt, settled: RoundSettled) -> Iterator[str]:
    terms, rows = record.terms, attempt.rows
    carry_wei = books.before[attempt.number].carry_wei
    scores = list(settled.scores_q32) if settled.paid else [0] * len(rows)
    pay = _divide(terms, attempt, scores, carry_wei)
    yield from _array_differences(terms.seats, rows, pay.pays_wei, settled.pays)
    yield from differing("what returns to the owner in wei", settled.returned_wei, pay.returned_wei)
    undo = record.history.undo_of(attempt).digest
    yield from _outcome_differences(record, attempt.number, settled.pays, undo, settled.aggregator, attempt.vests_at_s)


def _divide(terms: JobTerms, attempt: Attempt, scores: Sequence[int], carry_wei: int) -> RoundPay:
    reward_wei, seats = terms.round_reward_wei, (len(attempt.rows), len(attempt.exclusions))
    if terms.pay_mode is PayMode.POT:
        return payouts.pot_round(scores, *seats, reward_wei, carry_wei)
    price = (terms.price_wei, terms.score_target_q32)
    pay = payouts.price_round(scores, *seats, reward_wei, carry_wei, *price)
    return payouts.examined_price(pay, examined=attempt.exam_taken is not None) if terms.exam.is_set else pay


def check_compensation(record: ChainRecord, attempt: Attempt, expired: AttemptExpired | AttemptUndone) -> Check:
    """Each revealed seat is owed the fixed compensation out of the broken bond, and nobody else anything."""
    compensation_wei = record.terms.compensation_wei
    detail = f"{len(attempt.reveals)} seats compensated with {compensation_wei} wei, {expired.burned_wei} burned"
    return judge("pay", record.subject(attempt.number), _compensation_problems(record, attempt, expired), detail)


def _compensation_problems(
    record: ChainRecord, attempt: Attempt, expired: AttemptExpired | AttemptUndone
) -> Iterator[str]:
    seats = sorted(attempt.reveals)
    owed = [record.terms.compensation_wei] * len(seats)
    yield from _array_differences(record.terms.seats, seats, owed, expired.pays)
    yield from _outcome_differences(record, attempt.number, expired.pays, NO_UNDO, NOBODY, expired.vests_at_s)


def check_skipped_pay(record: ChainRecord, attempt: Attempt) -> Check:
    """A skipped round owes nobody anything."""
    problems = differing("the hash of the pays", record.outcomes[attempt.number].pay_hash, NO_HASH)
    return judge("pay", record.subject(attempt.number), problems, "skipped: nobody is owed anything")


def check_closing_pay(record: ChainRecord, books: Books, closed: JobClosed, timeline: Timeline) -> Check:
    """The carry is divided by lifetime score; what is left returns, but for the reward of a round that had its minimum.

    With the budget returns what the owner put up for its exams, where it was not lost.

    Args:
        record: the job.
        books: its ledger so far.
        closed: its close.
        timeline: the job followed to its close: lifetime scores, and whether the current round had its minimum.
    """
    detail = f"{closed.refundable_wei} wei returned, {closed.burned_wei} burned"
    return judge("pay", record.subject(closed.attempt), _closing_problems(record, books, closed, timeline), detail)


def _closing_problems(record: ChainRecord, books: Books, closed: JobClosed, timeline: Timeline) -> Iterator[str]:
    terms = record.terms
    before = books.before[closed.attempt]
    carried_wei = terms.round_reward_wei if timeline.had_minimum else 0
    closing = payouts.close(timeline.lifetime_q32, before.carry_wei + carried_wei)
    seats = [Seat(seat) for seat in range(terms.seats)]
    yield from _array_differences(terms.seats, seats, closing.pays_wei, closed.pays)
    yield from differing("what the close burns in wei", closed.burned_wei, closing.burned_wei)
    returned_wei = before.budget_wei - carried_wei + before.exams_wei
    yield from differing("what the close returns in wei", closed.refundable_wei, returned_wei)
    yield from _outcome_differences(record, closed.attempt, closed.pays, NO_UNDO, NOBODY, record.time_s(closed))


def _array_differences(places: int, seats: Sequence[Seat], expected_wei: Sequence[int], packed: bytes) -> Iterator[str]:
    pays_wei = unpack_pays(packed)
    yield from differing("the length of the pay array", len(pays_wei), places)
    expected = dict(zip(seats, expected_wei, strict=False))
    for seat, pay_wei in enumerate(pays_wei):
        yield from differing(f"the pay of seat {seat} in wei", pay_wei, expected.get(Seat(seat), 0))


def _outcome_differences(
    record: ChainRecord, attempt: int, pays: bytes, undo: bytes, aggregator: str, vests_at_s: int
) -> Iterator[str]:
    outcome = record.outcomes[attempt]
    yield from differing("the hash of the pays", outcome.pay_hash, pay_hash(pays, undo))
    yield from differing("who settled", outcome.aggregator, aggregator)
    yield from differing("when the pay vests", outcome.vests_at_s, vests_at_s)
