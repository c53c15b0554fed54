"""Whether each model is what the chain committed to, and the exact average that the decision asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.report import JOB, Check, differing, judge
from aggregator.audit.updates import Fetched, is_sound
from aggregator.audit.vectors import Missing, Model, StoredVectors, Unfit, model_digest
from market.chain.events import RoundSettled
from market.job_history import Attempt, Version
from market.model_opening import verify_model
from market.protocol import integer_model
from market.protocol.errors import AuditMismatch, InvalidModel
from market.protocol.identifiers import Digest
from zk.commitment import Layout
from zk.srs import Srs


class ModelOpenings:
    """Opens the chain's commitments to a job's models, each once, with the blinders that were published."""

    def __init__(self, record: ChainRecord, srs: Srs, layout: Layout) -> None:
        """Open nothing yet.

        Args:
            record: the job.
            srs: the one that its commitments are made under.
            layout: of its vectors.
        """
        self._record, self._srs, self._layout = record, srs, layout
        self._opened: set[tuple[Version, ...]] = set()

    def digest(self, before: int | None = None) -> Digest:
        """Of the latest model that a settlement made; `before` as `problems` takes it."""
        return self._record.history.versions(before)[-1].digest

    def problems(self, model: Model, before: int | None = None) -> Iterator[str]:
        """Why a model is not what the chain committed to as the latest one, if it is not.

        Args:
            model: int64 (d,), of the digest that the settlement named.
            before: the latest before this attempt; None for the latest of all.

        Raises:
            ChainError: a settlement lacks its model's commitment.
        """
        versions = self._record.history.versions(before)
        if tuple(versions) in self._opened:
            return
        try:
            verify_model(self._srs, self._layout, versions, model)
        except AuditMismatch as mismatch:
            yield str(mismatch)
            return
        self._opened.add(tuple(versions))


def check_stored_model(
    name: str, digest: Digest, vectors: StoredVectors, openings: ModelOpenings, before: int | None = None
) -> Check:
    """A model that has to be there is in storage, in range, and opens the chain's commitment.

    Args:
        name: of the check.
        digest: what the chain says.
        vectors: the storage.
        openings: of the job's models.
        before: as `ModelOpenings.problems` takes it.

    Raises:
        StorageError: this machine's disk refuses.
    """
    detail = f"0x{digest.hex()} is in storage, in range, and opens the chain's commitment"
    return judge(name, JOB, _stored_problems(digest, vectors.model(digest), openings, before), detail)


def _stored_problems(
    digest: Digest, fetched: Model | Missing | Unfit, openings: ModelOpenings, before: int | None
) -> Iterator[str]:
    if isinstance(fetched, Missing | Unfit):
        yield fetched.reason
        return
    yield from differing("the model", digest, openings.digest(before))
    yield from openings.problems(fetched, before)


@dataclass(frozen=True, eq=False)
class Followed:
    """A round's model.

    Attributes:
        check: the verdict.
        model: int64 (d,), what the chain committed to, whatever digest it names; None where that is not to be had.
    """

    check: Check
    model: Model | None


def follow_model(
    record: ChainRecord,
    attempt: Attempt,
    settled: RoundSettled,
    before: tuple[Digest, Model | None],
    fetched: Fetched,
    vectors: StoredVectors,
    openings: ModelOpenings,
) -> Followed:
    """The model that the chain names opens C(M'), and is M + 2^e Σ w_i·q_i; with nobody accepted M stays.

    Where the updates are gone the stored model does: that it opens C(M') says the same, as C(M') is a sum of what was
    committed. Where they are here the model is folded again, and storage need not have it.

    Args:
        record: the job.
        attempt: which attempt.
        settled: how it ended.
        before: digest of the model before, and that model, or None where it is not to be had.
        fetched: what storage has of the attempt's updates.
        vectors: the storage.
        openings: of the job's models.

    Raises:
        StorageError: this machine's disk refuses.
    """
    subject, (digest, current) = record.subject(attempt.number), before
    if not settled.accepted:
        return Followed(judge("model", subject, differing("the model", settled.model, digest), "it stays"), current)
    try:
        folded = fold(attempt, settled, current, fetched)
    except InvalidModel as error:
        return Followed(Check("model", subject, "mismatch", str(error)), None)
    found = vectors.model(settled.model) if folded is None else folded
    if isinstance(found, Missing):
        return Followed(Check("model", subject, "unproven", _out_of_reach(settled)), None)
    if isinstance(found, Unfit):
        return Followed(Check("model", subject, "mismatch", found.reason), None)
    problems = _model_problems(attempt, settled, folded, found, openings)
    check = judge("model", subject, problems, _detail(settled, folded))
    # What was folded from opened updates is right, whatever was published; a stored model is, if it opens C(M').
    return Followed(check, found if check.ok else folded)


def _model_problems(
    attempt: Attempt, settled: RoundSettled, folded: Model | None, found: Model, openings: ModelOpenings
) -> Iterator[str]:
    if folded is not None:
        yield from differing("the model", settled.model, model_digest(folded))
    for problem in openings.problems(found, before=attempt.number + 1):
        # A model that folds again is the right one: then it is what should open it that is wrong.
        yield problem if folded is None else f"the blinders that were published are false: {problem}"


def _detail(settled: RoundSettled, folded: Model | None) -> str:
    named = f"0x{settled.model.hex()}"
    if folded is None:
        return f"{named} opens the chain's commitment; not all that it was made of is open to this audit"
    return f"{len(settled.accepted)} updates fold into {named}, which opens the chain's commitment"


def _out_of_reach(settled: RoundSettled) -> str:
    return (
        f"neither 0x{settled.model.hex()} nor all that it was made of is to be had: its commitment is proven, that "
        "its bytes open it is taken on the aggregator's word"
    )


def fold(attempt: Attempt, settled: RoundSettled, current: Model | None, fetched: Fetched) -> Model | None:
    """The round's model, made again; None where something that it takes is not to be had.

    Raises:
        InvalidModel: it would leave its range.
    """
    updates = [update for seat in settled.accepted if is_sound(update := fetched.get(seat))]
    if current is None or len(updates) < len(settled.accepted):
        return None
    weight_of = dict(zip(attempt.rows, settled.weights, strict=False))
    weights = [weight_of.get(seat, 0) for seat in settled.accepted]
    return integer_model.fold(current, updates, weights, attempt.started.shift)
