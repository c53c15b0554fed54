"""What `fedmarket audit` looks at, in the order in which it does: the page lists it and judges nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """Of what a check is made."""

    JOB = "the job"
    ATTEMPT = "each attempt"
    SETTLED = "each settled attempt"


class Witness(StrEnum):
    """What a check recomputes from."""

    CHAIN = "the chain alone"
    STORAGE = "chain and storage"


@dataclass(frozen=True)
class AuditCheck:
    """One kind of check.

    Attributes:
        name: as the command prints it.
        scope: of what it is made.
        promise: what it recomputes, and what has to be equal.
        witness: from what.
        only_with: what a job has to have for it; empty for any job.
    """

    name: str
    scope: Scope
    promise: str
    witness: Witness
    only_with: str = ""


EXAM = "exam"

CHECKS: Sequence[AuditCheck] = (
    AuditCheck(
        "document",
        Scope.JOB,
        "The document whose digest is on the chain is in storage, and says what the contract enforces.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "terms",
        Scope.JOB,
        "The terms are those that the job was opened with, can hold together, and are paid for.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "exam book",
        Scope.JOB,
        "The slices that the owner shows at the close are those whose root was posted at the opening.",
        Witness.STORAGE,
        EXAM,
    ),
    AuditCheck(
        "initial model",
        Scope.JOB,
        "The initial model is in storage, in range, and opens the commitment that the chain has of it.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "schedule",
        Scope.ATTEMPT,
        "Everything lies in its phase, attempts follow one another, and stakes and bonds were in place.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "openings",
        Scope.ATTEMPT,
        "Each reveal's trainer, commitment, content and salt make the seal that its seat committed.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "exam",
        Scope.ATTEMPT,
        "The exam was sealed by the owner before the reveals, and opened to what the round counted.",
        Witness.CHAIN,
        EXAM,
    ),
    AuditCheck(
        "exam reference",
        Scope.ATTEMPT,
        "The reference is the one that was committed to, and what the slice's own gradient comes to.",
        Witness.STORAGE,
        EXAM,
    ),
    AuditCheck(
        "exam sealing",
        Scope.ATTEMPT,
        "An exam that the aggregator left out was sealed so that the aggregator could read it.",
        Witness.STORAGE,
        EXAM,
    ),
    AuditCheck(
        "proof",
        Scope.SETTLED,
        "The published Gram matrix is that of the committed updates: the round's argument verifies.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "decision",
        Scope.SETTLED,
        "The rules, run again on the matrix, accept the same seats with the same weights and scores.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "commitment",
        Scope.SETTLED,
        "The new model's commitment is the old one plus the weighted sum of the accepted updates'.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "updates",
        Scope.SETTLED,
        "Every update that counts is in storage and, for whoever can open it, is what its seat committed to.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "exclusions",
        Scope.SETTLED,
        "Only revealed updates were left out, and none for a reason that storage disproves.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "gram", Scope.SETTLED, "The updates' inner products, computed again, give the same matrix.", Witness.STORAGE
    ),
    AuditCheck(
        "model",
        Scope.SETTLED,
        "The accepted updates, folded into the model again, give the model that was published.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "pay",
        Scope.ATTEMPT,
        "Every seat's pay or compensation follows from scores, exclusions and what was carried over.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "dispute",
        Scope.ATTEMPT,
        "Each dispute ended as a quorum of the job's attestors answered, each counted once.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "claims",
        Scope.ATTEMPT,
        "Each claim was the claimant's own credit, taken once and after it vested; fees likewise.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "current model",
        Scope.JOB,
        "The current model is in storage, in range, and opens the chain's commitment.",
        Witness.STORAGE,
    ),
    AuditCheck(
        "exam labels",
        Scope.JOB,
        "No slice's labels look shuffled: none is much harder for the last model than the public one.",
        Witness.STORAGE,
        EXAM,
    ),
    AuditCheck(
        "conservation",
        Scope.JOB,
        "After every event: deposited = paid + refunded + burned + locked, and nothing below zero.",
        Witness.CHAIN,
    ),
    AuditCheck(
        "ledger", Scope.JOB, "The events add up to the contract's ledger of this job, part by part.", Witness.CHAIN
    ),
    AuditCheck("balance", Scope.JOB, "The contract has what it owes, this job's part included.", Witness.CHAIN),
    AuditCheck(
        "state", Scope.JOB, "The events lead to the state that the contract reports, field by field.", Witness.CHAIN
    ),
)


def checks_for(has_exam: bool) -> list[AuditCheck]:
    """The kinds of checks that are made of a job."""
    return [check for check in CHECKS if has_exam or check.only_with != EXAM]
