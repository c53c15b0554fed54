"""Proves a round: joins what `run_round` found with everybody's commitments, and argues for it.

Data's path: opened updates, the job's models, the exam's r, `RoundResult` -> `Statement` and rows -> `prove` ->
`ProvenRound`. Pure
but for the mask row, which is drawn afresh for every proof and leaves this module only as a commitment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.round import AGGREGATES, Model, ModelVersion, RoundResult, run_round
from market.protocol.identifiers import Seat
from market.protocol.rounds import FULL_STEP_Q16
from market.protocol.rule_terms import RuleTerms
from market.protocol.seal import SealContext
from zk.commitment import BLINDER_PAIRS, Blinders, Layout, commit
from zk.errors import InvalidProof
from zk.gram_proof import CommittedRow, MaskRow, prove
from zk.srs import Srs
from zk.transcript import GramProof, Statement, round_context

WARM_UP_DIMENSION = 1 << 13

STAGES = 5
"""Of a proof, as `zk.gram_proof.prove` reports them."""


@dataclass(frozen=True, eq=False)
class CommittedModel:
    """One model of a job as the chain knows it, with what opens it, and the aggregate that led to it likewise.

    Attributes:
        version: the model itself.
        commitment: C(M), 64·c bytes.
        blinders: R, with which M opens it.
        aggregate: C(p) of the aggregate that led here, 64·c bytes.
        aggregate_blinders: ρ, with which p opens it.
    """

    version: ModelVersion
    commitment: bytes
    blinders: Blinders
    aggregate: bytes
    aggregate_blinders: Blinders


@dataclass(frozen=True)
class ProvenRound:
    """A round's statement, and the proof that holds for it.

    Attributes:
        statement: what is claimed.
        proof: why it is so.
    """

    statement: Statement
    proof: GramProof


def prove_round(
    srs: Srs,
    layout: Layout,
    context: bytes,
    result: RoundResult,
    updates: Sequence[CommittedRow],
    models: Sequence[CommittedModel],
    progress: Callable[[str], None] | None = None,
    *,
    exam: CommittedRow | None = None,
) -> ProvenRound:
    """Prove G and D of a round, with a mask row of its own; the proof is verified as the contract will.

    Args:
        srs: the deployment's, at least `layout.slots` points of it.
        layout: of the job's vectors.
        context: `proof_context` of the attempt.
        result: what `run_round` made of these updates.
        updates: at least one; int16 (d,) each, by ascending seat; memory maps are welcome.
        models: of the versions that `run_round` took, in their order.
        progress: is told each stage as it begins, `STAGES` of them.
        exam: r as `run_round` took it, where it took one, int32 or int64 (d,), under C_r as opened on the chain.

    Raises:
        InvalidProof: the proof does not hold: a row is not what its commitment says. Or r has blinders, or it is not in
            the result's matrix, or nowhere but there.
    """
    public = committed_public_rows(layout, result.public, models)
    if exam is not None:
        public = (*public, _without_blinders(exam))
    statement = round_statement(layout, context, result, updates, public)
    proof = prove(srs, statement, (*updates, *public), MaskRow.fresh(srs, layout), progress)
    return ProvenRound(statement, proof)


def _without_blinders(exam: CommittedRow) -> CommittedRow:
    """Refuse what could be proven, but be opened by nobody who has r alone."""
    if not exam.blinders.are_zero:
        raise InvalidProof("the exam's r has blinders, expected none: whoever has r must be able to open C_r")
    return exam


def proof_context(place: SealContext, revealed: Iterable[Seat], excluded: Iterable[Seat]) -> bytes:
    """What a round's proof is for: one attempt, with these rows.

    Args:
        place: what binds the attempt's seals, too.
        revealed: every seat that revealed in it.
        excluded: those of them that are left out.

    Returns:
        32 bytes.
    """
    market = bytes.fromhex(place.contract.removeprefix("0x"))
    masks = [sum(1 << seat for seat in seats) for seats in (revealed, excluded)]
    return round_context(place.chain_id, market, place.job, place.round, place.attempt, *masks)


def round_statement(
    layout: Layout,
    context: bytes,
    result: RoundResult,
    updates: Sequence[CommittedRow],
    public: Sequence[CommittedRow],
) -> Statement:
    """What is claimed of a round.

    Args:
        layout: of the job's vectors.
        context: `proof_context` of the attempt.
        result: what `run_round` made of these updates.
        updates: by ascending seat.
        public: as `committed_public_rows` gives them, and the exam's row after them where the round has one.

    Raises:
        InvalidProof: the result's matrix is one of other rows.
    """
    return Statement(
        context=context,
        dimension=layout.dimension,
        chunks=layout.chunks,
        updates=tuple(row.commitment for row in updates),
        public=tuple(row.commitment for row in public),
        gram=result.gram.pack(),
        weights=result.decision.weights,
    )


def committed_public_rows(
    layout: Layout, public: Sequence[Model | None], models: Sequence[CommittedModel]
) -> tuple[CommittedRow, ...]:
    """The five public rows with what opens them; zeros and infinity for an aggregate that does not exist yet.

    Args:
        layout: of the job's vectors.
        public: the rows, as `aggregator.round.public_rows` gives them; what comes after them is left alone.
        models: of the versions that they were made of, in their order.
    """
    made = list(reversed(models[1:]))[:AGGREGATES]
    aggregates = [
        CommittedRow(row, model.aggregate_blinders, model.aggregate)
        for row, model in zip(public, made, strict=False)
        if row is not None
    ]
    absent = [CommittedRow.absent(layout)] * (AGGREGATES - len(aggregates))
    current, initial = models[-1], models[0]
    return (
        *aggregates,
        *absent,
        CommittedRow(current.version.model, current.blinders, current.commitment),
        CommittedRow(initial.version.model, initial.blinders, initial.commitment),
    )


def warm_up(srs: Srs) -> None:
    """Commit, prove and verify once, so that no compilation falls into a settle phase.

    Raises:
        InvalidProof: this machine's arithmetic is wrong.
    """
    layout = Layout(min(WARM_UP_DIMENSION, len(srs.points) - 2 * BLINDER_PAIRS), 1)
    counts, model = np.arange(layout.dimension, dtype=np.int16), np.arange(layout.dimension, dtype=np.int64)
    reference = model.astype(np.int32)
    counts.flags.writeable = reference.flags.writeable = model.flags.writeable = False  # as memory maps are
    none = Blinders.zero(layout)
    start = CommittedModel(ModelVersion(model), commit(srs, layout, model, none), none, b"", none)
    result = run_round(RuleTerms(dimension=layout.dimension), [counts], [start.version], 0, FULL_STEP_Q16, model)
    blinders = Blinders.fresh(layout)
    update = CommittedRow(counts, blinders, commit(srs, layout, counts, blinders))
    exam = CommittedRow(reference, none, commit(srs, layout, reference, none))
    prove_round(srs, layout, bytes(32), result, [update], [start], exam=exam)
