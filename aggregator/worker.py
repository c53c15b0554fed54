"""Runs a job's rounds: fetch what was revealed, decide, average, publish, settle.

Data's path: reveals -> updates from storage -> `run_round` -> model to storage -> `settleRound`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregator.round import ModelVersion, RoundResult, run_round
from market.chain.events import AggregatorBonded
from market.chain.records import ExclusionReason, JobState, Settlement
from market.chain.transactions import Finality, TransactionSender
from market.following import follow
from market.job_history import Attempt, JobHistory
from market.protocol import integer_model
from market.protocol.errors import (
    BlockNotFound,
    ContractRevert,
    CorruptBlock,
    InvalidContent,
    InvalidInput,
    InvalidModel,
    InvalidUpdate,
)
from market.protocol.identifiers import Digest, Seat
from market.protocol.rounds import Phase
from market.protocol.terms import JobTerms
from market.protocol.update import UPDATE_LIMIT
from market.published_job import PublishedJob

PATIENCE = 0.5
"""Share of the settle phase for which an update that is not in storage yet is waited for before it is excluded."""

REFUSED_S = 5.0
"""How long to wait after the contract refused before looking again."""


@dataclass(frozen=True, eq=False)
class Collected:
    """What could be had of an attempt's reveals.

    Attributes:
        updates: int16 (d,) by seat, ascending.
        exclusions: the other revealed seats, each with its reason.
    """

    updates: dict[Seat, NDArray[np.int16]]
    exclusions: dict[Seat, ExclusionReason]


class AggregatorWorker:
    """One aggregator in one job. It keeps nothing: chain and storage say what is to be done."""

    def __init__(
        self,
        job: PublishedJob,
        sender: TransactionSender,
        *,
        report: Callable[[str], None] = lambda line: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to work.

        Args:
            job: the job.
            sender: the aggregator's account.
            report: is told what happens, a line at a time.
            poll_s: how often the chain is asked.
        """
        self.job, self.sender, self.report, self.poll_s = job, sender, report, poll_s
        self._finality = Finality(blocks=1 + job.document.spec.periods.confirmations)

    def bond(self) -> None:
        """Bond as aggregator or successor, unless this account has already.

        Raises:
            ContractRevert: the owner's account, a full queue, or a job that is over.
            InvalidModel: the job's models could leave their range, and no settlement would then be possible.
        """
        if self.job.market.bond_wei(self.job.id, self.sender.address):
            return
        check_headroom(self.job.model(self.job.history().opened.initial_model), self.job.terms)
        bonded_before = len(self._bondings())
        call = self.job.market.bond(self.job.id, self.job.terms)
        self.sender.send(f"bond/{self.job.id}/{bonded_before}", call, self._finality)
        self.report("bonded")

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Work until the job's rounds are over or `should_stop` says so.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
            StorageError: a model is not to be had, or the disk refuses.
            InvalidInput: this account's bond is gone, because an attempt of its expired.
        """
        self.sender.recover()
        follow(self.job, self.advance, should_stop, self.report, self.poll_s)

    def advance(self, state: JobState, phase: Phase) -> bool:
        """Do what is due now; returns whether there was anything."""
        aggregators = self.job.market.aggregators(self.job.id)
        if self.sender.address not in aggregators:
            raise InvalidInput(f"{self.sender.address} has no bond in job {self.job.id}: bond before running")
        try:
            if phase is Phase.SETTLE and aggregators[0] == self.sender.address:
                return self._settle(state)
            if phase is Phase.STARVED:
                return self._skip(state)
            if phase is Phase.OVERDUE and aggregators[0] != self.sender.address:
                return self._expire(state)
        except ContractRevert as refusal:
            # Somebody was faster, or the phase ended on the way: the next look at the chain tells what is due.
            self.report(f"round {state.round}: {refusal}")
            time.sleep(REFUSED_S)
        return False

    # ------------------------------------------------------------------ the three acts

    def _settle(self, state: JobState) -> bool:
        history = self.job.history()
        attempt = history.attempt(state.attempt)
        collected = self._collect(attempt)
        if collected is None:
            return False
        result = self._decide(history, attempt, collected)
        settlement = Settlement(
            exclusions=collected.exclusions,
            gram=result.gram.pack(),
            model=state.model if result.model is None else self._publish(result.model, state),
            lifetime=history.packed_lifetime(before=state.attempt),
        )
        call = self.job.market.settle_round(self.job.id, state.attempt, settlement)
        # Confirmed or not: the next round's settle phase is not to pass in waiting for this one's confirmations.
        timeout_s = min(self.sender.policy.timeout_s, self.job.terms.commit_period_s)
        self.sender.send(f"settle/{self.job.id}/{state.attempt}", call, self._finality, timeout_s)
        self._tell(state, collected, result)
        return True

    def _skip(self, state: JobState) -> bool:
        self.sender.send(
            f"skip/{self.job.id}/{state.attempt}",
            self.job.market.skip_round(self.job.id, state.attempt),
            self._finality,
        )
        self.report(f"round {state.round}: skipped, too few commits")
        return True

    def _expire(self, state: JobState) -> bool:
        call = self.job.market.expire_round(self.job.id, state.attempt)
        self.sender.send(f"expire/{self.job.id}/{state.attempt}", call, self._finality)
        self.report(f"round {state.round}: attempt {state.attempt} expired; its aggregator lost the bond")
        return True

    # ------------------------------------------------------------------ the steps of a settlement

    def _collect(self, attempt: Attempt) -> Collected | None:
        """Fetch every revealed update; None while waiting for one still makes sense."""
        updates: dict[Seat, NDArray[np.int16]] = {}
        exclusions: dict[Seat, ExclusionReason] = {}
        for seat in sorted(attempt.reveals):
            fetched = fetch_update(self.job, attempt.reveals[seat].content)
            if isinstance(fetched, ExclusionReason):
                exclusions[seat] = fetched
            else:
                updates[seat] = fetched
        missing = ExclusionReason.UNAVAILABLE in exclusions.values()
        return None if missing and self._has_patience(attempt) else Collected(updates, exclusions)

    def _has_patience(self, attempt: Attempt) -> bool:
        terms = self.job.terms
        settle_end_s = terms.schedule(attempt.started.starts_at_s).settle_end_s
        return self.job.market.chain.timestamp() < settle_end_s - int(terms.settle_period_s * (1 - PATIENCE))

    def _decide(self, history: JobHistory, attempt: Attempt, collected: Collected) -> RoundResult:
        return run_round(
            self.job.terms.rules,
            list(collected.updates.values()),
            model_versions(self.job, history, attempt.number),
            attempt.started.shift,
            attempt.started.step_q16,
        )

    def _publish(self, model: NDArray[np.int64], state: JobState) -> Digest:
        cid = self.job.store.add_bytes(integer_model.to_bytes(model))
        self.job.store.pin(cid, f"job {self.job.id} model of round {state.round}")
        return Digest(cid.digest)

    def _tell(self, state: JobState, collected: Collected, result: RoundResult) -> None:
        accepted = len(result.decision.accepted_rows)
        excluded = "".join(f", seat {seat} excluded: {why.name.lower()}" for seat, why in collected.exclusions.items())
        model = "new model" if result.model is not None else "the model stays"
        self.report(f"round {state.round}: {accepted} of {len(collected.updates)} accepted, {model}{excluded}")

    def _bondings(self) -> list[AggregatorBonded]:
        events = self.job.market.events(self.job.id, kinds=[AggregatorBonded])
        return [e for e in events if isinstance(e, AggregatorBonded) and e.aggregator == self.sender.address]


def fetch_update(job: PublishedJob, content: Digest) -> NDArray[np.int16] | ExclusionReason:
    """Fetch a revealed update, int16 (d,), or say why it has to be excluded.

    Blocks that are missing or damaged here may still arrive: the update is unavailable. Blocks that are whole but not
    an update of this job never will be one: it is unreadable.

    Raises:
        StorageError: this machine's disk refuses.
    """
    try:
        return job.update(content)
    except (BlockNotFound, CorruptBlock):
        return ExclusionReason.UNAVAILABLE
    except (InvalidContent, InvalidUpdate):
        return ExclusionReason.UNREADABLE


def check_headroom(initial_model: NDArray[np.int64], terms: JobTerms) -> None:
    """Refuse a job in which honest rounds could drive the model out of its range: settling would be impossible.

    Args:
        initial_model: M_0, int64 (d,).
        terms: how far a round can move an entry: server rate · 32767 · 2^e counts of 2^-16 base counts.

    Raises:
        InvalidModel: naming the entry that has come too close.
    """
    furthest = terms.rounds * terms.rules.server_rate_q16 * UPDATE_LIMIT << terms.initial_shift
    largest = int(np.abs(initial_model).max())
    if largest + furthest > integer_model.MODEL_LIMIT:
        raise InvalidModel(
            f"the initial model has an entry of magnitude {largest}, and {terms.rounds} rounds can add {furthest}: "
            f"expected at most {integer_model.MODEL_LIMIT} together; a round beyond could not be settled"
        )


def model_versions(job: PublishedJob, history: JobHistory, before: int) -> list[ModelVersion]:
    """The models that an attempt's public rows are made of: the initial one and the last four, fetched and checked.

    Raises:
        StorageError: one is not in this store.
        InvalidModel: one is out of range.
    """
    versions = history.versions(before)
    needed = versions[:1] + versions[1:][-4:]
    return [ModelVersion(job.model(version.digest), version.shift) for version in needed]
