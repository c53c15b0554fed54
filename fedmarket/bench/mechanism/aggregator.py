"""Aggregators: what the honest do in every phase, and the points at which a conduct differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from aggregator.proving import CommittedModel, proof_context, prove_round
from aggregator.round import RoundResult, run_round
from aggregator.worker.rounds import round_proof
from fedmarket.bench.mechanism.agent import Agent, always
from fedmarket.bench.mechanism.settings import PROVING_WEI
from market.chain.packed import pack_records
from market.chain.records import ExclusionReason, Settlement
from market.protocol import integer_model
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from zk.gram_proof import CommittedRow

SEALING_KEY = b"\x09" + bytes(31)
"""Announced by every aggregator: what is sealed to it is handed over by way of the board."""


def nobody(aggregator: Aggregator) -> set[Seat]:
    """Exclude nobody whose update can be had."""
    return set()


@dataclass(frozen=True)
class AggregatorConduct:
    """How an aggregator plays.

    Attributes:
        settles: whether it settles the running attempt.
        excludes: whom it leaves out of those whose updates can be had.
        examines: whether it takes the running attempt's exam into the round.
        publishes: whether everybody can have the model that it makes, not its league alone.
        stays: whether it keeps its bond in place while it is a successor.
    """

    settles: Callable[[Aggregator], bool] = always
    excludes: Callable[[Aggregator], set[Seat]] = nobody
    examines: Callable[[Aggregator], bool] = always
    publishes: Callable[[Aggregator], bool] = always
    stays: bool = True


@dataclass
class Aggregator(Agent):
    """Bonds, decides, proves, settles; as a successor it ends what was not settled.

    Attributes:
        conduct: how it plays.
    """

    conduct: AggregatorConduct = AggregatorConduct()

    def join(self) -> None:
        """Bond."""
        account = self.open_account()
        self.tries(account, self.board.market.bond(self.board.job, self.board.terms, SEALING_KEY))

    def act(self, phase: Phase) -> None:
        """Settle."""
        if phase is Phase.COMMIT and not self.conduct.stays and not self.is_active:
            self.tries(self.accounts[0], self.board.market.withdraw_bond(self.board.job, self.accounts[0]))
        if phase is Phase.SETTLE and self.is_active and self.conduct.settles(self):
            self._settle()

    def collect(self) -> None:
        """Claim the fees, and take the bond back."""
        board, account = self.board, self.accounts[0]
        for attempt in board.history.settlements():
            if attempt.settled and attempt.settled.aggregator == account:
                self.tries(account, board.market.claim_fee(board.job, attempt.number, account))
        self.tries(account, board.market.withdraw_bond(board.job, account))

    @property
    def is_active(self) -> bool:
        """Whether the running attempt is its own to settle."""
        return [self.board.attempt.started.aggregator] == self.accounts

    # ------------------------------------------------------------------ a settlement

    def _settle(self) -> None:
        board = self.board
        attempt, number = board.attempt, board.state.attempt
        had = {seat: row for seat in attempt.reveals if (row := board.updates.get((number, seat)))}
        left_out = (set(attempt.reveals) - set(had)) | (self.conduct.excludes(self) & set(attempt.reveals))
        rows = {seat: row for seat, row in sorted(had.items()) if seat not in left_out}
        exam = board.exams.get(number) if self.conduct.examines(self) else None
        models = board.committed_models(self.league.models)
        if models is None:
            return
        settlement = Settlement(
            exclusions=dict.fromkeys(left_out, ExclusionReason.UNAVAILABLE),
            gram=b"",
            model=board.state.model,
            lifetime=board.history.packed_lifetime(),
            exam_reason=ExclusionReason.UNAVAILABLE if attempt.exam_opened and exam is None else ExclusionReason.NONE,
        )
        if rows:
            settlement = self._proven(settlement, rows, exam, models)
        self.send(self.accounts[0], board.market.settle_round(board.job, number, settlement))

    def _proven(
        self,
        settlement: Settlement,
        rows: dict[Seat, CommittedRow],
        exam: CommittedRow | None,
        models: Sequence[CommittedModel],
    ) -> Settlement:
        board, attempt = self.board, self.board.attempt
        self.work_wei += PROVING_WEI
        records = board.history.records_q16()
        result = run_round(
            board.terms.rules,
            [np.asarray(row.values, np.int16) for row in rows.values()],
            [model.version for model in models],
            attempt.started.shift,
            attempt.started.step_q16,
            None if exam is None else np.asarray(exam.values, np.int64),
            [records[seat] for seat in rows] if exam else (),
        )
        context = proof_context(board.place, attempt.reveals, settlement.exclusions)
        proven = prove_round(board.srs, board.layout, context, result, list(rows.values()), models, exam=exam)
        return replace(
            settlement,
            gram=result.gram.pack(),
            model=self._published(result),
            proof=round_proof(attempt, proven),
            records=b"" if exam is None else pack_records(records),
        )

    def _published(self, result: RoundResult) -> Digest:
        if result.model is None:
            return self.board.state.model
        digest = Digest(sha256(integer_model.to_bytes(result.model)).digest())
        shown = self.board.models if self.conduct.publishes(self) else self.league.models
        shown[digest] = result.model
        return digest
