"""What the owner promised: the document in storage, the terms on the chain, the model that everyone started from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import JOB, Check, differing, judge
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.protocol.terms import JobTerms
from market.published_job import check_document
from market.storage import Cid, ContentReader


def check_job_document(record: ChainRecord, store: ContentReader) -> Check:
    """The document whose digest is on the chain is in storage and says what the chain enforces."""
    cid = Cid.from_digest(record.history.opened.spec, 0)
    return judge("document", JOB, _document_problems(record, store), f"{cid} says what the chain enforces")


def read_document(record: ChainRecord, store: ContentReader) -> JobDocument:
    """The document whose digest is on the chain.

    Raises:
        StorageError: it is not in storage, or damaged there.
        InvalidJobSpec: it is none.
    """
    # A document fits one block, whatever its length.
    return JobDocument.from_bytes(store.read(Cid.from_digest(record.history.opened.spec, 0), MAX_SPEC_BYTES))


def _document_problems(record: ChainRecord, store: ContentReader) -> Iterator[str]:
    opened = record.history.opened
    document = read_document(record, store)
    yield from differing("the number of parameters", record.terms.rules.dimension, document.parameters.dimension)
    check_document(document, _as_opened(record), opened.initial_model)
    if (allowed := document.spec.trainers) is not None:
        for trainer in sorted({*record.trainers} - {*allowed}):
            yield f"{trainer} has a seat, and is not among the {len(allowed)} accounts that may"


def _as_opened(record: ChainRecord) -> JobTerms:
    """The chain's terms, but for the deadline: disputes put it off, and the schedule's check follows that."""
    return replace(record.terms, deadline_s=record.history.opened.terms.deadline_s)


def check_terms(record: ChainRecord) -> Check:
    """The terms are the ones that the job opened with, can hold together, and are paid for."""
    detail = f"{record.terms.rounds} rounds for {record.terms.seats} seats, {record.terms.deposit_wei} wei"
    return judge("terms", JOB, _term_problems(record), detail)


def _term_problems(record: ChainRecord) -> Iterator[str]:
    opened, terms = record.history.opened, record.terms
    yield from differing("the terms", _as_opened(record), opened.terms)
    terms.check()
    if terms.enrol_until_s < record.time_s(opened):
        yield f"enrolment ended at {terms.enrol_until_s}, before the job opened at {record.time_s(opened)}"
    if opened.deposit_wei < terms.deposit_wei:
        yield f"{opened.deposit_wei} wei were deposited, all rounds cost {terms.deposit_wei}"
