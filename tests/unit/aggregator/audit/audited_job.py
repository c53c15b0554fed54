"""A job played out in memory, by the contract's rules or against them: what the audit's tests look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aggregator import payouts
from market.chain import events as on_chain
from market.chain.packed import pack_pays
from market.chain.records import ExclusionReason, Fact, Verdict
from market.protocol.identifiers import Seat
from market.protocol.rounds import FROZEN_S
from market.protocol.terms import NATIVE
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, OWNER, UPDATE_BYTES, trainer
from tests.unit.aggregator.audit.played_job import PlayedJob
from tests.unit.aggregator.audit.verdicts import block_file


class AuditedJob(PlayedJob):
    """A job from its opening to its end: what was settled may be disputed, and the money is taken out."""

    # ------------------------------------------------------------------ receipts

    def file_receipts(self, *seats: int, attestors: tuple[int, ...] = (0, 1)) -> None:
        """Let attestors' receipts cover seats, by the rules or not."""
        covered = tuple(map(Seat, seats))
        self.emit(on_chain.ReceiptsFiled, attempt=self.attempt, seats=covered, attestors=attestors)

    # ------------------------------------------------------------------ disputes

    def dispute(self, fact: Fact, attempt: int, seat: int = 0, by: str | None = None) -> None:
        """Stop the job over a fact."""
        terms = self.terms.disputes
        self.waits_s = self.now_s
        last = self.outcomes[self.attempt - 1]
        if last.vests_at_s > self.now_s:
            self.frozen_vesting_s = last.vests_at_s
            self.outcomes[self.attempt - 1] = replace(last, vests_at_s=FROZEN_S)
        self.move(deposited=terms.bond_wei, disputes=terms.bond_wei)
        self.emit(
            on_chain.DisputeOpened,
            attempt=attempt,
            by=by or self.who(seat),
            round=self.round if fact is Fact.EXAM else self.round - 1,
            fact=fact,
            seat=Seat(seat if fact is Fact.EXCLUSION else 0),
            bond_wei=terms.bond_wei,
            answer_until_s=self.now_s + terms.answer_period_s,
        )
        (*_, self.disputed) = self.events_of(on_chain.DisputeOpened)

    def answer(self, *attestors: str, holds: bool) -> None:
        """Count answers; whether they decide is not looked at."""
        assert self.disputed is not None
        for attestor in attestors:
            self.emit(on_chain.DisputeAnswered, attempt=self.disputed.attempt, attestor=attestor, holds=holds)

    def resolve(self, verdict: Verdict) -> None:
        """End the dispute as its verdict says."""
        assert self.disputed is not None
        dispute, frozen_s = self.disputed, self.now_s - self.waits_s
        undone = verdict is Verdict.FAILS and dispute.fact is not Fact.EXAM
        bond_wei, burned_wei = dispute.bond_wei, 0 if verdict is Verdict.FAILS else dispute.bond_wei
        self.move(disputes=-burned_wei, burned=burned_wei)
        self.terms = replace(self.terms, deadline_s=self.terms.deadline_s + frozen_s)
        self.start_s += frozen_s if self.start_s else 0
        vests_s = 0
        last = self.outcomes[self.attempt - 1]
        if last.vests_at_s == FROZEN_S:
            vests_s = self.frozen_vesting_s + frozen_s
            self.outcomes[self.attempt - 1] = replace(last, vests_at_s=vests_s)
        self.emit(
            on_chain.DisputeResolved,
            attempt=dispute.attempt,
            verdict=verdict,
            burned_wei=burned_wei,
            starts_at_s=0 if undone else self.start_s,
            vests_at_s=0 if undone else vests_s,
            deadline_s=self.terms.deadline_s,
        )
        self.disputed = None
        self.won_wei = bond_wei - burned_wei
        if undone:
            self._undo_settlement(dispute.attempt)

    def _undo_settlement(self, attempt: int) -> None:
        """Take the job back to before a settlement, and break the bond of who made it."""
        undo, waiting = self.undos[attempt], self.attempt
        self.round, self.model, rows, self.lifetime, self.records = self.before
        self.proven.restore(rows)
        self.step_q16, self.had_minimum = undo.step_q16, True
        for part in ("budget", "carry", "credits", "refundable", "exams"):
            self.money[part] = self.money_before[part]
        self.move(burned=-self.terms.exam.deposit_wei * undo.exam_missed)
        owed, bond = self.terms.compensation_wei, self.terms.aggregator_bond_wei
        pays = [owed * (undo.revealed >> seat & 1) for seat in range(self.terms.seats)]
        self.move(bonds=-bond, credits=sum(pays), burned=bond - sum(pays))
        self.attempt = attempt
        self.record_outcome(pays, NATIVE, self.now_s, fee_gone=self.outcomes[attempt].fee_gone)
        self.queue.remove(self.settled_by)
        self.emit(
            on_chain.AttemptUndone,
            round=self.round,
            attempt=attempt,
            aggregator=self.settled_by,
            burned_wei=bond - sum(pays),
            pays=pack_pays(pays),
            vests_at_s=self.now_s,
        )
        self.attempt = waiting + 1 if self.start_s else waiting
        self.start_s, self.chain, self.committed, self.revealed, self.exam = 0, bytes(32), {}, {}, None
        self.start()

    def take_dispute_bond(self, by: str) -> None:
        """Take back what was won."""
        self.move(disputes=-self.won_wei, refunded=self.won_wei)
        self.emit(on_chain.DisputeBondWithdrawn, by=by, to=OWNER, amount_wei=self.won_wei)

    # ------------------------------------------------------------------ taking out

    def claim(self, attempt: int, seat: int, *, by: int | None = None, extra: int = 0, early: bool = False) -> None:
        vests_s = self.outcomes[attempt].vests_at_s
        self.now_s = vests_s - 1 if early else max(self.now_s, vests_s)
        amount = self.pays[attempt][seat] + extra
        self.move(credits=-amount, paid=amount)
        outcome = self.outcomes[attempt]
        self.outcomes[attempt] = replace(outcome, claimed=outcome.claimed | 1 << seat)
        who = self.who(seat) if by is None else trainer(by)
        self.emit(on_chain.Claimed, attempt=attempt, trainer=who, seat=Seat(seat), to=OWNER, amount_wei=amount)

    def claim_fee(self, attempt: int, by: str | None = None) -> None:
        outcome, fee = self.outcomes[attempt], self.terms.aggregator_fee_wei
        self.now_s = max(self.now_s, outcome.vests_at_s)
        self.move(credits=-fee, paid=fee)
        self.outcomes[attempt] = replace(outcome, fee_gone=True)
        who = by or outcome.aggregator
        self.emit(on_chain.FeeClaimed, attempt=attempt, aggregator=who, to=OWNER, amount_wei=fee)

    def close(self, skim: Callable[[list[int]], list[int]] = lambda pays: pays) -> None:
        last = self.outcomes[self.attempt - 1].vests_at_s if self.round >= self.terms.rounds else self.terms.deadline_s
        self.now_s = max(self.now_s, last)
        exams = self.conclude_exams()
        carried = self.terms.round_reward_wei if self.had_minimum else 0
        returned = self.money["budget"] - carried + exams
        closing = payouts.close(self.lifetime, self.money["carry"] + carried)
        pays = skim(list(closing.pays_wei))
        self.move(budget=-self.money["budget"], refundable=returned, credits=sum(pays), burned=closing.burned_wei)
        self.move(exams=-exams)
        self.money["carry"] = 0
        self.record_outcome(pays, NATIVE, self.now_s)
        self.closed = True
        values = {"refundable_wei": returned, "burned_wei": closing.burned_wei, "pays": pack_pays(pays)}
        self.emit(on_chain.JobClosed, attempt=self.attempt, **values)

    def conclude_exams(self) -> int:
        """What returns of the deposits for exams; none here."""
        return 0

    def refund(self, extra: int = 0) -> None:
        amount = self.money["refundable"] + extra
        self.move(refundable=-amount, refunded=amount)
        self.emit(on_chain.Refunded, owner=OWNER, to=OWNER, amount_wei=amount)


def play_round(job: AuditedJob, *seats: int, **cheats: Any) -> None:
    """Commit, reveal and settle."""
    updates = job.updates(seats or (0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates, **cheats)


def play_everything(job: AuditedJob) -> None:
    """A settled round, an expired attempt, a round with a forfeit and an exclusion, a skipped round, and the end."""
    play_round(job)
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(0, 1, 2)
    job.expire()
    job.claim(0, 1)
    job.claim_fee(0)
    job.enrol(3)
    job.enrol(4)
    updates = job.updates((0, 1, 2, 3, 4))
    job.commit(updates)
    job.reveal(0, 1, 2, 4)
    gone = job.committed[4].content
    job.settle(updates, {4: ExclusionReason.UNAVAILABLE})
    block_file(job.store, gone, UPDATE_BYTES).unlink()
    job.claim(1, 2)
    job.withdraw_stake(1)
    job.commit(job.updates((0, 2)))
    job.skip()
    job.close()
    job.claim(job.attempt, 0)
    job.withdraw_bond(AGGREGATORS[1])
    job.refund()
