"""Audits one job: reads the chain at one block, fetches vectors from storage, and hands both to the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from aggregator.audit import documents, ledger, pay, schedule
from aggregator.audit.chain_record import ChainRecord, read_record
from aggregator.audit.claims import check_claims, stray_claims
from aggregator.audit.decisions import check_decision
from aggregator.audit.ledger import Books
from aggregator.audit.matrices import Versions, check_exclusions, check_gram
from aggregator.audit.models import fold_round
from aggregator.audit.openings import check_openings
from aggregator.audit.report import AuditReport, Check
from aggregator.audit.schedule import Replayed
from aggregator.audit.vectors import Missing, Model, StoredVectors, Unfit
from aggregator.round import AGGREGATES, ModelVersion
from market.chain.events import RoundSettled
from market.chain.job_market import JobMarket
from market.job_history import Attempt
from market.protocol.identifiers import Digest, JobId
from market.storage import ContentStore


def audit_job(
    market: JobMarket,
    store: ContentStore,
    job: JobId,
    cache: Path,
    *,
    progress: Callable[[Check], None] | None = None,
) -> AuditReport:
    """Recompute everything that can be recomputed of a job, and say where the chain differs.

    Everything is read as of one block, so that a job that goes on meanwhile is judged by one state of it.

    Args:
        market: the contract; the block that it is bound to, or the latest, is the one audited.
        store: where document and vectors are.
        job: the job's number.
        cache: folder for vectors while they are looked at. Nothing that is in it before is believed.
        progress: is told each check as it is made.

    Raises:
        ContractRevert: there is no such job.
        ChainError: the node's answers are not of one chain, or its events are incomplete.
        StorageError: this machine's disk refuses.
    """
    record = read_record(market, job)
    cache.mkdir(parents=True, exist_ok=True)
    checks: list[Check] = []
    with TemporaryDirectory(prefix="audit-", dir=cache, ignore_cleanup_errors=True) as folder:
        for check in audit(record, store, Path(folder)):
            checks.append(check)
            if progress:
                progress(check)
    return AuditReport(job, record.block_number, tuple(checks))


def audit(record: ChainRecord, store: ContentStore, folder: Path) -> Iterator[Check]:
    """The checks of a job that was read, in the order of its life.

    Args:
        record: what the chain says.
        store: where document and vectors are.
        folder: an empty folder for vectors.

    Raises:
        StorageError: this machine's disk refuses.
    """
    vectors = StoredVectors(store, record.terms.rules.dimension, folder)
    replayed, books = schedule.replay(record), ledger.Books(record)
    yield documents.check_job_document(record, store)
    yield documents.check_terms(record)
    yield documents.check_stored_model("initial model", record.history.opened.initial_model, vectors)
    yield schedule.check_schedule(record, replayed, None)
    yield from _Rounds(record, replayed, books, vectors).checks()
    yield from _close_checks(record, replayed, books)
    yield documents.check_stored_model("current model", record.state.model, vectors)
    yield ledger.check_conservation(record)
    yield ledger.check_ledger(record)
    yield ledger.check_balance(record)
    yield schedule.check_state(record, replayed)


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

    def __init__(self, record: ChainRecord, replayed: Replayed, books: Books, vectors: StoredVectors) -> None:
        self._record, self._replayed, self._books, self._vectors = record, replayed, books, vectors
        self._digest = record.history.opened.initial_model
        self._models: list[ModelVersion | None] = [self._version(self._digest, 0)]
        """The initial model and the last ones, as far as public rows reach back; None for what is not to be had."""

    def checks(self) -> Iterator[Check]:
        """The checks of every attempt."""
        for _, attempt in sorted(self._record.history.attempts.items()):
            yield schedule.check_schedule(self._record, self._replayed, attempt.number)
            yield check_openings(self._record, attempt)
            yield from self._end_checks(attempt)
            if attempt.settled or attempt.expired or attempt.skipped:
                yield check_claims(self._record, attempt.number)

    def _end_checks(self, attempt: Attempt) -> Iterator[Check]:
        if attempt.settled:
            yield from self._settled_checks(attempt, attempt.settled)
        elif attempt.expired:
            yield pay.check_expired_pay(self._record, attempt, attempt.expired)
        elif attempt.skipped:
            yield pay.check_skipped_pay(self._record, attempt)

    def _settled_checks(self, attempt: Attempt, settled: RoundSettled) -> Iterator[Check]:
        fetched = {seat: self._vectors.update(reveal.content) for seat, reveal in attempt.reveals.items()}
        yield check_exclusions(self._record, attempt, fetched)
        yield check_gram(self._record, attempt, fetched, self._versions())
        yield check_decision(self._record, attempt, settled)
        current = self._models[-1].model if self._models[-1] else None
        folded = fold_round(self._record, attempt, settled, self._digest, current, fetched)
        yield folded.check
        self._follow(settled, attempt.started.shift, folded.model)
        yield pay.check_settled_pay(self._record, self._books, attempt, settled)
        for reveal in attempt.reveals.values():
            self._vectors.forget(reveal.content)

    def _follow(self, settled: RoundSettled, shift: int, model: Model | None) -> None:
        """Go on from the model that the settlement named: every later round started from it, right or wrong."""
        if settled.accepted:
            version = self._version(settled.model, shift) if model is None else ModelVersion(model, shift)
            self._models = [self._models[0], *self._models[1:][-AGGREGATES:], version]
            self._digest = settled.model

    def _version(self, digest: Digest, shift: int) -> ModelVersion | None:
        model = self._vectors.model(digest)
        return None if isinstance(model, Missing | Unfit) else ModelVersion(model, shift)

    def _versions(self) -> Versions:
        versions = [version for version in self._models if version]
        return versions if len(versions) == len(self._models) else None
