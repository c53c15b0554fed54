"""Replays a task from the chain's events alone, and says what of it is not as anybody can recompute it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from market.chain.consensus_events import (
    ConsensusEvent,
    OutputsRevealed,
    PanelSettled,
    Penalised,
    PoolOpened,
    Staked,
    TaskFinished,
    TaskSeatTaken,
    Unstaked,
)
from market.chain.consensus_records import NONE_32, PoolTerms
from market.chain.output_consensus import OutputConsensus
from market.protocol.consensus import VOID, Decision, Outcome
from market.protocol.errors import ChainError, FedmarketError, InvalidData, InvalidTerms
from market.protocol.generation import canary_commitment, claim_commitment, seal_of
from market.protocol.identifiers import PoolId, TaskId
from market.protocol.seat_draw import DELAY_BLOCKS, REACH_BLOCKS, drawn_number
from market.protocol.terms import NATIVE
from market.task_history import PanelHistory, SeatHistory, TaskHistory
from market.task_money import Reckoning

OK, UNPROVEN, MISMATCH = "ok", "unproven", "mismatch"
PANEL_NAMES = ("first panel", "second panel", "appeal")


@dataclass(frozen=True)
class TaskCheck:
    """One thing that was recomputed.

    Attributes:
        name: what.
        subject: of whom, or of which panel.
        verdict: ok, unproven where the chain does not have all that it takes, or mismatch.
        detail: in words.
    """

    name: str
    subject: str
    verdict: str
    detail: str


@dataclass
class TaskReport:
    """All that was recomputed of a task."""

    task: TaskId
    checks: list[TaskCheck] = field(default_factory=list)

    @property
    def first_mismatch(self) -> TaskCheck | None:
        """The first that is not what the chain says."""
        return next((check for check in self.checks if check.verdict == MISMATCH), None)

    def to_json(self) -> Mapping[str, Any]:
        """The report as JSON has it."""
        checks = [vars(check) for check in self.checks]
        return {"task": self.task, "ok": self.first_mismatch is None, "checks": checks}


def audit_task(
    consensus: OutputConsensus, task: TaskId, progress: Callable[[TaskCheck], None] = lambda check: None
) -> TaskReport:
    """Recompute a task: its draws, seats, seals, decisions and money.

    Args:
        consensus: the contract's gateway; only its events, and the transactions that made them, are believed.
        task: the task's number.
        progress: is told each check.

    Raises:
        ChainError: there is no such task, or the events contradict one another.
    """
    report = TaskReport(task)
    for check in TaskAudit(consensus, task).checks():
        report.checks.append(check)
        progress(check)
    return report


class TaskAudit:
    """What an audit of one task reads, and what it makes of it."""

    def __init__(self, consensus: OutputConsensus, task: TaskId) -> None:
        """Read the events.

        Raises:
            ChainError: there is no such task, or the events contradict one another.
        """
        self._consensus, self._task = consensus, task
        self.history = TaskHistory.of_events(task, consensus.events(task))
        self._timestamps: dict[int, int] = {}

    def checks(self) -> Iterator[TaskCheck]:
        """Everything that can be recomputed, in the order in which it happened."""
        yield self._opening()
        for panel in self.history.panels.values():
            yield from self._panel(panel)
        yield from self._openings()
        if self.history.appealed is not None:
            yield self._appeal()
        yield from self._money()

    # ------------------------------------------------------------------ the opening

    @cached_property
    def pool(self) -> PoolTerms:
        """The pool's terms, of its opening."""
        opened = [event for event in self._pool_events if isinstance(event, PoolOpened)]
        if len(opened) != 1:
            raise ChainError(f"the chain tells of {len(opened)} openings of pool {self.history.terms.pool}")
        return opened[0].terms

    @cached_property
    def _pool_events(self) -> list[ConsensusEvent]:
        return self._consensus.pool_events(PoolId(self.history.terms.pool))

    def _opening(self) -> TaskCheck:
        terms = self.history.terms
        try:
            self.pool.check()
            terms.check(self.pool)
        except InvalidTerms as error:
            return TaskCheck("terms", "task", MISMATCH, str(error))
        told = f"{terms.verifiers} verifiers, {terms.samples} samples, pool {terms.pool}"
        return TaskCheck("terms", "task", OK, told)

    # ------------------------------------------------------------------ a panel

    def _panel(self, panel: PanelHistory) -> Iterator[TaskCheck]:
        yield self._draw(panel)
        for count, taking in enumerate(panel.takings):
            yield self._seat(panel, taking, panel.takings[:count])
        for seat in panel.seats:
            if seat.committed is not None:
                yield self._sealing(panel, seat)
            if seat.revealed is not None:
                yield self._seal(panel, seat, seat.revealed)
        if panel.settled is not None:
            yield self._settlement(panel, panel.settled)
            yield self._decision(panel, panel.settled)

    def _draw(self, panel: PanelHistory) -> TaskCheck:
        name = PANEL_NAMES[panel.index]
        for event in panel.fixed:
            if event.number != event.block_number + DELAY_BLOCKS:
                problem = f"block {event.number} was fixed in block {event.block_number}, expected {DELAY_BLOCKS} later"
                return TaskCheck("draw", name, MISMATCH, problem)
        if wrong := self._asking_problem(panel):
            return TaskCheck("draw", name, MISMATCH, wrong)
        if panel.drawn is None:
            return TaskCheck("draw", name, OK, f"block {panel.fixed[-1].number} decides it")
        number, at = panel.fixed[-1].number, panel.drawn.block_number
        expected = bytes(self._consensus.chain.block(number)["hash"])
        until_s = self._time(panel.drawn) + self.history.terms.seat_period_s
        if not number < at <= number + REACH_BLOCKS or panel.drawn.seed != expected:
            told = f"0x{panel.drawn.seed.hex()} in block {at}, but block {number} has the hash 0x{expected.hex()}"
            return TaskCheck("draw", name, MISMATCH, told)
        if panel.drawn.seat_until_s != until_s:
            told = f"seats could be taken until {panel.drawn.seat_until_s}, expected {until_s}"
            return TaskCheck("draw", name, MISMATCH, told)
        return TaskCheck("draw", name, OK, f"by the hash of block {number}")

    def _asking_problem(self, panel: PanelHistory) -> str | None:
        """What is wrong with the panel's being asked for, or with its draw's being fixed anew."""
        first = self.history.panels.get(0)
        undecided = None if first is None or first.has_majority else first.settled
        cause = (self.history.opened, undecided, self.history.appealed)[panel.index]
        if cause is None or cause.block_number != panel.asked_at:
            return f"asked for in block {panel.asked_at}, when nothing called for it"
        for earlier, later in pairwise(panel.fixed):
            if later.block_number <= earlier.number + REACH_BLOCKS:
                return f"fixed anew in block {later.block_number}, when the hash of block {earlier.number} could be had"
        return None

    def _seat(self, panel: PanelHistory, taking: TaskSeatTaken, before: Sequence[TaskSeatTaken]) -> TaskCheck:
        problem = self._seat_problem(panel, taking, before)
        displaced = "" if taking.displaced == NATIVE else f", in the place of {taking.displaced}"
        told = problem or f"number 0x{taking.number >> 192:016x}…{displaced}"
        return TaskCheck("seat", taking.verifier, MISMATCH if problem else OK, f"{PANEL_NAMES[panel.index]}: {told}")

    def _seat_problem(self, panel: PanelHistory, taking: TaskSeatTaken, before: Sequence[TaskSeatTaken]) -> str | None:
        """What is wrong with somebody's taking of a seat."""
        if panel.drawn is None or self._time(taking) >= panel.drawn.seat_until_s:
            return "taken outside the time for it"
        units, since = self._units_at(taking)
        if not units or since >= panel.asked_at:
            return f"{units} units staked last in block {since}, but the panel was asked for in block {panel.asked_at}"
        if taking.number != drawn_number(panel.drawn.seed, taking.verifier, units):
            return f"number {taking.number:#066x} is not the lowest of its {units} tickets"
        if taking.verifier in self._barred(panel):
            return "is the task's owner or worker, or sat in an earlier panel of it"
        sitting = _sitting(before)
        if taking.verifier in sitting:
            return "sat there already"
        if taking.displaced == NATIVE:
            return None if len(sitting) < panel.size else "no seat was free"
        highest = max(sitting, key=lambda verifier: sitting[verifier], default=NATIVE)
        if len(sitting) < panel.size or highest != taking.displaced or sitting[highest] <= taking.number:
            return f"{taking.displaced} did not have the highest number of a full panel, or a lower one than this"
        return None

    def _barred(self, panel: PanelHistory) -> set[str]:
        earlier = [other for other in self.history.panels.values() if other.index < panel.index and other.is_full]
        sat = {seat.verifier for other in earlier for seat in other.seats}
        return {self.history.opened.owner, self.history.terms.worker, *sat}

    def _units_at(self, taking: TaskSeatTaken) -> tuple[int, int]:
        """How many units somebody had in the pool when it took a seat, and the block of its last stake."""
        units = since = 0
        for event in self._stakes:
            if (event.block_number, event.log_index) >= (taking.block_number, taking.log_index):
                break
            match event:
                case Staked() if event.verifier == taking.verifier:
                    units, since = units + event.units, event.block_number
                case Unstaked() if event.verifier == taking.verifier:
                    units -= event.units
                case Penalised() if event.verifier == taking.verifier:
                    units -= event.amount_wei // self.pool.unit_wei
        return units, since

    @cached_property
    def _stakes(self) -> list[ConsensusEvent]:
        """Whatever changes stakes in the task's pool, in the order of the chain."""
        tasks = {opened.task for opened in self._consensus.tasks_of(PoolId(self.history.terms.pool))}
        penalties = self._consensus.all_events([Penalised])
        ours = [event for event in penalties if isinstance(event, Penalised) and event.task in tasks]
        return sorted([*self._pool_events, *ours], key=lambda event: (event.block_number, event.log_index))

    def _sealing(self, panel: PanelHistory, seat: SeatHistory) -> TaskCheck:
        committed = seat.committed
        begin_s, end_s, _ = self._times(panel)
        in_time = committed is not None and begin_s <= self._time(committed) < end_s
        told = "sealed in time" if in_time else f"sealed outside the time from {begin_s} to {end_s}"
        verdict = OK if in_time else MISMATCH
        return TaskCheck("commit", seat.verifier, verdict, f"{PANEL_NAMES[panel.index]}: {told}")

    def _seal(self, panel: PanelHistory, seat: SeatHistory, revealed: OutputsRevealed) -> TaskCheck:
        verdict, told = self._seal_verdict(panel, seat, revealed)
        return TaskCheck("seal", seat.verifier, verdict, f"{PANEL_NAMES[panel.index]}: {told}")

    def _seal_verdict(self, panel: PanelHistory, seat: SeatHistory, revealed: OutputsRevealed) -> tuple[str, str]:
        if seat.committed is None:
            return MISMATCH, "revealed what it never sealed"
        _, commit_until_s, until_s = self._times(panel)
        moment_s = self._time(revealed)
        all_committed = all(other.committed is not None for other in panel.seats) and panel.is_full
        if moment_s >= until_s or (moment_s < commit_until_s and not all_committed):
            return MISMATCH, f"revealed outside the time from {commit_until_s} to {until_s}"
        if len(revealed.digests) not in (0, self.history.terms.samples) or NONE_32 in revealed.digests:
            return (
                MISMATCH,
                f"revealed {len(revealed.digests)} digests, expected {self.history.terms.samples}, none zero",
            )
        salt = self._argument(revealed, "revealOutputs", "salt")
        if salt is None:
            return UNPROVEN, "revealed by way of another contract: its salt is not in the transaction"
        place = (self._consensus.chain.chain_id, self._consensus.address, self._task, panel.index)
        own = seal_of(*place, seat.verifier, revealed.digests, revealed.outputs, salt)
        if own != seat.committed.seal:
            return MISMATCH, f"opens to the seal 0x{own.hex()}, but 0x{seat.committed.seal.hex()} was committed"
        what = f"{len(revealed.digests)} digests" if revealed.digests else "void"
        return OK, f"{what}, as sealed"

    def _settlement(self, panel: PanelHistory, settled: PanelSettled) -> TaskCheck:
        """Whether nobody on the panel had any time left."""
        name, moment_s, until_s = PANEL_NAMES[panel.index], self._time(settled), self._open_until_s(panel, settled)
        if panel.drawn is None or moment_s < until_s:
            return TaskCheck("settlement", name, MISMATCH, f"settled at {moment_s}, when it was open until {until_s}")
        return TaskCheck("settlement", name, OK, "settled when nothing more could come")

    def _open_until_s(self, panel: PanelHistory, settled: PanelSettled) -> int:
        """When a panel can be settled from."""
        begin_s, commit_until_s, until_s = self._times(panel)
        if not panel.is_full:
            return begin_s
        terms, history = self.history.terms, self.history
        owed = [seat.revealed for seat in panel.seats if seat.committed is not None]
        sealed = [(terms.canaries, history.canaries), (terms.claim, history.claim)]
        owed_openings = [shown for commitment, shown in sealed if commitment != NONE_32]
        if not all(_precedes(event, settled) for event in [*owed, *owed_openings]):
            return until_s
        return begin_s if len(owed) == panel.size else commit_until_s

    def _decision(self, panel: PanelHistory, settled: PanelSettled) -> TaskCheck:
        name = PANEL_NAMES[panel.index]
        try:
            decision = self.history.decide(self.pool, panel).decision
        except (InvalidData, InvalidTerms) as error:
            return TaskCheck("decision", name, MISMATCH, str(error))
        expected = expected_settlement(panel, decision)
        told = (
            *(settled.outcome, settled.clique, settled.spared),
            *(settled.medoid, settled.outputs, settled.accepted_samples),
        )
        if told != expected:
            return TaskCheck("decision", name, MISMATCH, f"the chain says {_shown(told)}, expected {_shown(expected)}")
        return TaskCheck("decision", name, OK, _decided(panel, decision))

    # ------------------------------------------------------------------ what was sealed at the opening

    def _openings(self) -> Iterator[TaskCheck]:
        shown, claim, terms = self.history.canaries, self.history.claim, self.history.terms
        if shown is not None:
            own = canary_commitment(self.history.known_answers(), shown.salt)
            fits = own == terms.canaries and list(shown.samples) == sorted(set(shown.samples))
            told = f"of samples {', '.join(map(str, shown.samples))}" if fits else "are not what was committed to"
            if fits and not self._is_revealing(shown):
                fits, told = False, "shown when no panel was revealing"
            yield TaskCheck("canaries", "owner", OK if fits else MISMATCH, told)
        if claim is not None:
            salt = self._argument(claim, "openClaim", "salt")
            if salt is None:
                yield TaskCheck("claim", terms.worker, UNPROVEN, "opened by way of another contract")
                return
            fits = claim_commitment(claim.digests, salt) == terms.claim
            told = "as committed to" if fits else "is not what was committed to"
            if fits and not self._is_revealing(claim):
                fits, told = False, "shown when no panel was revealing"
            yield TaskCheck("claim", terms.worker, OK if fits else MISMATCH, told)

    def _is_revealing(self, event: ConsensusEvent) -> bool:
        """Whether some panel could reveal when something happened."""
        for panel in self.history.panels.values():
            _, commit_until_s, until_s = self._times(panel)
            all_committed = all(_precedes(seat.committed, event) for seat in panel.seats)
            is_begun = panel.is_full and (all_committed or self._time(event) >= commit_until_s)
            is_over = self._time(event) >= until_s or _precedes(panel.settled, event)
            if is_begun and not is_over:
                return True
        return False

    def _appeal(self) -> TaskCheck:
        appealed, standing, terms = self.history.appealed, self.history.standing, self.history.terms
        if appealed is None or standing is None or standing.settled is None:
            return TaskCheck("appeal", "task", MISMATCH, "there was no decision to appeal against")
        outside = {
            seat.verifier
            for number, seat in enumerate(standing.seats)
            if seat.revealed is not None and not standing.settled.clique >> number & 1
        }
        until_s = self._time(standing.settled) + terms.appeal_period_s
        problem = None
        if appealed.by not in outside | {self.history.opened.owner, terms.worker}:
            problem = "by nobody whom the decision may wrong"
        elif appealed.bond_wei != terms.appeal_bond_wei:
            problem = f"with a bond of {appealed.bond_wei} wei, expected {terms.appeal_bond_wei}"
        elif self._time(appealed) >= until_s:
            problem = f"after {until_s}, when it was too late"
        return TaskCheck("appeal", appealed.by, MISMATCH if problem else OK, problem or f"bond {appealed.bond_wei} wei")

    # ------------------------------------------------------------------ money

    def _money(self) -> Iterator[TaskCheck]:
        try:
            reckoning = Reckoning(self.history, self.pool)
            money = reckoning.money()
        except FedmarketError as error:
            yield TaskCheck("money", "task", MISMATCH, str(error))
            return
        if self.history.rejudged is not None or reckoning.is_overruled:
            yield self._rejudgement(reckoning)
        told = sorted((event.panel, event.verifier, int(event.reason)) for event in self.history.penalties)
        due = sorted((penalty.panel, penalty.verifier, int(penalty.reason)) for penalty in money.penalties)
        units = all(event.amount_wei == self.pool.unit_wei for event in self.history.penalties)
        fits = told == due and units
        detail = f"{len(due)} units" if fits else f"the chain burned of {told}, expected {due}"
        yield TaskCheck("penalties", "task", OK if fits else MISMATCH, detail)
        yield from self._credits(money.credits_wei)
        finished = self.history.finished
        if finished is None:
            return
        ended = (finished.outcome, finished.worker_accepted, finished.burned_wei, finished.outputs)
        expected = (reckoning.outcome, reckoning.worker_accepted, money.burned_wei, self._accepted_outputs(reckoning))
        fits = ended == expected
        detail = f"{reckoning.outcome.name.lower()}, {money.burned_wei} wei burned"
        told_end = f"the chain says {_shown(ended)}, expected {_shown(expected)}"
        yield TaskCheck("end", "task", OK if fits else MISMATCH, detail if fits else told_end)
        if problem := self._finish_problem(finished):
            yield TaskCheck("end", "task", MISMATCH, problem)

    def _finish_problem(self, finished: TaskFinished) -> str | None:
        """What is wrong with the moment at which a task was finished."""
        standing, appealed, settled = self.history.standing, self.history.appealed, self.history.current.settled
        if not _precedes(settled, finished):
            return "finished before its last panel was settled"
        if standing is None or standing.settled is None or appealed is not None:
            return None
        until_s = self._time(standing.settled) + self.history.terms.appeal_period_s
        return f"finished when it could be appealed until {until_s}" if self._time(finished) < until_s else None

    def _credits(self, due_wei: Counter[str]) -> Iterator[TaskCheck]:
        credited: Counter[str] = Counter()
        for event in self.history.credits:
            credited[event.account] += event.amount_wei
        for account in sorted(credited | due_wei):
            told, due = credited[account], due_wei[account]
            detail = f"{told} wei" if told == due else f"credited {told} wei, expected {due} wei"
            yield TaskCheck("credit", account, OK if told == due else MISMATCH, detail)

    def _rejudgement(self, reckoning: Reckoning) -> TaskCheck:
        event, judged = self.history.rejudged, reckoning.judged_standing()
        if event is None or judged is None or not reckoning.is_overruled:
            return TaskCheck("judgement", "task", MISMATCH, "an appeal with a majority judges, and none without")
        expected = (judged.history.index, _mask(judged.paid), _mask(judged.spared))
        told = (event.panel, event.paid, event.spared)
        detail = f"{len(judged.paid)} paid, {len(judged.spared)} spared by the appeal"
        problem = f"the chain says {_shown(told)}, expected {_shown(expected)}"
        return TaskCheck(
            "judgement", "task", OK if told == expected else MISMATCH, detail if told == expected else problem
        )

    def _accepted_outputs(self, reckoning: Reckoning) -> bytes:
        if reckoning.deciding is None:
            return NONE_32
        panel = self.history.panels[reckoning.deciding]
        return _medoid_outputs(panel, reckoning.panels[reckoning.deciding].decision)

    # ------------------------------------------------------------------ the chain

    def _time(self, event: ConsensusEvent) -> int:
        number = event.block_number
        if number not in self._timestamps:
            self._timestamps[number] = int(self._consensus.chain.block(number)["timestamp"])
        return self._timestamps[number]

    def _times(self, panel: PanelHistory) -> tuple[int, int, int]:
        """When a panel can commit from, when it can reveal from at the latest, and until when."""
        begin_s = 0 if panel.drawn is None else panel.drawn.seat_until_s
        commit_until_s = begin_s + self.history.terms.commit_period_s
        return begin_s, commit_until_s, commit_until_s + self.history.terms.reveal_period_s

    def _argument(self, event: ConsensusEvent, function: str, name: str) -> bytes | None:
        """An argument of the call that made an event; None where that was another contract's call."""
        called = self._consensus.call_in(event.transaction)
        if called is None or called[0] != function:
            return None
        return bytes(called[1][name])


def expected_settlement(panel: PanelHistory, decision: Decision) -> tuple[Outcome, int, int, int, bytes, int]:
    """Outcome, clique, spared, medoid, outputs and accepted samples, as the contract's event has them."""
    if decision.medoid is None:
        return decision.outcome, 0, 0, 0, NONE_32, 0
    masks = (_mask(decision.clique), _mask(decision.spared))
    return decision.outcome, *masks, decision.medoid, _medoid_outputs(panel, decision), decision.accepted_samples


def _medoid_outputs(panel: PanelHistory, decision: Decision) -> bytes:
    revealed = None if decision.medoid is None else panel.seats[decision.medoid].revealed
    return NONE_32 if revealed is None else revealed.outputs


def _precedes(event: ConsensusEvent | None, other: ConsensusEvent) -> bool:
    """Whether something happened, and before something else."""
    return event is not None and (event.block_number, event.log_index) < (other.block_number, other.log_index)


def _sitting(takings: Sequence[TaskSeatTaken]) -> dict[str, int]:
    """Who sits after these takings, and with which numbers."""
    sitting: dict[str, int] = {}
    for taking in takings:
        sitting.pop(taking.displaced, None)
        sitting[taking.verifier] = taking.number
    return sitting


def _mask(seats: Sequence[int]) -> int:
    return sum(1 << seat for seat in seats)


def _decided(panel: PanelHistory, decision: Decision) -> str:
    if decision.outcome is Outcome.NO_MAJORITY:
        return f"no majority among {sum(reveal is not None for reveal in panel.reveals)} that revealed"
    what = "void" if panel.reveals[decision.clique[0]] is VOID else f"accepted, the medoid is seat {decision.medoid}"
    return f"{what}; {len(decision.clique)} of {panel.size} agree, {len(decision.spared)} spared"


def _shown(values: Sequence[object]) -> str:
    return ", ".join("0x" + value.hex() if isinstance(value, bytes) else str(value) for value in values)
