"""A trainer in a job: train, commit, reveal, round after round, from whatever chain and disk say is done already.

Data's path: model M_t, opened against the chain -> local training -> counts q, blinders r, commitment C -> both packed
and sealed to the active aggregator -> seal on the chain -> sealed bytes to storage -> opening on the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.chain.calls import PreparedCall
from market.chain.records import JobState
from market.chain.transactions import Finality, Receipt, TransactionSender
from market.following import follow
from market.model_access import ModelAccess
from market.model_opening import check_job_srs, layout_of, warm_up
from market.protocol.errors import (
    AuditMismatch,
    BlockNotFound,
    ContractRevert,
    CorruptBlock,
    InvalidContent,
    InvalidInput,
    InvalidModel,
    InvalidSealingKey,
    InvalidUpdate,
    StorageError,
)
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from market.protocol.seal import SealContext, new_salt, seal
from market.published_job import PublishedJob
from market.storage import Cid, EmbeddedStore
from trainer_client.attempt_folder import AttemptFolder, SealedUpdate, counts_digest
from trainer_client.commit_time import CommitTime
from trainer_client.crafting import Craft, stands_for, train_locally
from trainer_client.data import Samples
from trainer_client.delivery import Delivery
from trainer_client.engine.execution import Execution
from trainer_client.engine.progress import Progress
from trainer_client.job_model import JobModel
from trainer_client.late_training import LateTraining
from trainer_client.late_update import Base
from trainer_client.model_training import ModelTraining
from trainer_client.outcomes import Outcomes
from trainer_client.receipts import ReceiptFiling
from trainer_client.seating import Seating
from trainer_client.update_making import UpdateMaker
from zk.commitment import commit
from zk.srs import Srs

BUSY: Final = (Phase.REVEAL, Phase.EXAM, Phase.SETTLE, Phase.OVERDUE)
"""The phases in which what was committed to is opened and handed in: no word of an earlier attempt is to delay that."""

PASSING: Final = ("AlreadyCommitted", "NotTrainer", "NotInCohort")
"""Refusals after which the chain is looked at again, and the attempt is not given up."""


class TrainerSession:
    """One trainer's part in one job.

    It keeps nothing that chain, storage and its work folder cannot give back: killed at any moment and started again,
    it goes on where it was, and never commits twice in an attempt. While it has no seat it waits for one.
    """

    def __init__(
        self,
        job: PublishedJob,
        dataset: Samples,
        sender: TransactionSender,
        work_folder: Path,
        srs: Srs,
        *,
        seed: int = 0,
        execution: Execution | None = None,
        craft: Craft = train_locally,
        report: Callable[[str], None] = lambda line: None,
        progress: Callable[[Progress], None] | None = None,
        receipts: ReceiptFiling | None = None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to train.

        Args:
            job: the job.
            dataset: the trainer's data; it never leaves this process.
            sender: the trainer's account.
            work_folder: where updates, residuals and openings are kept.
            srs: the job's, to commit with.
            seed: of the trainings; the job's and the attempt's numbers enter, too.
            execution: how this machine computes.
            craft: makes the update; the job's local training by default.
            report: is told what happens, a line at a time.
            progress: is told how far a training is.
            receipts: has attestors' receipts put on the chain; None where nobody does.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the account has neither a seat in this job nor a stake that waits for one, or the SRS is not
                the job's.
            InvalidModel: the job's model cannot be built here.
        """
        check_job_srs(job, srs, job.history())
        self.job, self.sender, self.report, self.poll_s = job, sender, report, poll_s
        self.model = JobModel.of_document(job.document, job.files)
        self.seating, self._receipts = Seating(job, sender, report), receipts
        self._work_folder, self._srs, self._layout = work_folder, srs, layout_of(job)
        # A seal binds a content id before anybody else may have the content: it is computed here.
        self._own_store = EmbeddedStore(work_folder / "sealed")
        self._maker = UpdateMaker(job, sender, self._own_store, self._layout, report)
        self._finality = Finality(blocks=1 + job.document.spec.periods.confirmations)
        self._access = ModelAccess(job, sender.account)
        self._time, execution = CommitTime(job), execution or Execution()
        self._training = ModelTraining(
            job, srs, self._access, self.model, dataset, seed, execution, craft, progress, report
        )
        self._late = LateTraining(
            job,
            self._training,
            self._time,
            self._attempt_folder,
            lambda context: sender.knows(_key("commit", context)),
            report,
        )
        self._given_up: set[tuple[int, Digest]] = set()
        self._told = ""
        self._sits_out = -1
        self._delivery = Delivery()
        self._outcomes = Outcomes(job, report)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Take part until the job is closed or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
            StorageError: the disk refuses.
        """
        self.sender.recover()
        warm_up(self._srs, self._layout)
        follow(self.job, self.advance, should_stop, self.report, self.poll_s)
        self._outcomes.conclude(self.poll_s)

    @property
    def seat(self) -> Seat:
        """This trainer's seat, when it was last looked for.

        Raises:
            InvalidInput: it had none.
        """
        if self.seating.seat is None:
            raise InvalidInput(f"{self.sender.address} has no seat in job {self.job.id}")
        return self.seating.seat

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Do what is due now; returns whether there was anything."""
        if self._access.announce(self.sender, self._finality):
            self.report(f"asked for the key of the models of job {self.job.id}, which are sealed")
        if phase not in BUSY and not (phase is Phase.COMMIT and self._has_committed(state)):
            self._outcomes.look(state, phase)
        if self.seating.look() is None:
            return self.seating.advance()
        return self._take_part(state, phase) or self._file_receipts(state, phase)

    def _has_committed(self, state: JobState) -> bool:
        return self.seating.seat is not None and bool(state.committed >> self.seating.seat & 1)

    def _file_receipts(self, state: JobState, phase: Phase) -> bool:
        seat = self.seating.seat
        return self._receipts is not None and seat is not None and self._receipts.advance(state, phase, seat)

    def _take_part(self, state: JobState, phase: Phase) -> bool:
        mine = 1 << self.seat
        if state.revealed & mine:
            self._outcomes.revealed(state.attempt, self.seat)
        if _occasion(state) in self._given_up:
            return False
        try:
            if self.seating.draw_cohorts(state):
                return True
            if phase is Phase.COMMIT and not state.committed & mine:
                return self._is_called(state) and self._commit(state)
            if phase is Phase.REVEAL and state.committed & mine and not state.revealed & mine:
                return self._reveal(state)
            if phase in (Phase.REVEAL, Phase.EXAM, Phase.SETTLE) and state.revealed & mine:
                return self._go_on_delivering(state)
            if phase is Phase.OVERDUE and state.revealed & mine:
                return self._expire(state)
        except ContractRevert as refusal:
            # A commit of ours that the latest block does not show yet, somebody who expired the attempt before us, or
            # who has just taken our seat or changed the cohort: the next look at the chain tells.
            if refusal.name not in PASSING and phase is not Phase.OVERDUE:
                self._give_up(state, str(refusal))
        except (AuditMismatch, InvalidContent, InvalidModel, InvalidSealingKey, InvalidUpdate) as problem:
            if isinstance(problem, InvalidUpdate):
                self._late.drop(self._attempt_folder(self._context(state.round, state.attempt)))
            self._give_up(state, str(problem))
        except MemoryError as lack:
            # What is committed has to be opened, by a new process if need be; other rounds may find more of it.
            if self.sender.knows(_key("commit", self._context(state.round, state.attempt))):
                raise
            self._give_up(state, str(lack) or "the memory of this machine does not hold this")
        return False

    def is_done(self, state: JobState, seats: int) -> bool:
        """Whether this trainer's seat is among those that acted in a phase, or has given the attempt up, or is lost."""
        seat = self.seating.seat
        is_full = state.committed.bit_count() >= self.job.terms.entry.cohort
        if seat is None or (self._sits_out == state.attempt and is_full):
            return True
        return bool(seats >> seat & 1) or _occasion(state) in self._given_up

    # ------------------------------------------------------------------ the two acts

    def _is_called(self, state: JobState) -> bool:
        """Whether this attempt's cohort has a place for this trainer; that it has none is told once.

        What the cohort's seats leave is for all in the second half of the commit phase.
        """
        cohort = self.job.terms.entry.cohort
        has_room = state.committed.bit_count() < cohort
        if not cohort or (has_room and self.job.market.chain.timestamp() >= self._time.half_s(state)):
            return True
        if has_room and self.job.market.in_cohort(self.job.id, self.seat, state.attempt):
            return True
        if self._sits_out != state.attempt:
            self._sits_out = state.attempt
            self.report(f"round {state.round}: not among the {cohort} seats that train in this attempt")
        return False

    def _commit(self, state: JobState) -> bool:
        if not state.staked >> self.seat & 1:
            self._give_up(state, "the stake is not in place; enrol again to put it back")
            return False
        context = self.job.market.seal_context(self.job.id, state.round, state.attempt)
        folder = self._attempt_folder(context)
        sealed = folder.sealed()
        # A commit that was signed stands for the opening on the disk, whatever a reorganisation did to the model.
        signed = self.sender.knows(_key("commit", context))
        if signed and sealed is None:
            self._give_up(state, f"the opening of this attempt's seal is not in {folder.path}")
            return False
        if sealed is None or not signed:
            sealed = self._sealed_for_now(state, folder, sealed)
        if sealed is None:
            return False
        digest = seal(context, self.sender.address, sealed.commitment, sealed.content, sealed.salt, sealed.age)
        schedule = self.job.terms.schedule(state.attempt_start_s)
        call = self.job.market.commit(self.job.id, state.attempt, digest)
        self._send("commit", context, call, schedule.commit_end_s)
        if self.job.terms.maximum_age:
            self._late.drop(folder)
        late = f", made from the model of round {state.round - sealed.age}" if sealed.age else ""
        self.report(f"round {state.round}: committed{late}")
        return True

    def _reveal(self, state: JobState) -> bool:
        context = self.job.market.seal_context(self.job.id, state.round, state.attempt)
        folder = self._attempt_folder(context)
        sealed = folder.sealed()
        if sealed is None:
            self._give_up(state, f"the opening of this attempt's seal is not in {folder.path}")
            return False
        self._deliver(state, folder, sealed)
        # In any case: the opening alone, without the update, still saves the stake.
        opening = (sealed.commitment, sealed.content, sealed.salt, sealed.age)
        call = self.job.market.reveal(self.job.id, state.attempt, self.sender.address, *opening)
        self._send("reveal", context, call, self.job.terms.schedule(state.attempt_start_s).reveal_end_s)
        self.report(f"round {state.round}: revealed {self.job.update_cid(sealed.content)}")
        return True

    def _go_on_delivering(self, state: JobState) -> bool:
        """Go on trying to deliver what was revealed, while the aggregator may still take it."""
        if self._delivery.is_over(state.attempt):
            return False
        folder = self._attempt_folder(self._context(state.round, state.attempt))
        sealed = folder.sealed()
        return sealed is not None and self._deliver(state, folder, sealed)

    def _deliver(self, state: JobState, folder: AttemptFolder, sealed: SealedUpdate) -> bool:
        """Put the update that was sealed where the aggregator finds it; no other bytes leave, whatever the disk did.

        A storage that refuses is tried again, later; the time that is left for it is told. Returns whether one that had
        refused takes it now.
        """
        if not self._delivery.is_due(state.attempt):
            return False
        cid = self.job.update_cid(sealed.content)
        try:
            self._restore(folder, sealed, cid)
        except (BlockNotFound, CorruptBlock, InvalidContent, InvalidUpdate) as problem:
            self.report(f"round {state.round}: the update is lost and will be excluded: {problem}")
            self._delivery.end()
            return False
        try:
            self.job.store.adopt(cid, self._own_store)
            self.job.store.pin(cid, f"job {self.job.id} attempt {state.attempt} seat {self.seat}")
        except StorageError as problem:
            self._put_off(state, problem)
            return False
        is_news = self._delivery.failures > 0
        if is_news:
            self.report(f"round {state.round}: the update is in storage now")
        self._delivery.end()
        return is_news

    def _put_off(self, state: JobState, problem: StorageError) -> None:
        left_s = self.job.terms.schedule(state.attempt_start_s).reveal_end_s - self.job.market.chain.timestamp()
        left = f"{left_s} s are left" if left_s > 0 else "it is late, but may still be taken"
        if self._delivery.fail(self.poll_s):
            line = " ".join(str(problem).split())
            self.report(f"round {state.round}: the update cannot be handed in, {left}, trying again: {line}")

    def _restore(self, folder: AttemptFolder, sealed: SealedUpdate, cid: Cid) -> None:
        """See that the sealed update is whole on this machine; a copy that was damaged is made again.

        Raises:
            StorageError: it is not, and cannot be.
            InvalidUpdate: nor is what it was made of.
        """
        try:
            self._own_store.verify(cid)
        except (BlockNotFound, CorruptBlock, InvalidContent):
            self._maker.seal(folder, sealed.commitment, sealed.recipient)
            self._own_store.verify(cid)

    def _expire(self, state: JobState) -> bool:
        """End an attempt that nobody settled: whoever revealed in it has a compensation to gain."""
        context = self.job.market.seal_context(self.job.id, state.round, state.attempt)
        self._send("expire", context, self.job.market.expire_round(self.job.id, state.attempt))
        self.report(f"round {state.round}: attempt {state.attempt} was not settled in time and has expired")
        return True

    # ------------------------------------------------------------------ making the update

    def _sealed_for_now(
        self, state: JobState, folder: AttemptFolder, sealed: SealedUpdate | None
    ) -> SealedUpdate | None:
        """What this attempt is committed to with, as long as no commit was signed; None while there is to wait.

        It is what is on the disk already if round, model and aggregator are still the same. For another aggregator the
        update is sealed again, for another round or model it is made again: what a payload stands for is bound to both.
        """
        recipient = self._recipient(state)
        if recipient is None:
            return None
        if sealed is None or sealed.round not in (None, state.round) or not stands_for(self._training.craft, folder):
            return self._seal_update(state, folder, recipient)
        if sealed.model != self._training.model_of_round(state, state.round - sealed.age):
            return self._seal_update(state, folder, recipient)
        if sealed.recipient == recipient:
            return sealed
        self.report(f"round {state.round}: another aggregator is active; the update is sealed again, to that one")
        return self._seal(folder, sealed.commitment, sealed.counts, recipient, sealed.model, sealed.age)

    def _recipient(self, state: JobState) -> bytes | None:
        """The public key of whoever is to settle this attempt; None while there is nobody."""
        aggregators = self.job.market.aggregators(self.job.id)
        key = self.job.market.sealing_key(self.job.id, aggregators[0]) if aggregators else None
        if key is None:
            self._tell_once(f"round {state.round}: waiting for an aggregator that updates can be sealed to")
        return key

    def _seal_update(self, state: JobState, folder: AttemptFolder, recipient: bytes) -> SealedUpdate | None:
        """Make this attempt's update and fix it on the disk; None while it is not to be had."""
        base, delta = self._late.update(state, folder) if self.job.terms.maximum_age else self._prompt(state, folder)
        if delta is None:
            return None
        update = self._maker.make(delta, self.job.terms.shift(state.step_q16), folder)
        counts = counts_digest(update.counts)
        # Zeros tell nothing, and their residual has to go on growing until it is worth a count.
        if update.counts.any() and folder.repeats(counts):
            raise InvalidUpdate("the update is that of an earlier attempt, and none is ever sent twice")
        commitment = commit(self._srs, self._layout, update.counts, update.blinders)
        update.keep(folder)
        if self.job.terms.maximum_age:
            self._late.seal_in(folder)
        return self._seal(folder, commitment, counts, recipient, base.model, state.round - base.round)

    def _seal(
        self, folder: AttemptFolder, commitment: bytes, counts: Digest, recipient: bytes, model: Digest, age: int
    ) -> SealedUpdate:
        """Seal the update on the disk, and write down what opens the seal."""
        cid, payload = self._maker.seal(folder, commitment, recipient)
        bound = (Digest(cid.digest), commitment, new_salt(), model, counts, payload, recipient, age)
        sealed = SealedUpdate(*bound, folder.context.round)
        folder.seal(sealed)
        return sealed

    def _prompt(self, state: JobState, folder: AttemptFolder) -> tuple[Base, NDArray[np.float32] | None]:
        """An update made from today's model in this commit phase; None while the model is away."""
        base = Base.of(state)
        return base, self._training.trained(state, base, folder, self._time.alarm(state))

    def _context(self, round_number: int, attempt: int) -> SealContext:
        return self.job.market.seal_context(self.job.id, round_number, attempt)

    def _attempt_folder(self, context: SealContext) -> AttemptFolder:
        return AttemptFolder(self._work_folder, context, self._is_taken)

    def _is_taken(self, attempt: int, content: Digest) -> bool:
        return self.job.history().took(attempt, self.sender.address, content)

    # ------------------------------------------------------------------ small things

    def _send(self, act: str, context: SealContext, call: PreparedCall, until_s: int | None = None) -> Receipt:
        """Send, and wait for the job's confirmations: not beyond the phase's end, for then the next act is due."""
        timeout_s = self.sender.policy.timeout_s
        if until_s is not None:
            timeout_s = min(timeout_s, max(1, until_s - self.job.market.chain.timestamp()))
        return self.sender.send(_key(act, context), call, self._finality, timeout_s)

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self.report(line)

    def _give_up(self, state: JobState, why: str) -> None:
        self._given_up.add(_occasion(state))
        self.report(f"round {state.round}: not taking part any more: {why}")


def _occasion(state: JobState) -> tuple[int, Digest]:
    """What is given up for good: after a reorganisation an attempt with another model is another matter."""
    return state.attempt, state.model


def _key(act: str, context: SealContext) -> str:
    """Names an act of this trainer, so that it is sent once."""
    return f"{act}/{context.job}/{context.attempt}"
