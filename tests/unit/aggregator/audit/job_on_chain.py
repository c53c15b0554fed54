"""What the chain would hold of a job that is played in memory: its events, its money, its state.

It keeps its own books, apart from the ones that the audit makes, and its vectors in a real store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.pay import NO_HASH
from aggregator.audit.schedule import NO_WAIT
from market.chain import events as on_chain
from market.chain.events import Event
from market.chain.packed import hash_of, pack_lifetime, pack_records
from market.chain.records import Exam, JobState, Ledger, Outcome, Undo, Waiting
from market.job_history import JobHistory
from market.protocol import integer_model
from market.protocol.exam_spec import ExamDocument
from market.protocol.identifiers import Digest, JobId
from market.protocol.job_spec import JobDocument, parse_spec
from market.protocol.manifest import ParameterManifest
from market.protocol.rounds import FULL_STEP_Q16
from market.protocol.terms import NATIVE, NO_ROOT
from market.sealed_update import sealed_update_bytes
from market.storage import Cid, EmbeddedStore
from tests.unit.aggregator.audit.audited_spec import spec
from tests.unit.aggregator.audit.proven_rounds import ProvenRounds, Sealed
from zk.commitment import Layout
from zk.gram_proof import CommittedRow
from zk.srs import Srs

D = 50
UPDATE_BYTES, _ = sealed_update_bytes(D, 1)
T0 = 1_000_000
JOB = JobId(7)
E = TypeVar("E", bound=Event)

CHAIN_ID = 31337
CONTRACT = "0x" + "c0" * 20
OWNER = "0x" + "0e" * 20
SEALING_KEY = b"\x09" + bytes(31)
AGGREGATORS = ("0x" + "a1" * 20, "0x" + "a2" * 20)
PARTS = ["deposited", "paid", "refunded", "burned", "budget", "carry", "credits", "stakes", "bonds", "refundable"]
PARTS += ["exams", "disputes"]
ATTESTORS = tuple(to_checksum_address(f"0x{place:02x}" + "a7" * 19) for place in (1, 2, 3))


def trainer(number: int) -> str:
    return f"0x{number + 1:040x}"


def hash_of_block(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@dataclass
class JobOnChain:
    """A contract's worth of state, a clock, and a store: an opened job, and the record of it that an audit gets."""

    store: EmbeddedStore
    srs: Srs
    changes: dict[str, Any] = field(default_factory=dict)
    now_s: int = T0
    block: int = 100
    round: int = 0
    attempt: int = 0
    start_s: int = 0
    closed: bool = False
    had_minimum: bool = False
    step_q16: int = FULL_STEP_Q16
    chain: bytes = bytes(32)
    sealing_key: bytes = SEALING_KEY
    """What aggregators announce from now on."""
    exam: CommittedRow | None = None
    """The r that counts in this attempt."""

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        self.times: dict[int, int] = {}
        self.money = dict.fromkeys(PARTS, 0)
        self.outcomes: dict[int, Outcome] = {}
        self.stakes: dict[int, int] = {}
        self.seats: list[int] = []
        self.waiting: dict[int, Waiting] = {}
        self.since: dict[int, int] = {}
        self.late: set[int] = set()
        self.yields_in: dict[int, int] = {}
        self.deciding: list[int] = []
        self.queue: list[str] = []
        self.committed: dict[int, Sealed] = {}
        self.revealed: dict[int, None] = {}
        self.pays: dict[int, list[int]] = {}
        self.undos: dict[int, Undo] = {}
        self.disputed: on_chain.DisputeOpened | None = None
        self.waits_s = 0
        self._open()

    # ------------------------------------------------------------------ opening

    def _open(self) -> None:
        parsed = parse_spec(spec(**self.changes))
        exam = self.exam_document()
        self.terms = parsed.to_terms(D, self.now_s, exam.root_bytes if exam else NO_ROOT)
        initial = np.arange(D, dtype=np.int64) * 1000
        self.proven = ProvenRounds(self.srs, Layout(D, self.terms.chunks), initial)
        self.model = self.keep_model(initial)
        manifest = self.manifest.to_json()
        name = str(Cid.from_digest(self.model, 8 * D))
        document = JobDocument(spec=parsed, manifest=manifest, initial_model=name, exam=exam)
        self.spec = Digest(self.store.add_bytes(document.to_bytes()).digest)
        self.lifetime = [0] * self.terms.seats
        self.records = [0] * self.terms.seats
        deposit = self.terms.deposit_wei
        self.move(deposited=deposit, budget=self.terms.budget_wei, exams=self.terms.exam_deposits_wei)
        self.emit(
            on_chain.JobOpened,
            owner=OWNER,
            spec=self.spec,
            initial_model=self.model,
            initial_commitment=self.proven.rows.initial,
            srs_id=self.srs.id,
            deposit_wei=deposit,
            terms=self.terms,
        )

    @property
    def manifest(self) -> ParameterManifest:
        return ParameterManifest.from_shapes({"w": (D,)})

    def exam_document(self) -> ExamDocument | None:
        """Root and public slice of the exam; none here."""
        return None

    def keep_model(self, model: Any) -> Digest:
        return Digest(self.store.add_bytes(integer_model.to_bytes(model)).digest)

    def emit(self, kind: type[Event], **values: Any) -> None:
        self.block += 1
        self.times[self.block] = self.now_s
        place = (self.block, hash_of_block(self.block), bytes(32), 0, JOB)
        self.events.append(kind(*place, **values))

    def move(self, **amounts: int) -> None:
        for part, amount in amounts.items():
            self.money[part] += amount

    # ------------------------------------------------------------------ what the chain says

    def state(self) -> JobState:
        return JobState(
            owner=OWNER,
            round=self.round,
            attempt=self.attempt,
            attempt_start_s=self.start_s,
            closed=self.closed,
            committed=sum(1 << seat for seat in self.committed),
            revealed=sum(1 << seat for seat in self.revealed),
            staked=sum(1 << seat for seat in self.stakes),
            seats_taken=len(self.seats),
            had_minimum=self.had_minimum,
            step_q16=self.step_q16,
            has_exam=self.terms.exam.is_set,
            exam_published=any(self.events_of(on_chain.ExamPublished)),
            reveal_chain=self.chain,
            model=self.model,
            lifetime_hash=hash_of(pack_lifetime(self.lifetime)) if any(self.lifetime) else bytes(32),
            public_rows=self.proven.rows.digest,
            records_hash=hash_of(pack_records(self.records)) if self.terms.exam.is_set else bytes(32),
        )

    def record(self, events: Sequence[Event] | None = None) -> ChainRecord:
        history = JobHistory(self.events if events is None else events)
        gone = self.money["paid"] + self.money["refunded"]
        numbers = [*history.attempts, *([history.closed.attempt] if history.closed else [])]
        nothing = Outcome(NO_HASH, NATIVE, 0, False, 0)
        return ChainRecord(
            chain_id=CHAIN_ID,
            contract=CONTRACT,
            job=JOB,
            block_number=self.block,
            history=history,
            timestamps=self.times,
            terms=self.terms,
            state=self.state(),
            ledger=Ledger(*[self.money[part] for part in PARTS]),
            outcomes={number: self.outcomes.get(number, nothing) for number in numbers},
            exams={number: self.exam_kept(number) for number in history.attempts} if self.terms.exam.is_set else {},
            aggregators=tuple(self.queue),
            trainers=tuple(map(trainer, self.seats)),
            waiting={who: self.waiting.get(number, NO_WAIT) for number, who in self._waited()},
            block_hashes={number: hash_of_block(number) for number in self.deciding if number <= self.block},
            owed_wei=self.money["deposited"] - gone,
            balance_wei=self.money["deposited"] - gone,
        )

    def _waited(self) -> list[tuple[int, str]]:
        """Everybody who ever waited for a seat, or lost one."""
        waited = {e.trainer for e in self.events if isinstance(e, on_chain.TrainerWaits | on_chain.SeatLost)}
        return [(int(who, 16) - 1, who) for who in waited]

    def exam_kept(self, attempt: int) -> Exam:
        """What the contract keeps of an attempt's exam."""
        seals = [e.seal for e in self.events_of(on_chain.ExamCommitted) if e.attempt == attempt]
        opened = [keccak(e.commitment) for e in self.events_of(on_chain.ExamOpened) if e.attempt == attempt]
        return Exam(seals[0] if seals else bytes(32), opened[0] if opened else bytes(32))

    def events_of(self, kind: type[E]) -> Iterator[E]:
        return (event for event in self.events if isinstance(event, kind))

    def forged(self, kind: type[Event], place: int = 0, **changes: Any) -> ChainRecord:
        """The record with one event of a kind saying something else."""
        old = [event for event in self.events if isinstance(event, kind)][place]
        return self.record([replace(event, **changes) if event is old else event for event in self.events])
