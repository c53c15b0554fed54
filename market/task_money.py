"""Where the money of a task goes: the contract's rules, once more, from what its panels decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from market.chain.consensus_records import APPEAL_PANEL, PenaltyReason, PoolTerms
from market.protocol.consensus import Decision, Outcome, Panel, batch_of, judge
from market.task_history import PanelHistory, TaskHistory

VOID_DIVISOR = 4
"""Who finds that a request is void had nothing to generate, and earns so much less."""


@dataclass(frozen=True)
class Penalty:
    """A unit that a seat loses."""

    panel: int
    verifier: str
    reason: PenaltyReason


@dataclass
class TaskMoney:
    """What a task's end moves.

    Attributes:
        credits_wei: what each account is credited.
        penalties: units that are lost.
        burned_wei: of what the task held, with the units that are lost at its end.
    """

    credits_wei: Counter[str] = field(default_factory=Counter)
    penalties: list[Penalty] = field(default_factory=list)
    burned_wei: int = 0

    def credit(self, account: str, amount_wei: int) -> None:
        """Credit an account; nothing is no credit."""
        if amount_wei:
            self.credits_wei[account] += amount_wei


@dataclass(frozen=True)
class Judged:
    """One panel, and whom its decision, or an appeal's, pays and spares."""

    history: PanelHistory
    decision: Decision
    paid: Sequence[int]
    spared: Sequence[int]


class Reckoning:
    """The decisions of a task's settled panels, and what follows from them."""

    def __init__(self, history: TaskHistory, pool: PoolTerms) -> None:
        """Decide every panel that was settled.

        Raises:
            InvalidData: digests that the contract would not have taken.
        """
        self.history, self.pool = history, pool
        settled = [panel for panel in history.panels.values() if panel.settled is not None]
        self.panels: dict[int, Panel] = {panel.index: history.decide(pool, panel) for panel in settled}

    def decision(self, index: int) -> Decision | None:
        """A panel's decision; None where it is not settled."""
        return self.panels[index].decision if index in self.panels else None

    @property
    def standing(self) -> int | None:
        """The panel that decides, if no appeal does; None where none has a majority."""
        return next((index for index in sorted(self.panels) if index != APPEAL_PANEL and self._decides(index)), None)

    @property
    def is_overruled(self) -> bool:
        """Whether an appeal has a majority."""
        return self._decides(APPEAL_PANEL)

    @property
    def deciding(self) -> int | None:
        """The panel by which the task ends, as things are."""
        return APPEAL_PANEL if self.is_overruled else self.standing

    @property
    def outcome(self) -> Outcome:
        """What the task comes to, as things are."""
        if self.deciding is None:
            return Outcome.NO_MAJORITY if 1 in self.panels else Outcome.UNDECIDED
        return self.panels[self.deciding].decision.outcome

    @property
    def worker_accepted(self) -> bool:
        """Whether the worker's claim agrees with the medoid that decides; canaries bear on verifiers alone."""
        if self.deciding is None or self.outcome is not Outcome.ACCEPTED:
            return False
        panel, claim = self.panels[self.deciding], self.history.claim_before(self.history.panels[self.deciding])
        medoid = panel.decision.medoid
        if medoid is None or claim is None:
            return False
        return panel.is_near(batch_of(claim.digests), panel.reveals[medoid])

    def judged_standing(self) -> Judged | None:
        """The standing panel's seats, by its own decision or by an appeal's."""
        if self.standing is None:
            return None
        panel, decision = self.history.panels[self.standing], self.panels[self.standing].decision
        if not self.is_overruled:
            return Judged(panel, decision, decision.clique, decision.spared)
        judgement = judge(self.panels[APPEAL_PANEL], panel.reveals)
        return Judged(panel, decision, judgement.paid, judgement.spared)

    def money(self) -> TaskMoney:
        """What the panels that are settled, and the end where there is one, move."""
        money = TaskMoney()
        for index in sorted(self.panels):
            self._penalise_silent(money, self.history.panels[index])
        if self.history.finished is None:
            return money
        standing = self.judged_standing()
        if standing is None:
            money.credit(self.history.opened.owner, self.history.terms.deposit_wei)
            return money
        self._end(money, standing)
        return money

    def _end(self, money: TaskMoney, standing: Judged) -> None:
        terms, unit = self.history.terms, self.pool.unit_wei
        price = terms.share_wei // VOID_DIVISOR if self.outcome is Outcome.VOID else terms.share_wei
        before = len(money.penalties)
        losers = self._conclude(money, standing, price)
        if self.is_overruled:
            decision = self.panels[APPEAL_PANEL].decision
            appeal = Judged(self.history.panels[APPEAL_PANEL], decision, decision.clique, decision.spared)
            self._conclude(money, appeal, price)
        self._credit_appellant(money, losers * (unit + price), price)
        returned = terms.verifiers * (terms.share_wei - price)
        if self.worker_accepted:
            money.credit(terms.worker, terms.worker_reward_wei)
        else:
            returned += terms.worker_reward_wei
        money.credit(self.history.opened.owner, returned)
        bond = 0 if self.history.appealed is None else terms.appeal_bond_wei
        lost = (len(money.penalties) - before) * unit
        money.burned_wei = terms.deposit_wei + bond + lost - money.credits_wei.total()

    def _conclude(self, money: TaskMoney, judged: Judged, price: int) -> int:
        """Pay and penalise the seats that revealed; returns how many are penalised that were of the panel's clique."""
        losers = 0
        for number, seat in enumerate(judged.history.seats):
            if seat.revealed is None:
                continue
            if number in judged.paid:
                money.credit(seat.verifier, price)
            elif number not in judged.spared:
                money.penalties.append(Penalty(judged.history.index, seat.verifier, PenaltyReason.DISAGREED))
                losers += number in judged.decision.clique
        return losers

    def _credit_appellant(self, money: TaskMoney, forfeits: int, price: int) -> None:
        appealed, terms = self.history.appealed, self.history.terms
        if appealed is None:
            return
        bond = int(terms.appeal_bond_wei)
        if self.is_overruled:
            cost = terms.appeal_verifiers * price
            bond += min(forfeits, cost) - cost
        money.credit(appealed.by, bond)

    def _penalise_silent(self, money: TaskMoney, panel: PanelHistory) -> None:
        if not panel.is_full:
            return
        silent = [seat.verifier for seat in panel.seats if seat.revealed is None]
        money.penalties += [Penalty(panel.index, verifier, PenaltyReason.SILENT) for verifier in silent]

    def _decides(self, index: int) -> bool:
        decision = self.decision(index)
        return decision is not None and decision.outcome is not Outcome.NO_MAJORITY
