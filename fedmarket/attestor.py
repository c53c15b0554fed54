"""An attestor in a job: keep what disputes may be about, look at what is disputed, sign what is found.

Data's path: updates, sealed exams and models named on the chain -> their bytes, kept and pinned, with the time of their
coming -> a receipt for those that came in time -> a dispute on the chain -> the fact, looked at -> an EIP-712 signature
-> the contract. Updates are kept unread: they are sealed to the aggregator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from fedmarket.attestor_folder import AttestorFolder
from fedmarket.disputed_facts import FactFinder, Finding
from fedmarket.sightings import UNSEEN, Sighting
from market.announced import JobDirectory, announce
from market.chain.attestation import HeldReceipt, Question, seals_digest
from market.chain.records import Dispute, Fact, JobState
from market.chain.transactions import TransactionSender
from market.contests import shown_to
from market.following import follow
from market.job_history import Attempt
from market.model_access import ModelAccess
from market.model_opening import check_job_srs, layout_of, warm_up
from market.protocol.errors import (
    BlockNotFound,
    ContractRevert,
    CorruptBlock,
    InvalidContent,
    InvalidInput,
    InvalidModel,
    StorageFull,
)
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from market.sealing import SealingKey
from market.signed_receipts import SignedReceipt
from zk.srs import Srs

PATIENCE = 0.5
"""Share of the answer's period for which an attestor waits for what is not in storage before it says so."""

HOLD_MARGIN_S = 86_400
"""How much longer than it could be disputed an attempt's data is kept, in seconds."""

PASS_S = 20.0
"""How long is looked for contents at a stretch before what came is signed for."""

REST = 5.0
"""How much longer than the last look took it rests before the next one at what cannot be told yet."""

NO_WORD = bytes(32)


class AttestorSession:
    """One attestor's part in one job.

    What it answers follows from chain, storage and its sightings: stopped and started again, it answers the same. It
    answers a dispute once, and where it cannot tell, not at all.
    """

    def __init__(
        self,
        job: PublishedJob,
        people: JobDirectory,
        sender: TransactionSender,
        work_folder: Path,
        srs: Srs,
        *,
        endpoint: str = "",
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to attest.

        Args:
            job: the job.
            people: by whom keys and endpoints are announced, and disputed updates handed over.
            sender: the attestor's account.
            work_folder: where what it saw, holds and signed is kept.
            srs: the job's.
            endpoint: where it serves; empty where nowhere.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the account is no attestor of this job, or the SRS is not the job's.
        """
        check_job_srs(job, srs, job.history())
        if sender.address not in job.terms.disputes.attestors:
            named = ", ".join(job.terms.disputes.attestors) or "nobody"
            raise InvalidInput(f"{sender.address} is no attestor of job {job.id}: its terms name {named}")
        self.job, self.people, self.sender, self.report, self.poll_s = job, people, sender, report, poll_s
        self._place = job.terms.disputes.attestors.index(sender.address)
        self._key = SealingKey.of_account(sender.account, job.market.chain.chain_id, job.market.address, job.id)
        self._endpoint, self._srs, self._access = endpoint, srs, ModelAccess(job, sender.account)
        folder = AttestorFolder(work_folder, job.market).of_job(job.id)
        self._sightings, self._facts = folder.sightings, FactFinder(job, srs, folder.facts, self._shown)
        self._holdings, self._receipts = folder.holdings(job.store, sender.address), folder.receipts
        self._model: Digest | None = None
        self._held: tuple[int, int, bool] | None = None
        self._looked_at: dict[Digest, float] = {}
        self._rests_until = float("-inf")
        self._told = ""

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Attest until the job is closed or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
            StorageError: the disk refuses.
        """
        self.sender.recover()
        self.announce()
        warm_up(self._srs, layout_of(self.job))
        follow(self.job, self.advance, should_stop, self.report, self.poll_s, over=(Phase.CLOSED,))

    def announce(self) -> None:
        """Say what to seal to this attestor with, and where it serves, unless that is known."""
        if announce(self.people.directory, self.sender, self.job.id, self._key.public, self._endpoint):
            where = f" and that it serves at {self._endpoint}" if self._endpoint else ""
            self.report(f"announced its key{where}")

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Do what is due now; returns whether there was anything."""
        self._access.announce(self.sender)
        self._access.look()
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
            if self.job.models.can_be_read:
                self.job.model(state.model)
            else:
                self.job.store.verify(self.job.models.cid(state.model))
            self.job.pin_model(state.model, f"job {self.job.id} attestor")
            self._model = state.model

    def _keep_contents(self, state: JobState, phase: Phase) -> None:
        """Take every update and sealed exam that is in storage, and note when it came or that it had not."""
        sign = self._revealed_and_opened(state, phase)
        if sign == self._held:
            return
        # Read before anything is looked for: what is missing then was missing at this moment or later.
        now_s, attempt = self.job.market.chain.timestamp(), self.job.history().attempt(state.attempt)
        before, contents = self._sightings.of(attempt.number), self._contents(attempt)
        known = dict(before)
        for it in self._due(contents):
            try:
                known[it] = self._look(before.get(it, UNSEEN), contents[it], now_s, phase)
            except StorageFull as full:
                # It neither came nor was missing; what this store does hold is signed for all the same.
                self._tell_once(f"attempt {attempt.number}: an update or exam is not kept: {full}")
        if known != before:
            self._sightings.keep(attempt.number, known)
        if phase is not Phase.SETTLE:
            self._sign(attempt, known)
        if all(known.get(it, UNSEEN).came_s is not None for it in contents) and _sign_of(attempt) == sign:
            self._held = sign

    def _due(self, contents: Iterable[Digest]) -> Iterator[Digest]:
        """What to look for now, what was looked for longest ago first: for a while, then what came is signed for.

        Blocks that somebody holds back must not keep others from being signed for.
        """
        until = time.monotonic() + PASS_S
        for content in sorted(contents, key=lambda it: self._looked_at.get(it, 0.0)):
            if time.monotonic() > until:
                return
            yield content
            self._looked_at[content] = time.monotonic()

    def _revealed_and_opened(self, state: JobState, phase: Phase) -> tuple[int, int, bool]:
        """What of the running attempt the chain has named so far."""
        examined = self.job.terms.exam.is_set and phase is not Phase.REVEAL
        opened = examined and self.job.market.exam(self.job.id, state.attempt).opened != NO_WORD
        return state.attempt, state.revealed, opened

    def _contents(self, attempt: Attempt) -> dict[Digest, Callable[[], bool]]:
        """How to take each content that was named in an attempt."""
        until_s, found = self._hold_until_s(attempt), dict[Digest, Callable[[], bool]]()
        for _, reveal in sorted(attempt.reveals.items()):
            found[reveal.content] = partial(self._take_update, reveal.content, attempt.number, until_s)
        if attempt.exam_opened:
            content = attempt.exam_opened.content
            found.setdefault(content, partial(self._take_exam, content, attempt.number, until_s))
        return found

    def _hold_until_s(self, attempt: Attempt) -> int:
        """Until when an attempt's data is kept: a settlement at the last moment is past dispute then."""
        terms = self.job.terms
        disputed_s = terms.vesting_period_s + terms.disputes.answer_period_s
        return terms.schedule(attempt.starts_at_s).settle_end_s + disputed_s + HOLD_MARGIN_S

    def _look(self, sighting: Sighting, take: Callable[[], bool], now_s: int, phase: Phase) -> Sighting:
        """Look for a content that has not come yet."""
        if sighting.came_s is not None:
            return sighting
        if take():
            # Read afterwards: it was there at this moment.
            return replace(sighting, came_s=self.job.market.chain.timestamp())
        missed = phase is Phase.SETTLE and sighting.missing_s is None
        return replace(sighting, missing_s=now_s) if missed else sighting

    def _take_update(self, content: Digest, attempt: int, until_s: int) -> bool:
        """Fetch and pin a sealed update; whether it is here now, be it one that can be opened or not."""
        self._holdings.keep(attempt, self.job.update_cid(content), until_s)
        return _came(partial(self.job.take_update, content, self._holdings.reason(attempt)))

    def _take_exam(self, content: Digest, attempt: int, until_s: int) -> bool:
        """Fetch and pin an exam's sealed r; whether it is here now, readable or not."""

        def take() -> None:
            self.job.sealed_exam(content)
            self.job.pin_sealed_exam(content, self._holdings.reason(attempt))

        self._holdings.keep(attempt, self.job.sealed_exam_cid(content), until_s)
        return _came(take)

    def _sign(self, attempt: Attempt, sightings: dict[Digest, Sighting]) -> None:
        """Sign for what came in time and is pinned, anew when there is more; the promise is on the disk before."""
        settle_s, pins = self.job.terms.schedule(attempt.starts_at_s).exam_end_s, self.job.store.pins()
        reason = self._holdings.reason(attempt.number)

        def is_held(content: Digest) -> bool:
            is_pinned = reason in pins.get(self.job.update_cid(content), ())
            return is_pinned and sightings.get(content, UNSEEN).in_time(settle_s) is True

        seats = [seat for seat, reveal in sorted(attempt.reveals.items()) if is_held(reveal.content)]
        if not seats:
            return
        receipt = HeldReceipt(
            chain_id=self.job.market.chain.chain_id,
            contract=self.job.market.address,
            job=self.job.id,
            round=attempt.started.round,
            attempt=attempt.number,
            seats=sum(1 << seat for seat in seats),
            seals=seals_digest(attempt.commits[seat].seal for seat in seats),
            held_until_s=self._hold_until_s(attempt),
        )
        signed = self._receipts.of(attempt.number)
        if signed is None or signed.receipt != receipt:
            self._holdings.prolong(attempt.number, receipt.held_until_s)
            self._receipts.keep(SignedReceipt.sign(receipt, self.sender.account))
            self.report(f"attempt {attempt.number}: holds what seats {', '.join(map(str, seats))} revealed")

    # ------------------------------------------------------------------ answering

    def _attend(self, dispute: Dispute) -> bool:
        now_s = self.job.market.chain.timestamp()
        period_s = self.job.terms.disputes.answer_period_s
        if now_s >= dispute.opened_at_s + period_s:
            return self._thaw(dispute)
        if (dispute.holding | dispute.failing) >> self._place & 1:
            return False
        if time.monotonic() < self._rests_until:
            return False
        chain_id, contract = self.job.market.chain.chain_id, self.job.market.address
        question = Question.of_dispute(chain_id, contract, self.job.id, dispute)
        looked_at = time.monotonic()
        finding = self._facts.find(question, came_in_time=self._came_in_time(dispute))
        self._rests_until = time.monotonic() + REST * (time.monotonic() - looked_at)
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
        sighting = self._sightings.of(attempt.number).get(named.content, UNSEEN)
        return sighting.in_time(self.job.terms.schedule(attempt.starts_at_s).exam_end_s)

    def _shown(self, attempt: Attempt, seat: Seat) -> Iterator[bytes]:
        """What a seat's trainer handed over to this attestor."""
        place = self.job.market.seal_context(self.job.id, attempt.started.round, attempt.number)
        trainer = attempt.reveals[seat].trainer
        return shown_to(self.people.directory, place, seat, trainer, self.sender.address, self._key)

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self.report(line)


def _came(take: Callable[[], None]) -> bool:
    try:
        take()
    except (BlockNotFound, CorruptBlock):
        return False
    except InvalidContent:
        return True
    return True


def _named(dispute: Dispute) -> str:
    seat = f" of seat {dispute.seat}" if dispute.fact is Fact.EXCLUSION else ""
    return f"attempt {dispute.attempt}: the {dispute.fact.name.lower()}{seat} is disputed"


def _sign_of(attempt: Attempt) -> tuple[int, int, bool]:
    """What of an attempt its events have named, as `AttestorSession._revealed_and_opened` says it of the state."""
    return attempt.number, sum(1 << seat for seat in attempt.reveals), attempt.exam_opened is not None
