"""What an attestor keeps on its disk of the jobs of one marketplace, and what of it is due to be let go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmarket.holdings import Holdings
from fedmarket.own_receipts import OwnReceipts
from fedmarket.sightings import Sightings
from market.chain.job_market import JobMarket
from market.protocol.identifiers import JobId
from market.storage import ContentStore

_JOB = re.compile(r"job-(0|[1-9][0-9]{0,17})")
_RECEIPT = re.compile(r"(0|[1-9][0-9]{0,17})/(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class AttestedJob:
    """The part of one job."""

    path: Path
    job: JobId

    @property
    def sightings(self) -> Sightings:
        """What came, and when."""
        return Sightings(self.path / "sightings")

    @property
    def receipts(self) -> OwnReceipts:
        """What was signed for."""
        return OwnReceipts(self.path / "receipts")

    @property
    def facts(self) -> Path:
        """Where disputed facts are looked at; nothing stays in it."""
        return self.path / "facts"

    def holdings(self, store: ContentStore, account: str) -> Holdings:
        """What is pinned, and until when."""
        return Holdings(store, self.path / "holdings", self.job, account)


class AttestorFolder:
    """One attestor's work folder, as far as it is about one marketplace."""

    def __init__(self, work_folder: Path, market: JobMarket) -> None:
        """Name the folder; nothing is created before something is kept."""
        self._market = market
        self._path = work_folder / f"chain-{market.chain.chain_id}-{market.address.lower()}"

    def of_job(self, job: JobId) -> AttestedJob:
        """The part of one job."""
        return AttestedJob(self._path / f"job-{job}", job)

    def shown_receipt(self, place: str) -> bytes | None:
        """What is answered to whoever asks for `JOB/ATTEMPT`; None where nothing was signed there."""
        named = _RECEIPT.fullmatch(place)
        if named is None:
            return None
        signed = self.of_job(JobId(int(named[1]))).receipts.of(int(named[2]))
        return signed.to_bytes() if signed else None

    def release(self, store: ContentStore, account: str, report: Callable[[str], None]) -> None:
        """Unpin what was held as long as was promised, of attempts whose settlement can be disputed no more.

        Raises:
            ChainUnreachable: the node does not answer.
            StorageError: the disk refuses.
        """
        now_s = self._market.chain.timestamp()
        for kept in self._jobs():
            holdings = kept.holdings(store, account)
            for attempt in holdings.due(now_s):
                if self._market.outcome(kept.job, attempt).vests_at_s <= now_s:
                    holdings.release(attempt)
                    report(f"job {kept.job}: what attempt {attempt} revealed was held as promised, and is let go")

    def _jobs(self) -> Iterator[AttestedJob]:
        for path in sorted(self._path.glob("job-*")):
            if named := _JOB.fullmatch(path.name):
                yield AttestedJob(path, JobId(int(named[1])))
