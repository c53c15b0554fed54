"""Who disputes what: what the honest see and take before the attestors."""

from __future__ import annotations

from fedmarket.bench.mechanism.agent import Agent
from market.chain.records import Fact
from market.job_history import Attempt
from market.protocol.identifiers import Seat

NO_SEAT = Seat(0)
"""What a dispute names that is about no exclusion."""


def dispute(agent: Agent, account: str, attempt: Attempt, fact: Fact) -> bool:
    """Open a dispute about a fact of an attempt, where the contract takes it."""
    board = agent.board
    pays, undo = b"", None
    if fact is not Fact.EXAM and attempt.settled:
        pays, undo = attempt.settled.pays, board.history.undo_of(attempt)
    call = board.market.dispute(board.job, board.terms, attempt.number, fact, pays, undo)
    return agent.tries(account, call)


def justly(agent: Agent) -> bool:
    """Dispute what is wrong, as an honest participant sees it, unless attestors have failed somebody honest before."""
    if agent.board.is_futile:
        return False
    return _model_that_is_missing(agent) or _own_exclusion(agent) or _false_exam(agent)


def _justly(agent: Agent, account: str, attempt: Attempt, fact: Fact, seat: Seat = NO_SEAT) -> bool:
    if not dispute(agent, account, attempt, fact):
        return False
    agent.board.just.add((attempt.number, fact, seat))
    return True


def _model_that_is_missing(agent: Agent) -> bool:
    """What cannot be fetched cannot be trained on: a trainer that revealed disputes it, or the owner."""
    latest = agent.board.latest
    if latest is None or not latest.settled or not latest.settled.accepted or agent.model is not None:
        return False
    return any(_justly(agent, account, latest, Fact.MODEL) for account in agent.accounts if may_ask(agent, account))


def may_ask(agent: Agent, account: str) -> bool:
    """Whether an account may dispute the model made last: it revealed for it, or opened the job."""
    latest, seat = agent.board.latest, agent.board.seat(account)
    return account == agent.board.state.owner or (latest is not None and seat in latest.reveals)


def _own_exclusion(agent: Agent) -> bool:
    """A trainer knows when it uploaded."""
    board, latest = agent.board, agent.board.latest
    if latest is None:
        return False
    seated = [(account, board.seat(account)) for account in agent.accounts]
    came = board.receipts.get(latest.number, set())
    wronged = [(a, seat) for a, seat in seated if seat is not None and seat in latest.exclusions and seat in came]
    return any(_justly(agent, account, latest, Fact.EXCLUSION, seat) for account, seat in wronged)


def _false_exam(agent: Agent) -> bool:
    """Once the exams are shown, whoever has a seat computes them again, and sees which could have been read."""
    board = agent.board
    if board.history.published is None:
        return False
    seats = [account for account in agent.accounts if board.seat(account) is not None]
    settled = board.history.settlements()
    false = [attempt for attempt in settled if board.is_false(attempt) or board.is_withheld(attempt)]
    return any(_justly(agent, account, attempt, Fact.EXAM) for attempt in false for account in seats[:1])
