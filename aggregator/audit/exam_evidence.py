"""What the owner published of its exams: the book, the slices and every r. The chain says what of it to believe."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.vectors import Missing, Model, Unfit
from market.job_history import Attempt
from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidCid, InvalidContent, InvalidExam
from market.protocol.exam import (
    MAX_BOOK_BYTES,
    ExamBook,
    Reference,
    parse_reference,
    reference_bytes,
    slice_of_attempt,
)
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.storage import Cid, ContentReader
from zk.commitment import Blinders, Layout, commit
from zk.srs import Srs

MAX_SLICE_BYTES = 256 * 1024 * 1024
"""Longest slice that is looked at."""


class ExamGrader(Protocol):
    """Trains nothing, and knows the job's model: what an audit needs of it, given by whoever runs the audit."""

    def reference(self, document: JobDocument, model: Model, samples: Path) -> Reference:
        """R of a slice at a model: int32 (d,).

        Raises:
            InvalidData: the slice is none, does not fit the job's model, or examines nobody.
            InvalidModel: the job's model cannot be built here.
        """
        ...

    def losses(self, document: JobDocument, model: Model, samples: Path) -> list[float]:
        """The model's loss on every sample of a slice. Raises as `reference`."""
        ...


@dataclass(frozen=True)
class Unpublished:
    """What the owner has not shown, or not yet."""

    reason: str


Absent = Unpublished | Missing | Unfit


@dataclass
class ExamEvidence:
    """Fetches what was published of a job's exams, each once.

    Attributes:
        record: the job.
        store: where book, slices and references are.
        srs: the one that the job's commitments are made under.
        folder: an empty folder for slices.
        grader: recomputes references and losses; None where nothing is recomputed.
    """

    record: ChainRecord
    store: ContentReader
    srs: Srs
    folder: Path
    grader: ExamGrader | None
    _references: dict[int, Reference | Absent] = field(default_factory=dict, init=False)
    _committed: dict[int, bool] = field(default_factory=dict, init=False)

    @cached_property
    def book(self) -> ExamBook | Absent:
        """All slices' openings and the names of the references."""
        published = self.record.history.published
        if published is None:
            closed = self.record.history.closed
            return Unpublished("the owner never showed it" if closed else "the owner has not shown it yet")
        try:
            return ExamBook.from_bytes(self.store.read(Cid.from_digest(published.content, 0), MAX_BOOK_BYTES))
        except (BlockNotFound, CorruptBlock) as error:
            return Missing(str(error))
        except (InvalidContent, InvalidExam) as error:
            return Unfit(str(error))

    @cached_property
    def document(self) -> JobDocument:
        """The job's document.

        Raises:
            FedmarketError: it is not to be had, or is none.
        """
        cid = Cid.from_digest(self.record.history.opened.spec, 0)
        return JobDocument.from_bytes(self.store.read(cid, MAX_SPEC_BYTES))

    def reference(self, attempt: Attempt) -> Reference | Absent:
        """R of an attempt as it was published, int32 (d,); whether it is what was committed is not looked at."""
        if attempt.number not in self._references:
            self._references[attempt.number] = self._fetch_reference(attempt.number)
        return self._references[attempt.number]

    def ephemeral(self, attempt: Attempt) -> bytes | Absent:
        """The private key that the owner says it sealed r of an attempt with, 32 bytes."""
        if not isinstance(self.book, ExamBook):
            return self.book
        if attempt.number not in self.book.sealings:
            return Unfit("the book does not show what r of this attempt was sealed with")
        return self.book.sealings[attempt.number]

    def is_committed(self, attempt: Attempt) -> bool:
        """Whether the r that was published is the one that was opened on the chain: its commitment has no blinders."""
        reference, opened = self.reference(attempt), attempt.exam_opened
        if opened is None or isinstance(reference, Absent):
            return False
        if attempt.number not in self._committed:
            layout = Layout(self.record.terms.rules.dimension, self.record.terms.chunks)
            found = commit(self.srs, layout, reference, Blinders.zero(layout))
            self._committed[attempt.number] = found == opened.commitment
        return self._committed[attempt.number]

    def row(self, attempt: Attempt) -> Model | None:
        """The r that counted in an attempt's decision, int64 (d,); None where it is not to be had, or none counted."""
        reference = self.reference(attempt) if attempt.examined and self.is_committed(attempt) else None
        return None if reference is None or isinstance(reference, Absent) else reference.astype(np.int64)

    def samples(self, index: int) -> Path | Absent:
        """A slice's file, under the root or not."""
        if not isinstance(self.book, ExamBook):
            return self.book
        if index >= len(self.book.slices):
            return Unfit(f"the book has no slice {index}")
        path = self.folder / f"slice-{index}.npz"
        try:
            if not path.exists():
                cid = Cid.parse(self.book.slices[index].samples)
                if self.store.size(cid) > MAX_SLICE_BYTES:
                    return Unfit(f"slice {index} has more than {MAX_SLICE_BYTES} bytes")
                self.store.copy_to(cid, path)
        except (BlockNotFound, CorruptBlock) as error:
            return Missing(f"slice {index} is not in storage: {error}")
        except (InvalidCid, InvalidContent) as error:
            return Unfit(f"slice {index}: {error}")
        return path

    def samples_of(self, attempt: Attempt) -> Path | Absent:
        """The file of the slice that an attempt was examined with, if it is the one under the root."""
        index = slice_of_attempt(attempt.number)
        if isinstance(self.book, ExamBook) and index < len(self.book.slices):
            try:
                self.book.check_slice(index)
            except InvalidExam as error:
                return Missing(str(error))
        return self.samples(index)

    def _fetch_reference(self, attempt: int) -> Reference | Absent:
        if not isinstance(self.book, ExamBook):
            return self.book
        if attempt not in self.book.references:
            return Unfit("the book has no r of this attempt")
        expected_bytes = reference_bytes(self.record.terms.rules.dimension)
        try:
            data = self.store.read(Cid.parse(self.book.references[attempt]), expected_bytes)
            return parse_reference(data, self.record.terms.rules.dimension)
        except (BlockNotFound, CorruptBlock) as error:
            return Missing(str(error))
        except (InvalidCid, InvalidContent, InvalidExam) as error:
            return Unfit(str(error))
