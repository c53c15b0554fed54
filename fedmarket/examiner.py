"""An examiner in a job: set each attempt's exam, open it once the reveals are over, show all of them at the end.

Data's path: model M_t, opened against the chain -> slice of the attempt -> r -> C_r, and r sealed to the aggregator ->
seal on the chain -> after the reveals sealed r to storage -> opening on the chain -> at the end slices, references and
the book of them to storage, its name on the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from fedmarket.exam_folder import AttemptExam, ExamFolder, SealedReference
from market.chain.calls import PreparedCall
from market.chain.records import JobState
from market.chain.transactions import Finality, Receipt, TransactionSender
from market.following import follow
from market.job_history import Attempt, JobHistory
from market.model_access import KeyGrants, ModelAccess
from market.model_opening import check_job_srs, fetch_current, fetch_verified, layout_of, warm_up
from market.protocol.errors import (
    AuditMismatch,
    BlockNotFound,
    ContractRevert,
    CorruptBlock,
    InvalidContent,
    InvalidData,
    InvalidExam,
    InvalidInput,
    InvalidModel,
    InvalidSealingKey,
    ModelsSealed,
)
from market.protocol.exam import ExamBook, Reference, format_reference, slice_of_attempt
from market.protocol.identifiers import Digest
from market.protocol.integer_model import Integers
from market.protocol.moments import moment
from market.protocol.rounds import Phase
from market.protocol.seal import SealContext, new_salt, seal
from market.published_job import PublishedJob
from market.sealing import EXAM, new_ephemeral, seal_to
from market.storage import Cid, content_cid
from trainer_client.exam import load_slice, reference
from trainer_client.job_model import JobModel
from zk.commitment import Blinders, commit
from zk.srs import Srs

NO_WORD = bytes(32)

UNREADABLE = (AuditMismatch, BlockNotFound, CorruptBlock, InvalidContent, InvalidModel, ModelsSealed)
"""Why an earlier model cannot be looked at any more."""


class ExamSession:
    """One examiner's part in one job.

    It keeps nothing that chain, storage and the exam's folder cannot give back: killed at any moment and started again,
    it goes on where it was, and never seals an attempt's exam twice once it may have been sent. Nothing of a secret
    slice leaves the folder before no attempt can start any more.
    """

    def __init__(
        self,
        job: PublishedJob,
        folder: ExamFolder,
        sender: TransactionSender,
        srs: Srs,
        *,
        named: Collection[str] = (),
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to examine.

        Args:
            job: the job.
            folder: the exam that it was opened with.
            sender: the account of the owner or of the examiner.
            srs: the job's, to commit with.
            named: who is given the key of sealed models without a part in the job, once it has asked.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.

        Raises:
            InvalidInput: the job has no exam or another one, the account may not set it, or the SRS is not the job's.
            InvalidModel: the job's model cannot be built here.
        """
        check_job_srs(job, srs, job.history())
        self.job, self.folder, self.sender, self.report, self.poll_s = job, folder, sender, report, poll_s
        self.owner = job.market.state(job.id).owner
        check_exam(job, folder, sender.address, self.owner)
        self.model = JobModel.of_document(job.document, job.files)
        self._srs, self._layout = srs, layout_of(job)
        self._finality = Finality(blocks=1 + job.document.spec.periods.confirmations)
        self._access = ModelAccess(job, sender.account)
        self._grants = KeyGrants(job, sender, named)
        self._given_up: set[tuple[int, Digest]] = set()
        self._told = ""

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Examine until the job's rounds are over and all exams are published, or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
            StorageError: the disk refuses.
        """
        self.sender.recover()
        warm_up(self._srs, self._layout)
        done = False

        def stopped() -> bool:
            nonlocal done
            done = done or self.job.market.state(self.job.id).exam_published
            return done or should_stop()

        follow(self.job, self.advance, stopped, self.report, self.poll_s, over=(Phase.CLOSED,))

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Do what is due now; returns whether there was anything."""
        self._access.announce(self.sender, self._finality)
        if self._access.look() and (given := self._grants.look()):
            self.report(f"gave the key of the job's models to {', '.join(given)}")
        if phase is Phase.FINISHED:
            return not state.exam_published and self._publish(state)
        if phase in (Phase.STARVED, Phase.OVERDUE):
            return self._conclude(state, phase)
        if phase not in (Phase.COMMIT, Phase.EXAM) or _occasion(state) in self._given_up:
            return False
        if not self.job.terms.exam.has_slice(state.attempt):
            self._give_up(state, "no slice is left for it: the round pays nobody")
            return False
        try:
            return self._commit(state) if phase is Phase.COMMIT else self._open(state)
        except ContractRevert as refusal:
            # Of ours, not shown by the latest block yet, of the other machine's, or from a node that lags behind
            # the one that answered before: the next look at the chain tells.
            if refusal.name not in ("ExamAlreadyCommitted", "ExamAlreadyOpened", "WrongAttempt", "WrongPhase"):
                self._give_up(state, str(refusal))
        except (AuditMismatch, InvalidContent, InvalidData, InvalidExam, InvalidModel, InvalidSealingKey) as problem:
            self._give_up(state, str(problem))
        except MemoryError as lack:
            self._tell_once(f"round {state.round}: {lack}; it is tried again as long as there is time")
        return False

    def is_done(self, state: JobState, word: bytes) -> bool:
        """Whether the chain keeps what a phase is to bring, or this machine has given the attempt up.

        Args:
            state: of the job.
            word: the exam's seal, or the hash of what opened it; zero where the chain has none.
        """
        return word != NO_WORD or _occasion(state) in self._given_up

    # ------------------------------------------------------------------ the three acts

    def _commit(self, state: JobState) -> bool:
        if self.job.market.exam(self.job.id, state.attempt).seal != NO_WORD:
            return False
        context = self._context(state)
        kept = self.folder.attempt(context)
        sealed = self._sealed(state, context, kept)
        if sealed is None:
            return False
        digest = seal(context, self.owner, sealed.commitment, sealed.content, sealed.salt)
        until_s = self.job.terms.schedule(state.attempt_start_s).commit_end_s
        self._send("exam-commit", context, self.job.market.commit_exam(self.job.id, state.attempt, digest), until_s)
        self.report(f"round {state.round}: the exam is set, by slice {slice_of_attempt(state.attempt)}")
        return True

    def _open(self, state: JobState) -> bool:
        exam = self.job.market.exam(self.job.id, state.attempt)
        if exam.opened != NO_WORD:
            return False
        context = self._context(state)
        kept = self.folder.attempt(context)
        sealed = kept.sealed()
        if exam.seal == NO_WORD or sealed is None or self._seal_of(context, sealed) != exam.seal:
            why = "none was set in time" if exam.seal == NO_WORD else f"what opens its seal is not in {kept.path}"
            raise InvalidExam(f"the exam cannot be opened from here, which costs a deposit: {why}")
        self._deliver(state, kept, sealed)
        call = self.job.market.open_exam(self.job.id, state.attempt, sealed.content, sealed.commitment, sealed.salt)
        self._send("exam-open", context, call, self.job.terms.schedule(state.attempt_start_s).exam_end_s)
        self.report(f"round {state.round}: the exam is opened")
        return True

    def _publish(self, state: JobState) -> bool:
        """Show every slice and every r, once that cannot help anybody in an attempt any more."""
        confirmed = self.job.market.chain.block_number() - self._finality.blocks + 1
        if self.job.market.at(max(0, confirmed)).phase(self.job.id) is not Phase.FINISHED:
            return False
        final_s = self._final_from_s(state)
        if self.job.market.chain.timestamp() < final_s:
            self._tell_once(f"the exam is published from {moment(final_s)} on: the last round can be undone until then")
            return False
        book = self._put_book(self.job.history())
        call = self.job.market.publish_exam(self.job.id, Digest(book.digest))
        try:
            self.sender.send(f"exam-publish/{self.job.id}", call, self._finality)
        except ContractRevert as refusal:
            # Published from the other machine, or closed by somebody meanwhile: the next look at the chain tells.
            self._tell_once(str(refusal))
            return False
        self.report(f"the exam is published: {book}")
        return True

    def _final_from_s(self, state: JobState) -> int:
        """When the last attempt cannot be undone any more: it would run again, and find every slice public."""
        if not self.job.terms.disputes.quorum or not state.attempt:
            return 0
        return self.job.market.outcome(self.job.id, state.attempt - 1).vests_at_s

    def _conclude(self, state: JobState, phase: Phase) -> bool:
        """End an attempt that nobody else does: left open until the close, it keeps the exam from being published."""
        market, starved = self.job.market, phase is Phase.STARVED
        act, end = ("skip", market.skip_round) if starved else ("expire", market.expire_round)
        try:
            self.sender.send(f"{act}/{self.job.id}/{state.attempt}", end(self.job.id, state.attempt), self._finality)
        except ContractRevert:
            return False  # somebody else did: the next look at the chain tells
        self.report(f"round {state.round}: attempt {state.attempt} {'skipped' if starved else 'expired'}")
        return True

    # ------------------------------------------------------------------ setting an exam

    def _sealed(self, state: JobState, context: SealContext, kept: AttemptExam) -> SealedReference | None:
        """What this attempt is examined with: what is on the disk already, or what is made now; None while waiting."""
        recipient = self._recipient()
        sealed = kept.sealed()
        # A commit that was signed stands for the opening on the disk, whatever a reorganisation did since.
        if self.sender.knows(_key("exam-commit", context)):
            if sealed is None:
                raise InvalidExam(f"the opening of this attempt's seal is not in {kept.path}")
            return sealed
        if sealed is not None and (sealed.model, sealed.recipient) == (state.model, recipient):
            return sealed
        model = self._current_model(state)
        return None if model is None else self._seal(state, context, kept, model, recipient)

    def _seal(
        self, state: JobState, context: SealContext, kept: AttemptExam, model: Integers, recipient: bytes
    ) -> SealedReference:
        r = self._reference(state.attempt, model)
        commitment, ephemeral = self._commitment(r), new_ephemeral()
        blob = seal_to(recipient, context, EXAM, format_reference(r), ephemeral)
        content = Digest(content_cid(blob).digest)
        sealed = SealedReference(content, commitment, new_salt(), state.model, recipient, ephemeral)
        kept.seal(format_reference(r), blob, sealed)
        return sealed

    def _reference(self, attempt: int, model: Integers) -> Reference:
        index = slice_of_attempt(attempt)
        self.folder.slice_data(index)  # says what is wrong with it
        return reference(self.model, model, load_slice(self.folder.slice_path(index), self.model))

    def _commitment(self, r: Reference) -> bytes:
        """C_r, without blinders: at the close everybody may see what it opens to."""
        return commit(self._srs, self._layout, r.astype(np.int64), Blinders.zero(self._layout))

    def _recipient(self) -> bytes:
        """The public key of whoever will settle this attempt."""
        aggregators = self.job.market.aggregators(self.job.id)
        key = self.job.market.sealing_key(self.job.id, aggregators[0]) if aggregators else None
        if key is None:
            raise InvalidSealingKey("no aggregator that has announced a key is bonded")
        return key

    def _current_model(self, state: JobState) -> Integers | None:
        try:
            self._access.require()
            return fetch_current(self.job, self._srs, state)
        except (BlockNotFound, CorruptBlock, ModelsSealed) as problem:
            self._tell_once(f"round {state.round}: waiting for the model: {problem}")
            return None

    def _seal_of(self, context: SealContext, sealed: SealedReference) -> bytes:
        return seal(context, self.owner, sealed.commitment, sealed.content, sealed.salt)

    def _deliver(self, state: JobState, kept: AttemptExam, sealed: SealedReference) -> None:
        """Put sealed r where the aggregator finds it; the opening alone, without it, still saves the deposit."""
        try:
            cid = self.job.store.add_bytes(kept.blob(sealed.content))
            self.job.store.pin(cid, f"job {self.job.id} attempt {state.attempt} exam")
        except InvalidExam as problem:
            self.report(f"round {state.round}: the aggregator will have to do without the exam: {problem}")

    # ------------------------------------------------------------------ publishing

    def _put_book(self, history: JobHistory) -> Cid:
        references = {}
        for number, attempt in sorted(history.attempts.items()):
            r = self._published_reference(history, attempt)
            if r is not None:
                references[number] = str(self._put(format_reference(r)))
        for index in range(len(self.folder.slices)):
            try:
                self._put(self.folder.slice_data(index))
            except InvalidExam as problem:
                self.report(str(problem))
        book = ExamBook.of_slices(self.folder.slices, references, self._published_sealings(history))
        book.check(self.job.terms.exam.root, self.job.terms.exam.slices)
        return self._put(book.to_bytes())

    def _published_reference(self, history: JobHistory, attempt: Attempt) -> Reference | None:
        """The r that an attempt's commitment opens to, None where none was opened or it is lost beyond recomputing."""
        if attempt.exam_opened is None:
            return None
        context = self.job.market.seal_context(self.job.id, attempt.started.round, attempt.number)
        try:
            r = self.folder.attempt(context).reference(self.job.dimension)
            if self._commitment(r) == attempt.exam_opened.commitment:
                return r
        except InvalidExam as problem:
            self.report(f"attempt {attempt.number}: {problem}")
        try:
            model = fetch_verified(self.job, self._srs, history.versions(before=attempt.number))
            r = self._reference(attempt.number, model)
            if self._commitment(r) == attempt.exam_opened.commitment:
                return r
        except (*UNREADABLE, InvalidData, InvalidExam) as problem:
            self.report(f"attempt {attempt.number}: {problem}")
        self.report(f"attempt {attempt.number}: its r is lost and cannot be published")
        return None

    def _published_sealings(self, history: JobHistory) -> dict[int, bytes]:
        """What every opened exam was sealed with: without it nobody could tell what the aggregator was sent."""
        sealings = {}
        for number, attempt in sorted(history.attempts.items()):
            if attempt.exam_opened is None:
                continue
            context = self.job.market.seal_context(self.job.id, attempt.started.round, number)
            try:
                sealed = self.folder.attempt(context).sealed()
            except InvalidExam as problem:
                self.report(f"attempt {number}: {problem}")
                continue
            if sealed is None or sealed.content != attempt.exam_opened.content:
                self.report(f"attempt {number}: what its r was sealed with is lost and cannot be published")
            else:
                sealings[number] = sealed.ephemeral
        return sealings

    def _put(self, data: bytes) -> Cid:
        cid = self.job.store.add_bytes(data)
        self.job.store.pin(cid, f"job {self.job.id} exam")
        return cid

    # ------------------------------------------------------------------ small things

    def _context(self, state: JobState) -> SealContext:
        return self.job.market.seal_context(self.job.id, state.round, state.attempt)

    def _send(self, act: str, context: SealContext, call: PreparedCall, until_s: int) -> Receipt:
        """Send, and wait for the job's confirmations: not beyond the phase's end, for then the next act is due."""
        left_s = max(1, until_s - self.job.market.chain.timestamp())
        timeout_s = min(self.sender.policy.timeout_s, left_s)
        return self.sender.send(_key(act, context), call, self._finality, timeout_s)

    def _give_up(self, state: JobState, why: str) -> None:
        self._given_up.add(_occasion(state))
        self.report(f"round {state.round}: attempt {state.attempt} is not examined by this machine: {why}")

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self.report(line)


def check_exam(job: PublishedJob, folder: ExamFolder, account: str, owner: str) -> None:
    """Refuse an exam that is not the job's, and an account that may not set it.

    Raises:
        InvalidInput: naming what was expected.
    """
    terms = job.terms.exam
    if not terms.is_set:
        raise InvalidInput(f"job {job.id} has no exam: there is nothing to set")
    if folder.root != terms.root:
        raise InvalidInput(
            f"the exam in {folder.path} has the root 0x{folder.root.hex()}, job {job.id} 0x{terms.root.hex()}"
        )
    examiner = terms.examiner_of(owner)
    if account not in (owner, examiner):
        named = f"its owner {owner}" + (f" or its examiner {examiner}" if examiner != owner else "")
        raise InvalidInput(f"{account} may not set the exam of job {job.id}: expected {named}")


def _occasion(state: JobState) -> tuple[int, Digest]:
    """What is given up for good: after a reorganisation an attempt with another model is another matter."""
    return state.attempt, state.model


def _key(act: str, context: SealContext) -> str:
    """Names an act of this examiner, so that it is sent once."""
    return f"{act}/{context.job}/{context.attempt}"
