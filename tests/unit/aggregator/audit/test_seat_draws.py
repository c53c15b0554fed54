"""The draw for seats: the lowest numbers sit, by a block that nobody chose; and every way to forge it."""

from __future__ import annotations

import pytest

from market.chain import events as on_chain
from market.protocol.seat_draw import REACH_BLOCKS, drawn_number, in_cohort
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_round
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, hash_of_block, trainer
from tests.unit.aggregator.audit.test_schedule import problems
from tests.unit.aggregator.audit.verdicts import Verdicts, mismatches
from zk.srs import Srs

WAITING = 9
"""Number of the first trainer who finds no seat."""

DRAW_S = 144


@pytest.fixture
def drawing(store: EmbeddedStore, srs: Srs) -> AuditedJob:
    """Five of five seats are taken, four trainers wait with more tickets, and the draw has begun."""
    job = AuditedJob(store, srs, {"entry": {"draw_s": DRAW_S}})
    job.enrol(0, 1, 2, 3, 4)
    job.wait(*range(WAITING, WAITING + 8), tickets=2)
    job.now_s = job.terms.draw_from_s
    return job


def number(job: AuditedJob, who: int, tickets: int = 1) -> int:
    return drawn_number(hash_of_block(job.deciding[-1]), trainer(who), tickets)


def number_of(job: AuditedJob, seat: int) -> int:
    return number(job, job.seats[seat], job.stakes[seat] // job.terms.trainer_stake_wei)


def seats_by_number(job: AuditedJob) -> list[int]:
    """The seats, the worst drawn last."""
    return sorted(range(5), key=lambda seat: number_of(job, seat))


def worst_seat(job: AuditedJob) -> int:
    return seats_by_number(job)[-1]


def waiting_by_number(job: AuditedJob) -> list[int]:
    """Who waits and has part in the draw, the best drawn first."""
    return sorted((who for who in job.waiting if who >= WAITING), key=lambda who: number(job, who, 2))


def drawn(job: AuditedJob) -> AuditedJob:
    job.fix_draw()
    job.draw()
    return job


def test_the_lowest_number_takes_the_seat_of_the_highest(drawing: AuditedJob, checks: Verdicts) -> None:
    job = drawn(drawing)
    worst, best = seats_by_number(job)[-1], waiting_by_number(job)[0]
    assert number(job, best, 2) < number_of(job, worst)
    job.take_over(worst, best)
    job.bond(AGGREGATORS[0])
    play_round(job, 0, 1, 2, 3)
    assert mismatches(checks(job)) == set()
    assert problems(job.record()) == ""


def test_a_seat_whose_number_is_not_the_highest_is_not_for_taking(drawing: AuditedJob) -> None:
    job = drawn(drawing)
    worst, middle, best = seats_by_number(job)[-1], seats_by_number(job)[-2], waiting_by_number(job)[0]
    job.take_over(middle, best)
    assert f"the seat that drew worst is {middle} on the chain, recomputed it is {worst}" in problems(job.record())


def test_a_seat_taken_with_a_higher_number_is_named(drawing: AuditedJob) -> None:
    job = drawn(drawing)
    while (best := waiting_by_number(job)[0]) and number(job, best, 2) < number_of(job, worst_seat(job)):
        job.take_over(worst_seat(job), best)
    assert problems(job.record()) == ""
    worst = worst_seat(job)
    job.take_over(worst, best)
    assert f"took seat {worst} with a number that is no lower" in problems(job.record())


def test_a_seat_that_is_drawn_before_the_draw_is_named(drawing: AuditedJob) -> None:
    drawing.take_over(0, WAITING)
    assert "before the draw, or without having part in it" in problems(drawing.record())


def test_whoever_came_once_the_draw_had_begun_has_no_part_in_it(drawing: AuditedJob) -> None:
    job = drawn(drawing)
    job.wait(30, tickets=64)
    job.take_over(seats_by_number(job)[-1], 30)
    assert "before the draw, or without having part in it" in problems(job.record())


def test_whoever_lost_a_seat_by_the_draw_has_drawn_more_than_all_who_sit(drawing: AuditedJob) -> None:
    job = drawn(drawing)
    worst = seats_by_number(job)[-1]
    loser = job.seats[worst]
    job.take_over(worst, waiting_by_number(job)[0])
    job.take_over(next_worst := seats_by_number(job)[-1], loser)
    assert problems(job.record()).endswith(f"took seat {next_worst} with a number that is no lower")


@pytest.mark.parametrize("back", [(0,), (0, 3), (3, 0)])
def test_a_seat_staked_after_the_draw_began_goes_first_and_of_equals_the_first(
    drawing: AuditedJob, back: tuple[int, ...]
) -> None:
    job = drawing
    for seat in back:
        job.withdraw_stake(seat)
    for seat in back:
        job.enrol(seat)  # late, so that its number is the highest
    drawn(job)
    job.take_over(0, waiting_by_number(job)[0])
    assert problems(job.record()) == ""


def test_a_late_seat_of_a_higher_number_than_another_late_one_is_not_the_first_to_go(drawing: AuditedJob) -> None:
    job = drawing
    for seat in (3, 0):
        job.withdraw_stake(seat)
        job.enrol_on(seat, job.seats[seat])
    drawn(job)
    job.take_over(3, waiting_by_number(job)[0])
    assert "the seat that drew worst is 3 on the chain, recomputed it is 0" in problems(job.record())


def test_a_seed_that_is_not_the_blocks_hash_is_named(drawing: AuditedJob) -> None:
    drawing.fix_draw()
    drawing.draw(seed=b"\x01" * 32)
    assert "the seed of the draw is 0101" in problems(drawing.record())


def test_seats_drawn_by_a_block_that_was_never_fixed_are_named(drawing: AuditedJob) -> None:
    drawn(drawing)
    events = [event for event in drawing.events if not isinstance(event, on_chain.DrawFixed)]
    found = problems(drawing.record(events))
    assert "by block 0" in found
    assert "the seed of the draw" in found


def test_a_block_other_than_the_128th_from_the_call_is_named(drawing: AuditedJob) -> None:
    drawing.fix_draw(drawing.block + 10)
    assert "the block that decides the draw" in problems(drawing.record())


def test_a_draw_fixed_again_while_the_block_could_be_seen_is_named(drawing: AuditedJob) -> None:
    drawing.fix_draw()
    first = drawing.deciding[0]
    drawing.block = first + REACH_BLOCKS - 1
    drawing.fix_draw()
    assert f"fixed again while block {first} could be seen" in problems(drawing.record())


def test_a_draw_whose_block_is_out_of_reach_may_be_fixed_again(drawing: AuditedJob) -> None:
    drawing.fix_draw()
    drawing.block = drawing.deciding[0] + REACH_BLOCKS
    drawn(drawing)
    assert problems(drawing.record()) == ""


@pytest.mark.parametrize(
    ("later", "expected"), [(0, ""), (REACH_BLOCKS - 1, ""), (REACH_BLOCKS, "the seats were drawn")]
)
def test_a_draw_by_a_block_out_of_reach_is_named(drawing: AuditedJob, later: int, expected: str) -> None:
    drawing.fix_draw()
    drawing.block = drawing.deciding[0] + later
    drawing.draw()
    found = problems(drawing.record())
    assert expected in found
    assert bool(found) == bool(expected)


def test_a_draw_before_the_block_that_decides_it_is_named(drawing: AuditedJob) -> None:
    drawing.fix_draw()
    drawing.emit(on_chain.SeatsDrawn, seed=hash_of_block(drawing.deciding[0]))
    assert "the seats were drawn in block" in problems(drawing.record())


def test_a_second_draw_is_named(drawing: AuditedJob) -> None:
    drawn(drawing).draw()
    assert "twice or out of their time" in problems(drawing.record())


def test_a_draw_before_its_time_is_named(drawing: AuditedJob) -> None:
    drawing.now_s = drawing.terms.draw_from_s - 1
    drawing.fix_draw()
    assert f"seats were drawn at {drawing.now_s}" in problems(drawing.record())


def test_a_draw_that_nobody_asked_for_in_its_time_may_come_later_and_seats_nobody(drawing: AuditedJob) -> None:
    job = drawing
    job.now_s = job.terms.enrol_until_s
    drawn(job)
    assert problems(job.record()) == ""
    job.take_over(worst_seat(job), waiting_by_number(job)[0])
    assert "was taken from a trainer that came to it" in problems(job.record())


def test_a_draw_in_a_job_that_has_none_is_named(job: AuditedJob) -> None:
    job.now_s = job.terms.enrol_until_s - 1
    job.fix_draw()
    assert "out of their time" in problems(job.record())


def test_once_enrolment_is_over_nobody_takes_a_seat_by_the_draw(drawing: AuditedJob) -> None:
    job = drawn(drawing)
    job.now_s = job.terms.enrol_until_s
    job.take_over(seats_by_number(job)[-1], waiting_by_number(job)[0])
    assert "was taken from a trainer that came to it" in problems(job.record())


# ------------------------------------------------------------------ cohorts


@pytest.fixture
def cohorts(store: EmbeddedStore, srs: Srs) -> AuditedJob:
    """Three of five seats are drawn for each attempt."""
    job = AuditedJob(store, srs, {"entry": {"draw_s": DRAW_S, "cohort": 3}})
    job.enrol(0, 1, 2, 3, 4)
    job.now_s = job.terms.draw_from_s
    drawn(job)
    job.bond(AGGREGATORS[0])
    return job


def cohort_of(job: AuditedJob) -> list[int]:
    """The seats of the running attempt's cohort."""
    seed = hash_of_block(job.deciding[-1])
    return [seat for seat in job.stakes if in_cohort(seed, job.attempt, seat, job.stakes, 3)]


def test_attempts_in_which_their_cohorts_commit_break_no_rule(cohorts: AuditedJob, checks: Verdicts) -> None:
    for _ in range(3):
        assert len(cohort_of(cohorts)) == 3
        play_round(cohorts, *cohort_of(cohorts))
    assert mismatches(checks(cohorts)) == set()


def test_a_commit_of_a_seat_that_is_not_in_the_cohort_is_named(cohorts: AuditedJob) -> None:
    [other, *_] = set(range(5)) - set(cohort_of(cohorts))
    cohorts.commit(cohorts.updates((other,)))
    assert f"seat {other} committed and is not in the cohort of 3" in problems(cohorts.record())


def test_what_a_cohort_leaves_is_for_all_from_half_of_the_phase_on(cohorts: AuditedJob) -> None:
    [other, second] = set(range(5)) - set(cohort_of(cohorts))
    half_s = cohorts.terms.commit_period_s // 2
    cohorts.commit(cohorts.updates(cohort_of(cohorts)[:1]))
    cohorts.commit(cohorts.updates((other, second)), after_s=half_s)
    assert problems(cohorts.record()) == ""
    cohorts.commit(cohorts.updates(cohort_of(cohorts)[1:2]), after_s=half_s)
    assert "is not in the cohort of 3, or it was full" in problems(cohorts.record())


def test_whoever_took_its_stake_back_is_none_of_a_cohort(cohorts: AuditedJob, checks: Verdicts) -> None:
    gone = cohort_of(cohorts)[0]
    cohorts.withdraw_stake(gone)
    assert len(cohort_of(cohorts)) == 3
    assert gone not in cohort_of(cohorts)
    play_round(cohorts, *cohort_of(cohorts))
    assert mismatches(checks(cohorts)) == set()


def test_attempts_that_were_full_are_none_that_others_missed(cohorts: AuditedJob, checks: Verdicts) -> None:
    job = cohorts
    job.wait(WAITING)
    for _ in range(2):
        updates = job.updates((0, 1, 2))
        job.commit(updates, after_s=3 * job.terms.commit_period_s // 4)
        job.reveal(*updates)
        job.settle(updates)
    job.now_s = job.outcomes[1].vests_at_s
    assert problems(job.record()) == ""
    job.take_over(3, WAITING)
    assert "seat 3 was taken from a trainer that came to it" in problems(job.record())


def test_an_attempt_with_room_is_one_that_every_seat_can_miss(cohorts: AuditedJob, checks: Verdicts) -> None:
    job = cohorts
    job.wait(WAITING)
    [other, *_] = set(range(5)) - set(cohort_of(job))
    job.skip()
    job.now_s = job.start_s
    job.take_over(other, WAITING)
    assert mismatches(checks(job)) == set()
