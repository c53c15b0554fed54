"""An attestor in a job: keep what disputes may be about, look at what is disputed, sign what is found.

Data's path: updates, sealed exams and models named on the chain -> their bytes, kept and pinned, with the time of their
coming -> a dispute on the chain -> the fact, looked at -> an EIP-712 signature -> the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from aggregator.audit import Openings
from fedmarket.disputed_facts import FactFinder, Finding
from fedmarket.receipts import UNSEEN, Receipt, Receipts
from market.chain.attestation import Question
from market.chain.records import Dispute, Fact, JobState
from market.chain.transactions import TransactionSender
from market.following import follow
from market.job_history import Attempt
from market.model_opening import check_job_srs, layout_of, warm_up
from market.protocol.errors import (
    BlockNotFound,
    ContractRevert,
    CorruptBlock,
    InvalidContent,
    InvalidInput,
    InvalidModel,
)
from market.protocol.identifiers import Digest
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from zk.srs import Srs

PATIENCE = 0.5
"""Share of the answer's period for which an attestor waits for what is not in storage before it says so."""

NO_WORD = bytes(32)


class AttestorSession:
    """One attestor's part in one job.

    What it answers follows from chain, storage and its receipts: stopped and started again, it answers the same. It
    answers a dispute once, and where it cannot tell, not at all.
    """

    def __init__(
        self,
        job: PublishedJob,
        sender: TransactionSender,
        work_folder: Path,
        srs: Srs,
        *,
        openings: Openings | None = None,
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to attest.

        Args:
            job: the job.
            sender: the attestor's account.
            work_folder: where receipts are kept.
            srs: the job's.
            openings: what those who contest an exclusion have shown: nothing else opens their updates.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the account is no attestor of this job, or the SRS is not the job's.
        """
        check_job_srs(job, srs, job.history())
        if sender.address not in job.terms.disputes.attestors:
            named = ", ".join(job.terms.disputes.attestors) or "nobody"
            raise InvalidInput(f"{sender.address} is no attestor of job {job.id}: its terms name {named}")
        self.job, self.sender, self.report, self.poll_s = job, sender, report, poll_s
        self._place = job.terms.disputes.attestors.index(sender.address)
        folder = work_folder / f"chain-{job.market.chain.chain_id}-{job.market.address.lower()}" / f"job-{job.id}"
        self._receipts, self._facts = Receipts(folder / "receipts"), FactFinder(job, srs, folder / "facts")
        self._srs, self._openings = srs, openings
        self._model: Digest | None = None
        self._held: tuple[int, int, bool] | None = None
        self._told = ""

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Attest until the job is closed or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
            StorageError: the disk refuses.
        """
        self.sender.recover()
        warm_up(self._srs, layout_of(self.job))
        follow(self.job, self.advance, should_stop, self.report, self.poll_s, over=(Phase.CLOSED,))

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Do what is due now; returns whether there was anything."""
        if phase is Phase.DISPUTED:
            return self._attend(self.job.market.dispute_of(self.job.id))
        self._keep_model(state)
        if phase in (Phase.REVEAL, Phase.EXAM, Phase.SETTLE):
            self._keep_contents(state, phase)
        return False

    # ------------------------------------------------------------------ keeping

    def _keep_model(self, state: JobState) -> None:
        """Hold on to the current model: what an attestor has can be fetched."""
        if state.model == self._model:
            return
        with suppress(BlockNotFound, CorruptBlock, InvalidContent, InvalidModel):
            self.job.model(state.model)
            self.job.pin_model(state.model, f"job {self.job.id} attestor")
            self._model = state.model

    def _keep_contents(self, state: JobState, phase: Phase) -> None:
        """Take every update and sealed exam that is in storage, and note when it came or that it had not."""
        sign = self._revealed_and_opened(state, phase)
        if sign == self._held:
            return
        # Read before anything is looked for: what is missing then was missing at this moment or later.
        now_s, attempt = self.job.market.chain.timestamp(), self.job.history().attempt(state.attempt)
        before, contents = self._receipts.of(attempt.number), self._contents(attempt)
        looked = {it: self._look(before.get(it, UNSEEN), take, now_s, phase) for it, take in contents.items()}
        if before | looked != before:
            self._receipts.keep(attempt.number, before | looked)
        if all(receipt.came_s is not None for receipt in looked.values()) and _sign_of(attempt) == sign:
            self._held = sign

    def _revealed_and_opened(self, state: JobState, phase: Phase) -> tuple[int, int, bool]:
        """What of the running attempt the chain has named so far."""
        examined = self.job.terms.exam.is_set and phase is not Phase.REVEAL
        opened = examined and self.job.market.exam(self.job.id, state.attempt).opened != NO_WORD
        return state.attempt, state.revealed, opened

    def _contents(self, attempt: Attempt) -> dict[Digest, Callable[[], bool]]:
        """How to take each content that was named in an attempt."""
        reason = f"job {self.job.id} attempt {attempt.number} attestor"
        contents = [reveal.content for _, reveal in sorted(attempt.reveals.items())]
        found: dict[Digest, Callable[[], bool]] = {it: partial(self._take_update, it, reason) for it in contents}
        if attempt.exam_opened:
            content = attempt.exam_opened.content
            found.setdefault(content, partial(self._take_exam, content, reason))
        return found

    def _look(self, receipt: Receipt, take: Callable[[], bool], now_s: int, phase: Phase) -> Receipt:
        """Look for a content that has not come yet."""
        if receipt.came_s is not None:
            return receipt
        if take():
            # Read afterwards: it was there at this moment.
            return replace(receipt, came_s=self.job.market.chain.timestamp())
        missed = phase is Phase.SETTLE and receipt.missing_s is None
        return replace(receipt, missing_s=now_s) if missed else receipt

    def _take_update(self, content: Digest, reason: str) -> bool:
        """Fetch and pin a sealed update; whether it is here now, sound or not."""
        try:
            self.job.take_update(content, reason)
        except (BlockNotFound, CorruptBlock):
            return False
        except InvalidContent:
            return True
        return True

    def _take_exam(self, content: Digest, reason: str) -> bool:
        """Fetch and pin an exam's sealed r; whether it is here now, readable or not."""
        try:
            self.job.sealed_exam(content)
            self.job.pin_sealed_exam(content, reason)
        except (BlockNotFound, CorruptBlock):
            return False
        except InvalidContent:
            return True
        return True

    # ------------------------------------------------------------------ answering

    def _attend(self, dispute: Dispute) -> bool:
        now_s = self.job.market.chain.timestamp()
        period_s = self.job.terms.disputes.answer_period_s
        if now_s >= dispute.opened_at_s + period_s:
            return self._thaw(dispute)
        if (dispute.holding | dispute.failing) >> self._place & 1:
            return False
        chain_id, contract = self.job.market.chain.chain_id, self.job.market.address
        question = Question.of_dispute(chain_id, contract, self.job.id, dispute)
        finding = self._facts.find(question, came_in_time=self._came_in_time(dispute), openings=self._openings)
        if finding is Finding.UNKNOWN:
            self._tell_once(f"{_named(dispute)}: it cannot be told from here; not answered")
            return False
        if finding is Finding.ABSENT and now_s < dispute.opened_at_s + PATIENCE * period_s:
            self._tell_once(f"{_named(dispute)}: what would show it is not in storage; waiting for it")
            return False
        # What never comes: the model and the exam were owed, an update has to be handed over by who contests.
        holds = finding is Finding.HOLDS or (finding is Finding.ABSENT and dispute.fact is Fact.EXCLUSION)
        return self._answer(question, dispute, holds)

    def _answer(self, question: Question, dispute: Dispute, holds: bool) -> bool:
        signature = question.sign(self.sender.account, holds)
        key = f"answer/{self.job.id}/{dispute.attempt}/{int(dispute.fact)}/{dispute.seat}"
        try:
            self.sender.send(key, self.job.market.answer(self.job.id, holds, [signature]))
        except ContractRevert as refusal:
            # A quorum was faster, or the time is over: the next look at the chain tells.
            self._tell_once(f"{_named(dispute)}: {refusal}")
            return False
        self.report(f"{_named(dispute)}: answered that it {'holds' if holds else 'does not hold'}")
        return True

    def _thaw(self, dispute: Dispute) -> bool:
        key = f"thaw/{self.job.id}/{dispute.attempt}/{int(dispute.fact)}/{dispute.seat}"
        try:
            self.sender.send(key, self.job.market.thaw(self.job.id))
        except ContractRevert:
            return False  # somebody else did
        self.report(f"{_named(dispute)}: no quorum answered; the job goes on")
        return True

    def _came_in_time(self, dispute: Dispute) -> bool | None:
        """Whether the disputed bytes were here before the aggregator's time began; None where that cannot be told."""
        if dispute.fact is Fact.MODEL:
            return None
        attempt = self.job.history().attempt(dispute.attempt)
        named = attempt.reveals.get(dispute.seat) if dispute.fact is Fact.EXCLUSION else attempt.exam_opened
        if named is None:
            return None
        receipt = self._receipts.of(attempt.number).get(named.content, UNSEEN)
        return receipt.in_time(self.job.terms.schedule(attempt.starts_at_s).exam_end_s)

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self.report(line)


def _named(dispute: Dispute) -> str:
    seat = f" of seat {dispute.seat}" if dispute.fact is Fact.EXCLUSION else ""
    return f"attempt {dispute.attempt}: the {dispute.fact.name.lower()}{seat} is disputed"


def _sign_of(attempt: Attempt) -> tuple[int, int, bool]:
    """What of an attempt its events have named, as `AttestorSession._revealed_and_opened` says it of the state."""
    return attempt.number, sum(1 << seat for seat in attempt.reveals), attempt.exam_opened is not None
