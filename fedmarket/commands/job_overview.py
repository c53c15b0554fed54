"""One job at one block, put together from contract and events: what `job show` prints and `--json` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from fedmarket.commands.exam_overview import ExamLine, exam_lines
from fedmarket.commands.seat_overview import SeatOverview
from fedmarket.connection import Network
from market.chain.events import WITHOUT_PROOFS, Claimed, SeatTaken, TrainerEnrolled
from market.chain.packed import unpack_pays
from market.chain.records import JobState, Ledger
from market.job_history import Attempt, JobHistory
from market.protocol.errors import InvalidJobSpec, StorageError
from market.protocol.identifiers import JobId, Seat, Wei
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.protocol.rounds import Phase
from market.protocol.rule_terms import ONE_Q32
from market.protocol.terms import JobTerms
from market.replicas import IntervalFinding, JobReplicas
from market.sealed_model import job_model_bytes
from market.storage import Cid, ContentStore


@dataclass(frozen=True)
class Moment:
    """Where a job is in time.

    Attributes:
        phase: what may be done now.
        now_s: the block's timestamp.
        until_s: when the phase ends; None where it ends by what somebody does.
    """

    phase: Phase
    now_s: int
    until_s: int | None

    @property
    def left_s(self) -> int | None:
        """Seconds until the phase ends."""
        return None if self.until_s is None else max(0, self.until_s - self.now_s)

    @classmethod
    def of(cls, phase: Phase, terms: JobTerms, state: JobState, now_s: int) -> Moment:
        """Find the end of the phase in the job's schedule."""
        schedule = terms.schedule(state.attempt_start_s)
        ends = {
            Phase.ENROLMENT: schedule.start_s,
            Phase.COMMIT: schedule.commit_end_s,
            Phase.REVEAL: schedule.reveal_end_s,
            Phase.EXAM: schedule.exam_end_s,
            Phase.SETTLE: schedule.settle_end_s,
        }
        return cls(phase, now_s, ends.get(phase))


@dataclass(frozen=True)
class AttemptLine:
    """One attempt of a round. `accepted` is None before it was settled, `paid_wei` counts pay and compensation.

    `exam` is None in a job without one.
    """

    round: int
    attempt: int
    result: str
    committed: int
    revealed: int
    excluded: Mapping[Seat, str]
    accepted: tuple[Seat, ...] | None
    paid_wei: int
    vests_at_s: int | None
    exam: ExamLine | None


@dataclass(frozen=True)
class TrainerLine:
    """One seat and what came of it. One that is idle is for somebody else to take."""

    seat: Seat
    address: str
    staked: bool
    idle: bool
    accepted_rounds: int
    score: float
    earned_wei: int
    claimed_wei: int


@dataclass(frozen=True, eq=False)
class JobOverview:
    """A job, read at one block. `document` is None where the store does not have it, `exams` are by attempt.

    `exams` and `replicas` are empty and `seats` None where they were not asked for.
    """

    id: JobId
    block: int
    moment: Moment
    terms: JobTerms
    state: JobState
    ledger: Ledger
    history: JobHistory
    aggregators: tuple[str, ...]
    document: JobDocument | None
    exams: Mapping[int, ExamLine]
    seats: SeatOverview | None
    replicas: tuple[IntervalFinding, ...] = ()

    @classmethod
    def read(cls, network: Network, number: int, *, in_full: bool = False) -> JobOverview:
        """Read everything as of the latest block.

        Args:
            network: where the job is.
            number: the job's.
            in_full: whether to read how everybody did in the exams, and who waits for a seat: that costs a request a
                round, and one a seat.

        Raises:
            ContractRevert: there is no such job.
        """
        job, block = JobId(number), network.chain.block_number()
        market = network.market.at(block)
        terms, state = market.terms(job), market.state(job)
        now_s = int(network.chain.block(block)["timestamp"])
        history = JobHistory(market.events(job, network.deployment.block, block, WITHOUT_PROOFS))
        document = document_of(network.store, history.opened.spec)
        return cls(
            id=job,
            block=block,
            moment=Moment.of(market.phase(job), terms, state, now_s),
            terms=terms,
            state=state,
            ledger=market.ledger(job),
            history=history,
            aggregators=tuple(market.aggregators(job)),
            document=document,
            exams=exam_lines(network, job, terms, history, block) if in_full else {},
            seats=SeatOverview.read(market, job, terms, state, history.events) if in_full else None,
            replicas=_findings(network, job, document, state.round) if in_full else (),
        )

    @property
    def name(self) -> str:
        """The owner's name for it."""
        return self.document.spec.name if self.document else "(its document is not in this store)"

    @property
    def spec_cid(self) -> str:
        """The document's name in storage."""
        return str(Cid.from_digest(self.history.opened.spec, 0))

    @property
    def model_name(self) -> str:
        """The current model's CID; its bare digest where the document, and so the model's size, is not known."""
        if self.document is None:
            return self.state.model.hex()
        return str(Cid.from_digest(self.state.model, job_model_bytes(self.document)))

    @property
    def models_sealed(self) -> bool | None:
        """Whether only those who take part can read the models; None where the document is not known."""
        return None if self.document is None else self.document.spec.seals_models

    @property
    def attempts(self) -> list[AttemptLine]:
        """Every attempt so far, in order."""
        return [_attempt_line(it, self.exams.get(number)) for number, it in sorted(self.history.attempts.items())]

    @property
    def trainers(self) -> list[TrainerLine]:
        """Every seat that is taken, in order."""
        sat = (event for event in self.history.events if isinstance(event, TrainerEnrolled | SeatTaken))
        addresses = {event.seat: event.trainer for event in sat}
        return [self._trainer_line(seat, addresses[seat]) for seat in sorted(addresses)]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; amounts in wei, moments as block timestamps."""
        return {
            "job": self.id,
            "name": self.name if self.document else None,
            "block": self.block,
            "timestamp_s": self.moment.now_s,
            "phase": self.moment.phase.name.lower(),
            "phase_ends_at_s": self.moment.until_s,
            "round": self.state.round,
            "owner": self.state.owner,
            "aggregators": list(self.aggregators),
            "document": self.spec_cid,
            "models_sealed": self.models_sealed,
            "model": self.model_name,
            "exam_published": self.state.exam_published if self.terms.exam.is_set else None,
            "terms": _plain(asdict(self.terms)),
            "rounds": [asdict(line) for line in self.attempts],
            "trainers": [asdict(line) for line in self.trainers],
            "replicas": [_plain(asdict(line)) for line in self.replicas],
            "waiting": [asdict(line) for line in self.seats.waiting] if self.seats else None,
            "draw": _plain(asdict(self.seats.draw)) if self.seats and self.seats.draw else None,
            "escrow": {
                **{name.removesuffix("_wei"): amount_wei for name, amount_wei in asdict(self.ledger).items()},
                "locked": self.ledger.locked_wei,
            },
        }

    def _trainer_line(self, seat: Seat, address: str) -> TrainerLine:
        held = [a for a in self.history.settlements() if self.history.seat_in(address, seat, a.number) == seat]
        claimed = (event.amount_wei for event in self.history.of(Claimed) if event.trainer == address)
        return TrainerLine(
            seat=seat,
            address=address,
            staked=bool(self.state.staked >> seat & 1),
            idle=self.seats is not None and seat in self.seats.idle,
            accepted_rounds=sum(seat in attempt.settled.accepted for attempt in held if attempt.settled),
            score=self.history.lifetime_q32()[seat] / ONE_Q32,
            earned_wei=sum(credit.amount_wei for credit in self.history.credits(address, seat)),
            claimed_wei=sum(claimed),
        )


def _findings(
    network: Network, job: JobId, document: JobDocument | None, round_number: int
) -> tuple[IntervalFinding, ...]:
    """What replicas found, where the job's terms ask for any."""
    if document is None or document.spec.replication is None:
        return ()
    return tuple(JobReplicas(network.consensus, job, document.spec).findings(round_number))


def document_of(store: ContentStore, digest: bytes) -> JobDocument | None:
    """A job's document, or None where this store does not have a sound one."""
    try:
        return JobDocument.from_bytes(store.read(Cid.from_digest(digest, 0), MAX_SPEC_BYTES))
    except (StorageError, InvalidJobSpec):
        return None


def _plain(value: Any) -> Any:
    """Enumerations by name, bytes in hexadecimal, everything else as it is."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value.name.lower() if isinstance(value, IntEnum) else value


def _attempt_line(attempt: Attempt, exam: ExamLine | None) -> AttemptLine:
    ended = attempt.settled or attempt.expired or attempt.undone
    settled = attempt.settled
    paid_wei = sum(unpack_pays(ended.pays)) if ended else Wei(0)
    return AttemptLine(
        round=attempt.started.round,
        attempt=attempt.number,
        result=_result(attempt),
        committed=len(attempt.commits),
        revealed=len(attempt.reveals),
        excluded={seat: event.reason.name.lower() for seat, event in sorted(attempt.exclusions.items())},
        accepted=settled.accepted if settled else None,
        paid_wei=paid_wei,
        vests_at_s=attempt.vests_at_s if ended else None,
        exam=exam,
    )


def _result(attempt: Attempt) -> str:
    if attempt.settled:
        return "settled" if attempt.settled.paid or not attempt.settled.accepted else "settled by fallback"
    if attempt.expired:
        return "expired"
    if attempt.undone:
        return "undone"
    if attempt.cancelled:
        return "cancelled"
    return "skipped" if attempt.skipped else "running"
