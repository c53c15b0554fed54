"""What the consensus contract keeps and takes, as frozen Python values; field for field as in `ConsensusTypes.sol`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from market.protocol.consensus import (
    LEAST_VERIFIERS,
    MAX_SAMPLES,
    MAX_SLACK_PERMILLE,
    MAX_TOLERANCE_BITS,
    MOST_VERIFIERS,
    ConsensusTerms,
    Outcome,
)
from market.protocol.errors import InvalidTerms
from market.protocol.identifiers import Digest, PoolId, Wei
from market.protocol.terms import NATIVE

MAX_UNITS = 64
SHARES_A_UNIT = 3
"""A unit is worth at least so many shares: an overturned majority pays for the appeal."""

MAX_EVIDENCE_WORDS = 3_072
"""Of 32 bytes, in an appeal's settlement: nodes take no transaction above 128 KiB, nor above 2^24 gas."""

MIN_PERIOD_S, MAX_PERIOD_S = 60, 30 * 24 * 3600

FIRST_PANEL, SECOND_PANEL, APPEAL_PANEL = range(3)
NONE_32 = bytes(32)


class TaskPhase(IntEnum):
    """What may be done to a task now; the same numbers as in the contract."""

    DRAWING = 0
    SEATING = 1
    COMMIT = 2
    REVEAL = 3
    SETTLE = 4
    APPEAL = 5
    FINISH = 6
    FINISHED = 7


class SeatState(IntEnum):
    """Where a seat stands; the same numbers as in the contract."""

    TAKEN = 0
    COMMITTED = 1
    REVEALED = 2
    VOID = 3


class PenaltyReason(IntEnum):
    """Why a seat's unit is burned; the same numbers as in the contract."""

    SILENT = 0
    DISAGREED = 1


@dataclass(frozen=True)
class PoolTerms:
    """What verifiers stake on: a service, and what counts there as the same output.

    Attributes:
        service: content digest of the service's document.
        digest_kind: number of the kind of digest in that document.
        tolerance_bits: two digests of a sample agree where at most so many bits differ.
        slack_permille: share of a batch's samples that may be beyond it, rounded down to whole samples.
        max_samples: of a task.
        unit_wei: what a ticket costs and a seat locks.
    """

    service: Digest
    digest_kind: int
    tolerance_bits: int
    slack_permille: int
    max_samples: int
    unit_wei: Wei

    def check(self) -> None:
        """See that the contract would take them.

        Raises:
            InvalidTerms: naming the first that it would not.
        """
        _require("service", int.from_bytes(self.service, "big"), 1, (1 << 256) - 1)
        _require("digest_kind", self.digest_kind, 0, 255)
        _require("tolerance_bits", self.tolerance_bits, 0, MAX_TOLERANCE_BITS)
        _require("slack_permille", self.slack_permille, 0, MAX_SLACK_PERMILLE)
        _require("max_samples", self.max_samples, 1, MAX_SAMPLES)
        _require("unit", self.unit_wei, 1, (1 << 128) - 1)

    def to_abi(self) -> tuple[Any, ...]:
        """As the contract takes it."""
        return _values(self)

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> PoolTerms:
        """Parse what the contract returned."""
        service, *numbers = values
        return cls(Digest(bytes(service)), *numbers)


@dataclass(frozen=True)
class VerifierStake:
    """An account's stake in a pool.

    Attributes:
        units: its tickets.
        locked: those of them that seats hold.
        since: the block of its last stake: seats of panels asked for later are open to it.
    """

    units: int
    locked: int
    since: int


@dataclass(frozen=True)
class TaskTerms:
    """A task's terms.

    Attributes:
        pool: whose verifiers do it.
        request: content digest of the request's document.
        seed: of all that is drawn in the generation.
        samples: digests of a batch.
        verifiers: k, of the first panel and the second.
        share_wei: what a seat that is accepted earns.
        worker: whose claim is checked; the zero address for nobody's.
        worker_reward_wei: what it earns where the claim holds.
        claim: commitment to its digests; zeros without a worker.
        canaries: commitment to answers that the owner knows; zeros for none.
        seat_period_s: how long seats can be taken once they are drawn.
        commit_period_s: how long then outputs can be committed.
        reveal_period_s: how long then they can be revealed.
        appeal_period_s: how long a decision can be appealed against.
    """

    pool: PoolId
    request: Digest
    seed: int
    samples: int
    verifiers: int
    share_wei: Wei
    worker: str
    worker_reward_wei: Wei
    claim: bytes
    canaries: bytes
    seat_period_s: int
    commit_period_s: int
    reveal_period_s: int
    appeal_period_s: int

    @property
    def deposit_wei(self) -> Wei:
        """What the owner locks."""
        return Wei(self.verifiers * self.share_wei + self.worker_reward_wei)

    @property
    def appeal_bond_wei(self) -> Wei:
        """What an appellant locks: the shares of the appeal's panel."""
        return Wei(self.appeal_verifiers * self.share_wei)

    @property
    def appeal_verifiers(self) -> int:
        """How many seats an appeal has."""
        return 2 * self.verifiers + 1

    @property
    def has_worker(self) -> bool:
        """Whether a worker's claim is checked."""
        return self.worker != NATIVE

    def check(self, pool: PoolTerms) -> None:
        """See that the contract would take them, as far as that can be seen without it.

        Raises:
            InvalidTerms: naming the first that it would not.
        """
        if self.verifiers % 2 == 0 or not LEAST_VERIFIERS <= self.verifiers <= MOST_VERIFIERS:
            raise InvalidTerms(f"verifiers is {self.verifiers}, expected 3, 5 or 7: an odd number has a majority")
        # An appeal's evidence has 3k + 1 batches, the claim, and less than one more of the rest.
        most = min(pool.max_samples, MAX_EVIDENCE_WORDS // (3 * self.verifiers + 3))
        _require("samples", self.samples, 1, most)
        for period in ("seat_period", "commit_period", "reveal_period", "appeal_period"):
            _require(period, getattr(self, f"{period}_s"), MIN_PERIOD_S, MAX_PERIOD_S)
        _require("seed", self.seed, 0, (1 << 64) - 1)
        _require("share", self.share_wei, 1, pool.unit_wei // SHARES_A_UNIT)
        if self.has_worker != (self.claim != NONE_32):
            raise InvalidTerms("a worker and its claim belong together: expected both, or neither")
        if self.worker_reward_wei and not self.has_worker:
            raise InvalidTerms(f"worker_reward is {self.worker_reward_wei} wei, expected 0 without a worker")

    def consensus(self, pool: PoolTerms, size: int | None = None) -> ConsensusTerms:
        """What a panel's decision depends on.

        Args:
            pool: the pool's terms.
            size: seats of the panel; None for those of the first.
        """
        return ConsensusTerms(size or self.verifiers, self.samples, pool.tolerance_bits, pool.slack_permille)

    def to_abi(self) -> tuple[Any, ...]:
        """As the contract takes it."""
        return _values(self)

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> TaskTerms:
        """Parse what the contract returned."""
        plain: list[Any] = [bytes(value) if isinstance(value, bytes) else value for value in values]
        return cls(*plain)


@dataclass(frozen=True)
class TaskState:
    """Where a task stands.

    Attributes:
        owner: who opened it.
        phase: what may be done now.
        panel: the latest: 0, 1 after a second draw, 2 on appeal.
        standing: the panel whose decision an appeal is about.
        outcome: before the end, what it will be if nobody appeals.
        canaries_open: whether the owner has shown them.
        worker_accepted: whether the worker's claim agrees with the medoid.
        appeal_until_s: until when it can be appealed; zero before there is a decision.
        appellant: who appealed; the zero address for nobody.
        bond_wei: what the appellant put down.
        claim_hash: of the worker's digests once they are open, else zeros.
        outputs: content digest of the medoid's outputs.
    """

    owner: str
    phase: TaskPhase
    panel: int
    standing: int
    outcome: Outcome
    canaries_open: bool
    worker_accepted: bool
    appeal_until_s: int
    appellant: str
    bond_wei: Wei
    claim_hash: bytes
    outputs: Digest

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> TaskState:
        """Parse what the contract returned."""
        owner, phase, panel, standing, outcome, *rest, outputs = values
        told = (*rest, Digest(bytes(outputs)))
        return cls(owner, TaskPhase(phase), panel, standing, Outcome(outcome), *told)


@dataclass(frozen=True)
class PanelSeat:
    """A seat of a panel.

    Attributes:
        verifier: who sits.
        state: how far it is.
        number: the lowest of its tickets'.
        seal: what it committed to; zeros before.
        digests_hash: of what it revealed; zeros before.
        outputs: content digest of its outputs; zeros before, and where it says that the request is void.
    """

    verifier: str
    state: SeatState
    number: int
    seal: bytes
    digests_hash: bytes
    outputs: Digest

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> PanelSeat:
        """Parse what the contract returned."""
        verifier, state, number, seal, digests_hash, outputs = values
        return cls(verifier, SeatState(state), number, bytes(seal), bytes(digests_hash), Digest(bytes(outputs)))


@dataclass(frozen=True)
class PanelState:
    """A panel and its decision.

    Attributes:
        size: how many seats it has.
        asked_at: the block in which it was asked for.
        draw_block: whose hash decides.
        seed: that hash; zeros before it is known.
        seat_until_s: until when seats can be taken; zero before the draw, as the next two.
        commit_until_s: until when outputs can be committed.
        reveal_until_s: until when they can be revealed.
        outcome: what it came to.
        medoid: a seat.
        clique: bit mask of seats; zero without a majority, as what follows.
        paid: whoever is paid: the clique, or after an appeal who agrees with its medoid.
        spared: neither paid nor penalised.
        accepted_samples: a bit each.
        seats: those that are taken.
    """

    size: int
    asked_at: int
    draw_block: int
    seed: bytes
    seat_until_s: int
    commit_until_s: int
    reveal_until_s: int
    outcome: Outcome
    medoid: int
    clique: int
    paid: int
    spared: int
    accepted_samples: int
    seats: tuple[PanelSeat, ...]

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> PanelState:
        """Parse what the contract returned."""
        size, asked_at, draw_block, seed, seat, commit, reveal, outcome, *rest, seats = values
        moments = (seat, commit, reveal)
        held = tuple(PanelSeat.from_abi(entry) for entry in seats)
        decision = (Outcome(outcome), *rest, held)
        return cls(size, asked_at, draw_block, bytes(seed), *moments, *decision)


@dataclass(frozen=True)
class Evidence:
    """What a settlement is reckoned from; the contract checks it against what it keeps.

    Attributes:
        digests: of each seat of the panel; empty where it revealed none.
        original: on appeal the same of the standing panel, else empty.
        canary_samples: where the canaries are open, ascending.
        canary_digests: one a sample.
        canary_salt: theirs.
        claimed: the worker's digests where the claim is open, else empty.
    """

    digests: tuple[tuple[bytes, ...], ...]
    original: tuple[tuple[bytes, ...], ...] = ()
    canary_samples: tuple[int, ...] = ()
    canary_digests: tuple[bytes, ...] = ()
    canary_salt: bytes = NONE_32
    claimed: tuple[bytes, ...] = ()

    def to_abi(self) -> tuple[Any, ...]:
        """As the contract takes it."""
        return _values(self)


@dataclass(frozen=True)
class ConsensusLedger:
    """Where all money of the contract is, in wei."""

    deposited_wei: Wei
    withdrawn_wei: Wei
    burned_wei: Wei
    stakes_wei: Wei
    escrowed_wei: Wei
    credits_wei: Wei

    @property
    def is_balanced(self) -> bool:
        """Whether every wei that came in is accounted for."""
        held = self.burned_wei + self.stakes_wei + self.escrowed_wei + self.credits_wei
        return self.deposited_wei == self.withdrawn_wei + held


def _values(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, entry.name) for entry in fields(record))


def _require(term: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidTerms(f"{term} is {value}, expected {least} to {most}")
