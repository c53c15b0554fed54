"""Databases that follow a real chain, held against the contract and against each other."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from market.chain.job_market import JobMarket
from market.chain.packed import pack_pays, pay_hash
from market.chain.records import NO_UNDO
from market.db.base import Base
from market.db.tables import (
    CHAIN_TABLES,
    AttemptRow,
    BondRow,
    CreditRow,
    DisputeRow,
    JobRow,
    ModelRow,
    MovementRow,
    SittingRow,
    UpdateRow,
    WaitingRow,
)
from market.indexer import Indexer
from market.job_history import JobHistory
from market.protocol.identifiers import JobId, Seat
from market.protocol.rounds import Phase
from market.queries import jobs

Dump = dict[str, list[dict[str, Any]]]
NOBODY = "0x" + "00" * 20


def follow(engine: Engine, market: JobMarket, upto: int | None = None) -> None:
    """Read up to a block, the latest by default, as a process does that knows nothing yet."""
    behind = 0 if upto is None else market.chain.block_number() - upto
    Indexer(engine, market, confirmations=behind).catch_up()


def dump(engine: Engine) -> Dump:
    """Every row that is made from the chain, by table."""
    return {table.__tablename__: rows(engine, table) for table in CHAIN_TABLES}


def rows(engine: Engine, table: type[Base], **where: Any) -> list[dict[str, Any]]:
    """A table's rows, by their keys."""
    statement = select(table.__table__).filter_by(**where).order_by(*table.__table__.primary_key)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def check_job(engine: Engine, market: JobMarket, job: JobId, block: int) -> None:
    """Hold a job's rows against the contract, both as of one block."""
    Agreement(engine, market.at(block), job, block).check()


class Agreement:
    """One job in a database and in the contract."""

    def __init__(self, engine: Engine, view: JobMarket, job: JobId, block: int) -> None:
        self._engine, self.view, self.job = engine, view, job
        self.state, self.ledger, self.terms = view.state(job), view.ledger(job), view.terms(job)
        self.history = JobHistory(view.events(job, to_block=block))
        [self.row] = self.rows(JobRow)
        self.attempts = {row["attempt"]: row for row in self.rows(AttemptRow)}
        self.credits = self.rows(CreditRow)

    def rows(self, table: type[Base]) -> list[dict[str, Any]]:
        """Of this job."""
        return rows(self._engine, table, job=self.job)

    def check(self) -> None:
        """All of it."""
        self.check_state()
        self.check_view()
        self.check_money()
        self.check_outcomes()
        self.check_people()
        self.check_credits()
        self.check_sittings()
        self.check_dispute()
        self.check_receipts()

    def check_state(self) -> None:
        """What the job's own row says."""
        row, state = self.row, self.state
        for name in ("owner", "round", "attempt", "seats_taken", "has_exam", "exam_published", "model"):
            assert row[name] == getattr(state, name), name
        assert (row["attempt_start_s"] or 0) == state.attempt_start_s
        assert (row["closed_s"] is not None) == state.closed
        assert row["deadline_s"] == self.terms.deadline_s
        assert row["disputed"] == (self.view.phase(self.job) is Phase.DISPUTED)
        assert self.rows(ModelRow)[-1]["content"] == state.model
        running = self.attempts.get(state.attempt)
        if running is not None:
            assert running["outcome"] == "running"
            assert running["starts_s"] == state.attempt_start_s
            assert (running["committed"], running["revealed"]) == (
                state.committed.bit_count(),
                state.revealed.bit_count(),
            )

    def check_view(self) -> None:
        """What readers are told, above all what may be done now: the contract says so at the same block."""
        with Session(self._engine) as session:
            told = jobs.job(session, self.job)
        assert told is not None
        assert told.phase == self.view.phase(self.job).name.lower()
        assert told.escrow.locked_wei == self.ledger.locked_wei

    def check_money(self) -> None:
        """The four sums, by the movements, too; and what is locked, part by part."""
        moved: dict[str, int] = defaultdict(int)
        for row in self.rows(MovementRow):
            moved[row["flow"]] += row["amount_wei"]
        moved["burned"] -= moved.pop("restored", 0)
        for name in ("deposited", "paid", "refunded", "burned"):
            assert self.row[f"{name}_wei"] == getattr(self.ledger, f"{name}_wei") == moved[name], name
        staked_wei = sum(row["staked_wei"] for row in self.rows(SittingRow))
        waiting_wei = sum(row["stake_wei"] for row in self.rows(WaitingRow))
        assert staked_wei + waiting_wei == self.ledger.stakes_wei
        bonds = self.rows(BondRow)
        assert sum(b["bonded_wei"] - b["withdrawn_wei"] - b["broken_wei"] for b in bonds) == self.ledger.bonds_wei
        unclaimed_wei = sum(row["amount_wei"] for row in self.credits if row["claimed_block"] is None)
        fees = [row for row in self.attempts.values() if self.is_fee_due(row)]
        assert unclaimed_wei + len(fees) * self.terms.aggregator_fee_wei == self.ledger.credits_wei

    def is_fee_due(self, row: dict[str, Any]) -> bool:
        """Whether the contract owes a fee for an attempt."""
        earned = self.history.attempt(row["attempt"]).earns_fee
        return row["outcome"] == "settled" and earned and not row["fee_claimed"]

    def check_outcomes(self) -> None:
        """How each attempt ended, and what it pays to whom."""
        for number, row in self.attempts.items():
            outcome = self.view.outcome(self.job, number)
            assert (row["vests_s"] or 0) == outcome.vests_at_s
            assert row["fee_claimed"] <= outcome.fee_gone
            assert row["outcome"] != "settled" or row["aggregator"] == outcome.aggregator
            if row["vests_s"] is not None:
                settled = row["outcome"] == "settled"
                undo = self.history.undo_of(self.history.attempt(number)).digest if settled else NO_UNDO
                self.check_pays(number, undo)
        if self.state.closed:
            self.check_pays(self.state.attempt, NO_UNDO)

    def check_pays(self, number: int, undo: bytes) -> None:
        """What can be claimed under a number, and was."""
        outcome = self.view.outcome(self.job, number)
        credits = [row for row in self.credits if row["attempt"] == number]
        pays = {row["seat"]: row["amount_wei"] for row in credits}
        packed = pack_pays([pays.get(seat, 0) for seat in range(self.terms.seats)])
        assert pay_hash(packed, undo) == outcome.pay_hash
        assert {row["vests_s"] for row in credits} <= {outcome.vests_at_s}
        assert sum(1 << row["seat"] for row in credits if row["claimed_block"] is not None) == outcome.claimed

    def check_receipts(self) -> None:
        """Whose updates attestors hold."""
        for number in self.attempts:
            held = [row["seat"] for row in self.rows(UpdateRow) if row["attempt"] == number and row["held"]]
            assert sorted(held) == self.view.covered_seats(self.job, number)

    def check_people(self) -> None:
        """Who sits, waits and is bonded."""
        last = {row["seat"]: row for row in self.rows(SittingRow)}
        assert sum(1 << seat for seat, row in last.items() if row["staked_wei"]) == self.state.staked
        for seat, row in last.items():
            assert row["trainer"] == self.view.trainer(self.job, Seat(seat))
            assert row["until"] is None
        waiting = {row["trainer"]: row for row in self.rows(WaitingRow)}
        for trainer in {row["trainer"] for row in self.rows(SittingRow)} | set(waiting):
            found = self.view.waiting(self.job, trainer)
            row = waiting.get(trainer, {"stake_wei": 0, "since_s": 0})
            assert (row["stake_wei"], row["since_s"]) == (found.stake_wei, found.since_s if found.stake_wei else 0)
        for row in self.rows(BondRow):
            in_place_wei = row["bonded_wei"] - row["withdrawn_wei"] - row["broken_wei"]
            assert in_place_wei == self.view.bond_wei(self.job, row["aggregator"])

    def check_credits(self) -> None:
        """What the history of each trainer gives it."""
        for trainer in {row["trainer"] for row in self.rows(SittingRow)}:
            seat = self.view.seat(self.job, trainer)
            expected = {
                (credit.attempt, credit.seat): credit.amount_wei for credit in self.history.credits(trainer, seat)
            }
            own = [row for row in self.credits if row["trainer"] == trainer]
            assert {(row["attempt"], row["seat"]): row["amount_wei"] for row in own} == expected

    def check_sittings(self) -> None:
        """Their sums, which lifetime scores are made of."""
        sittings, updates = self.rows(SittingRow), self.rows(UpdateRow)
        for column, found in (
            ("committed", updates),
            ("revealed", [row for row in updates if row["content"] is not None]),
        ):
            assert sum(row[column] for row in sittings) == len(found)
        assert sum(row["earned_wei"] for row in sittings) == sum(row["amount_wei"] for row in self.credits)
        claimed_wei = sum(row["amount_wei"] for row in self.credits if row["claimed_block"] is not None)
        assert sum(row["claimed_wei"] for row in sittings) == claimed_wei
        lifetime = self.history.lifetime_q32()
        for row in sittings:
            lost = any(loss.seat == row["seat"] for loss in self.history.losses)
            assert lost or row["until"] is not None or row["score_q32"] == lifetime[row["seat"]]

    def check_dispute(self) -> None:
        """The last one."""
        disputes, found = self.rows(DisputeRow), self.view.dispute_of(self.job)
        if not disputes:
            assert found.by == NOBODY
            return
        last = disputes[-1]
        assert (last["by"], last["attempt"], last["seat"]) == (found.by, found.attempt, found.seat)
        assert (last["fact"], last["bond_wei"]) == (found.fact.name.lower(), found.bond_wei)
        assert (last["holding"], last["failing"]) == (found.holding.bit_count(), found.failing.bit_count())
        assert (last["verdict"] is None) == self.row["disputed"]


def blocks_with_events(market: JobMarket, job: JobId) -> list[int]:
    """After each of these something about the job is another."""
    return sorted({event.block_number for event in market.events(job)})
