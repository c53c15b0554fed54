"""Whether the stored updates are what their seats committed to, and whether exclusions had a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, judge
from aggregator.audit.vectors import Counts, Missing, StoredVectors, Unfit
from market.chain.events import UpdateRevealed
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.protocol.identifiers import Seat
from zk.commitment import Blinders, Layout, commit
from zk.errors import ZkError
from zk.srs import Srs


@dataclass(frozen=True)
class Mismatched:
    """An update that can be read, and is not what its seat committed to."""

    reason: str = "it does not open its commitment"


Opened = Counts | Missing | Unfit | Mismatched
"""What storage has of one revealed update: its counts, if they open its commitment."""

Fetched = Mapping[Seat, Opened]
"""What storage has of an attempt's revealed updates."""


def open_updates(srs: Srs, layout: Layout, vectors: StoredVectors, attempt: Attempt) -> Fetched:
    """Fetch every revealed update that is in storage, and open its commitment with it.

    Raises:
        StorageError: this machine's disk refuses.
    """
    return {seat: open_update(srs, layout, vectors, reveal) for seat, reveal in sorted(attempt.reveals.items())}


def open_update(srs: Srs, layout: Layout, vectors: StoredVectors, reveal: UpdateRevealed) -> Opened:
    """Fetch one revealed update, and open its commitment with it. Raises as `open_updates`."""
    stored = vectors.update(reveal.content)
    if isinstance(stored, Missing | Unfit):
        return stored
    try:
        blinders = Blinders.parse(layout, stored.blinders)
    except ZkError as error:
        return Unfit(str(error))
    opens = commit(srs, layout, stored.counts, blinders) == reveal.commitment
    return stored.counts if opens else Mismatched()


def is_sound(update: Opened | None) -> TypeGuard[Counts]:
    """Whether the update is here, and is what was committed to."""
    return update is not None and not isinstance(update, Missing | Unfit | Mismatched)


def check_updates(record: ChainRecord, attempt: Attempt, fetched: Fetched) -> Check:
    """Every update that counts is one of this job, and what its seat committed to.

    This is what a round's proof does not say: it is about what was committed, whoever could read that.
    """
    rows = attempt.rows
    absent = [seat for seat in rows if isinstance(fetched[seat], Missing)]
    problems = (
        f"the update of seat {seat} counts, but {update.reason}"
        for seat in rows
        if isinstance(update := fetched[seat], Unfit | Mismatched)
    )
    detail = f"{len(rows)} updates in storage open their commitments" if rows else "no update was left to open"
    return judge("updates", record.subject(attempt.number), problems, detail, _taken_on_word(absent))


def _taken_on_word(absent: list[Seat]) -> str:
    if not absent:
        return ""
    seats = ", ".join(map(str, absent))
    return f"not in storage: seats {seats}; that their updates could be read is taken on the aggregator's word"


def check_exclusions(record: ChainRecord, attempt: Attempt, fetched: Fetched) -> Check:
    """Only revealed updates are excluded, and none for what its digest, or attestors' receipts, disprove.

    That an update could not be fetched at the time can be neither proven nor disproven: where it is here now and sound,
    the exclusion is unproven. So is one of an update that is said to be unfit and is not here.
    """
    excluded = sorted(attempt.exclusions.items())
    doubts = [doubt for seat, event in excluded if (doubt := _doubt(seat, event.reason, fetched.get(seat)))]
    reasons = [f"seat {seat} {event.reason.name.lower()}" for seat, event in excluded]
    detail = f"excluded: {', '.join(reasons) or 'nobody'}"
    subject = record.subject(attempt.number)
    return judge("exclusions", subject, _exclusion_problems(attempt, fetched), detail, "; ".join(doubts))


def _doubt(seat: Seat, reason: ExclusionReason, update: Opened | None) -> str:
    if reason is ExclusionReason.UNAVAILABLE:
        found = f"seat {seat} was excluded as unavailable, its update is in storage now and sound"
        return found if is_sound(update) else ""
    if isinstance(update, Missing):
        return f"seat {seat} was excluded as {_called(reason)}, its update is not in storage: nobody can tell any more"
    return ""


def _exclusion_problems(attempt: Attempt, fetched: Fetched) -> Iterator[str]:
    for seat, event in sorted(attempt.exclusions.items()):
        if seat not in attempt.reveals:
            yield f"seat {seat} was excluded without a reveal"
        elif event.reason is ExclusionReason.NONE:
            yield f"seat {seat} was excluded without a reason"
        elif event.reason is ExclusionReason.UNAVAILABLE and seat in attempt.covered:
            yield f"seat {seat} was excluded as unavailable, though a quorum of attestors held its update"
        elif event.reason is not ExclusionReason.UNAVAILABLE and is_sound(fetched[seat]):
            yield f"seat {seat} was excluded as {_called(event.reason)}, but its update opens its commitment"


def _called(reason: ExclusionReason) -> str:
    return reason.name.lower()
