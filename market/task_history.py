"""A task's events, sorted into panels and seats: pure, so that settling, showing and auditing read the same story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from market.chain.consensus_events import (
    Appealed,
    CanariesOpened,
    ClaimOpened,
    ConsensusEvent,
    Credited,
    OutputsCommitted,
    OutputsRevealed,
    PanelSettled,
    Penalised,
    Rejudged,
    TaskDrawFixed,
    TaskFinished,
    TaskOpened,
    TaskSeatsDrawn,
    TaskSeatTaken,
)
from market.chain.consensus_records import APPEAL_PANEL, Evidence, PoolTerms, TaskTerms
from market.protocol.consensus import VOID, Outcome, Panel, Reveal, batch_of
from market.protocol.errors import ChainError
from market.protocol.identifiers import TaskId
from market.protocol.terms import NATIVE


@dataclass
class SeatHistory:
    """What came of one seat.

    Attributes:
        taken: by whom, and with which number.
        committed: its seal, if it came to one.
        revealed: what it sealed, if it came to that.
    """

    taken: TaskSeatTaken
    committed: OutputsCommitted | None = None
    revealed: OutputsRevealed | None = None

    @property
    def verifier(self) -> str:
        """Who sits."""
        return self.taken.verifier

    @property
    def digests(self) -> tuple[bytes, ...]:
        """What it revealed; nothing where it is silent, or says that the request is void."""
        return () if self.revealed is None else self.revealed.digests

    @property
    def reveal(self) -> Reveal:
        """What it revealed, as the decision takes it."""
        if self.revealed is None:
            return None
        return batch_of(self.revealed.digests) if self.revealed.digests else VOID


@dataclass
class PanelHistory:
    """What came of one panel.

    Attributes:
        index: 0 the first, 1 the second draw's, 2 the appeal's.
        size: how many seats it has.
        asked_at: the block in which it was asked for.
        fixed: the blocks that were to decide its draw, in turn.
        drawn: the draw.
        takings: every time that a seat was taken, in order.
        seats: those that are taken in the end, by their number.
        settled: the decision.
    """

    index: int
    size: int
    asked_at: int
    fixed: list[TaskDrawFixed] = field(default_factory=list)
    drawn: TaskSeatsDrawn | None = None
    takings: list[TaskSeatTaken] = field(default_factory=list)
    seats: list[SeatHistory] = field(default_factory=list)
    settled: PanelSettled | None = None

    @property
    def is_full(self) -> bool:
        """Whether all seats are taken: a panel that starved has not sat."""
        return len(self.seats) == self.size

    @property
    def has_majority(self) -> bool:
        """Whether it is settled, and decides."""
        return self.settled is not None and self.settled.outcome is not Outcome.NO_MAJORITY

    @property
    def reveals(self) -> list[Reveal]:
        """What each seat revealed."""
        return [seat.reveal for seat in self.seats]

    def seat_of(self, verifier: str) -> SeatHistory:
        """The seat of somebody who sits.

        Raises:
            ChainError: it does not.
        """
        for seat in self.seats:
            if seat.verifier == verifier:
                return seat
        raise ChainError(f"panel {self.index}: the chain tells of {verifier}, who has no seat there")

    def take(self, event: TaskSeatTaken) -> None:
        """Seat somebody."""
        self.takings.append(event)
        if event.displaced == NATIVE:
            self.seats.append(SeatHistory(event))
        else:
            place = self.seats.index(self.seat_of(event.displaced))
            self.seats[place] = SeatHistory(event)


@dataclass
class TaskHistory:
    """What came of one task.

    Attributes:
        opened: its terms.
        panels: in the order in which they were asked for, by their index.
        canaries: the answers that its owner knew, once they are shown.
        claim: the worker's digests, once they are shown.
        appealed: who did.
        rejudged: what an appeal says of the standing panel.
        penalties: what was burned of whom.
        credits: what was credited to whom.
        finished: the end.
    """

    opened: TaskOpened
    panels: dict[int, PanelHistory] = field(default_factory=dict)
    canaries: CanariesOpened | None = None
    claim: ClaimOpened | None = None
    appealed: Appealed | None = None
    rejudged: Rejudged | None = None
    penalties: list[Penalised] = field(default_factory=list)
    credits: list[Credited] = field(default_factory=list)
    finished: TaskFinished | None = None

    @classmethod
    def of_events(cls, task: TaskId, events: Iterable[ConsensusEvent]) -> TaskHistory:
        """Sort a task's events, which come in the order of the chain.

        Raises:
            ChainError: they are not the events of one task from its opening on.
        """
        told = iter(events)
        first = next(told, None)
        if not isinstance(first, TaskOpened) or first.task != task:
            raise ChainError(f"the chain tells of no opening of task {task}")
        history = cls(first)
        for event in told:
            history._take(event)
        return history

    @property
    def terms(self) -> TaskTerms:
        """Its terms."""
        return self.opened.terms

    @property
    def current(self) -> PanelHistory:
        """The latest panel.

        Raises:
            ChainError: none was asked for.
        """
        if not self.panels:
            raise ChainError(f"the chain tells of no panel of task {self.opened.task}")
        return self.panels[max(self.panels)]

    @property
    def standing(self) -> PanelHistory | None:
        """The panel whose decision stands if nothing else comes of an appeal; None before there is one."""
        earlier = [panel for panel in self.panels.values() if panel.index != APPEAL_PANEL]
        return next((panel for panel in earlier if panel.has_majority), None)

    @property
    def overruling(self) -> PanelHistory | None:
        """The appeal's panel, once it has a majority."""
        appeal = self.panels.get(APPEAL_PANEL)
        return appeal if appeal is not None and appeal.has_majority else None

    @property
    def deciding(self) -> PanelHistory | None:
        """The panel by whose medoid the task ends, as things are."""
        return self.overruling or self.standing

    def known_answers(self) -> dict[int, bytes]:
        """The canaries that are shown, by sample."""
        return {} if self.canaries is None else dict(zip(self.canaries.samples, self.canaries.digests, strict=True))

    def decide(self, pool: PoolTerms, panel: PanelHistory) -> Panel:
        """A panel's reveals, for the mirror of the contract to decide about.

        Raises:
            InvalidData: digests that the contract would not have taken.
        """
        shown = _is_before(self.canaries, panel.settled)
        known = self.known_answers() if shown else {}
        return Panel(self.terms.consensus(pool, panel.size), panel.reveals, known)

    def claim_before(self, panel: PanelHistory) -> ClaimOpened | None:
        """The worker's claim, where it was open when a panel was settled."""
        return self.claim if _is_before(self.claim, panel.settled) else None

    def evidence(self, panel: PanelHistory) -> Evidence:
        """What settles a panel."""
        standing = self.standing if panel.index == APPEAL_PANEL else None
        original = () if standing is None else _digests(standing)
        claimed = () if self.claim is None else self.claim.digests
        if self.canaries is None:
            return Evidence(_digests(panel), original, claimed=claimed)
        shown = (self.canaries.samples, self.canaries.digests, self.canaries.salt)
        return Evidence(_digests(panel), original, *shown, claimed)

    def _take(self, event: ConsensusEvent) -> None:
        match event:
            case TaskDrawFixed():
                self._asked(event).fixed.append(event)
            case TaskSeatsDrawn():
                self._panel(event.panel).drawn = event
            case TaskSeatTaken():
                self._panel(event.panel).take(event)
            case OutputsCommitted():
                self._panel(event.panel).seat_of(event.verifier).committed = event
            case OutputsRevealed():
                self._panel(event.panel).seat_of(event.verifier).revealed = event
            case PanelSettled():
                self._panel(event.panel).settled = event
            case Penalised():
                self.penalties.append(event)
            case Credited():
                self.credits.append(event)
            case _:
                self._note(event)

    def _note(self, event: ConsensusEvent) -> None:
        match event:
            case CanariesOpened():
                self.canaries = event
            case ClaimOpened():
                self.claim = event
            case Appealed():
                self.appealed = event
            case Rejudged():
                self.rejudged = event
            case TaskFinished():
                self.finished = event
            case _:
                raise ChainError(f"a {type(event).__name__} is among the events of task {self.opened.task}")

    def _asked(self, event: TaskDrawFixed) -> PanelHistory:
        """The panel whose draw is fixed: a new one, where it is the first time."""
        if event.panel not in self.panels:
            size = self.terms.appeal_verifiers if event.panel == APPEAL_PANEL else self.terms.verifiers
            self.panels[event.panel] = PanelHistory(event.panel, size, event.block_number)
        return self.panels[event.panel]

    def _panel(self, index: int) -> PanelHistory:
        if index not in self.panels:
            raise ChainError(f"the chain tells of panel {index} of task {self.opened.task}, which nobody asked for")
        return self.panels[index]


def _is_before(event: ConsensusEvent | None, other: ConsensusEvent | None) -> bool:
    """Whether something happened, and before something else that may not have happened yet."""
    if event is None or other is None:
        return event is not None
    return (event.block_number, event.log_index) < (other.block_number, other.log_index)


def _digests(panel: PanelHistory) -> tuple[tuple[bytes, ...], ...]:
    return tuple(seat.digests for seat in panel.seats)
