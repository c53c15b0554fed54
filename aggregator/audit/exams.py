"""Whether each exam was sealed, opened and paid for as it must be, and was what its owner said that it was."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean, variance

from eth_utils.crypto import keccak

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.exam_evidence import Absent, ExamEvidence, Unpublished
from aggregator.audit.report import JOB, Check, differing, judge
from aggregator.audit.vectors import Missing, Model, Unfit
from market.chain.events import AggregatorBonded, AttemptStarted
from market.chain.records import Exam, ExclusionReason
from market.job_history import Attempt
from market.protocol.errors import FedmarketError, InvalidExam
from market.protocol.exam import ExamBook, Reference, agrees, format_reference, slice_of_attempt
from market.protocol.seal import seal
from market.sealing import EXAM, can_seal_to, seal_to
from market.storage import content_cid
from zk.curve import parse_points
from zk.errors import ZkError

ZERO_WORD = bytes(32)

FAR_STANDARD_ERRORS = 5.0
"""A slice's mean loss is far above the public one's by more standard errors of their difference (Welch 1947)."""


# ------------------------------------------------------------------ what the chain alone says


def check_exam(record: ChainRecord, attempt: Attempt) -> Check:
    """The exam's seal is of this attempt and the owner's, and opens to what the contract keeps and the round counts.

    That an opened one could not be read by the aggregator, to whom alone it was sealed, the chain does not tell: see
    `check_sealing`.
    """
    excluded = attempt.exam_excluded
    doubt = ""
    if excluded:
        doubt = f"left out as {excluded.reason.name.lower()}: that is taken on the aggregator's word"
    return judge("exam", record.subject(attempt.number), _exam_problems(record, attempt), _told(record, attempt), doubt)


def _told(record: ChainRecord, attempt: Attempt) -> str:
    if attempt.exam_opened:
        return "sealed before the reveals and opened after them"
    if attempt.exam_missed:
        return f"not opened: {attempt.exam_missed.deposit_wei} wei of the owner's are burned"
    if not record.terms.exam.has_slice(attempt.number):
        return "no slice was left for one"
    return "sealed, not opened" if attempt.exam_committed else "not sealed"


def _exam_problems(record: ChainRecord, attempt: Attempt) -> Iterator[str]:
    committed, opened, excluded = attempt.exam_committed, attempt.exam_opened, attempt.exam_excluded
    if opened:
        owner = record.history.opened.owner
        found = seal(record.seal_context(attempt), owner, opened.commitment, opened.content, opened.salt)
        yield from differing("the exam's seal", committed.seal if committed else ZERO_WORD, found)
        yield from _commitment_problems(record, opened.commitment)
    if excluded and excluded.reason is ExclusionReason.NONE:
        yield "the exam was left out without a reason"
    if excluded and not opened:
        yield "an exam was left out that was not opened"
    sealed = committed.seal if committed else ZERO_WORD
    kept = Exam(sealed, keccak(opened.commitment) if opened else ZERO_WORD)
    yield from differing("what the contract keeps of the exam", record.exams.get(attempt.number), kept)


def _commitment_problems(record: ChainRecord, commitment: bytes) -> Iterator[str]:
    try:
        points = parse_points(commitment)
    except ZkError as error:
        yield f"the exam's commitment is none: {error}"
        return
    yield from differing("the number of points in the exam's commitment", len(points), record.terms.chunks)
    if not any(commitment):
        yield "the exam's r is zero: it asks for nothing"


# ------------------------------------------------------------------ what the owner published


def check_book(record: ChainRecord, evidence: ExamEvidence) -> Check:
    """The slices that the owner shows at the close are those whose root it posted at the opening."""
    book, terms = evidence.book, record.terms.exam
    if isinstance(book, Unpublished | Missing):
        return Check("exam book", JOB, "unproven", book.reason)
    problems = iter([book.reason]) if isinstance(book, Unfit) else _book_problems(book, terms.root, terms.slices)
    return judge("exam book", JOB, problems, f"{terms.slices} slices and the public one are under the job's root")


def _book_problems(book: ExamBook, root: bytes, slices: int) -> Iterator[str]:
    try:
        book.check(root, slices)
    except InvalidExam as error:
        yield str(error)


def check_reference(record: ChainRecord, attempt: Attempt, evidence: ExamEvidence, model: Model | None) -> Check:
    """The r that was published is the one that was committed to, and the training result of the slice under the root.

    Args:
        record: the job.
        attempt: one whose exam was opened.
        evidence: what was published.
        model: M_t, int64 (d,); None where it is not to be had.
    """
    name, subject, reference = "exam reference", record.subject(attempt.number), evidence.reference(attempt)
    if isinstance(reference, Unpublished | Missing | Unfit):
        return _without(name, subject, reference)
    samples = evidence.samples_of(attempt)
    unproven = ""
    if evidence.grader is None:
        unproven = "r is what was committed to; it was not recomputed"
    elif model is None:
        unproven = "r is what was committed to; the model that it was made at is not to be had"
    elif isinstance(samples, Unpublished | Missing):
        unproven = f"r is what was committed to; {samples.reason}"
    detail = f"r is what was committed to, and the training result of slice {slice_of_attempt(attempt.number)}"
    problems = _reference_problems(attempt, reference, evidence, None if unproven else model)
    return judge(name, subject, problems, detail, unproven)


def _reference_problems(
    attempt: Attempt, reference: Reference, evidence: ExamEvidence, model: Model | None
) -> Iterator[str]:
    if not evidence.is_committed(attempt):
        yield "the r that was published is not what was committed to: another one decided the round"
    if model is None or evidence.grader is None:
        return
    samples = evidence.samples_of(attempt)
    if isinstance(samples, Unpublished | Missing | Unfit):
        yield samples.reason
    elif not agrees(reference, evidence.grader.reference(evidence.document, model, samples)):
        index = slice_of_attempt(attempt.number)
        yield f"r is not the training result of slice {index} at the round's model: the exam asked for something else"


# ------------------------------------------------------------------ what the aggregator was sent


def check_sealing(record: ChainRecord, attempt: Attempt, evidence: ExamEvidence) -> Check:
    """An exam that was left out was r, sealed so that the round's aggregator could read it.

    With what the owner sealed r with everybody can make the sealed bytes again. That they were in storage in time this
    does not show. To an unusable key nothing can be sealed: who announced it went without by its own doing.

    Args:
        record: the job.
        attempt: one whose exam was opened, and left out.
        evidence: what was published.
    """
    name, subject, key = "exam sealing", record.subject(attempt.number), announced_key(record, attempt)
    if not can_seal_to(key):
        what = f"nothing can be sealed to the key that {_aggregator(attempt)} announced: the contract takes none such"
        return Check(name, subject, "mismatch", what)
    ephemeral, reference = evidence.ephemeral(attempt), evidence.reference(attempt)
    if isinstance(ephemeral, Unpublished | Missing | Unfit):
        return _without(name, subject, ephemeral)
    if isinstance(reference, Unpublished | Missing | Unfit):
        return _without(name, subject, reference)
    if not evidence.is_committed(attempt):
        what = "the r that was published is not what was committed to: it does not show what the aggregator was sent"
        return Check(name, subject, "mismatch", what)
    sealed = seal_to(key, record.seal_context(attempt), EXAM, format_reference(reference), ephemeral)
    return judge(name, subject, _sealing_problems(attempt, sealed), _sealing_told(attempt))


def announced_key(record: ChainRecord, attempt: Attempt) -> bytes:
    """The public key that an attempt's aggregator announced when it last bonded before; empty where it never did."""
    key = b""
    for event in record.history.events:
        if isinstance(event, AttemptStarted) and event.attempt == attempt.number:
            break
        if isinstance(event, AggregatorBonded) and event.aggregator == _aggregator(attempt):
            key = event.sealing_key
    return key


def _aggregator(attempt: Attempt) -> str:
    return attempt.started.aggregator


def _without(name: str, subject: str, absent: Absent) -> Check:
    """The verdict where something was not published, is not here, or is none."""
    return Check(name, subject, "mismatch" if isinstance(absent, Unfit) else "unproven", absent.reason)


def _sealing_problems(attempt: Attempt, sealed: bytes) -> Iterator[str]:
    content = attempt.exam_opened.content if attempt.exam_opened else ZERO_WORD
    what = f"the content id of r, sealed to the key that {_aggregator(attempt)} announced,"
    yield from differing(what, content, content_cid(sealed).digest)


def _sealing_told(attempt: Attempt) -> str:
    reason = attempt.exam_excluded.reason if attempt.exam_excluded else ExclusionReason.NONE
    sent = f"what was opened is r, sealed to the key that {_aggregator(attempt)} announced"
    if reason is ExclusionReason.UNAVAILABLE:
        return f"{sent}; whether it was in storage in time is not seen from here"
    return f"{sent} and could read: that it was left out as {reason.name.lower()} is false"


# ------------------------------------------------------------------ labels


def check_labels(record: ChainRecord, evidence: ExamEvidence, model: Model | None) -> Check:
    """No slice's labels look shuffled: none is much harder for the last model than the public one.

    A slice is suspect where the model's mean loss on it exceeds that on slice 0 by more than `FAR_STANDARD_ERRORS`
    standard errors of the difference, each slice's variance its own. It is no proof: an owner may have hard samples.

    Args:
        record: the job.
        evidence: what was published.
        model: the current model, int64 (d,); None where it is not to be had.
    """
    unproven, measured = "", 0
    if not isinstance(evidence.book, ExamBook):
        unproven = evidence.book.reason
    elif evidence.grader is None or model is None:
        unproven = "no slice's losses were computed"
    else:
        try:
            suspects, measured = _suspects(record, evidence, model)
        except FedmarketError as error:
            unproven = f"losses could not be computed: {error}"
        else:
            unproven = f"labels may be shuffled: {'; '.join(suspects)}" if suspects else ""
    if not measured:
        unproven = unproven or "no two slices are in storage"
    detail = f"the last model finds none of {measured} slices much harder than the public one"
    return judge("exam labels", JOB, (), detail, unproven)


def _suspects(record: ChainRecord, evidence: ExamEvidence, model: Model) -> tuple[list[str], int]:
    """What is far from the public slice, and how many slices could be looked at."""
    public = _losses(evidence, 0, model)
    suspects, measured = [], 0
    for index in range(1, record.terms.exam.slices + 1):
        losses = _losses(evidence, index, model)
        if len(public) < 2 or len(losses) < 2:
            continue
        measured += 1
        errors = _standard_errors_above(losses, public)
        if not errors <= FAR_STANDARD_ERRORS:  # a loss that is no number is far, too
            means = f"slice {index} has a mean loss of {fmean(losses):.3f}, the public one {fmean(public):.3f}"
            suspects.append(f"{means}: {errors:.1f} standard errors apart")
    return suspects, measured


def _losses(evidence: ExamEvidence, index: int, model: Model) -> list[float]:
    samples = evidence.samples(index)
    if evidence.grader is None or isinstance(samples, Unpublished | Missing | Unfit):
        return []
    return evidence.grader.losses(evidence.document, model, samples)


def _standard_errors_above(losses: list[float], public: list[float]) -> float:
    error = (variance(losses) / len(losses) + variance(public) / len(public)) ** 0.5
    difference = fmean(losses) - fmean(public)
    return difference / error if error else (float("inf") if difference > 0 else 0.0)
