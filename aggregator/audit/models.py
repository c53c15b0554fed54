"""Whether each round's model is the exact average that the decision asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.matrices import Fetched
from aggregator.audit.report import Check, differing, judge
from aggregator.audit.vectors import Counts, Missing, Model, Unfit, model_digest
from market.chain.events import RoundSettled
from market.job_history import Attempt
from market.protocol import integer_model
from market.protocol.errors import InvalidModel
from market.protocol.identifiers import Digest


@dataclass(frozen=True, eq=False)
class Folded:
    """A round's model, recomputed.

    Attributes:
        check: the verdict.
        model: int64 (d,), of the digest that the chain names; None where it could not be recomputed as that.
    """

    check: Check
    model: Model | None


def fold_round(
    record: ChainRecord,
    attempt: Attempt,
    settled: RoundSettled,
    before: Digest,
    current: Model | None,
    fetched: Fetched,
) -> Folded:
    """M' = M + 2^e Σ w_i·q_i over the accepted updates has the digest on the chain; with nobody accepted M stays.

    Args:
        record: the job.
        attempt: which attempt.
        settled: how it ended.
        before: digest of the model before.
        current: that model, or None where it is not to be had.
        fetched: what storage has of the attempt's updates.
    """
    subject = record.subject(attempt.number)
    if not settled.accepted:
        problems = differing("the model", settled.model, before)
        return Folded(judge("model", subject, problems, "the model stays"), current)
    updates = [fetched[seat] for seat in settled.accepted if seat in fetched]
    absent = _absent(settled, updates, current)
    if absent or current is None:
        detail = f"{absent}: the model is taken on the aggregator's word"
        return Folded(Check("model", subject, "unproven", detail), None)
    weight_of = dict(zip(attempt.rows, settled.weights, strict=False))
    weights = [weight_of.get(seat, 0) for seat in settled.accepted]
    counts = [update for update in updates if not isinstance(update, Missing | Unfit)]
    try:
        model = integer_model.fold(current, counts, weights, attempt.started.shift)
    except InvalidModel as error:
        return Folded(Check("model", subject, "mismatch", str(error)), None)
    problems = differing("the model", settled.model, model_digest(model))
    check = judge("model", subject, problems, f"{len(counts)} updates fold into 0x{settled.model.hex()}")
    return Folded(check, model if check.ok else None)


def _absent(settled: RoundSettled, updates: Sequence[Counts | Missing | Unfit], current: Model | None) -> str:
    """What is missing for the fold, in words; empty where nothing is."""
    if len(updates) < len(settled.accepted):
        return "an accepted seat revealed nothing"
    missing = [
        f"the update of seat {seat}"
        for seat, update in zip(settled.accepted, updates, strict=True)
        if isinstance(update, Missing | Unfit)
    ]
    missing += ["the model before"] if current is None else []
    return f"{', '.join(missing)} not to be had" if missing else ""
