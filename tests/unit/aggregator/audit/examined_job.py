"""A job with an exam, played in memory: by an owner who keeps to the rules, or by one who does not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregator.audit.vectors import Model
from market.chain import events as on_chain
from market.chain.records import ExclusionReason
from market.protocol.errors import InvalidData
from market.protocol.exam import ExamBook, ExamSlice, Reference, exam_path, exam_root, format_reference
from market.protocol.exam_spec import ExamDocument, PublicSlice
from market.protocol.identifiers import Digest
from market.protocol.job_spec import JobDocument
from market.protocol.rule_terms import RuleKind
from market.protocol.seal import SealContext, seal
from market.sealing import EXAM, can_seal_to, seal_to
from market.storage import content_cid
from tests.unit.aggregator.audit.audited_job import AuditedJob
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, CHAIN_ID, CONTRACT, JOB, OWNER, D
from zk.commitment import Blinders, commit
from zk.gram_proof import CommittedRow

DEPOSIT_WEI = 1_500
SPARES = 1
SLICES = 3 + SPARES
"""One for each of three rounds, and the spares."""

EXAMINED: dict[str, Any] = {
    "rules": {"accept": ["exam"], "score": "exam", "significance": 1.0},
    "exam": {"period_s": 60, "deposit": DEPOSIT_WEI, "spares": SPARES},
}


def samples(index: int) -> bytes:
    """A slice: to everybody but the grader these are bytes."""
    return b"samples %d" % index


def result(data: bytes, model: Model) -> Reference:
    """Stands for the training result of these samples at this model: another one for others."""
    digest = hashlib.sha256(data + np.asarray(model).tobytes()).digest()
    return np.random.default_rng(list(digest)).integers(-(1 << 29), 1 << 29, D).astype(np.int32)


class DigestGrader:
    """Recomputes the references of these jobs, whose samples are bytes. Nobody learns the labels of `harder` slices."""

    def __init__(self, *harder: int) -> None:
        self.harder = {samples(index) for index in harder}

    def reference(self, document: JobDocument, model: Model, samples: Path) -> Reference:
        data = samples.read_bytes()
        if not data.startswith(b"samples"):
            raise InvalidData(f"{samples.name} is no slice")
        # What another machine computes differs in the last bits.
        return result(data, model) + np.random.default_rng(1).integers(-2, 3, D).astype(np.int32)

    def losses(self, document: JobDocument, model: Model, samples: Path) -> list[float]:
        data = samples.read_bytes()
        drawn = np.random.default_rng(list(data)).normal(1.0, 0.2, 64)
        return [float(loss) for loss in drawn + (1.0 if data in self.harder else 0.0)]


@dataclass
class ExaminedJob(AuditedJob):
    """A contract's worth of state of a job with an exam."""

    def __post_init__(self) -> None:
        self.changes = EXAMINED | self.changes
        self.slices = [ExamSlice(self._keep(samples(index)), bytes([index]) * 32) for index in range(SLICES + 1)]
        self.references: dict[int, Reference] = {}
        self.sealings: dict[int, bytes] = {}
        self.sealed_exam: tuple[Digest, bytes, bytes] | None = None
        self.left_out = False
        super().__post_init__()

    def exam_document(self) -> ExamDocument:
        leaves = [opened.leaf(index) for index, opened in enumerate(self.slices)]
        path = tuple(sibling.hex() for sibling in exam_path(leaves, 0))
        public = PublicSlice(samples=self.slices[0].samples, salt=self.slices[0].salt.hex(), path=path)
        return ExamDocument(root=exam_root(leaves).hex(), public=public)

    def _keep(self, data: bytes) -> str:
        return str(self.store.add_bytes(data))

    # ------------------------------------------------------------------ setting an exam

    @property
    def due_reference(self) -> Reference:
        """R of this attempt."""
        return result(samples(self.attempt + 1), self.proven.models[-1].version.model)

    def seal(self, place: SealContext, r: Reference) -> bytes:
        """R, sealed to this attempt's aggregator; to a key that nothing can be sealed to, other bytes."""
        ephemeral = hashlib.sha256(b"ephemeral %d" % self.attempt).digest()
        self.sealings[self.attempt] = ephemeral
        if not can_seal_to(self.sealing_key):
            return ephemeral
        return seal_to(self.sealing_key, place, EXAM, format_reference(r), ephemeral)

    def commit_exam(self, reference: Reference | None = None, blob: bytes | None = None) -> None:
        """Seal this attempt's r: the training result, or another one; or name other bytes for what was sealed."""
        r = self.due_reference if reference is None else reference
        self.references[self.attempt] = r
        layout = self.proven.layout
        commitment = commit(self.srs, layout, r.astype(np.int64), Blinders.zero(layout))
        place = SealContext(CHAIN_ID, CONTRACT, JOB, self.round, self.attempt)
        honest = self.seal(place, r)
        content = Digest(content_cid(honest if blob is None else blob).digest)
        salt = hashlib.sha256(b"exam salt %d" % self.attempt).digest()
        self.sealed_exam = content, commitment, salt
        sign = seal(place, OWNER, commitment, content, salt)
        self.emit(on_chain.ExamCommitted, attempt=self.attempt, seal=sign)

    def open_exam(self) -> None:
        """Open it, so that it counts."""
        assert self.sealed_exam is not None
        self.now_s = self.terms.schedule(self.start_s).reveal_end_s
        content, commitment, salt = self.sealed_exam
        values = {"content": content, "commitment": commitment, "salt": salt}
        self.emit(on_chain.ExamOpened, attempt=self.attempt, **values)
        r = self.references[self.attempt].astype(np.int64)
        self.exam = CommittedRow(r, Blinders.zero(self.proven.layout), commitment)

    def leave_exam_out(self, reason: ExclusionReason) -> None:
        """Let the aggregator say that it has no r."""
        self.now_s = self.terms.schedule(self.start_s).exam_end_s + 5
        self.emit(on_chain.ExamExcluded, attempt=self.attempt, reason=reason)
        self.exam, self.left_out = None, True

    def earns_fee(self, rows: Sequence[int]) -> bool:
        return super().earns_fee(rows) and not self.left_out

    @property
    def misses_exam(self) -> bool:
        opened = any(event.attempt == self.attempt for event in self.events_of(on_chain.ExamOpened))
        return not opened and self.terms.exam.has_slice(self.attempt)

    def charge_missed(self) -> None:
        if self.misses_exam:
            self.move(exams=-DEPOSIT_WEI, burned=DEPOSIT_WEI)
            self.emit(on_chain.ExamMissed, attempt=self.attempt, deposit_wei=DEPOSIT_WEI)

    def updates(self, seats: Sequence[int], noise: int = 50) -> dict[int, Any]:
        """Updates that point where the exam of this attempt asks, but for some noise."""
        random = np.random.default_rng(self.attempt)
        wanted = self.due_reference.astype(np.float64)
        common = np.rint(wanted * 400 / np.abs(wanted).max()).astype(np.int64)
        return {seat: (common + random.integers(-noise, noise, D)).astype(np.int16) for seat in seats}

    def conclude(self, *, round_over: bool) -> None:
        self.sealed_exam, self.left_out = None, False
        super().conclude(round_over=round_over)

    # ------------------------------------------------------------------ the end

    @property
    def book(self) -> ExamBook:
        """The honest book."""
        opened = {event.attempt for event in self.events_of(on_chain.ExamOpened)}
        kept = {attempt: self._keep(format_reference(self.references[attempt])) for attempt in opened}
        return ExamBook.of_slices(self.slices, kept, {attempt: self.sealings[attempt] for attempt in opened})

    def publish(self, book: bytes | None = None, *, keep: bool = True) -> None:
        """Show what the exams were: the honest book, or other bytes."""
        data = self.book.to_bytes() if book is None else book
        content = self.store.add_bytes(data).digest if keep else hashlib.sha256(data).digest()
        self.emit(on_chain.ExamPublished, content=Digest(content))

    def conclude_exams(self) -> int:
        amount = self.money["exams"]
        if any(self.events_of(on_chain.ExamPublished)):
            return amount
        self.now_s += self.terms.commit_period_s
        self.move(exams=-amount, burned=amount)
        self.emit(on_chain.ExamUnpublished, amount_wei=amount)
        return 0


def joined(job: ExaminedJob) -> ExaminedJob:
    """Four trainers and two aggregators."""
    assert any(rule.kind is RuleKind.EXAM for rule in job.terms.rules.rules)
    job.enrol(0, 1, 2, 3)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    return job


def play_examined(job: ExaminedJob, reference: Reference | None = None, **cheats: Any) -> None:
    """Commit, reveal, examine and settle."""
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.commit_exam(reference)
    job.reveal(*updates)
    job.open_exam()
    job.settle(updates, **cheats)


def play_without(job: ExaminedJob) -> None:
    """A round whose exam is not opened."""
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates)


def shuffled(book: ExamBook, index: int, samples: str) -> ExamBook:
    """The book with another slice in this one's place, its leaf as it was."""
    slices = [*book.slices]
    slices[index] = replace(slices[index], samples=samples)
    return replace(book, slices=tuple(slices))
