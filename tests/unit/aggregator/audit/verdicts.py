"""An audit in the tests, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.exam_evidence import ExamGrader
from aggregator.audit.job_audit import audit
from aggregator.audit.report import Check
from aggregator.audit.updates import Openings
from market.protocol.identifiers import Digest
from market.storage import Cid, EmbeddedStore
from tests.sealed_updates import OpenedBy
from zk.srs import Srs

OPENED = OpenedBy()

Verdicts = Callable[..., list[Check]]


def audited(
    record: ChainRecord,
    store: EmbeddedStore,
    srs: Srs,
    folder: Path,
    grader: ExamGrader | None = None,
    openings: Openings | None = OPENED,
) -> list[Check]:
    """All checks of a record, by default by somebody who can open its updates."""
    folder.mkdir()
    return list(audit(record, store, srs, folder, grader, openings))


def the_mismatch(checks: Sequence[Check], name: str) -> Check:
    """The first mismatch, where no check of another name fails."""
    assert mismatches(checks) == {name}
    return next(check for check in checks if not check.ok)


def mismatches(checks: Sequence[Check]) -> set[str]:
    """Names of the checks that failed."""
    return {check.name for check in checks if not check.ok}


def block_file(store: EmbeddedStore, digest: Digest, size_bytes: int) -> Path:
    """Where the store keeps content of one block."""
    content = store.get_block(Cid.from_digest(digest, size_bytes))
    [found] = [path for path in store.root.rglob("*") if path.is_file() and path.read_bytes() == content]
    return found
