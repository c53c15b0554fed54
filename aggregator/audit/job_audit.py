"""Audits one job: reads the chain at one block, fetches vectors from storage, and hands both to the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from aggregator.audit import disputes, documents, exams, ledger, models, pay, proofs, schedule
from aggregator.audit.chain_record import ChainRecord, read_record
from aggregator.audit.claims import check_claims, stray_claims
from aggregator.audit.decisions import check_decision
from aggregator.audit.exam_evidence import ExamEvidence, ExamGrader
from aggregator.audit.ledger import Books
from aggregator.audit.matrices import Versions, check_gram
from aggregator.audit.models import ModelOpenings
from aggregator.audit.openings import check_openings
from aggregator.audit.replicas import check_replicas
from aggregator.audit.report import AuditReport, Check
from aggregator.audit.schedule import Replayed
from aggregator.audit.updates import Openings, SealedUpdates, check_exclusions, check_updates, open_updates
from aggregator.audit.vectors import Missing, Model, StoredVectors, Unfit
from aggregator.round import AGGREGATES, ModelVersion
from market.chain.events import RoundSettled
from market.chain.job_market import JobMarket
from market.chain.output_consensus import OutputConsensus
from market.content_key import ContentKey
from market.job_history import Attempt
from market.model_opening import check_srs
from market.protocol.errors import FedmarketError
from market.protocol.identifiers import Digest, JobId
from market.protocol.provenance import PublicRows
from market.storage import ContentReader
from market.stored_models import StoredModels
from zk.commitment import Layout
from zk.gram_proof import verifying_key
from zk.srs import Srs


def audit_job(
    market: JobMarket,
    store: ContentReader,
    job: JobId,
    srs: Srs,
    cache: Path,
    *,
    grader: ExamGrader | None = None,
    content_key: ContentKey | None = None,
    openings: Openings | None = None,
    consensus: OutputConsensus | None = None,
    progress: Callable[[Check], None] | None = None,
) -> AuditReport:
    """Recompute everything that can be recomputed of a job, and say where the chain differs.

    Everything is read as of one block, so that a job that goes on meanwhile is judged by one state of it.

    Args:
        market: the contract; the block that it is bound to, or the latest, is the one audited.
        store: where document and vectors are.
        job: the job's number.
        srs: the one that the job's commitments are made under.
        cache: folder for vectors while they are looked at. Nothing that is in it before is believed.
        grader: recomputes what exams asked for; None leaves that unproven.
        content_key: of the job's models, where they are sealed; without it they stay unproven.
        openings: of the sealed updates; what they do not open is taken on the aggregator's word, and so unproven.
        consensus: the contract that replicas of the training are asked for in, where the job's terms ask for any.
        progress: is told each check as it is made.

    Raises:
        ContractRevert: there is no such job.
        ChainError: the node's answers are not of one chain, or its events are incomplete.
        StorageError: this machine's disk refuses.
        InvalidInput: the SRS is not the job's, too short for its vectors, or insecure where it may not be.
    """
    record = read_record(market, job)
    on_development_chain = market.chain.is_development_chain
    check_srs(srs, record.history.opened.srs_id, layout_of(record), on_development_chain=on_development_chain)
    cache.mkdir(parents=True, exist_ok=True)
    checks: list[Check] = []
    with TemporaryDirectory(prefix="audit-", dir=cache, ignore_cleanup_errors=True) as folder:
        place = (record, store, srs, Path(folder))
        for check in chain(audit(*place, grader, openings, content_key), _replica_checks(record, store, consensus)):
            checks.append(check)
            if progress:
                progress(check)
    return AuditReport(job, record.block_number, tuple(checks))


def _replica_checks(record: ChainRecord, store: ContentReader, consensus: OutputConsensus | None) -> Iterator[Check]:
    at_block = None if consensus is None else consensus.at(record.block_number)
    return check_replicas(record, store, at_block)


def layout_of(record: ChainRecord) -> Layout:
    """How the job's vectors lie in their commitments."""
    return Layout(record.terms.rules.dimension, record.terms.chunks)


def audit(
    record: ChainRecord,
    store: ContentReader,
    srs: Srs,
    folder: Path,
    grader: ExamGrader | None = None,
    openings: Openings | None = None,
    content_key: ContentKey | None = None,
) -> Iterator[Check]:
    """The checks of a job that was read, in the order of its life.

    Args:
        record: what the chain says.
        store: where document and vectors are.
        srs: the one that the job's commitments are made under.
        folder: an empty folder for vectors.
        grader: recomputes what exams asked for; None leaves that unproven.
        openings: of the sealed updates; None opens none.
        content_key: of the job's models, where they are sealed; without it they stay unproven.

    Raises:
        StorageError: this machine's disk refuses.
    """
    vectors = StoredVectors(store, layout_of(record), folder, sealed_models(record, store, content_key))
    updates = SealedUpdates(record, store, layout_of(record), folder, openings)
    model_openings = ModelOpenings(record, srs, layout_of(record))
    evidence = ExamEvidence(record, store, srs, folder, grader)
    replayed, books = schedule.replay(record), ledger.Books(record)
    yield documents.check_job_document(record, store)
    yield documents.check_terms(record)
    if record.terms.exam.is_set:
        yield exams.check_book(record, evidence)
    yield models.check_stored_model(
        "initial model", record.history.opened.initial_model, vectors, model_openings, before=0
    )
    yield schedule.check_schedule(record, replayed, None)
    yield from _Rounds(record, replayed, books, vectors, updates, model_openings, evidence).checks()
    yield from _close_checks(record, replayed, books)
    yield models.check_stored_model("current model", record.state.model, vectors, model_openings)
    if record.terms.exam.is_set:
        last = vectors.model(record.state.model)
        yield exams.check_labels(record, evidence, None if isinstance(last, Missing | Unfit) else last)
    yield ledger.check_conservation(record)
    yield ledger.check_ledger(record)
    yield ledger.check_balance(record)
    yield schedule.check_state(record, replayed)


def sealed_models(record: ChainRecord, store: ContentReader, key: ContentKey | None) -> StoredModels | None:
    """The job's models as its document says that they are sealed; None where they are open.

    Raises:
        CannotUnseal: the key is of another job.
    """
    try:
        document = documents.read_document(record, store)
    except FedmarketError:
        return None  # what is wrong with the document is the documents' check to say
    if not document.spec.seals_models:
        return None
    models = StoredModels(store, document)
    if key is not None:
        models.unlock(key, record.chain_id, record.contract)
    return models


def _close_checks(record: ChainRecord, replayed: Replayed, books: Books) -> Iterator[Check]:
    closed = record.history.closed
    if closed:
        yield schedule.check_schedule(record, replayed, closed.attempt)
        yield pay.check_closing_pay(record, books, closed, replayed.timeline)
        yield check_claims(record, closed.attempt)
    for number in stray_claims(record):
        yield check_claims(record, number)


class _Rounds:
    """Goes through a job's attempts, and carries its models along from one to the next."""

    def __init__(
        self,
        record: ChainRecord,
        replayed: Replayed,
        books: Books,
        vectors: StoredVectors,
        updates: SealedUpdates,
        openings: ModelOpenings,
        evidence: ExamEvidence,
    ) -> None:
        self._record, self._replayed, self._books, self._vectors = record, replayed, books, vectors
        self._updates = updates
        self._openings, self._evidence, self._srs = openings, evidence, evidence.srs
        self._rows = PublicRows.at_opening(record.history.opened.initial_commitment)
        self._digest = record.history.opened.initial_model
        self._models: list[ModelVersion | None] = [self._version(self._digest, 0)]
        """The initial model and the last ones, as far as public rows reach back; None for what is not to be had."""

    def checks(self) -> Iterator[Check]:
        """The checks of every attempt."""
        for _, attempt in sorted(self._record.history.attempts.items()):
            yield schedule.check_schedule(self._record, self._replayed, attempt.number)
            yield check_openings(self._record, attempt)
            yield from self._exam_checks(attempt)
            yield from self._end_checks(attempt)
            yield from disputes.check_disputes(self._record, attempt)
            if attempt.settled or attempt.expired or attempt.skipped or attempt.undone:
                yield check_claims(self._record, attempt.number)

    def _exam_checks(self, attempt: Attempt) -> Iterator[Check]:
        """What comes before the round's model is followed: the exam was set at the one before."""
        if not self._record.terms.exam.is_set:
            return
        yield exams.check_exam(self._record, attempt)
        if attempt.exam_opened:
            current = self._models[-1].model if self._models[-1] else None
            yield exams.check_reference(self._record, attempt, self._evidence, current)
        if attempt.exam_opened and attempt.exam_excluded:
            yield exams.check_sealing(self._record, attempt, self._evidence)

    def _end_checks(self, attempt: Attempt) -> Iterator[Check]:
        if attempt.settled:
            yield from self._settled_checks(attempt, attempt.settled)
        elif broken := attempt.expired or attempt.undone:
            yield pay.check_compensation(self._record, attempt, broken)
        elif attempt.skipped:
            yield pay.check_skipped_pay(self._record, attempt)

    def _settled_checks(self, attempt: Attempt, settled: RoundSettled) -> Iterator[Check]:
        record = self._record
        # What needs the chain alone comes first: it takes milliseconds.
        proof = proofs.check_proof(record, attempt, settled, self._rows, verifying_key(self._srs))
        yield proof
        yield check_decision(record, attempt, settled)
        yield proofs.check_commitment(record, attempt, settled, self._rows)
        yield from self._vector_checks(attempt, settled, proof)
        yield pay.check_settled_pay(record, self._books, attempt, settled)
        self._rows = proofs.rows_after(attempt, self._rows)

    def _vector_checks(self, attempt: Attempt, settled: RoundSettled, proof: Check) -> Iterator[Check]:
        record = self._record
        fetched = open_updates(self._srs, layout_of(record), self._updates, attempt)
        yield check_updates(record, attempt, fetched)
        yield check_exclusions(record, attempt, fetched)
        yield check_gram(record, attempt, fetched, self._versions(), self._evidence.row(attempt), proof)
        before = self._digest, self._models[-1].model if self._models[-1] else None
        followed = models.follow_model(record, attempt, settled, before, fetched, self._vectors, self._openings)
        yield followed.check
        self._follow(settled, attempt.started.shift, followed.model)
        self._updates.forget(attempt)

    def _follow(self, settled: RoundSettled, shift: int, model: Model | None) -> None:
        """Go on from what the chain committed to: every later round is proven on it, whatever was published."""
        if settled.accepted:
            version = None if model is None else ModelVersion(model, shift)
            self._models = [self._models[0], *self._models[1:][-AGGREGATES:], version]
            self._digest = settled.model

    def _version(self, digest: Digest, shift: int) -> ModelVersion | None:
        model = self._vectors.model(digest)
        return None if isinstance(model, Missing | Unfit) else ModelVersion(model, shift)

    def _versions(self) -> Versions:
        versions = [version for version in self._models if version]
        return versions if len(versions) == len(self._models) else None
