"""What was revealed in an attempt: fetched, unsealed, and opened against its commitment before it counts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

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

Key = tuple[Seat, Digest, bytes]
"""What fixes the verdict on a seat's update, whatever block its reveal ends up in: content and commitment."""


TURNS_SHARE = 0.125
"""Part of the settle phase that one round of turns takes, in which each missing update is waited for once,"""

SHORTEST_TURN_S, LONGEST_TURN_S = 0.5, 30.0
"""and how long a turn is at least and at most. What came is kept: the next turn goes on from there."""


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
        self._turn_s = 0.0
        self._judged: dict[Key, CommittedRow | ExclusionReason] = {}
        self._opened: list[tuple[SealContext, UpdateRevealed]] = []

    @property
    def judged(self) -> int:
        """How many updates need not be looked at again."""
        return len(self._judged)

    def collect(self, attempt: Attempt) -> Collected:
        """Whatever is in storage by now of what was revealed.

        Each that is missing is waited for in its turn, and all of them for a small part of the settle phase: neither
        who serves an update slowly nor who serves all of it but a block keeps the others from being opened.

        Raises:
            StorageError: this machine's disk refuses.
        """
        place = self._job.market.seal_context(self._job.id, attempt.started.round, attempt.number)
        found: dict[Seat, CommittedRow | ExclusionReason] = {}
        missing = sum(_key(reveal) not in self._judged for reveal in attempt.reveals.values())
        self._turn_s = turn_s(self._job.terms.settle_period_s, missing)
        for seat, reveal in sorted(attempt.reveals.items()):
            found[seat] = self._judged.get(_key(reveal)) or self._judge(place, reveal, len(attempt.reveals))
        updates = {seat: row for seat, row in found.items() if isinstance(row, CommittedRow)}
        return Collected(updates, {seat: row for seat, row in found.items() if isinstance(row, ExclusionReason)})

    def forget(self) -> None:
        """Take every copy off this machine: the attempt is over."""
        for place, reveal in self._opened:
            self._job.forget_update(place, reveal)
        self._opened.clear()
        self._judged.clear()

    def _judge(self, place: SealContext, reveal: UpdateRevealed, total: int) -> CommittedRow | ExclusionReason:
        if not self._came(reveal):
            return ExclusionReason.UNAVAILABLE
        judged = fetch_update(self._job, self._srs, self._layout, self._key, place, reveal)
        self._opened.append((place, reveal))
        if judged is not ExclusionReason.UNAVAILABLE:
            self._judged[_key(reveal)] = judged
            self._progress(Progress("opening updates", len(self._judged), total))
        return judged

    def _came(self, reveal: UpdateRevealed) -> bool:
        """Whether there is something to judge after another turn; that it is no update is not said here."""
        try:
            with suppress(InvalidContent):
                self._job.bring_update(reveal.content, self._turn_s)
        except (BlockNotFound, CorruptBlock):
            return False
        return True


def turn_s(settle_period_s: int, missing: int) -> float:
    """How long one of so many missing updates is waited for before it is the next one's turn."""
    return min(LONGEST_TURN_S, max(SHORTEST_TURN_S, TURNS_SHARE * settle_period_s / max(1, missing)))


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
