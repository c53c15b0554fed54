"""Whether every seat went to who had a right to it: by coming first, by the draw, or as its trainer came no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aggregator.audit.report import differing
from aggregator.audit.timeline import Timeline
from market.chain.events import (
    DrawFixed,
    Event,
    SeatLost,
    SeatsDrawn,
    SeatTaken,
    StakeWithdrawn,
    TrainerEnrolled,
    TrainerWaits,
    UpdateCommitted,
    UpdateRevealed,
    WaitEnded,
)
from market.chain.records import Waiting
from market.protocol.identifiers import Seat, Wei
from market.protocol.rounds import Phase
from market.protocol.seat_draw import DELAY_BLOCKS, REACH_BLOCKS

Problems = Iterator[str]

OPEN: Final = (Phase.AWAITING_AGGREGATOR, Phase.ENROLMENT, Phase.COMMIT)
"""The phases in which an idle seat can be taken."""


def enrolled(timeline: Timeline, event: TrainerEnrolled, time_s: int) -> Problems:
    """A trainer put a stake on its own seat, or on a free one."""
    if timeline.closed:
        yield f"{event.trainer} enrolled in a closed job"
    if event.trainer in timeline.waiting:
        yield f"{event.trainer} enrolled while its stake waited for a seat"
    is_new = event.trainer not in timeline.trainers
    expected = _free_seat(timeline) if is_new else timeline.trainers.index(event.trainer)
    yield from differing(f"the seat of {event.trainer}", event.seat, expected)
    if event.seat in timeline.stakes:
        yield f"seat {event.seat} staked twice"
    yield from _enough(timeline, event)
    entry = _entry(timeline, event, time_s)
    if is_new:
        _give(timeline, event, entry, time_s)
    timeline.stakes[event.seat] = event.stake_wei
    if entry.is_late:
        timeline.late.add(event.seat)


def waits(timeline: Timeline, event: TrainerWaits, time_s: int) -> Problems:
    """A trainer came where every seat was taken."""
    if timeline.closed or _free_seat(timeline) is not None:
        yield f"{event.trainer} waits for a seat in a closed job, or where one was free"
    if event.trainer in timeline.trainers or event.trainer in timeline.waiting:
        yield f"{event.trainer} waits for a second seat"
    yield from _enough(timeline, event)
    timeline.waiting[event.trainer] = _entry(timeline, event, time_s)


def wait_ended(timeline: Timeline, event: WaitEnded, time_s: int) -> Problems:
    """Whoever waited took the stake back."""
    waited = timeline.waiting.pop(event.trainer, None)
    yield from differing(f"the stake of {event.trainer}", event.amount_wei, waited.stake_wei if waited else None)


def stake_withdrawn(timeline: Timeline, event: StakeWithdrawn, time_s: int) -> Problems:
    """Whoever has a seat took the stake off it."""
    yield from seated(timeline, event)
    if event.seat in timeline.committed:
        yield f"seat {event.seat} took its stake back after its commit"
    yield from differing(f"the stake of seat {event.seat}", event.amount_wei, timeline.stakes.pop(event.seat, None))


def draw_fixed(timeline: Timeline, event: DrawFixed, time_s: int) -> Problems:
    """The block was fixed that decides the draw, or another one in place of one that is out of reach."""
    yield from _drawing(timeline, time_s)
    if timeline.draw_block and event.block_number <= timeline.draw_block + REACH_BLOCKS:
        yield f"the draw was fixed again while block {timeline.draw_block} could be seen"
    yield from differing("the block that decides the draw", event.number, event.block_number + DELAY_BLOCKS)
    timeline.draw_block = event.number


def drawn(timeline: Timeline, event: SeatsDrawn, time_s: int) -> Problems:
    """The hash of that block became the seed."""
    yield from _drawing(timeline, time_s)
    if not 0 < timeline.draw_block < event.block_number <= timeline.draw_block + REACH_BLOCKS:
        yield f"the seats were drawn in block {event.block_number}, by block {timeline.draw_block}"
    decided = timeline.block_hashes.get(timeline.draw_block, b"")
    yield from differing("the seed of the draw", event.seed.hex(), decided.hex())
    timeline.seed = event.seed


def lost(timeline: Timeline, event: SeatLost, time_s: int) -> Problems:
    """A trainer lost its seat; why is asked of whoever takes it."""
    yield from seated(timeline, event)
    if event.seat in timeline.committed:
        yield f"seat {event.seat} was taken after its commit"
    yield from differing(f"the stake of seat {event.seat}", event.stake_wei, timeline.stakes.get(event.seat, 0))
    timeline.lost = event.seat


def taken(timeline: Timeline, event: SeatTaken, time_s: int) -> Problems:
    """Somebody who waited sat down."""
    if timeline.closed:
        yield f"{event.trainer} took seat {event.seat} of a closed job"
    waited = timeline.waiting.pop(event.trainer, None)
    if waited is None:
        yield f"{event.trainer} took seat {event.seat} and did not wait for one"
        waited = Waiting(Wei(event.stake_wei), time_s, is_late=True)
    yield from differing(f"the stake of {event.trainer}", event.stake_wei, waited.stake_wei)
    expected = _free_seat(timeline) if timeline.lost is None else timeline.lost
    yield from differing(f"the seat of {event.trainer}", event.seat, expected)
    idle = timeline.lost is not None and not timeline.is_drawing(time_s)
    if idle:
        yield from _idle(timeline, event, waited, time_s)
    elif timeline.lost is not None:
        yield from _outdrawn(timeline, event, waited)
    if timeline.lost is not None:
        # Who did not come is the last to have a seat again; anybody else has waited for as long as before.
        came = not idle or timeline.yields_in.get(event.seat) == timeline.attempt
        _dislodge(timeline, event.seat, timeline.waited_since.get(event.seat, time_s) if came else time_s)
    _give(timeline, event, waited, time_s)


def _outdrawn(timeline: Timeline, event: SeatTaken, waited: Waiting) -> Problems:
    """The seat's number is the highest, and higher than that of who takes it."""
    if not timeline.seed or waited.is_late:
        yield f"{event.trainer} drew seat {event.seat} before the draw, or without having part in it"
        return
    staked = [seat for seat in sorted(timeline.stakes) if seat < len(timeline.trainers)]
    numbers = {seat: timeline.number_of(seat) for seat in staked}
    worst = max(staked, key=lambda seat: numbers[seat], default=None)  # of equals the first
    yield from differing("the seat that drew worst", event.seat, worst)
    if worst is None or timeline.number(event.trainer, waited.stake_wei) >= numbers[worst]:
        yield f"{event.trainer} took seat {event.seat} with a number that is no lower"


def _idle(timeline: Timeline, event: SeatTaken, waited: Waiting, time_s: int) -> Problems:
    """The seat missed two attempts, or one that starved, or went for that to who waited less; nothing hangs on it."""
    phase = timeline.phase(time_s)
    if phase not in OPEN or time_s < timeline.vests_at_s:
        yield f"seat {event.seat} was taken in phase {phase.name.lower()}, or while a settlement could be undone"
    if not timeline.yields_to(event.seat, waited, time_s):
        yield f"seat {event.seat} was taken from a trainer that came to it"


def _entry(timeline: Timeline, event: TrainerEnrolled | TrainerWaits, time_s: int) -> Waiting:
    return Waiting(event.stake_wei, time_s, timeline.is_late(time_s))


def _dislodge(timeline: Timeline, seat: Seat, since_s: int) -> None:
    """Take a trainer off its seat; it waits from then on, however long ago that is."""
    stake_wei = timeline.stakes.pop(seat, 0)
    if stake_wei and seat < len(timeline.trainers):
        timeline.waiting[timeline.trainers[seat]] = Waiting(Wei(stake_wei), since_s, seat in timeline.late)
    timeline.clear(seat)
    timeline.lost = None


def _give(timeline: Timeline, event: TrainerEnrolled | SeatTaken, waited: Waiting, time_s: int) -> None:
    if event.seat == len(timeline.trainers):
        timeline.trainers.append(event.trainer)
    elif event.seat < len(timeline.trainers):
        timeline.trainers[event.seat] = event.trainer
    timeline.stakes[event.seat] = waited.stake_wei
    timeline.waited_since[event.seat] = waited.since_s
    timeline.late.discard(event.seat)
    if waited.is_late:
        timeline.late.add(event.seat)
    in_time = timeline.phase(time_s) in OPEN and not timeline.is_latter_half(time_s)
    first = timeline.attempt if in_time else timeline.attempt + 1
    timeline.sit(event.seat, first)
    if time_s < timeline.terms.enrol_until_s:  # the draw decides, or who came first
        timeline.yields_in.pop(event.seat, None)
    else:
        timeline.yields_in[event.seat] = first


def _free_seat(timeline: Timeline) -> Seat | None:
    """The first seat that was given up before it ever committed, or the next one."""
    taken = len(timeline.trainers)
    given_up = (s for s in range(taken) if s not in timeline.stakes and s not in timeline.ever_committed)
    return next(map(Seat, given_up), Seat(taken) if taken < timeline.terms.seats else None)


def _drawing(timeline: Timeline, time_s: int) -> Problems:
    draws = timeline.terms.entry.draw_period_s and timeline.is_late(time_s)
    if not draws or timeline.seed:
        yield f"seats were drawn at {time_s}, twice or out of their time"


def _enough(timeline: Timeline, event: TrainerEnrolled | TrainerWaits) -> Problems:
    least_wei = timeline.terms.trainer_stake_wei
    if event.stake_wei < least_wei:
        yield f"{event.trainer} staked {event.stake_wei} wei, the terms ask {least_wei}"


def seated(timeline: Timeline, event: UpdateCommitted | UpdateRevealed | StakeWithdrawn | SeatLost) -> Problems:
    """Whoever acts for a seat has it."""
    trainer = timeline.trainers[event.seat] if event.seat < len(timeline.trainers) else None
    yield from differing(f"the trainer of seat {event.seat}", event.trainer, trainer)


STEPS: Final[Mapping[type[Event], Any]] = {
    TrainerEnrolled: enrolled,
    TrainerWaits: waits,
    WaitEnded: wait_ended,
    StakeWithdrawn: stake_withdrawn,
    DrawFixed: draw_fixed,
    SeatsDrawn: drawn,
    SeatLost: lost,
    SeatTaken: taken,
}
"""What each event about seats asks of the state that it finds, and makes of it."""
