"""What pools and tasks name, fetched and checked: nothing is computed from a document before it was looked through.

Data's path: digest on the chain -> document, one block of storage -> checked against its format, its pool and its
limits -> the model that it names, by content or opened against a job's commitments on the chain -> a generator.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from market.model_opening import fetch_verified
from market.protocol import integer_model
from market.protocol.errors import (
    AuditMismatch,
    InvalidCid,
    InvalidContent,
    InvalidData,
    InvalidDocument,
    InvalidModel,
    InvalidOutputs,
    InvalidTerms,
    ModelsSealed,
    StorageError,
)
from market.protocol.generation import MAX_DOCUMENT_BYTES, JobModel, ModelSource, RequestDocument, ServiceDocument
from market.protocol.integer_model import Integers
from market.protocol.replication import GENERATOR as TRAINING
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from market.storage import Cid, ContentStore
from trainer_client.generation import Generator, Outputs, generator_of
from trainer_client.generation.outputs import MAX_BYTES, MAX_HEADER_BYTES
from trainer_client.models import build_model
from trainer_client.parameters import manifest_of
from trainer_client.replication import JobReplica
from trainer_client.verifier.digesting import kind_of
from zk.srs import Srs

IMPOSSIBLE = (InvalidContent, InvalidDocument, InvalidData, InvalidModel, InvalidOutputs, AuditMismatch)
"""What everybody who looks at the same documents meets alike: waiting changes nothing."""

NO_MODEL = np.zeros(0, np.int64)

MAX_OUTPUTS_BYTES = MAX_BYTES + MAX_HEADER_BYTES


@dataclass(frozen=True)
class Pool:
    """What a pool's terms say of its outputs.

    Attributes:
        service: digest of its service's document.
        digest_kind: the digests' number on the chain.
        tolerance_bits, slack_permille, max_samples: as its tasks are decided.
    """

    service: bytes
    digest_kind: int
    tolerance_bits: int
    slack_permille: int
    max_samples: int


@dataclass(frozen=True, eq=False)
class Service:
    """A service that can be done here.

    Attributes:
        digest: of its document.
        document: as it was published.
        model: int64 (d,).
        generator: makes outputs, of requests that bring none along.
    """

    digest: bytes
    document: ServiceDocument
    model: Integers
    generator: Generator


@dataclass(frozen=True, eq=False)
class Question:
    """What a task asks for, checked.

    Attributes:
        service: digest of the service's document.
        document: the service's.
        request: as it was published.
        decoding: the service's, and what the request says instead.
        generator: makes the outputs.
    """

    service: bytes
    document: ServiceDocument
    request: RequestDocument
    decoding: Mapping[str, Any]
    generator: Generator


class Services:
    """Fetches services and requests; a service's model is loaded once.

    A content that is not here raises a `StorageError`: it may come. What is here and no good raises one of
    `IMPOSSIBLE`. Threads may share it.
    """

    def __init__(
        self,
        store: ContentStore,
        cache: Path,
        open_job: Callable[[int], PublishedJob],
        srs_of: Callable[[PublishedJob], Srs],
    ) -> None:
        """Nothing is fetched yet.

        Args:
            store: where contents are, or come to.
            cache: folder where models are mapped from.
            open_job: reads a job of the market, whose model a service may be.
            srs_of: the powers of tau of its commitments.
        """
        self._store, self._cache, self._open_job, self._srs_of = store, cache, open_job, srs_of
        self._ready: dict[bytes, Service] = {}
        self._questions: dict[tuple[bytes, bytes, int], Question] = {}
        self._loading: defaultdict[bytes, threading.Lock] = defaultdict(threading.Lock)

    def document(self, digest: bytes) -> ServiceDocument:
        """A service's document.

        Raises:
            StorageError: it cannot be had now.
            InvalidDocument: it is none.
        """
        return ServiceDocument.from_bytes(self._read(digest))

    def known(self, pool: Pool, digest: bytes, samples: int) -> Question | None:
        """What a task asks for, where that was made before, and not forgotten."""
        service = self._ready.get(pool.service)
        if service is None:
            return None
        check_pool(pool, service.document)
        return self._questions.get((pool.service, digest, samples))

    def forget(self, pool: Pool, digest: bytes) -> None:
        """Let go of what a task asked for: a worker's outputs take room."""
        for key in [key for key in self._questions if key[:2] == (pool.service, digest)]:
            del self._questions[key]

    def question(self, pool: Pool, digest: bytes, samples: int) -> Question:
        """What a task asks for, once the service is seen to do so much, with all that it takes in place.

        Args:
            pool: the task's.
            digest: of the request's document.
            samples: how many the task has on the chain.

        Raises:
            StorageError: something cannot be had now.
            InvalidContent, InvalidDocument, InvalidData, InvalidModel, InvalidOutputs, AuditMismatch: it is no good,
                for anybody.
            InvalidInput: this version does not know what it takes, or the pool does not ask what its document says.
        """
        service = self.ready(pool)
        key = (pool.service, digest, samples)
        if key not in self._questions:
            self._questions[key] = self._question(service, digest, samples)
        return self._questions[key]

    def _question(self, service: Service, digest: bytes, samples: int) -> Question:
        document, generator = service.document, service.generator
        request = RequestDocument.from_bytes(self._read(digest))
        document.check(request, samples)
        if request.worker_outputs is not None:
            content = self._store.read(_cid("worker_outputs", request.worker_outputs), MAX_OUTPUTS_BYTES)
            generator = generator_of(document, service.model, Outputs.parse(content))
        decoding = document.decoding_of(request)
        generator.check(request.prompts, decoding)
        return Question(service.digest, document, request, decoding, generator)

    def ready(self, pool: Pool) -> Service:
        """A pool's service, with its model in place.

        Raises:
            StorageError: the document or the model cannot be had now.
            InvalidContent, InvalidDocument, InvalidModel, AuditMismatch: they are no good, for anybody.
            InvalidInput: this version does not know what it takes, or the pool does not ask what its document says.
        """
        with self._loading[pool.service]:
            known = self._ready.get(pool.service)
            if known is None:
                known = self._load(pool.service)
                self._ready[pool.service] = known
        check_pool(pool, known.document)
        return known

    def _load(self, digest: bytes) -> Service:
        document = self.document(digest)
        kind_of(document)  # what no digests can be made of need not be loaded
        if document.generator == TRAINING:
            # Of the job's models it takes the one that a request names.
            return Service(digest, document, NO_MODEL, self._replica(document).generator)
        model = self._model(document.model)
        return Service(digest, document, model, generator_of(document, model))

    def _read(self, digest: bytes) -> bytes:
        cid = Cid.from_digest(digest, MAX_DOCUMENT_BYTES)
        return self._store.read(cid, MAX_DOCUMENT_BYTES)

    def _replica(self, document: ServiceDocument) -> JobReplica:
        """A job's training, for a service of its replicas."""
        source = document.model.parameters
        if not isinstance(source, JobModel):
            raise InvalidDocument("service document", "model.parameters", f"is {source}, expected a job to replicate")
        job = self._open_job(source.job)
        return JobReplica(job, self._srs_of(job), self._cache / "shards")

    # ------------------------------------------------------------------ the model

    def _model(self, source: ModelSource) -> Integers:
        if isinstance(source.parameters, JobModel):
            return self.job_model(source.parameters)
        # Built before anything is fetched: it says how much there may be, and refuses what nobody could hold.
        module = build_model(source.architecture, source.arguments, source.seed)
        dimension = manifest_of(module, source.trainable).dimension
        cid, expected_bytes = _cid("model.parameters", source.parameters), 8 * dimension
        path = self._cache / f"{cid.digest.hex()}.i64"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store.copy_to(cid, path, expected_bytes)
        return integer_model.read(path, dimension)

    def job_model(self, source: JobModel) -> Integers:
        """The model of a job's round, or its last one, opened against the chain's commitment."""
        job = self._open_job(source.job)
        if not job.models.can_be_read:
            raise ModelsSealed(f"the models of job {source.job} are sealed: nobody else can check what they generate")
        history = job.history()
        versions = history.versions()
        if source.round is None:
            if job.now()[1] not in (Phase.FINISHED, Phase.CLOSED):
                raise StorageError(f"job {source.job} is not over: its last model is not known yet")
        else:
            last = [place for place, made in enumerate(versions) if made.round == source.round]
            if not last:
                raise StorageError(f"round {source.round} of job {source.job} has made no model")
            versions = versions[: last[-1] + 1]
        return fetch_verified(job, self._srs_of(job), versions)


def _cid(field: str, unverified_cid: str) -> Cid:
    try:
        return Cid.parse(unverified_cid)
    except InvalidCid as error:
        raise InvalidDocument("document", field, str(error)) from error


def check_pool(pool: Pool, document: ServiceDocument) -> None:
    """See that a pool decides as its service's document says: whoever stakes reads the document.

    Raises:
        InvalidTerms: naming what differs.
    """
    said: Mapping[str, Any] = {
        "digest kind": kind_of(document).code,
        "tolerance_bits": document.tolerance_bits,
        "slack_permille": document.slack_permille,
    }
    asked = (pool.digest_kind, pool.tolerance_bits, pool.slack_permille)
    for (name, expected), value in zip(said.items(), asked, strict=True):
        if value != expected:
            raise InvalidTerms(f"the pool's {name} is {value}, its service's document says {expected}")
