"""Everything that the chain says of one job, read as of one block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from market.chain.erc20 import Erc20
from market.chain.events import DrawFixed, Event, SeatLost, TrainerWaits
from market.chain.job_market import JobMarket
from market.chain.records import Exam, JobState, Ledger, Outcome, Waiting
from market.job_history import Attempt, JobHistory
from market.protocol.errors import ChainError
from market.protocol.identifiers import JobId, Seat, Wei
from market.protocol.seal import SealContext
from market.protocol.terms import NATIVE, JobTerms


@dataclass(frozen=True)
class ChainRecord:
    """One job as of one block: what happened, and where the contract says that it stands.

    Attributes:
        chain_id: of the chain.
        contract: the marketplace's address.
        job: the job's number.
        block_number: the block.
        history: all events up to it.
        timestamps: of every block with an event, in seconds, by number.
        terms: as `termsOf` returns them.
        state: as `stateOf` returns it.
        ledger: as `ledgerOf` returns it.
        outcomes: as `outcomeOf` returns them, by attempt, with the close's.
        exams: as `examOf` returns them, by attempt; none of a job without an exam.
        covered: as `coveredSeats` returns them, by attempt; none of a job without attestors.
        aggregators: the queue, the active one first.
        trainers: by seat.
        waiting: what the contract has of everybody who ever waited for a seat, by account.
        block_hashes: of the blocks that decide the draw for seats, by number.
        owed_wei: what the contract owes in the job's token over all jobs, what it burned included.
        balance_wei: what the contract has in that token.
    """

    chain_id: int
    contract: str
    job: JobId
    block_number: int
    history: JobHistory
    timestamps: Mapping[int, int]
    terms: JobTerms
    state: JobState
    ledger: Ledger
    outcomes: Mapping[int, Outcome]
    exams: Mapping[int, Exam]
    covered: Mapping[int, tuple[Seat, ...]]
    aggregators: tuple[str, ...]
    trainers: tuple[str, ...]
    waiting: Mapping[str, Waiting]
    block_hashes: Mapping[int, bytes]
    owed_wei: Wei
    balance_wei: Wei

    def time_s(self, event: Event) -> int:
        """The timestamp of an event's block."""
        return self.timestamps[event.block_number]

    def seal_context(self, attempt: Attempt) -> SealContext:
        """What binds the seals of an attempt."""
        return SealContext(self.chain_id, self.contract, self.job, attempt.started.round, attempt.number)

    def subject(self, attempt: int) -> str:
        """How a report calls an attempt, or the close that has a number of its own."""
        found = self.history.attempts.get(attempt)
        if found:
            return f"round {found.started.round}, attempt {attempt}"
        return "close" if self.history.closed else f"attempt {attempt}"


def read_record(market: JobMarket, job: JobId) -> ChainRecord:
    """Read one job as of the market's block, or as of the latest one.

    Args:
        market: the contract.
        job: the job's number.

    Raises:
        ContractRevert: there is no such job.
        ChainError: the node's answers are not of one chain, or its events are incomplete.
    """
    header = market.chain.block(market.block)
    number = int(header["number"])
    as_of = market.at(number)
    terms, state = as_of.terms(job), as_of.state(job)
    history = JobHistory(as_of.events(job, to_block=number))
    attempts = [*history.attempts, *([history.closed.attempt] if history.closed else [])]
    record = ChainRecord(
        chain_id=as_of.chain.chain_id,
        contract=as_of.address,
        job=job,
        block_number=number,
        history=history,
        timestamps=_timestamps(as_of, history),
        terms=terms,
        state=state,
        ledger=as_of.ledger(job),
        outcomes={attempt: as_of.outcome(job, attempt) for attempt in attempts},
        exams={attempt: as_of.exam(job, attempt) for attempt in history.attempts} if terms.exam.is_set else {},
        covered=_covered(as_of, history, job) if terms.disputes.quorum else {},
        aggregators=tuple(as_of.aggregators(job)),
        trainers=tuple(as_of.trainers(job)),
        waiting=_waiting(as_of, history, job),
        block_hashes=_block_hashes(as_of, history, number),
        owed_wei=as_of.owed_wei(terms.token),
        balance_wei=_balance_wei(as_of, terms.token, number),
    )
    if not as_of.chain.has_block(number, bytes(header["hash"])):
        raise ChainError(f"block {number} was replaced while it was read: audit again")
    return record


def _timestamps(market: JobMarket, history: JobHistory) -> dict[int, int]:
    numbers = sorted({event.block_number for event in history.events})
    return {number: int(market.chain.block(number)["timestamp"]) for number in numbers}


def _covered(market: JobMarket, history: JobHistory, job: JobId) -> dict[int, tuple[Seat, ...]]:
    return {attempt: tuple(market.covered_seats(job, attempt)) for attempt in history.attempts}


def _waiting(market: JobMarket, history: JobHistory, job: JobId) -> dict[str, Waiting]:
    waited = {event.trainer for event in history.events if isinstance(event, TrainerWaits | SeatLost)}
    return {trainer: market.waiting(job, trainer) for trainer in sorted(waited)}


def _block_hashes(market: JobMarket, history: JobHistory, last: int) -> dict[int, bytes]:
    numbers = sorted({event.number for event in history.of(DrawFixed) if event.number <= last})
    return {number: bytes(market.chain.block(number)["hash"]) for number in numbers}


def _balance_wei(market: JobMarket, token: str, block_number: int) -> Wei:
    if token == NATIVE:
        return Wei(market.chain.balance_wei(market.address, block_number))
    contract = Erc20(market.chain, token)
    contract.block = block_number
    return contract.balance(market.address)
