"""What an attestor finds when it looks at a disputed fact: storage and chain say, and nobody's word counts."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory

from aggregator.audit import exams
from aggregator.audit.chain_record import read_record
from aggregator.audit.exam_evidence import ExamEvidence
from aggregator.audit.updates import Closed, Openings, SealedUpdates, is_sound, open_one
from aggregator.audit.vectors import Missing
from fedmarket.exam_grader import ModelGrader
from market.chain.attestation import Question
from market.chain.records import ExclusionReason, Fact
from market.job_history import Attempt
from market.model_opening import fetch_verified, layout_of
from market.protocol.errors import AuditMismatch, BlockNotFound, CorruptBlock, InvalidContent, InvalidModel
from market.protocol.identifiers import Seat
from market.protocol.integer_model import Integers
from market.published_job import PublishedJob
from zk.srs import Srs


class Finding(Enum):
    """What looking at a fact comes to."""

    HOLDS = auto()
    FAILS = auto()
    ABSENT = auto()
    """What would show it is not in storage, where whoever is bound to put it there can still do so."""
    UNKNOWN = auto()
    """It cannot be told from here, by no fault of anybody's."""


class FactFinder:
    """Looks at the facts of one job.

    An update or an exam that is said to have been unavailable may be in storage for whoever looks later: only an
    attestor that was there when the aggregator's time began can tell, and says so by `came_in_time`.
    """

    def __init__(self, job: PublishedJob, srs: Srs, folder: Path) -> None:
        """Prepare to look.

        Args:
            job: the job.
            srs: the one that its commitments are made under.
            folder: for vectors while they are looked at; nothing that is in it before is believed.
        """
        self._job, self._srs, self._folder = job, srs, folder

    def find(
        self, question: Question, *, came_in_time: bool | None = None, openings: Openings | None = None
    ) -> Finding:
        """Look at a fact now.

        Args:
            question: which.
            came_in_time: whether the disputed update, or the sealed exam, was here before its settle phase began; None
                where that cannot be told.
            openings: what whoever contests an exclusion has shown: a sealed update is opened by nothing else.

        Raises:
            ChainError: the node's answers are not of one chain, or its events are incomplete.
            StorageError: this machine's disk refuses.
        """
        attempt = self._job.history().attempt(question.attempt)
        if question.fact is Fact.MODEL:
            return self._model(attempt)
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="fact-", dir=self._folder, ignore_cleanup_errors=True) as folder:
            if question.fact is Fact.EXCLUSION:
                return self._exclusion(attempt, question.seat, Path(folder), came_in_time, openings)
            return self._exam(attempt, Path(folder), came_in_time)

    def _model(self, attempt: Attempt) -> Finding:
        """The bytes that a settlement named are in storage, and open what the chain committed to."""
        try:
            fetch_verified(self._job, self._srs, self._job.history().versions(attempt.number + 1))
        except (BlockNotFound, CorruptBlock):
            return Finding.ABSENT
        except (AuditMismatch, InvalidContent, InvalidModel):
            return Finding.FAILS
        return Finding.HOLDS

    def _exclusion(
        self, attempt: Attempt, seat: Seat, folder: Path, came_in_time: bool | None, openings: Openings | None
    ) -> Finding:
        """The update could not be had in time, or is none that opens its seat's commitment."""
        layout, record = layout_of(self._job), read_record(self._job.market, self._job.id)
        updates = SealedUpdates(record, self._job.store, layout, folder, openings)
        update = open_one(self._srs, layout, updates, attempt, seat)
        if isinstance(update, Missing | Closed):
            return Finding.ABSENT
        if not is_sound(update):
            return Finding.HOLDS
        if attempt.exclusions[seat].reason is not ExclusionReason.UNAVAILABLE or came_in_time:
            return Finding.FAILS
        return Finding.UNKNOWN if came_in_time is None else Finding.HOLDS

    def _exam(self, attempt: Attempt, folder: Path, came_in_time: bool | None) -> Finding:
        """What was published is under the job's root, and its r what that slice asks for at the round's model.

        Where the exam was left out the aggregator could also have had it: r was sealed to it, and came in time.
        """
        record = read_record(self._job.market, self._job.id)
        evidence = ExamEvidence(record, self._job.store, self._srs, folder, ModelGrader())
        model = self._model_before(attempt)
        checks = [exams.check_book(record, evidence), exams.check_reference(record, attempt, evidence, model)]
        excluded, owed = attempt.exam_excluded, exams.could_be_sealed(record, attempt)
        if excluded:
            checks.append(exams.check_sealing(record, attempt, evidence))
        verdicts = {check.verdict for check in checks}
        if "mismatch" in verdicts or (excluded and owed and came_in_time is False):
            return Finding.FAILS
        if verdicts != {"ok"}:
            return Finding.UNKNOWN if model is None else Finding.ABSENT
        unavailable = excluded is not None and excluded.reason is ExclusionReason.UNAVAILABLE
        return Finding.UNKNOWN if unavailable and owed and came_in_time is None else Finding.HOLDS

    def _model_before(self, attempt: Attempt) -> Integers | None:
        try:
            return fetch_verified(self._job, self._srs, self._job.history().versions(attempt.number))
        except (AuditMismatch, BlockNotFound, CorruptBlock, InvalidContent, InvalidModel):
            return None
