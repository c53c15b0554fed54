"""Whether the published Gram matrix is the one of the stored updates, and whether exclusions had a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, judge
from aggregator.audit.vectors import Counts, Missing, Unfit
from aggregator.gram import PUBLIC_ROWS, GramMatrix, gram_matrix
from aggregator.round import ModelVersion, public_rows
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.protocol.identifiers import Seat

Fetched = Mapping[Seat, Counts | Missing | Unfit]
"""What storage has of an attempt's revealed updates."""

Versions = Sequence[ModelVersion] | None
"""The models so far as `public_rows` takes them; None where one that is needed is not to be had."""


def check_gram(record: ChainRecord, attempt: Attempt, fetched: Fetched, versions: Versions) -> Check:
    """The published matrix is of vectors in range, and right in every entry that storage still lets us compute."""
    rows = attempt.rows
    subject, problems = record.subject(attempt.number), _gram_problems(record, attempt, fetched, versions)
    if not rows:
        return Check("gram", subject, "ok", "no update was left to measure")
    absent = [seat for seat in rows if isinstance(fetched[seat], Missing)]
    detail = f"{len(rows)} updates and {PUBLIC_ROWS} public rows give the published matrix"
    return judge("gram", subject, problems, detail, _unproven(absent, versions))


def _unproven(absent: Sequence[Seat], versions: Versions) -> str:
    missing = [f"the update of seat {seat}" for seat in absent]
    missing += ["a model among the public rows"] if versions is None else []
    return f"{_listed(missing)} not in storage: those rows are taken on the aggregator's word" if missing else ""


def _listed(things: Sequence[str]) -> str:
    return f"{', '.join(things)} {'is' if len(things) == 1 else 'are'}"


def _gram_problems(record: ChainRecord, attempt: Attempt, fetched: Fetched, versions: Versions) -> Iterator[str]:
    if attempt.gram is None:
        yield "no matrix was published"
        return
    rows = attempt.rows
    published = GramMatrix.unpack(attempt.gram.gram, len(rows))
    published.verify(record.terms.rules.dimension)
    for seat in rows:
        update = fetched[seat]
        if isinstance(update, Unfit):
            yield f"the update of seat {seat} counts, but is none: {update.reason}"
    present = {i: update for i, seat in enumerate(rows) if not isinstance(update := fetched[seat], Missing | Unfit)}
    public = (None,) * PUBLIC_ROWS if versions is None else public_rows(versions)
    recomputed = gram_matrix(list(present.values()), public)
    yield from _update_differences(published, recomputed, list(present), rows)
    if versions is not None:
        yield from _public_differences(published, recomputed, list(present), rows)


def _update_differences(
    published: GramMatrix, recomputed: GramMatrix, present: Sequence[int], rows: Sequence[Seat]
) -> Iterator[str]:
    for a, i in enumerate(present):
        for b, j in enumerate(present):
            if published.updates[i][j] != recomputed.updates[a][b]:
                pair = f"the product of seats {rows[i]} and {rows[j]}"
                yield f"{pair} is published as {published.updates[i][j]}, it is {recomputed.updates[a][b]}"


def _public_differences(
    published: GramMatrix, recomputed: GramMatrix, present: Sequence[int], rows: Sequence[Seat]
) -> Iterator[str]:
    for k in range(PUBLIC_ROWS):
        for a, i in enumerate(present):
            if published.mixed[i][k] != recomputed.mixed[a][k]:
                pair = f"the product of seat {rows[i]} and public row {k}"
                yield f"{pair} is published as {published.mixed[i][k]}, it is {recomputed.mixed[a][k]}"
        for m in range(PUBLIC_ROWS):
            if published.public[k][m] != recomputed.public[k][m]:
                pair = f"the product of public rows {k} and {m}"
                yield f"{pair} is published as {published.public[k][m]}, it is {recomputed.public[k][m]}"


def check_exclusions(record: ChainRecord, attempt: Attempt, fetched: Fetched) -> Check:
    """Only revealed updates are excluded, and none for what its digest disproves.

    That an update could not be fetched at the time can be neither proven nor disproven: where it is here now and sound,
    the exclusion is unproven.
    """
    doubts = [
        f"seat {seat} was excluded as unavailable, its update is in storage now and sound"
        for seat, event in sorted(attempt.exclusions.items())
        if event.reason is ExclusionReason.UNAVAILABLE and _is_sound(fetched.get(seat))
    ]
    reasons = [f"seat {seat} {event.reason.name.lower()}" for seat, event in sorted(attempt.exclusions.items())]
    detail = f"excluded: {', '.join(reasons) or 'nobody'}"
    subject = record.subject(attempt.number)
    return judge("exclusions", subject, _exclusion_problems(attempt, fetched), detail, "; ".join(doubts))


def _exclusion_problems(attempt: Attempt, fetched: Fetched) -> Iterator[str]:
    for seat, event in sorted(attempt.exclusions.items()):
        if seat not in attempt.reveals:
            yield f"seat {seat} was excluded without a reveal"
        elif event.reason is ExclusionReason.NONE:
            yield f"seat {seat} was excluded without a reason"
        elif event.reason is not ExclusionReason.UNAVAILABLE and _is_sound(fetched[seat]):
            yield f"seat {seat} was excluded as {event.reason.name.lower()}, but its digest fixes a sound update"


def _is_sound(update: Counts | Missing | Unfit | None) -> bool:
    return update is not None and not isinstance(update, Missing | Unfit)
