"""What is due in a task, from what chain, disk and clock say: no input and no output here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from hashlib import sha256
from typing import Final

NO_SEAL: Final = bytes(32)

COMMIT_SAFETY: Final = 0.2
"""Share of a commit period that is kept free for sending the commit."""

PATIENCE: Final = 0.5
"""Share of a commit period in which contents that cannot be had are waited for. All verifiers have the same one: who
declares void alone is in the minority."""

TURN_BLOCKS: Final = 2
"""How long whoever's turn it is has for a call that is open to anybody, before it is the next one's."""

STRANGERS: Final = 8
"""Those without a seat have their turns after the seats', by lot: so many of them."""


class Stage(IntEnum):
    """Where a task is; the same numbers as the contract's phases."""

    DRAWING = 0
    SEATING = 1
    COMMIT = 2
    REVEAL = 3
    SETTLE = 4
    APPEAL = 5
    FINISH = 6
    FINISHED = 7


class Act(Enum):
    """What one account can do in a task now."""

    NONE = "nothing"
    DRAW = "draw"
    SIT = "sit"
    GENERATE = "generate"
    VOID = "void"
    COMMIT = "commit"
    RECOVER = "recover"
    REVEAL = "reveal"
    SETTLE = "settle"
    APPEAL = "appeal"
    FINISH = "finish"


@dataclass(frozen=True)
class SeatView:
    """One seat of a panel.

    Attributes:
        verifier: who sits there.
        number: the lowest that it drew.
        seal: that it committed; zeros before.
        has_revealed: whether it opened the seal.
    """

    verifier: str
    number: int
    seal: bytes = NO_SEAL
    has_revealed: bool = False

    @property
    def has_committed(self) -> bool:
        """Whether it committed."""
        return self.seal != NO_SEAL


@dataclass(frozen=True)
class PanelView:
    """One panel of a task.

    Attributes:
        index: 0 the first, 1 the second draw, 2 an appeal's.
        size: how many seats it has.
        draw_block: whose hash decides.
        seed: that hash; zeros before it is taken.
        seat_until_s, commit_until_s, reveal_until_s: ends of its periods, zero before the draw.
        seats: those that are taken.
        clique: the seats that agreed, a bit each; zero before there is a decision, and without a majority.
    """

    index: int
    size: int
    draw_block: int = 0
    seed: bytes = NO_SEAL
    seat_until_s: int = 0
    commit_until_s: int = 0
    reveal_until_s: int = 0
    seats: tuple[SeatView, ...] = ()
    clique: int = 0

    def place_of(self, account: str) -> int | None:
        """An account's seat, or None where it has none."""
        return next((place for place, seat in enumerate(self.seats) if seat.verifier == account), None)

    def has_room_for(self, number: int) -> bool:
        """Whether who drew this number could take a seat now: a free one, or that of a higher number."""
        return len(self.seats) < self.size or any(seat.number > number for seat in self.seats)

    @property
    def missing_until_s(self) -> int:
        """Until when contents that cannot be had are waited for, before void is committed to."""
        return self.seat_until_s + int((self.commit_until_s - self.seat_until_s) * PATIENCE)

    @property
    def generated_until_s(self) -> int:
        """By when outputs have to be there, to be committed to without haste."""
        return self.commit_until_s - int((self.commit_until_s - self.seat_until_s) * COMMIT_SAFETY)


@dataclass(frozen=True)
class TaskView:
    """A task as far as a verifier looks at it.

    Attributes:
        id, pool: their numbers.
        request: digest of the document of what is asked for.
        seed: of the generation.
        samples: how many.
        stage: where it is, as of the latest block.
        panel: the one that is at work, or was last.
        was_appealed: whether it cannot be again.
        appeal_bond_wei: what an appeal takes.
        commit_period_s: how long outputs can be committed.
        share_wei: what a seat earns.
    """

    id: int
    pool: int
    request: bytes
    seed: int
    samples: int
    stage: Stage
    panel: PanelView
    was_appealed: bool = False
    appeal_bond_wei: int = 0
    commit_period_s: int = 0
    share_wei: int = 0

    @property
    def identity(self) -> bytes:
        """What tells it from another task that has its number after a reorganisation."""
        return b"/".join([str(self.pool).encode(), self.request, str((self.seed, self.samples)).encode()])


@dataclass(frozen=True)
class Kept:
    """What is known on this machine of an account's part in a panel.

    Attributes:
        seal: of the opening that is on the disk; None where there is none.
        is_unavailable: contents that the task needs could not be had so far.
        is_impossible: what the task asks for cannot be done by anybody: it is malformed, or beyond the limits.
        appeals: whether this account was told to appeal.
    """

    seal: bytes | None = None
    is_unavailable: bool = False
    is_impossible: bool = False
    appeals: bool = False


def next_act(task: TaskView, account: str, kept: Kept, now_s: int, block: int) -> Act:
    """What this account can do now; whether it wants a seat, and whose turn a call is, is not decided here.

    Args:
        task: as the chain has it.
        account: whose turn it is.
        kept: as its own machine has it.
        now_s: the latest block's timestamp.
        block: the latest block's number.
    """
    open_to_all = {Stage.SETTLE: Act.SETTLE, Stage.FINISH: Act.FINISH}
    if task.stage in open_to_all:
        return open_to_all[task.stage]
    if task.stage is Stage.DRAWING:
        # The next block is the earliest in which the hash of the one that decides can be read.
        return Act.DRAW if block >= task.panel.draw_block else Act.NONE
    place = task.panel.place_of(account)
    if place is None:
        return Act.SIT if task.stage is Stage.SEATING else Act.NONE
    seat = task.panel.seats[place]
    if task.stage is Stage.APPEAL:
        is_wronged = seat.has_revealed and not task.panel.clique >> place & 1
        return Act.APPEAL if kept.appeals and is_wronged and not task.was_appealed else Act.NONE
    if task.stage is Stage.FINISHED or seat.has_revealed:
        return Act.NONE
    return _after_commit(task.stage, seat, kept) if seat.has_committed else _before_commit(task, kept, now_s)


def _after_commit(stage: Stage, seat: SeatView, kept: Kept) -> Act:
    if kept.seal != seat.seal:
        return Act.RECOVER
    return Act.REVEAL if stage is Stage.REVEAL else Act.NONE


def _before_commit(task: TaskView, kept: Kept, now_s: int) -> Act:
    if task.stage not in (Stage.SEATING, Stage.COMMIT):
        return Act.NONE
    if kept.seal is not None:
        return Act.COMMIT if task.stage is Stage.COMMIT else Act.NONE
    is_missing = kept.is_unavailable and task.stage is Stage.COMMIT and now_s >= task.panel.missing_until_s
    return Act.VOID if kept.is_impossible or is_missing else Act.GENERATE


# ------------------------------------------------------------------ whose turn it is


def rank(task: int, account: str, place: int | None, size: int) -> int:
    """When it is an account's turn for a call that is open to anybody: seats first, then by lot among the others."""
    if place is not None:
        return place
    return size + sha256(f"{task}/{account}".encode()).digest()[0] % STRANGERS


def is_turn(own_rank: int, blocks_waited: int) -> bool:
    """Whether those before have had their time."""
    return blocks_waited >= own_rank * TURN_BLOCKS


# ------------------------------------------------------------------ how much work fits


@dataclass(frozen=True)
class Load:
    """Work that has to be done by a moment.

    Attributes:
        seconds: how long it takes, alone.
        until_s: when it has to be done.
    """

    seconds: float
    until_s: int


def fits(loads: Sequence[Load], now_s: int) -> bool:
    """Whether all work can be done in time, one piece after the other, what is due first at first (Jackson 1955)."""
    done_s = float(now_s)
    for load in sorted(loads, key=lambda load: load.until_s):
        done_s += load.seconds
        if done_s > load.until_s:
            return False
    return True
