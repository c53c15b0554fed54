"""Whether every round is proven, from the chain's events alone: its matrix, its average, and its model's commitment."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import Check, differing, judge
from aggregator.proving import proof_context
from market.chain.events import RoundSettled
from market.job_history import Attempt
from market.protocol.gram_matrix import PUBLIC_ROWS, GramMatrix
from market.protocol.provenance import POINT_BYTES, PublicRows
from market.protocol.update import CHUNK_BLINDER_BYTES
from zk.commitment import weighted_sum
from zk.errors import ZkError
from zk.gram_proof import verify
from zk.transcript import GramProof, Statement, VerifyingKey


def check_proof(
    record: ChainRecord, attempt: Attempt, settled: RoundSettled, rows: PublicRows, key: VerifyingKey
) -> Check:
    """The published matrix holds the inner products of what was revealed and of the public rows, and D is its average.

    Args:
        record: the job.
        attempt: which attempt.
        settled: how it ended.
        rows: the public rows' commitments that it began with.
        key: what the job's proofs are verified with.
    """
    included = len(attempt.rows)
    public = f"{PUBLIC_ROWS} public rows{' and r' if attempt.examined else ''}"
    detail = f"{included} updates and {public} are proven to give the published matrix"
    problems = _proof_problems(record, attempt, settled, rows, key)
    return judge("proof", record.subject(attempt.number), problems, detail if included else "no update, no proof")


def _proof_problems(
    record: ChainRecord, attempt: Attempt, settled: RoundSettled, rows: PublicRows, key: VerifyingKey
) -> Iterator[str]:
    if not attempt.rows:
        if attempt.proven:
            yield "a proof was published where there is nothing to prove"
        return
    if attempt.proven is None:
        yield "no proof was published"
        return
    matrix = GramMatrix.unpack(attempt.proven.gram, len(attempt.rows), attempt.examined)
    matrix.verify(record.terms.rules.dimension)
    try:
        verify(key, statement_of(record, attempt, settled, rows), proof_of(record, attempt))
    except ZkError as error:
        yield f"the proof does not hold: {error}"


def statement_of(record: ChainRecord, attempt: Attempt, settled: RoundSettled, rows: PublicRows) -> Statement:
    """What a round's proof has to be about, from events alone.

    Raises:
        InvalidProof: the events have parts of a length that no statement has.
    """
    opened = attempt.exam_opened if attempt.examined else None
    return Statement(
        context=proof_context(record.seal_context(attempt), attempt.reveals, attempt.exclusions),
        dimension=record.terms.rules.dimension,
        chunks=record.terms.chunks,
        updates=tuple(attempt.reveals[seat].commitment for seat in attempt.rows),
        public=(*rows.aggregates, rows.model, rows.initial, *([opened.commitment] if opened else [])),
        gram=attempt.proven.gram if attempt.proven else b"",
        weights=settled.weights,
    )


def proof_of(record: ChainRecord, attempt: Attempt) -> GramProof:
    """A round's proof from its events. Where nobody was accepted D is infinity, and has no blinders."""
    size = POINT_BYTES * record.terms.chunks
    published = attempt.proven.proof if attempt.proven else b""
    aggregate = attempt.model.aggregate if attempt.model else bytes(size)
    blinders = attempt.model.blinders if attempt.model else bytes(CHUNK_BLINDER_BYTES * record.terms.chunks)
    mask, sums, argument = published[:size], published[size : 2 * size], published[2 * size :]
    return GramProof(mask, sums + aggregate, blinders, argument)


def check_commitment(record: ChainRecord, attempt: Attempt, settled: RoundSettled, rows: PublicRows) -> Check:
    """C(M') = C(M) + 2^e · Σ w_i·C_i, summed again; with nobody accepted C(M) stays.

    Args:
        record: the job.
        attempt: which attempt.
        settled: how it ended.
        rows: the public rows' commitments that it began with.
    """
    accepted = len(settled.accepted)
    summed = f"the model's commitment is the one before and {accepted} updates' more"
    detail = summed if accepted else "the model's commitment stays"
    problems = _commitment_problems(attempt, settled, rows)
    return judge("commitment", record.subject(attempt.number), problems, detail)


def _commitment_problems(attempt: Attempt, settled: RoundSettled, rows: PublicRows) -> Iterator[str]:
    if not settled.accepted:
        if attempt.model:
            yield "a commitment of a new model was published where nobody was accepted"
        return
    if attempt.model is None:
        yield "no commitment of the new model was published"
        return
    commitments = [attempt.reveals[seat].commitment for seat in attempt.rows]
    if len(settled.weights) != len(commitments):
        yield f"{len(settled.weights)} weights were published for {len(commitments)} updates"
        return
    try:
        aggregate = weighted_sum(commitments, settled.weights)
        model = weighted_sum([rows.model, aggregate], [1, 1 << attempt.started.shift])
    except ZkError as error:
        yield f"the commitments cannot be summed: {error}"
        return
    yield from differing("the average's commitment", attempt.model.aggregate, aggregate)
    yield from differing("the model's commitment", attempt.model.model, model)


def rows_after(attempt: Attempt, rows: PublicRows) -> PublicRows:
    """The public rows' commitments that the next round began with, as the chain said them."""
    return rows.after(attempt.model.aggregate, attempt.model.model) if attempt.model else rows
