"""Whether the published Gram matrix is the one of the stored updates: a second witness beside the round's proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, judge
from aggregator.audit.updates import Fetched, is_sound
from aggregator.gram import gram_matrix
from aggregator.round import Model, ModelVersion, public_rows
from market.job_history import Attempt
from market.protocol.gram_matrix import EXAM, PUBLIC_ROWS, GramMatrix
from market.protocol.identifiers import Seat

Versions = Sequence[ModelVersion] | None
"""The models so far as `public_rows` takes them; None where one that is needed is not to be had."""


def check_gram(
    record: ChainRecord, attempt: Attempt, fetched: Fetched, versions: Versions, reference: Model | None, proof: Check
) -> Check:
    """The published matrix is right in every entry that storage still lets us compute.

    Args:
        record: the job.
        attempt: which attempt.
        fetched: what storage has of its updates.
        versions: the models that its public rows are made of.
        reference: the exam's r, where it counted and was published since.
        proof: the verdict on its proof, which stands for the entries that cannot be computed any more.
    """
    rows, subject = attempt.rows, record.subject(attempt.number)
    if not rows:
        return Check("gram", subject, "ok", "no update was left to measure")
    present = [i for i, seat in enumerate(rows) if is_sound(fetched[seat])]
    problems = _gram_problems(attempt, fetched, present, versions, reference)
    secret = attempt.examined and reference is None
    whole = len(present) == len(rows) and versions is not None and not secret
    hidden = "; r is not to be had" if secret else ""
    recomputed = f"{len(present)} of {len(rows)} updates {'with' if versions else 'without'} the public rows{hidden}"
    if whole:
        public = f"{PUBLIC_ROWS} public rows{' and r' if attempt.examined else ''}"
        return judge("gram", subject, problems, f"{len(rows)} updates and {public} give the matrix again")
    if proof.ok:
        return judge("gram", subject, problems, f"{recomputed} give it again, the proof has the rest")
    return judge("gram", subject, problems, "", f"{recomputed} give it again, the rest is not to be had")


def _gram_problems(
    attempt: Attempt, fetched: Fetched, present: list[int], versions: Versions, reference: Model | None
) -> Iterator[str]:
    if attempt.proven is None:
        yield "no matrix was published"
        return
    rows = attempt.rows
    published = GramMatrix.unpack(attempt.proven.gram, len(rows), attempt.examined)
    public = (None,) * PUBLIC_ROWS if versions is None else public_rows(versions)
    known = [*range(PUBLIC_ROWS if versions else 0), *([EXAM] if reference is not None else [])]
    public = public if reference is None else (*public, reference)
    recomputed = gram_matrix([update for seat in rows if is_sound(update := fetched[seat])], public)
    yield from _update_differences(published, recomputed, present, rows)
    yield from _public_differences(published, recomputed, present, rows, known)


def _update_differences(
    published: GramMatrix, recomputed: GramMatrix, present: Sequence[int], rows: Sequence[Seat]
) -> Iterator[str]:
    for a, i in enumerate(present):
        for b, j in enumerate(present):
            if published.updates[i][j] != recomputed.updates[a][b]:
                pair = f"the product of seats {rows[i]} and {rows[j]}"
                yield f"{pair} is published as {published.updates[i][j]}, it is {recomputed.updates[a][b]}"


def _public_differences(
    published: GramMatrix,
    recomputed: GramMatrix,
    present: Sequence[int],
    rows: Sequence[Seat],
    known: Sequence[int],
) -> Iterator[str]:
    for k in known:
        for a, i in enumerate(present):
            if published.mixed[i][k] != recomputed.mixed[a][k]:
                pair = f"the product of seat {rows[i]} and public row {k}"
                yield f"{pair} is published as {published.mixed[i][k]}, it is {recomputed.mixed[a][k]}"
        for m in known:
            if published.public[k][m] != recomputed.public[k][m]:
                pair = f"the product of public rows {k} and {m}"
                yield f"{pair} is published as {published.public[k][m]}, it is {recomputed.public[k][m]}"
