"""What came of the generative demo, as chain and storage have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregator.audit import AuditReport
from market.chain.records import Ledger
from market.task_audit import TaskReport
from trainer_client.calibration.rates import Rate

Images = NDArray[np.float32]
"""(n, height, width), 0 black to 1 white."""


@dataclass(frozen=True)
class TrainingResult:
    """The federated job that made the model.

    Attributes:
        job: its number.
        architecture: of the model.
        parameters: how many it has.
        rounds: how many were played.
        trainers: how many took part.
        loss: on samples that nobody trained on: of the initial model, and after every round.
        audit: of the whole job.
        ledger: where the job's money is.
    """

    job: int
    architecture: str
    parameters: int
    rounds: int
    trainers: int
    loss: tuple[float, ...]
    audit: AuditReport
    ledger: Ledger


@dataclass(frozen=True)
class CalibrationResult:
    """What the tolerance was measured by. Its errors are those on images that it was not chosen by.

    Attributes:
        content: id of the calibration's document in storage.
        samples: images that were generated on every machine, none of the task's.
        machines: the ways of running the model.
        serve: the least and the most bits that would do.
        honest_bits: the most in which two machines differed on one image.
        other_bits: by what is other, the least in which two outputs differed that are not the same.
        refused: honest outputs that a panel of honest machines refuses.
        accepted: by what is other, outputs that such a panel accepts.
    """

    content: str
    samples: int
    machines: tuple[str, ...]
    serve: tuple[int, int]
    honest_bits: int
    other_bits: Mapping[str, int]
    refused: Rate
    accepted: Mapping[str, Rate]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "content": self.content,
            "samples": self.samples,
            "machines": list(self.machines),
            "serve": list(self.serve),
            "honest_bits": self.honest_bits,
            "other_bits": dict(self.other_bits),
            "refused": self.refused.to_json(),
            "accepted": {kind: rate.to_json() for kind, rate in self.accepted.items()},
        }


@dataclass(frozen=True, eq=False)
class VerifierResult:
    """One verifier of the task.

    Attributes:
        name: what the demo calls it.
        behaviour: honest, lazy or copier.
        runs: on what it generates: precision, batches, threads, and the model where it is another one.
        address: its account.
        seat: its seat in the panel; None where it got none.
        images: what it generated, from storage by the content id that it revealed; None where it revealed nothing.
        digests: what it revealed, one a sample; none where it revealed nothing.
        verdict: paid, spared or penalised.
        paid_wei: credited for this task.
        lost_wei: burned of its stake.
        why: the reason, in a sentence.
        refused: what the contract refused it, a line each.
    """

    name: str
    behaviour: str
    runs: str
    address: str
    seat: int | None
    images: Images | None
    digests: tuple[bytes, ...]
    verdict: str
    paid_wei: int
    lost_wei: int
    why: str
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class GenerativeResult:
    """Everything that the generative demo shows.

    Attributes:
        seed: everything follows from it.
        training: the job that made the model.
        pool, task: their numbers.
        service, request: content ids of their documents.
        task_seed: what the images' noise is drawn from.
        digest_kind: how images become 256 bits.
        tolerance_bits: two digests of a sample agree when at most so many bits differ.
        allowed: so many samples may be further apart between two who agree.
        calibration: what tolerance and slack were measured by.
        prompts: a class a sample.
        outcome: what the task came to, in words.
        verifiers: everybody with a stake in the pool, honest ones first.
        medoid: the name of the verifier whose outputs were accepted; None where none were.
        accepted: whether each sample was.
        outputs: content id of the accepted outputs.
        share_wei, stake_wei: what a seat earns, and what it locks.
        money: where the consensus contract's money is, by name, in wei.
        balanced: whether every wei of it is accounted for.
        audit: the replay of the task from its events.
        gas: of every kind of call, one entry a transaction.
        seconds: how long each part of the play took.
    """

    seed: int
    training: TrainingResult
    pool: int
    task: int
    service: str
    request: str
    task_seed: int
    digest_kind: str
    tolerance_bits: int
    allowed: int
    calibration: CalibrationResult
    prompts: tuple[int, ...]
    outcome: str
    verifiers: tuple[VerifierResult, ...]
    medoid: str | None
    accepted: tuple[bool, ...]
    outputs: str | None
    share_wei: int
    stake_wei: int
    money: Mapping[str, int]
    balanced: bool
    audit: TaskReport
    gas: Mapping[str, tuple[int, ...]]
    seconds: Mapping[str, float]

    def named(self, name: str) -> VerifierResult:
        """A verifier by its name.

        Raises:
            KeyError: there is none.
        """
        return {verifier.name: verifier for verifier in self.verifiers}[name]

    def near(self, apart: tuple[int, ...]) -> bool:
        """Whether batches that differ by so many bits, sample by sample, agree."""
        return sum(bits > self.tolerance_bits for bits in apart) <= self.allowed

    @property
    def audit_ok(self) -> bool:
        """Whether the task's events alone lead to what the contract says."""
        return self.audit.first_mismatch is None

    @property
    def reference(self) -> VerifierResult | None:
        """The verifier whose outputs were accepted."""
        return None if self.medoid is None else self.named(self.medoid)

    def to_json(self) -> dict[str, Any]:
        """Plain values; amounts in wei, digests in hexadecimal; the images are in storage."""
        training = self.training
        return {
            "seed": self.seed,
            "training": {
                "job": training.job,
                "architecture": training.architecture,
                "parameters": training.parameters,
                "rounds": training.rounds,
                "trainers": training.trainers,
                "loss": list(training.loss),
                "audit_ok": training.audit.ok,
                "balanced": training.ledger.is_balanced,
            },
            "pool": self.pool,
            "task": self.task,
            "service": self.service,
            "request": self.request,
            "task_seed": self.task_seed,
            "digest_kind": self.digest_kind,
            "tolerance_bits": self.tolerance_bits,
            "allowed": self.allowed,
            "calibration": self.calibration.to_json(),
            "prompts": list(self.prompts),
            "outcome": self.outcome,
            "medoid": self.medoid,
            "accepted": list(self.accepted),
            "outputs": self.outputs,
            "share_wei": self.share_wei,
            "stake_wei": self.stake_wei,
            "verifiers": [_plain(verifier, self.reference) for verifier in self.verifiers],
            "distances": [list(row) for row in distances(self.verifiers)],
            "money": dict(self.money),
            "balanced": self.balanced,
            "audit": self.audit.to_json(),
            "gas": {call: list(used) for call, used in sorted(self.gas.items())},
            "seconds": dict(self.seconds),
        }


def bits_apart(one: bytes, other: bytes) -> int:
    """How many bits of two digests differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def batch_distances(one: VerifierResult, other: VerifierResult) -> tuple[int, ...] | None:
    """How many bits differ in every sample; None where one of the two revealed nothing."""
    if not one.digests or not other.digests:
        return None
    return tuple(bits_apart(*pair) for pair in zip(one.digests, other.digests, strict=True))


def distances(verifiers: tuple[VerifierResult, ...]) -> list[list[int | None]]:
    """The most bits in which a sample of each differs from that of each other; None where one revealed nothing."""
    apart = [[batch_distances(one, other) for other in verifiers] for one in verifiers]
    return [[None if each is None else max(each) for each in row] for row in apart]


def _plain(verifier: VerifierResult, reference: VerifierResult | None) -> dict[str, Any]:
    apart = None if reference is None else batch_distances(verifier, reference)
    return {
        "name": verifier.name,
        "behaviour": verifier.behaviour,
        "runs": verifier.runs,
        "address": verifier.address,
        "seat": verifier.seat,
        "digests": [digest.hex() for digest in verifier.digests],
        "bits_from_accepted": None if apart is None else list(apart),
        "verdict": verifier.verdict,
        "paid_wei": verifier.paid_wei,
        "lost_wei": verifier.lost_wei,
        "why": verifier.why,
        "refused": list(verifier.refused),
    }
