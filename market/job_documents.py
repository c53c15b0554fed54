"""What owners call their jobs: documents out of storage, held against what the chain says, kept beside the rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, insert, select
from sqlalchemy.exc import DataError

from market.db.event_codec import terms_from_text
from market.db.service_tables import DocumentRow
from market.db.tables import JobRow
from market.job_rows import STRANGE
from market.protocol.errors import FedmarketError, InvalidJobSpec
from market.protocol.identifiers import Digest
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.published_job import check_document
from market.storage import Cid, ContentStore

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 600.0
AT_ONCE = 50
"""Documents that are looked for in one go; the others wait for the next."""


@dataclass
class _Missing:
    next_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


@dataclass
class JobDocuments:
    """Looks for the documents that are missing: each at once, then ever less often."""

    store: ContentStore
    _missing: dict[tuple[int, bytes], _Missing] = field(default_factory=dict)

    def read(self, connection: Connection) -> int:
        """Keep those that have come to the store, and are what they should be; returns how many."""
        known = and_(DocumentRow.job == JobRow.job, DocumentRow.spec == JobRow.spec)
        statement = (
            select(JobRow.job, JobRow.spec, JobRow.terms, JobRow.initial_model)
            .outerjoin(DocumentRow, known)
            .where(DocumentRow.spec.is_(None))
            .order_by(JobRow.job.desc())
        )
        with connection.begin():
            wanted = connection.execute(statement).all()
        self._missing = {(job, spec): self._missing.get((job, spec), _Missing()) for job, spec, _, _ in wanted}
        due = [row for row in wanted if self._missing[row.job, row.spec].next_s <= time.monotonic()]
        found = [row for job, spec, terms, model in due[:AT_ONCE] if (row := self._read(job, spec, terms, model))]
        return sum(self._keep(connection, row) for row in found)

    def _keep(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Each by itself: what a database cannot hold of one must not keep the others out."""
        try:
            with connection.begin():
                connection.execute(insert(DocumentRow), [row])
        except (DataError, *STRANGE):
            self._put_off(self._missing[row["job"], row["spec"]])
            return False
        return True

    def _read(self, job: int, spec: bytes, terms: str, model: bytes) -> dict[str, Any] | None:
        try:
            # A document fits one block, whatever its length.
            unverified_data = self.store.read(Cid.from_digest(spec, 0), MAX_SPEC_BYTES)
            document = JobDocument.from_bytes(unverified_data)
            check_document(document, terms_from_text(terms), Digest(model))
            architecture = document.spec.model.architecture
            if len(architecture) > DocumentRow.architecture.type.length or not architecture.isprintable():
                raise InvalidJobSpec("model.architecture", "is none")
            text = unverified_data.decode("utf-8")
            # Readers are told what it says: what cannot be said again is not kept, whoever let it through.
            json.dumps(json.loads(text), ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (FedmarketError, *STRANGE):
            self._put_off(self._missing[job, spec])
            return None
        return {"job": job, "spec": spec, "name": document.spec.name, "architecture": architecture, "body": text}

    def _put_off(self, missing: _Missing) -> None:
        missing.next_s = time.monotonic() + missing.pause_s
        missing.pause_s = min(2 * missing.pause_s, LONGEST_PAUSE_S)
