"""What storage has to hold of a job: everything that the chain names, and what those contents name in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from market.job_history import Attempt, JobHistory
from market.protocol.errors import FedmarketError, StorageError
from market.protocol.exam import MAX_BOOK_BYTES, ExamBook, reference_bytes
from market.protocol.identifiers import Digest
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.protocol.terms import JobTerms
from market.sealed_update import sealed_update_cid
from market.sealing import OVERHEAD_BYTES
from market.storage import Cid, ContentReader

MODEL_ENTRY_BYTES = 8


class Kind(Enum):
    """What a content is that the chain names by its digest alone."""

    DOCUMENT = "document"
    MODEL = "model"
    UPDATE = "update"
    SEALED_EXAM = "sealed exam"
    EXAM_BOOK = "exam book"


def _one_block(digest: Digest, terms: JobTerms) -> Cid:
    """A document fits one block, whatever its length, and so does a book."""
    return Cid.from_digest(digest, 0)


def _model(digest: Digest, terms: JobTerms) -> Cid:
    return Cid.from_digest(digest, MODEL_ENTRY_BYTES * terms.rules.dimension)


def _update(digest: Digest, terms: JobTerms) -> Cid:
    return sealed_update_cid(digest, terms.rules.dimension, terms.chunks)


def _sealed_exam(digest: Digest, terms: JobTerms) -> Cid:
    return Cid.from_digest(digest, reference_bytes(terms.rules.dimension) + OVERHEAD_BYTES)


_CIDS: Mapping[Kind, Callable[[Digest, JobTerms], Cid]] = {
    Kind.DOCUMENT: _one_block,
    Kind.MODEL: _model,
    Kind.UPDATE: _update,
    Kind.SEALED_EXAM: _sealed_exam,
    Kind.EXAM_BOOK: _one_block,
}


def cid_on_chain(kind: Kind, digest: Digest, terms: JobTerms) -> Cid:
    """The content identifier behind a digest that the chain has of a job.

    Args:
        kind: what it is of.
        digest: on the chain.
        terms: the job's.
    """
    return _CIDS[kind](digest, terms)


@dataclass(frozen=True)
class JobContent:
    """One content of a job, and what a person calls it."""

    name: str
    cid: Cid


@dataclass(frozen=True)
class JobContents:
    """The contents of a job that a store holds whole, and those that it does not, with the reason."""

    held: tuple[JobContent, ...]
    missing: tuple[tuple[JobContent, str], ...]


def named_by_chain(history: JobHistory) -> Iterator[JobContent]:
    """What the chain names: document, models, updates and exams that were revealed, the exams' publication.

    Args:
        history: made of all of the job's events.
    """
    opened = history.opened
    yield _document(history)
    yield JobContent("the initial model", cid_on_chain(Kind.MODEL, opened.initial_model, opened.terms))
    for _, attempt in sorted(history.attempts.items()):
        yield from _named_in(attempt, opened.terms)
    if book := _book(history):
        yield book


def named_by_document(document: JobDocument) -> Iterator[JobContent]:
    """What the owner's document names beside: the exam's public slice."""
    if document.exam is not None:
        yield JobContent("the exam's public slice", Cid.parse(document.exam.public.opened.samples))


def named_by_book(book: ExamBook) -> Iterator[JobContent]:
    """What an exam's publication names: the slices, and every r."""
    for index, opened in enumerate(book.slices):
        yield JobContent(f"slice {index} of the exam", Cid.parse(opened.samples))
    for attempt, reference in sorted(book.references.items()):
        yield JobContent(f"the exam's r of attempt {attempt}", Cid.parse(reference))


def look_for(
    history: JobHistory, store: ContentReader, progress: Callable[[JobContent], None] = lambda content: None
) -> JobContents:
    """Read and verify everything that a store has of a job.

    Args:
        history: made of all of the job's events.
        store: where to look.
        progress: is told of each content before it is looked at.
    """
    held: dict[Cid, JobContent] = {}
    missing: dict[Cid, tuple[JobContent, str]] = {}

    def look(contents: Iterable[JobContent]) -> None:
        for content in contents:
            if content.cid in held or content.cid in missing:
                continue
            progress(content)
            try:
                store.verify(content.cid)
            except StorageError as error:
                missing[content.cid] = (content, str(error))
            else:
                held[content.cid] = content

    look(named_by_chain(history))
    look(_named_by_held(history, store, held))
    return JobContents(tuple(held.values()), tuple(missing.values()))


def _named_by_held(history: JobHistory, store: ContentReader, held: Mapping[Cid, JobContent]) -> Iterator[JobContent]:
    """What the document and the book name, where they are held. One that cannot be read names nothing."""
    document, book = _document(history), _book(history)
    if document.cid in held:
        yield from _parsed(lambda: named_by_document(JobDocument.from_bytes(store.read(document.cid, MAX_SPEC_BYTES))))
    if book and book.cid in held:
        cid = book.cid
        yield from _parsed(lambda: named_by_book(ExamBook.from_bytes(store.read(cid, MAX_BOOK_BYTES))))


def _parsed(contents: Callable[[], Iterator[JobContent]]) -> list[JobContent]:
    try:
        return list(contents())
    except FedmarketError:
        # It is there as it was published: that it is no document, or no book, is the audit's to say.
        return []


def _document(history: JobHistory) -> JobContent:
    return JobContent("the document", cid_on_chain(Kind.DOCUMENT, history.opened.spec, history.opened.terms))


def _book(history: JobHistory) -> JobContent | None:
    if history.published is None:
        return None
    cid = cid_on_chain(Kind.EXAM_BOOK, history.published.content, history.opened.terms)
    return JobContent("the exam book", cid)


def _named_in(attempt: Attempt, terms: JobTerms) -> Iterator[JobContent]:
    for seat, reveal in sorted(attempt.reveals.items()):
        excluded = attempt.exclusions.get(seat)
        reason = f" (excluded: {excluded.reason.name.lower()})" if excluded else ""
        name = f"the update of seat {seat} in attempt {attempt.number}{reason}"
        yield JobContent(name, cid_on_chain(Kind.UPDATE, reveal.content, terms))
    if attempt.exam_opened:
        name = f"the sealed exam of attempt {attempt.number}"
        yield JobContent(name, cid_on_chain(Kind.SEALED_EXAM, attempt.exam_opened.content, terms))
    if settled := attempt.settled or attempt.overturned:
        undone = "" if attempt.settled else ", which was undone"
        name = f"the model of round {settled.round}, attempt {attempt.number}{undone}"
        yield JobContent(name, cid_on_chain(Kind.MODEL, settled.model, terms))
