"""The exam of an attempt: its r fetched, unsealed, and opened against its commitment before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregator.exam import exam_results
from aggregator.worker.progress import Progress, ShowProgress, show_nothing
from market.chain.events import ExamOpened
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.protocol.errors import BlockNotFound, CannotUnseal, CorruptBlock, InvalidContent, InvalidExam
from market.protocol.exam import parse_reference
from market.protocol.gram_matrix import GramMatrix
from market.protocol.identifiers import Digest, Seat
from market.protocol.rule_terms import RuleKind
from market.protocol.seal import SealContext
from market.protocol.terms import JobTerms
from market.published_job import PublishedJob
from market.sealing import EXAM, SealingKey
from zk.commitment import Blinders, Layout, commit
from zk.gram_proof import CommittedRow
from zk.srs import Srs


@dataclass(frozen=True, eq=False)
class CollectedExam:
    """What could be had of an attempt's exam.

    Attributes:
        reference: r, int64 (d,), with what opens it; None where the round is decided without.
        reason: why an exam that was opened is left out.
    """

    reference: CommittedRow | None = None
    reason: ExclusionReason = ExclusionReason.NONE

    @property
    def is_complete(self) -> bool:
        """Whether waiting for storage could change nothing any more."""
        return self.reason is not ExclusionReason.UNAVAILABLE


NO_EXAM_OPENED = CollectedExam()


class OpenedExams:
    """Fetches and opens the exam of one attempt, once, however often it is looked."""

    def __init__(
        self, job: PublishedJob, srs: Srs, layout: Layout, key: SealingKey, progress: ShowProgress = show_nothing
    ) -> None:
        """Look at nothing yet.

        Args:
            job: whose attempt.
            srs: under which r was committed.
            layout: of the job's vectors.
            key: the aggregator's, to which r was sealed.
            progress: is told when r was opened.
        """
        self._job, self._srs, self._layout, self._key, self._progress = job, srs, layout, key, progress
        self._judged: dict[tuple[Digest, bytes], CommittedRow | ExclusionReason] = {}

    @property
    def judged(self) -> bool:
        """Whether the exam need not be looked at again."""
        return bool(self._judged)

    def collect(self, attempt: Attempt) -> CollectedExam:
        """Whatever is in storage by now of what was opened.

        Raises:
            StorageError: this machine's disk refuses.
        """
        opened = attempt.exam_opened
        if opened is None:
            return NO_EXAM_OPENED
        place = self._job.market.seal_context(self._job.id, attempt.started.round, attempt.number)
        judged = self._judged.get((opened.content, opened.commitment)) or self._judge(place, opened)
        return CollectedExam(judged) if isinstance(judged, CommittedRow) else CollectedExam(reason=judged)

    def _judge(self, place: SealContext, opened: ExamOpened) -> CommittedRow | ExclusionReason:
        self._progress(Progress("opening the exam", 0, 1))
        judged = fetch_exam(self._job, self._srs, self._layout, self._key, place, opened)
        if judged is not ExclusionReason.UNAVAILABLE:
            self._judged[opened.content, opened.commitment] = judged
            self._progress(Progress("opening the exam", 1, 1))
        return judged


def fetch_exam(
    job: PublishedJob, srs: Srs, layout: Layout, key: SealingKey, place: SealContext, opened: ExamOpened
) -> CommittedRow | ExclusionReason:
    """Fetch and unseal r, and open its commitment with it, or say why it has to be left out.

    What is missing or damaged here may still arrive: it is unavailable. What does not unseal, or is no vector in range,
    never will be one: it is unreadable. Another r than the one that was committed to is a mismatch. In the clear r is
    in memory alone: at the close it is everybody's, until then the exam is a secret.

    Args:
        job: whose exam.
        srs: under which r was committed.
        layout: of the job's vectors.
        key: to which r was sealed.
        place: of the attempt.
        opened: its opening on the chain.

    Raises:
        StorageError: this machine's disk refuses.
    """
    try:
        unsealed = key.unseal(place, EXAM, job.sealed_exam(opened.content))
        reference = parse_reference(unsealed, layout.dimension).astype(np.int64)
    except (BlockNotFound, CorruptBlock):
        return ExclusionReason.UNAVAILABLE
    except (CannotUnseal, InvalidContent, InvalidExam):
        return ExclusionReason.UNREADABLE
    row = committed_reference(srs, layout, reference)
    return row if row.commitment == opened.commitment else ExclusionReason.MISMATCH


def committed_reference(srs: Srs, layout: Layout, reference: NDArray[np.int64]) -> CommittedRow:
    """An exam's r, int64 (d,), with its commitment, which has no blinders: at the close r is everybody's."""
    none = Blinders.zero(layout)
    return CommittedRow(reference, none, commit(srs, layout, reference, none))


def exam_told(
    terms: JobTerms, seats: Sequence[Seat], exam: CollectedExam, gram: GramMatrix, records_q16: Sequence[int]
) -> str:
    """What a round's line ends with in a job with an exam: who failed it and why, or why it did not count.

    Args:
        terms: the job's.
        seats: behind the matrix's rows.
        exam: the round's.
        gram: the round's matrix.
        records_q16: what the exams before came to for each row's seat.
    """
    if not terms.exam.is_set or not seats:
        return ""
    if exam.reason is not ExclusionReason.NONE:
        return f"; the exam was left out: {exam.reason.name.lower()}"
    if exam.reference is None:
        return "; the exam was not opened"
    results = exam_results(terms.rules, gram, records_q16)
    if results is None:
        return "; the exam asked for nothing that is not public"
    if not any(rule.kind is RuleKind.EXAM for rule in terms.rules.rules):
        return "; scored by the exam"
    failed = [f"; seat {seat} {results.sentence(row)}" for row, seat in enumerate(seats) if not results.passed[row]]
    return "".join(failed) or "; all passed the exam"
