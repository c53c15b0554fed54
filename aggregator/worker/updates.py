"""What was revealed in an attempt: fetched, unsealed, and opened against its commitment before it counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from aggregator.worker.progress import Progress, ShowProgress, show_nothing
from market.chain.events import UpdateRevealed
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.protocol.errors import BlockNotFound, CannotUnseal, CorruptBlock, InvalidContent, InvalidUpdate
from market.protocol.identifiers import Digest, Seat
from market.protocol.seal import SealContext
from market.protocol.update import StoredUpdate
from market.published_job import PublishedJob
from market.sealing import Opening
from zk.commitment import Blinders, Layout, commit
from zk.errors import ZkError
from zk.gram_proof import CommittedRow
from zk.srs import Srs

PASS_S = 20.0
"""For how long is looked at a stretch for updates that were looked for before in vain."""

SLOW_S = 5.0
"""A look in vain that took longer was for what somebody holds back, or sends slowly."""

Key = tuple[Seat, Digest, bytes]
"""What fixes the verdict on a seat's update, whatever block its reveal ends up in: content and commitment."""


class _Look(NamedTuple):
    """A look in vain: whether it took long, and when it ended."""

    was_slow: bool
    at_s: float


NEVER = _Look(False, float("-inf"))


@dataclass(frozen=True, eq=False)
class Collected:
    """What could be had of an attempt's reveals.

    Attributes:
        updates: int16 (d,), mapped, with what opens them, by seat, ascending.
        exclusions: the other revealed seats, each with its reason.
    """

    updates: dict[Seat, CommittedRow]
    exclusions: dict[Seat, ExclusionReason]

    @property
    def is_complete(self) -> bool:
        """Whether waiting for storage could change nothing any more."""
        return ExclusionReason.UNAVAILABLE not in self.exclusions.values()


class RevealedUpdates:
    """Fetches and opens the updates of one attempt, each once, however often it is looked."""

    def __init__(
        self, job: PublishedJob, srs: Srs, layout: Layout, key: Opening, progress: ShowProgress = show_nothing
    ) -> None:
        """Look at nothing yet.

        Args:
            job: whose attempt.
            srs: under which updates were committed.
            layout: of the job's vectors.
            key: the aggregator's, to which updates were sealed.
            progress: is told of every update that was opened.
        """
        self._job, self._srs, self._layout, self._key, self._progress = job, srs, layout, key, progress
        self._judged: dict[Key, CommittedRow | ExclusionReason] = {}
        self._opened: list[tuple[SealContext, UpdateRevealed]] = []
        self._looks: dict[Key, _Look] = {}

    @property
    def judged(self) -> int:
        """How many updates need not be looked at again."""
        return len(self._judged)

    def collect(self, attempt: Attempt) -> Collected:
        """Whatever is in storage by now of what was revealed.

        Raises:
            StorageError: this machine's disk refuses.
        """
        place = self._job.market.seal_context(self._job.id, attempt.started.round, attempt.number)
        for reveal in self._due(attempt):
            self._judge(place, reveal, len(attempt.reveals))
        found = {
            seat: self._judged.get(_key(reveal), ExclusionReason.UNAVAILABLE)
            for seat, reveal in sorted(attempt.reveals.items())
        }
        updates = {seat: row for seat, row in found.items() if isinstance(row, CommittedRow)}
        return Collected(updates, {seat: row for seat, row in found.items() if isinstance(row, ExclusionReason)})

    def forget(self) -> None:
        """Take every copy off this machine: the attempt is over."""
        for place, reveal in self._opened:
            self._job.forget_update(place, reveal)
        self._opened.clear()
        self._judged.clear()

    def _due(self, attempt: Attempt) -> Iterator[UpdateRevealed]:
        """What to look for now: each at least once; then, for a while, what was soon seen to be absent before the rest.

        Whoever holds its blocks back must neither keep others from being looked at nor make the aggregator late.
        """
        until = time.monotonic() + PASS_S
        absent = [reveal for _, reveal in sorted(attempt.reveals.items()) if _key(reveal) not in self._judged]
        for reveal in sorted(absent, key=lambda it: self._looks.get(_key(it), NEVER)):
            if _key(reveal) in self._looks and time.monotonic() > until:
                return
            yield reveal

    def _judge(self, place: SealContext, reveal: UpdateRevealed, total: int) -> None:
        began_s = time.monotonic()
        judged = fetch_update(self._job, self._srs, self._layout, self._key, place, reveal)
        if judged is ExclusionReason.UNAVAILABLE:
            now_s = time.monotonic()
            self._looks[_key(reveal)] = _Look(now_s - began_s > SLOW_S, now_s)
            return
        self._opened.append((place, reveal))
        self._judged[_key(reveal)] = judged
        self._progress(Progress("opening updates", len(self._judged), total))


def _key(reveal: UpdateRevealed) -> Key:
    return reveal.seat, reveal.content, reveal.commitment


def fetch_update(
    job: PublishedJob, srs: Srs, layout: Layout, key: Opening, place: SealContext, reveal: UpdateRevealed
) -> CommittedRow | ExclusionReason:
    """Fetch and unseal a revealed update and open its commitment with it, or say why it has to be excluded.

    Blocks that are missing or damaged here may still arrive: the update is unavailable. Blocks that are whole but not
    an update of this job, that do not unseal, or whose blinders are none, never will be one: it is unreadable. What can
    be read and is not what was committed is a mismatch.

    Args:
        job: whose update.
        srs: under which it was committed.
        layout: of the job's vectors.
        key: to which it was sealed.
        place: of the attempt.
        reveal: what the chain has of it.

    Raises:
        StorageError: this machine's disk refuses.
    """
    try:
        stored = job.open_update(place, reveal, key)
        row = commit_update(srs, layout, stored)
    except (BlockNotFound, CorruptBlock):
        return ExclusionReason.UNAVAILABLE
    except (CannotUnseal, InvalidContent, InvalidUpdate, ZkError):
        return ExclusionReason.UNREADABLE
    return row if row.commitment == reveal.commitment else ExclusionReason.MISMATCH


def commit_update(srs: Srs, layout: Layout, stored: StoredUpdate) -> CommittedRow:
    """Recompute a stored update's commitment.

    Raises:
        ZkError: its blinders are none.
    """
    blinders = Blinders.parse(layout, stored.blinders)
    return CommittedRow(stored.counts, blinders, commit(srs, layout, stored.counts, blinders))
