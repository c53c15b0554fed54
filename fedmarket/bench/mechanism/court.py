"""Attestors: what they find of a disputed fact, when they answer, and what they sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmarket.bench.mechanism.agent import Agent
from fedmarket.bench.mechanism.board import Board
from fedmarket.bench.mechanism.settings import attestor_account
from market.chain.attestation import Question
from market.chain.records import Dispute, Fact
from market.protocol.rounds import Phase

PATIENCE = 0.5
"""Share of the answer period for which an honest attestor waits for what is not in storage."""
LAST_MOMENT = 0.95


@dataclass(frozen=True)
class AttestorConduct:
    """How an attestor answers.

    Attributes:
        answers: whether it answers at all.
        lies: whether it signs the opposite of what it found.
        waits: share of the answer period that it lets pass first, at least.
    """

    answers: bool = True
    lies: bool = False
    waits: float = 0.0


@dataclass(frozen=True)
class Finding:
    """What an honest look at a disputed fact shows.

    Attributes:
        holds: the answer.
        absent: whether something is missing that may still come.
    """

    holds: bool
    absent: bool = False

    def after(self, conduct: AttestorConduct) -> float:
        """Share of the answer period after which an attestor of this conduct signs.

        >>> Finding(False, absent=True).after(AttestorConduct()), Finding(True).after(AttestorConduct())
        (0.5, 0.0)
        >>> Finding(False, absent=True).after(AttestorConduct(lies=True))
        0.0
        """
        return max(conduct.waits, PATIENCE if self.absent and not conduct.lies else 0.0)


@dataclass
class Attestor(Agent):
    """Answers what is disputed, by a signature that the contract checks.

    Attributes:
        conduct: how it answers.
        place: of its key.
    """

    conduct: AttestorConduct = AttestorConduct()
    place: int = 0

    def join(self) -> None:
        """Have the account that the terms name."""
        address = attestor_account(self.place).address
        self.board.ground.open_purse(address)
        self.accounts.append(address)

    def answer(self, dispute: Dispute, finding: Finding) -> None:
        """Sign, and hand the signature in."""
        market, job = self.board.market, self.board.job
        question = Question.of_dispute(market.chain.chain_id, market.address, job, dispute)
        holds = finding.holds is not self.conduct.lies
        signature = question.sign(attestor_account(self.place), holds)
        self.tries(self.accounts[0], market.answer(job, holds, [signature]))


def find(board: Board, dispute: Dispute) -> Finding:
    """What an honest attestor finds: by the storage, its receipts, the exam computed again, and its seal."""
    attempt = board.history.attempt(dispute.attempt)
    if dispute.fact is Fact.EXAM:
        return Finding(not board.is_false(attempt) and not board.is_withheld(attempt))
    if dispute.fact is Fact.MODEL:
        fetched = attempt.settled is not None and attempt.settled.model in board.models
        return Finding(fetched, absent=not fetched)
    in_time = dispute.seat in board.receipts.get(dispute.attempt, ())
    fetched = (dispute.attempt, dispute.seat) in board.updates
    return Finding(not in_time, absent=not in_time and not fetched)


def hear(board: Board, attestors: Sequence[Attestor], passer_by: Agent) -> None:
    """Let attestors answer an open dispute, each in its time; where no quorum does, somebody lets the job go on."""
    dispute, devnet = board.market.dispute_of(board.job), board.ground.devnet
    finding, period_s = find(board, dispute), board.terms.disputes.answer_period_s
    answering = [attestor for attestor in attestors if attestor.conduct.answers]
    for attestor in sorted(answering, key=lambda attestor: finding.after(attestor.conduct)):
        due_s = dispute.opened_at_s + int(finding.after(attestor.conduct) * period_s)
        if devnet.timestamp() < due_s:
            devnet.advance_to(due_s)
        attestor.answer(dispute, finding)
        if board.market.phase(board.job) is not Phase.DISPUTED:
            return
    devnet.advance_to(dispute.opened_at_s + period_s)
    passer_by.send(passer_by.accounts[0], board.market.thaw(board.job))


def take_receipts(board: Board) -> None:
    """Note whose updates can be had as the aggregator's time begins."""
    number = board.state.attempt
    board.receipts.setdefault(number, {seat for attempt, seat in board.updates if attempt == number})
