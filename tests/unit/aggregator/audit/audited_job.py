"""A job played out in memory, by the contract's rules or against them: what the audit's tests look at.

It keeps its own books, apart from the ones that the audit makes, and its vectors in a real store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from aggregator import payouts
from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.pay import NO_HASH
from aggregator.decision import Decision, decide
from aggregator.gram import GramMatrix, gram_matrix
from aggregator.proving import proof_context
from aggregator.round import RoundResult, public_rows
from market.chain import events as on_chain
from market.chain.events import Event
from market.chain.packed import hash_of, pack_lifetime, pack_pays, pack_records, pay_hash
from market.chain.records import NO_UNDO, Exam, ExclusionReason, Fact, JobState, Ledger, Outcome, Undo, Verdict
from market.job_history import JobHistory
from market.protocol import integer_model
from market.protocol.exam_spec import ExamDocument
from market.protocol.identifiers import Digest, JobId, Seat, Wei
from market.protocol.job_spec import JobDocument, parse_spec
from market.protocol.manifest import ParameterManifest
from market.protocol.rounds import FROZEN_S, FULL_STEP_Q16
from market.protocol.seal import SealContext, seal
from market.protocol.terms import NATIVE, NO_ROOT, PayMode
from market.protocol.update import StoredUpdate, update_bytes
from market.storage import Cid, EmbeddedStore
from tests.unit.aggregator.audit.audited_spec import spec
from tests.unit.aggregator.audit.proven_rounds import ProvenRounds, Sealed
from tests.unit.aggregator.audit.verdicts import block_file
from zk.commitment import Layout
from zk.gram_proof import CommittedRow
from zk.srs import Srs
from zk.transcript import GramProof

D = 50
UPDATE_BYTES = update_bytes(D, 1)
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
class AuditedJob:
    """A contract's worth of state, a clock, and a store."""

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
        self.waiting: dict[int, int] = {}
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
        manifest = ParameterManifest.from_shapes({"w": (D,)}).to_json()
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

    # ------------------------------------------------------------------ joining and leaving

    def who(self, seat: int) -> str:
        """Who has a seat: trainers are numbered as their first seats are, unless they waited for one."""
        return trainer(self.seats[seat])

    def enrol(self, *seats: int, tickets: int = 1) -> None:
        for seat in seats:
            number = self.seats[seat] if seat < len(self.seats) else seat
            self.enrol_on(seat, number, tickets)

    def enrol_on(self, seat: int, number: int, tickets: int = 1) -> None:
        """Let a trainer take a seat, whether there is one for it or not."""
        stake = self._stake(tickets)
        self._sit(seat, number, stake)
        self.emit(on_chain.TrainerEnrolled, trainer=trainer(number), seat=Seat(seat), stake_wei=stake)

    def _stake(self, tickets: int) -> int:
        stake = tickets * self.terms.trainer_stake_wei
        self.move(deposited=stake, stakes=stake)
        return stake

    def _sit(self, seat: int, number: int, stake: int) -> None:
        self.stakes[seat] = stake
        if seat < len(self.seats):
            self.seats[seat] = number
        else:
            self.seats.append(number)

    def withdraw_stake(self, seat: int) -> None:
        stake = self.stakes.pop(seat)
        self.move(stakes=-stake, refunded=stake)
        self.emit(on_chain.StakeWithdrawn, trainer=self.who(seat), seat=Seat(seat), to=OWNER, amount_wei=stake)

    def wait(self, *numbers: int, tickets: int = 1) -> None:
        """Let trainers wait for a seat."""
        for number in numbers:
            stake = self.waiting[number] = self._stake(tickets)
            self.emit(on_chain.TrainerWaits, trainer=trainer(number), stake_wei=stake)

    def end_wait(self, number: int) -> None:
        stake = self.waiting.pop(number)
        self.move(stakes=-stake, refunded=stake)
        self.emit(on_chain.WaitEnded, trainer=trainer(number), to=OWNER, amount_wei=stake)

    def take(self, seat: int, number: int) -> None:
        """Let somebody who waits sit down on a seat that is free."""
        stake = self.waiting.pop(number)
        self._sit(seat, number, stake)
        self.emit(on_chain.SeatTaken, trainer=trainer(number), seat=Seat(seat), stake_wei=stake)

    def take_over(self, seat: int, number: int) -> None:
        """Let somebody who waits take a seat that somebody has; nothing that was scored there counts any more."""
        former, stake = self.seats[seat], self.stakes.pop(seat, 0)
        if stake:
            self.waiting[former] = stake
        self.lifetime[seat] = self.records[seat] = 0
        self.emit(on_chain.SeatLost, trainer=trainer(former), seat=Seat(seat), stake_wei=stake)
        self.take(seat, number)

    def fix_draw(self, number: int = 0) -> None:
        """Fix the block that decides the draw for seats: the 64th from the next, or another one."""
        self.deciding.append(number or self.block + 1 + 64)
        self.emit(on_chain.DrawFixed, number=self.deciding[-1])

    def draw(self, seed: bytes = b"") -> None:
        """Once that block is there, draw the seats by its hash, or by something else."""
        self.block = max(self.block, self.deciding[-1])
        self.emit(on_chain.SeatsDrawn, seed=seed or hash_of_block(self.deciding[-1]))

    def bond(self, aggregator: str) -> None:
        bond = self.terms.aggregator_bond_wei
        self.move(deposited=bond, bonds=bond)
        self.queue.append(aggregator)
        self.emit(on_chain.AggregatorBonded, aggregator=aggregator, bond_wei=bond, sealing_key=self.sealing_key)
        if not self.start_s:
            self.start()

    def withdraw_bond(self, aggregator: str) -> None:
        bond = self.terms.aggregator_bond_wei
        self.move(bonds=-bond, refunded=bond)
        self.queue.remove(aggregator)
        self.emit(on_chain.BondWithdrawn, aggregator=aggregator, to=OWNER, amount_wei=bond)

    # ------------------------------------------------------------------ an attempt

    def start(self) -> None:
        starts_s = max(self.now_s, self.terms.enrol_until_s)
        ends_s = starts_s + self.terms.attempt_period_s
        if not self.queue or self.round >= self.terms.rounds or ends_s > self.terms.deadline_s:
            return
        self.start_s = starts_s
        self.shift = self.terms.shift(self.step_q16)
        self.emit(
            on_chain.AttemptStarted,
            round=self.round,
            attempt=self.attempt,
            aggregator=self.queue[0],
            starts_at_s=starts_s,
            step_q16=self.step_q16,
            shift=self.shift,
        )

    def updates(self, seats: Sequence[int], noise: int = 50) -> dict[int, Any]:
        """Updates that agree but for some noise; other ones every round."""
        random = np.random.default_rng(self.attempt)
        common = random.integers(-200, 200, D)
        return {seat: (common + random.integers(-noise, noise, D)).astype(np.int16) for seat in seats}

    def commit(self, updates: dict[int, Any], stored: dict[int, Any] | None = None) -> None:
        """Seal updates; `stored` puts other counts into storage than were committed to."""
        self.now_s = self.start_s + 10
        context = SealContext(CHAIN_ID, CONTRACT, JOB, self.round, self.attempt)
        for seat, update in updates.items():
            sealed = self._sealed(seat, update, (stored or {}).get(seat, update))
            self.committed[seat] = sealed
            sign = seal(context, self.who(seat), sealed.row.commitment, sealed.content, sealed.salt)
            self.emit(
                on_chain.UpdateCommitted, attempt=self.attempt, trainer=self.who(seat), seat=Seat(seat), seal=sign
            )
        self.had_minimum = self.had_minimum or len(self.committed) >= self.terms.minimum_commits

    def _sealed(self, seat: int, counts: Any, stored: Any) -> Sealed:
        row = self.proven.row(counts)
        content = Digest(self.store.add_bytes(StoredUpdate(stored, row.blinders.to_bytes()).to_bytes()).digest)
        return Sealed(row, content, hashlib.sha256(b"salt %d %d" % (self.attempt, seat)).digest())

    def reveal(self, *seats: int) -> None:
        self.now_s = self.start_s + self.terms.commit_period_s
        for seat in seats:
            sealed = self.committed[seat]
            self.revealed[seat] = None
            self.chain = keccak(self.chain + seat.to_bytes(32, "big") + sealed.row.commitment)
            values = {
                "attempt": self.attempt,
                "trainer": self.who(seat),
                "seat": Seat(seat),
                "content": sealed.content,
                "commitment": sealed.row.commitment,
                "salt": sealed.salt,
            }
            self.emit(on_chain.UpdateRevealed, **values)

    def settle(
        self,
        updates: dict[int, Any],
        excluded: dict[int, ExclusionReason] | None = None,
        *,
        measured: dict[int, Any] | None = None,
        blind: Callable[[bytes], bytes] = lambda blinders: blinders,
        tamper: Callable[[Decision], Decision] = lambda decision: decision,
        publish: Callable[[Any], Any] = lambda model: model,
        skim: Callable[[list[int]], list[int]] = lambda pays: pays,
    ) -> None:
        """Settle as the rules say, or cheat: measure, decide, publish, open or pay otherwise."""
        self.now_s = self.terms.schedule(self.start_s).exam_end_s + 5
        excluded = excluded or {}
        self.undos[self.attempt] = self._undo(excluded)
        self.before = (self.round, self.model, self.proven.saved(), list(self.lifetime), list(self.records))
        self.money_before = dict(self.money)
        for seat, reason in excluded.items():
            self.emit(on_chain.UpdateExcluded, attempt=self.attempt, seat=Seat(seat), reason=reason)
        rows = [seat for seat in sorted(self.revealed) if seat not in excluded]
        public = public_rows([model.version for model in self.proven.models])
        public = public if self.exam is None else (*public, self.exam.values)
        matrix = gram_matrix([(measured or updates)[seat] for seat in rows], public)
        decision = tamper(self._decide(rows, matrix))
        accepted = [rows[i] for i in decision.accepted_rows]
        if rows:
            proof = self._prove(rows, list(excluded), RoundResult(public, matrix, decision, None))
        if accepted:
            weights = [decision.weights[rows.index(seat)] for seat in accepted]
            vectors = [updates[seat] for seat in accepted]
            model = integer_model.fold(self.proven.models[-1].version.model, vectors, weights, self.shift)
            made = self.proven.adopt(model, proof, self.shift)
            values = {"aggregate": made.aggregate, "model": made.commitment, "blinders": blind(proof.blinders)}
            self.emit(on_chain.ModelCommitted, attempt=self.attempt, **values)
            self.model = self.keep_model(publish(model))
        self._forfeit()
        self._credit(rows, len(excluded), accepted, decision, skim)

    def _decide(self, rows: list[int], matrix: GramMatrix) -> Decision:
        records = [self.records[seat] for seat in rows] if matrix.examined else []
        how: dict[str, Any] = {"examined": matrix.examined, "records_q16": records}
        return decide(self.terms.rules, len(rows), self.shift, self.step_q16, matrix, **how)

    def _prove(self, rows: list[int], excluded: list[int], result: RoundResult) -> GramProof:
        place = SealContext(CHAIN_ID, CONTRACT, JOB, self.round, self.attempt)
        context = proof_context(place, map(Seat, self.revealed), map(Seat, excluded))
        proven = self.proven.prove(context, result, [self.committed[seat].row for seat in rows], self.exam)
        proof, half = proven.proof, len(proven.proof.sums) // 2
        published = proof.mask + proof.sums[:half] + proof.argument
        self.emit(on_chain.RoundProven, attempt=self.attempt, gram=proven.statement.gram, proof=published)
        return proof

    def _credit(self, rows: list[int], excluded: int, accepted: list[int], decision: Decision, skim: Any) -> None:
        terms, reward, fee = self.terms, self.terms.round_reward_wei, self.terms.aggregator_fee_wei
        scores = decision.scores if decision.paid else [0] * len(rows)
        round_of = (scores, len(rows), excluded, reward, self.money["carry"])
        if terms.pay_mode is PayMode.PRICE:
            pay = payouts.price_round(*round_of, terms.price_wei, terms.score_target_q32)
            pay = payouts.examined_price(pay, examined=bool(decision.records_q16)) if terms.exam.is_set else pay
        else:
            pay = payouts.pot_round(*round_of)
        pays = [0] * terms.seats
        for seat, amount, score in zip(rows, skim(list(pay.pays_wei)), decision.scores, strict=True):
            pays[seat] = amount
            self.lifetime[seat] += score
        kept = 0 if self.earns_fee(rows) else fee
        self.move(budget=-reward - fee, credits=sum(pays) + fee - kept, refundable=pay.returned_wei)
        self.move(carry=reward - sum(pays) - pay.returned_wei + kept)
        vests_s = self.now_s + terms.vesting_period_s
        undo = replace(self.undos[self.attempt], returned_wei=pay.returned_wei, exam_missed=self.misses_exam)
        self.undos[self.attempt] = undo
        self.settled_by = self.queue[0]
        self.record_outcome(pays, self.settled_by, vests_s, undo.digest, fee_gone=not self.earns_fee(rows))
        self.charge_missed()
        self.take_exam(rows, decision.records_q16)
        self.emit(
            on_chain.RoundSettled,
            round=self.round,
            attempt=self.attempt,
            aggregator=self.queue[0],
            model=self.model,
            accepted=tuple(map(Seat, accepted)),
            paid=decision.paid,
            weights=decision.weights,
            scores_q32=decision.scores,
            pays=pack_pays(pays),
            returned_wei=pay.returned_wei,
            vests_at_s=vests_s,
        )
        self.step_q16 = decision.next_step_q16
        self.rotate()
        self.conclude(round_over=True)

    def _undo(self, excluded: Iterable[int]) -> Undo:
        """What this attempt's settlement changes, but for money."""
        return Undo(
            model=self.model,
            public_rows=self.proven.rows.digest,
            lifetime_hash=hash_of(pack_lifetime(self.lifetime)),
            records_hash=hash_of(pack_records(self.records)) if self.terms.exam.is_set else bytes(32),
            step_q16=self.step_q16,
            revealed=sum(1 << seat for seat in self.revealed),
            excluded=sum(1 << seat for seat in excluded),
            returned_wei=0,
            exam_missed=False,
        )

    def earns_fee(self, rows: Sequence[int]) -> bool:
        """Whether whoever settles with these rows of the matrix earned something."""
        return bool(rows)

    def rotate(self) -> None:
        """Let the next aggregator take over, where this one left an exam out; there is none here."""

    @property
    def misses_exam(self) -> bool:
        """Whether this attempt's exam costs its owner a deposit; none here."""
        return False

    def charge_missed(self) -> None:
        """Take the deposit of an exam that was not opened; none here."""

    def take_exam(self, rows: list[int], records_q16: Sequence[int]) -> None:
        """Write down what an exam came to, if it counted."""
        for seat, record in zip(rows, records_q16, strict=False):
            self.records[seat] = record
        if records_q16:
            self.emit(on_chain.ExamTaken, attempt=self.attempt, records_q16=tuple(records_q16))

    def record_outcome(
        self, pays: list[int], aggregator: str, vests_s: int, undo: bytes = NO_UNDO, *, fee_gone: bool = False
    ) -> None:
        self.pays[self.attempt] = pays
        self.outcomes[self.attempt] = Outcome(pay_hash(pack_pays(pays), undo), aggregator, vests_s, fee_gone, 0)

    def _forfeit(self) -> None:
        lost = sorted(set(self.committed) - set(self.revealed))
        if lost:
            burned = sum(self.stakes.pop(seat) for seat in lost)
            self.move(stakes=-burned, burned=burned)
            seats = tuple(map(Seat, lost))
            self.emit(on_chain.StakesForfeited, attempt=self.attempt, seats=seats, burned_wei=burned)

    def conclude(self, *, round_over: bool) -> None:
        self.attempt += 1
        self.start_s, self.chain = 0, bytes(32)
        self.committed, self.revealed, self.exam = {}, {}, None
        if round_over:
            self.round += 1
            self.had_minimum = False
        self.start()

    def expire(self, compensation: Callable[[list[int]], list[int]] = lambda pays: pays, at_s: int = 0) -> None:
        self.now_s = max(self.start_s + self.terms.attempt_period_s, at_s)
        self._forfeit()
        owed = self.terms.compensation_wei
        pays = compensation([owed * (seat in self.revealed) for seat in range(self.terms.seats)])
        bond, total = self.terms.aggregator_bond_wei, sum(pays)
        self.move(bonds=-bond, credits=total, burned=bond - total)
        self.record_outcome(pays, NATIVE, self.now_s)
        values = {
            "round": self.round,
            "attempt": self.attempt,
            "aggregator": self.queue.pop(0),
            "burned_wei": bond - total,
        }
        self.emit(on_chain.AttemptExpired, **values, pays=pack_pays(pays), vests_at_s=self.now_s)
        self.conclude(round_over=False)

    def skip(self) -> None:
        self.now_s = self.start_s + self.terms.commit_period_s
        reward, fee, kept = self.terms.round_reward_wei, self.terms.aggregator_fee_wei, self.had_minimum
        self.move(budget=-reward - fee, carry=reward * kept, refundable=fee + reward * (not kept))
        self.outcomes[self.attempt] = Outcome(NO_HASH, NATIVE, 0, False, 0)
        self.emit(on_chain.RoundSkipped, round=self.round, attempt=self.attempt, had_minimum=kept)
        self.conclude(round_over=True)

    # ------------------------------------------------------------------ disputes

    def dispute(self, fact: Fact, attempt: int, seat: int = 0, by: str | None = None) -> None:
        """Stop the job over a fact."""
        terms = self.terms.disputes
        self.waits_s = self.now_s
        last = self.outcomes[self.attempt - 1]
        if last.vests_at_s > self.now_s:
            self.frozen_vesting_s = last.vests_at_s
            self.outcomes[self.attempt - 1] = replace(last, vests_at_s=FROZEN_S)
        self.move(deposited=terms.bond_wei, disputes=terms.bond_wei)
        self.emit(
            on_chain.DisputeOpened,
            attempt=attempt,
            by=by or self.who(seat),
            round=self.round if fact is Fact.EXAM else self.round - 1,
            fact=fact,
            seat=Seat(seat if fact is Fact.EXCLUSION else 0),
            bond_wei=terms.bond_wei,
            answer_until_s=self.now_s + terms.answer_period_s,
        )
        (*_, self.disputed) = self.events_of(on_chain.DisputeOpened)

    def answer(self, *attestors: str, holds: bool) -> None:
        """Count answers; whether they decide is not looked at."""
        assert self.disputed is not None
        for attestor in attestors:
            self.emit(on_chain.DisputeAnswered, attempt=self.disputed.attempt, attestor=attestor, holds=holds)

    def resolve(self, verdict: Verdict) -> None:
        """End the dispute as its verdict says."""
        assert self.disputed is not None
        dispute, frozen_s = self.disputed, self.now_s - self.waits_s
        undone = verdict is Verdict.FAILS and dispute.fact is not Fact.EXAM
        bond_wei, burned_wei = dispute.bond_wei, 0 if verdict is Verdict.FAILS else dispute.bond_wei
        self.move(disputes=-burned_wei, burned=burned_wei)
        self.terms = replace(self.terms, deadline_s=self.terms.deadline_s + frozen_s)
        self.start_s += frozen_s if self.start_s else 0
        vests_s = 0
        last = self.outcomes[self.attempt - 1]
        if last.vests_at_s == FROZEN_S:
            vests_s = self.frozen_vesting_s + frozen_s
            self.outcomes[self.attempt - 1] = replace(last, vests_at_s=vests_s)
        self.emit(
            on_chain.DisputeResolved,
            attempt=dispute.attempt,
            verdict=verdict,
            burned_wei=burned_wei,
            starts_at_s=0 if undone else self.start_s,
            vests_at_s=0 if undone else vests_s,
            deadline_s=self.terms.deadline_s,
        )
        self.disputed = None
        self.won_wei = bond_wei - burned_wei
        if undone:
            self._undo_settlement(dispute.attempt)

    def _undo_settlement(self, attempt: int) -> None:
        """Take the job back to before a settlement, and break the bond of who made it."""
        undo, waiting = self.undos[attempt], self.attempt
        self.round, self.model, rows, self.lifetime, self.records = self.before
        self.proven.restore(rows)
        self.step_q16, self.had_minimum = undo.step_q16, True
        for part in ("budget", "carry", "credits", "refundable", "exams"):
            self.money[part] = self.money_before[part]
        self.move(burned=-self.terms.exam.deposit_wei * undo.exam_missed)
        owed, bond = self.terms.compensation_wei, self.terms.aggregator_bond_wei
        pays = [owed * (undo.revealed >> seat & 1) for seat in range(self.terms.seats)]
        self.move(bonds=-bond, credits=sum(pays), burned=bond - sum(pays))
        self.attempt = attempt
        self.record_outcome(pays, NATIVE, self.now_s, fee_gone=self.outcomes[attempt].fee_gone)
        self.queue.remove(self.settled_by)
        self.emit(
            on_chain.AttemptUndone,
            round=self.round,
            attempt=attempt,
            aggregator=self.settled_by,
            burned_wei=bond - sum(pays),
            pays=pack_pays(pays),
            vests_at_s=self.now_s,
        )
        self.attempt = waiting + 1 if self.start_s else waiting
        self.start_s, self.chain, self.committed, self.revealed, self.exam = 0, bytes(32), {}, {}, None
        self.start()

    def take_dispute_bond(self, by: str) -> None:
        """Take back what was won."""
        self.move(disputes=-self.won_wei, refunded=self.won_wei)
        self.emit(on_chain.DisputeBondWithdrawn, by=by, to=OWNER, amount_wei=self.won_wei)

    # ------------------------------------------------------------------ taking out

    def claim(self, attempt: int, seat: int, *, by: int | None = None, extra: int = 0, early: bool = False) -> None:
        vests_s = self.outcomes[attempt].vests_at_s
        self.now_s = vests_s - 1 if early else max(self.now_s, vests_s)
        amount = self.pays[attempt][seat] + extra
        self.move(credits=-amount, paid=amount)
        outcome = self.outcomes[attempt]
        self.outcomes[attempt] = replace(outcome, claimed=outcome.claimed | 1 << seat)
        who = self.who(seat) if by is None else trainer(by)
        self.emit(on_chain.Claimed, attempt=attempt, trainer=who, seat=Seat(seat), to=OWNER, amount_wei=amount)

    def claim_fee(self, attempt: int, by: str | None = None) -> None:
        outcome, fee = self.outcomes[attempt], self.terms.aggregator_fee_wei
        self.now_s = max(self.now_s, outcome.vests_at_s)
        self.move(credits=-fee, paid=fee)
        self.outcomes[attempt] = replace(outcome, fee_gone=True)
        who = by or outcome.aggregator
        self.emit(on_chain.FeeClaimed, attempt=attempt, aggregator=who, to=OWNER, amount_wei=fee)

    def close(self, skim: Callable[[list[int]], list[int]] = lambda pays: pays) -> None:
        last = self.outcomes[self.attempt - 1].vests_at_s if self.round >= self.terms.rounds else self.terms.deadline_s
        self.now_s = max(self.now_s, last)
        exams = self.conclude_exams()
        carried = self.terms.round_reward_wei if self.had_minimum else 0
        returned = self.money["budget"] - carried + exams
        closing = payouts.close(self.lifetime, self.money["carry"] + carried)
        pays = skim(list(closing.pays_wei))
        self.move(budget=-self.money["budget"], refundable=returned, credits=sum(pays), burned=closing.burned_wei)
        self.move(exams=-exams)
        self.money["carry"] = 0
        self.record_outcome(pays, NATIVE, self.now_s)
        self.closed = True
        values = {"refundable_wei": returned, "burned_wei": closing.burned_wei, "pays": pack_pays(pays)}
        self.emit(on_chain.JobClosed, attempt=self.attempt, **values)

    def conclude_exams(self) -> int:
        """What returns of the deposits for exams; none here."""
        return 0

    def refund(self, extra: int = 0) -> None:
        amount = self.money["refundable"] + extra
        self.move(refundable=-amount, refunded=amount)
        self.emit(on_chain.Refunded, owner=OWNER, to=OWNER, amount_wei=amount)

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
            waiting={who: Wei(self.waiting.get(number, 0)) for number, who in self._waited()},
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


def play_round(job: AuditedJob, *seats: int, **cheats: Any) -> None:
    """Commit, reveal and settle."""
    updates = job.updates(seats or (0, 1, 2, 3))
    job.commit(updates)
    job.reveal(*updates)
    job.settle(updates, **cheats)


def play_everything(job: AuditedJob) -> None:
    """A settled round, an expired attempt, a round with a forfeit and an exclusion, a skipped round, and the end."""
    play_round(job)
    updates = job.updates((0, 1, 2, 3))
    job.commit(updates)
    job.reveal(0, 1, 2)
    job.expire()
    job.claim(0, 1)
    job.claim_fee(0)
    job.enrol(3)
    job.enrol(4)
    updates = job.updates((0, 1, 2, 3, 4))
    job.commit(updates)
    job.reveal(0, 1, 2, 4)
    gone = job.committed[4].content
    job.settle(updates, {4: ExclusionReason.UNAVAILABLE})
    block_file(job.store, gone, UPDATE_BYTES).unlink()
    job.claim(1, 2)
    job.withdraw_stake(1)
    job.commit(job.updates((0, 2)))
    job.skip()
    job.close()
    job.claim(job.attempt, 0)
    job.withdraw_bond(AGGREGATORS[1])
    job.refund()
