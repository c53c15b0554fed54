"""Who got a seat and how: by coming first, or as its trainer came no more; and every way to forge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aggregator.audit.schedule import NO_WAIT
from market.chain import events as on_chain
from market.chain.records import ExclusionReason, Fact, Verdict, Waiting
from market.protocol.identifiers import Seat, Wei
from market.storage import EmbeddedStore
from tests.unit.aggregator.audit.audited_job import AuditedJob, play_round
from tests.unit.aggregator.audit.job_on_chain import AGGREGATORS, ATTESTORS, trainer
from tests.unit.aggregator.audit.test_schedule import problems
from tests.unit.aggregator.audit.verdicts import Verdicts, mismatches, the_mismatch
from zk.srs import Srs

WAITING, SECOND, THIRD = 9, 10, 11
"""Numbers of trainers who find no seat."""


@pytest.fixture
def full(job: AuditedJob) -> AuditedJob:
    """Five of five seats are taken, and somebody waits."""
    job.enrol(4)
    job.wait(WAITING)
    return job


def starve(job: AuditedJob, *seats: int) -> None:
    """An attempt in which too few commit."""
    job.commit(job.updates(seats))
    job.skip()
    job.now_s = job.start_s


# ------------------------------------------------------------------ waiting


def test_a_stake_that_waits_and_is_taken_back_breaks_no_rule(full: AuditedJob, checks: Verdicts) -> None:
    full.wait(SECOND, tickets=3)
    full.end_wait(WAITING)
    assert mismatches(checks(full)) == set()
    assert problems(full.record()) == ""


def test_waiting_where_a_seat_is_free_is_named(job: AuditedJob) -> None:
    job.wait(WAITING)
    assert "where one was free" in problems(job.record())


def test_waiting_with_too_small_a_stake_is_named(full: AuditedJob) -> None:
    assert "the terms ask" in problems(full.forged(on_chain.TrainerWaits, stake_wei=Wei(1)))


@pytest.mark.parametrize("number", [0, WAITING])
def test_waiting_for_a_second_seat_is_named(full: AuditedJob, number: int) -> None:
    full.wait(number)
    assert f"{trainer(number)} waits for a second seat" in problems(full.record())


def test_sitting_down_on_another_seat_than_the_free_one_while_waiting_is_named(full: AuditedJob) -> None:
    full.withdraw_stake(4)
    full.enrol_on(4, WAITING)
    assert "enrolled while its stake waited for a seat" in problems(full.record())


def test_waiting_in_a_closed_job_is_named(full: AuditedJob) -> None:
    for _ in range(3):
        play_round(full)
    full.close()
    full.wait(SECOND)
    assert "in a closed job" in problems(full.record())


def test_a_waiting_stake_that_is_taken_back_as_more_than_it_is_is_named(full: AuditedJob) -> None:
    full.end_wait(WAITING)
    assert f"the stake of {trainer(WAITING)}" in problems(full.forged(on_chain.WaitEnded, amount_wei=Wei(1)))


def test_a_waiting_stake_taken_back_by_who_does_not_wait_is_named(full: AuditedJob) -> None:
    full.end_wait(WAITING)
    assert f"the stake of {trainer(0)}" in problems(full.forged(on_chain.WaitEnded, trainer=trainer(0)))


def test_a_waiting_stake_that_the_contract_does_not_have_is_named(full: AuditedJob, checks: Verdicts) -> None:
    record = replace(full.record(), waiting={trainer(WAITING): NO_WAIT})
    found = the_mismatch(checks(record), "state")
    assert f"stake_wei of what {trainer(WAITING)} has waiting for a seat is 0 on the chain" in found.detail


def test_a_waiting_stake_that_the_contract_has_still_is_named(full: AuditedJob, checks: Verdicts) -> None:
    full.end_wait(WAITING)
    record = replace(full.record(), waiting={trainer(WAITING): Waiting(Wei(2_000), 0, False)})
    assert "recomputed it is 0" in the_mismatch(checks(record), "state").detail


# ------------------------------------------------------------------ a free seat


def test_somebody_who_waits_may_take_a_seat_that_was_given_up_before_it_committed(
    full: AuditedJob, checks: Verdicts
) -> None:
    full.withdraw_stake(4)
    full.take(4, WAITING)
    play_round(full, 0, 1, 2, 4)
    full.claim(0, 4)
    assert mismatches(checks(full)) == set()


def test_a_seat_that_committed_is_not_free_when_it_is_given_up(full: AuditedJob) -> None:
    play_round(full, 0, 1, 2, 3, 4)
    full.withdraw_stake(4)
    full.take(4, WAITING)
    assert f"the seat of {trainer(WAITING)} is 4 on the chain, recomputed it is None" in problems(full.record())


def test_a_seat_taken_with_another_stake_than_waited_is_named(full: AuditedJob) -> None:
    full.withdraw_stake(4)
    full.take(4, WAITING)
    assert f"the stake of {trainer(WAITING)}" in problems(full.forged(on_chain.SeatTaken, stake_wei=Wei(1)))


def test_a_seat_taken_by_who_did_not_wait_is_named(full: AuditedJob) -> None:
    full.withdraw_stake(4)
    full.take(4, WAITING)
    record = full.forged(on_chain.SeatTaken, trainer=trainer(SECOND))
    assert f"{trainer(SECOND)} took seat 4 and did not wait for one" in problems(record)


def test_a_seat_of_a_closed_job_that_is_taken_is_named(full: AuditedJob) -> None:
    full.withdraw_stake(4)
    for _ in range(3):
        play_round(full)
    full.close()
    full.take(4, WAITING)
    assert f"{trainer(WAITING)} took seat 4 of a closed job" in problems(full.record())


def test_who_took_a_seats_nothing_before_it_was_handed_on_claimed_its_own(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3)
    full.claim(0, 4)
    full.withdraw_stake(4)
    full.take(4, WAITING)
    assert mismatches(checks(full)) == set()


# ------------------------------------------------------------------ an idle seat


def test_a_seat_that_missed_a_starved_attempt_may_be_taken(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3, 4)
    starve(full, 0)
    full.take_over(4, WAITING)
    play_round(full, 0, 1, 2, 4)
    assert mismatches(checks(full)) == set()


def test_a_seat_that_missed_two_attempts_may_be_taken(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3)
    play_round(full, 0, 1, 2, 3)
    full.now_s = full.outcomes[1].vests_at_s
    full.take_over(4, WAITING)
    play_round(full, 0, 1, 2, 4)
    assert mismatches(checks(full)) == set()


def test_a_seat_that_missed_one_attempt_may_not_be_taken(full: AuditedJob) -> None:
    play_round(full, 0, 1, 2, 3)
    full.now_s = full.outcomes[0].vests_at_s
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_commit_in_between_makes_a_seats_patience_begin_again(full: AuditedJob) -> None:
    play_round(full, 0, 1, 2, 3)
    play_round(full, 0, 1, 2, 3, 4)
    full.now_s = full.outcomes[1].vests_at_s
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_seat_that_committed_in_the_starved_attempt_may_not_be_taken(full: AuditedJob) -> None:
    starve(full, 4)
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_seat_that_was_taken_after_the_starved_attempt_is_not_idle_for_it(full: AuditedJob) -> None:
    starve(full, 0)
    full.wait(SECOND)
    full.take_over(4, WAITING)
    full.take_over(4, SECOND)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_whoever_sits_down_too_late_to_commit_has_not_missed_that_attempt(job: AuditedJob) -> None:
    job.commit(job.updates((0, 1, 2, 3)))
    job.reveal(0, 1, 2, 3)
    job.enrol(4)
    job.wait(WAITING)
    job.settle(job.updates((0, 1, 2, 3)))
    play_round(job, 0, 1, 2, 3)
    job.now_s = job.outcomes[1].vests_at_s
    job.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(job.record())


def test_an_idle_seat_that_has_committed_since_may_not_be_taken(full: AuditedJob) -> None:
    starve(full, 0)
    full.commit(full.updates((4,)))
    full.take_over(4, WAITING)
    assert "seat 4 was taken after its commit" in problems(full.record())


@pytest.mark.parametrize("in_phase", ["reveal", "settle"])
def test_an_idle_seat_taken_between_the_commits_and_the_settlement_is_named(full: AuditedJob, in_phase: str) -> None:
    starve(full, 0)
    full.commit(full.updates((0, 1, 2)))
    full.reveal(0, 1, 2)
    if in_phase == "settle":
        full.now_s = full.terms.schedule(full.start_s).exam_end_s
    full.take_over(4, WAITING)
    assert f"seat 4 was taken in phase {in_phase}" in problems(full.record())


def test_an_idle_seat_taken_while_a_settlement_can_be_undone_is_named(full: AuditedJob) -> None:
    play_round(full, 0, 1, 2, 3)
    play_round(full, 0, 1, 2, 3)
    full.now_s = full.outcomes[1].vests_at_s - 1
    full.take_over(4, WAITING)
    found = problems(full.record())
    assert "seat 4 was taken in phase commit, or while a settlement could be undone" in found


def test_a_seat_that_is_lost_and_that_nobody_takes_is_named(full: AuditedJob) -> None:
    starve(full, 0)
    full.take_over(4, WAITING)
    events = [event for event in full.events if not isinstance(event, on_chain.SeatTaken)]
    assert "seat 4 was lost, and nobody took it" in problems(full.record(events))
    full.commit(full.updates((0, 1, 2)))
    events = [event for event in full.events if not isinstance(event, on_chain.SeatTaken)]
    assert "seat 4 was lost, and nobody took it" in problems(full.record(events))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainer": trainer(2)}, "the trainer of seat 4"),
        ({"stake_wei": Wei(1)}, "the stake of seat 4"),
        ({"seat": Seat(3)}, "the trainer of seat 3"),
        ({"seat": Seat(99)}, "the trainer of seat 99"),
    ],
)
def test_a_lost_seat_that_the_event_tells_otherwise_is_named(
    full: AuditedJob, changes: dict[str, Any], expected: str
) -> None:
    starve(full, 0)
    full.take_over(4, WAITING)
    assert expected in problems(full.forged(on_chain.SeatLost, **changes))


def test_another_seat_than_was_lost_that_is_taken_is_named(full: AuditedJob) -> None:
    starve(full, 0)
    full.take_over(4, WAITING)
    assert "is 3 on the chain, recomputed it is 4" in problems(full.forged(on_chain.SeatTaken, seat=Seat(3)))


def test_the_former_trainers_stake_waits_and_can_be_taken_back(full: AuditedJob, checks: Verdicts) -> None:
    starve(full, 0)
    full.take_over(4, WAITING)
    assert problems(full.record()) == ""
    full.end_wait(4)
    assert mismatches(checks(full)) == set()


def test_a_seat_without_a_stake_leaves_nothing_that_waits(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3, 4)
    full.withdraw_stake(4)
    starve(full, 0)
    full.take_over(4, WAITING)
    assert mismatches(checks(full)) == set()
    assert full.record().waiting[trainer(4)].stake_wei == 0


def test_who_lost_a_seat_may_take_one_again(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3, 4)
    starve(full, 0)
    full.take_over(4, WAITING)
    full.take_over(3, 4)
    play_round(full, 0, 1, 3, 4)
    assert mismatches(checks(full)) == set()


def test_the_new_trainer_that_commits_in_the_formers_name_is_named(full: AuditedJob) -> None:
    starve(full, 0)
    full.take_over(4, WAITING)
    full.commit(full.updates((0, 1, 4)))
    commits = len(list(full.events_of(on_chain.UpdateCommitted)))
    assert "the trainer of seat 4" in problems(
        full.forged(on_chain.UpdateCommitted, commits - 1, trainer=trainer(4)),
    )


# ------------------------------------------------------------------ by who waited longer


def passed_on(job: AuditedJob) -> AuditedJob:
    """A round starves, and who came last of three takes an idle seat first."""
    job.now_s += 1
    job.wait(SECOND)
    job.now_s += 1
    job.wait(THIRD)
    starve(job, 0)
    job.take_over(4, SECOND)
    return job


def test_a_seat_that_was_taken_as_idle_yields_to_who_has_waited_longer(full: AuditedJob, checks: Verdicts) -> None:
    passed_on(full).take_over(4, WAITING)
    assert full.waiting[SECOND].since_s < full.now_s  # as before
    full.take_over(3, SECOND)
    play_round(full, 0, 1, 3, 4)
    assert mismatches(checks(full)) == set()


def test_a_seat_that_was_taken_as_idle_and_again_by_who_waited_less_is_named(full: AuditedJob) -> None:
    passed_on(full).take_over(4, THIRD)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_who_lost_an_idle_seat_has_waited_from_then_on(full: AuditedJob) -> None:
    passed_on(full).now_s += 1
    assert problems(full.record()) == ""
    full.take_over(4, 4)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_seat_that_was_taken_as_idle_yields_in_the_first_half_of_the_phase_alone(full: AuditedJob) -> None:
    passed_on(full)
    full.now_s = full.start_s + full.terms.commit_period_s // 2
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_seat_that_was_given_up_and_handed_on_yields_to_who_has_waited_longer(
    job: AuditedJob, checks: Verdicts
) -> None:
    """Else a league would pass its idle seats on by giving them up, and nobody would find one idle."""
    job.enrol(4)
    job.wait(WAITING)
    job.now_s = job.start_s
    job.withdraw_stake(4)
    job.enrol_on(4, SECOND)
    job.take_over(4, WAITING)
    play_round(job, 0, 1, 2, 4)
    assert mismatches(checks(job)) == set()


def test_before_the_end_of_enrolment_a_seat_that_is_handed_on_yields_to_nobody(full: AuditedJob) -> None:
    full.now_s = full.terms.enrol_until_s - 1
    full.withdraw_stake(4)
    full.enrol_on(4, SECOND)
    full.now_s = full.start_s
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_seat_that_was_taken_as_idle_in_an_earlier_attempt_does_not_yield(full: AuditedJob) -> None:
    passed_on(full)
    play_round(full, 0, 1, 2, 3)
    full.now_s = full.outcomes[1].vests_at_s
    full.take_over(4, WAITING)
    assert "seat 4 was taken from a trainer that came to it" in problems(full.record())


def test_a_time_of_waiting_that_is_another_on_the_chain_is_named(full: AuditedJob, checks: Verdicts) -> None:
    waiting = full.record().waiting[trainer(WAITING)]
    record = replace(full.record(), waiting={trainer(WAITING): replace(waiting, since_s=waiting.since_s - 1)})
    assert f"since_s of what {trainer(WAITING)} has waiting" in the_mismatch(checks(record), "state").detail


# ------------------------------------------------------------------ what is scored and earned there


def test_a_lifetime_hash_with_the_former_trainers_score_is_named(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 3, 4)
    starve(full, 0)
    kept = list(full.lifetime)
    full.take_over(4, WAITING)
    full.lifetime = kept
    assert "lifetime_hash" in the_mismatch(checks(full), "state").detail


def test_a_close_that_divides_by_a_former_trainers_score_is_named(
    store: EmbeddedStore, srs: Srs, checks: Verdicts
) -> None:
    job = played_with_a_takeover(AuditedJob(store, srs, {"rounds": 3}))
    job.close(skim=lambda pays: [pays[0] - 1, *pays[1:4], pays[4] + 1])
    assert "seat 0" in the_mismatch(checks(job), "pay").detail


def played_with_a_takeover(job: AuditedJob) -> AuditedJob:
    """A round; a starved one, after which seat 4 is taken; and a last one, of which something carries over."""
    job.enrol(0, 1, 2, 3, 4)
    job.wait(WAITING)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    play_round(job, 0, 1, 2, 3, 4)
    starve(job, 0, 1)
    job.take_over(4, WAITING)
    play_round(job, 0, 1, 2, 4, excluded={2: ExclusionReason.UNAVAILABLE})
    return job


def test_a_close_divides_by_what_the_new_trainer_scored(store: EmbeddedStore, srs: Srs, checks: Verdicts) -> None:
    job = played_with_a_takeover(AuditedJob(store, srs, {"rounds": 3}))
    job.claim(0, 4, by=4)
    job.claim(2, 4)
    job.close()
    job.claim(job.attempt, 4)
    assert mismatches(checks(job)) == set()


CLAIMS: dict[str, Callable[[AuditedJob], None]] = {
    "what the former trainer earned, by the new one": lambda job: job.claim(0, 4, by=WAITING),
    "what the new trainer earned, by the former one": lambda job: job.claim(2, 4, by=4),
    "what the close distributes, by the former trainer": lambda job: job.claim(job.attempt, 4, by=4),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_of_what_somebody_else_earned_on_the_seat_is_named(
    store: EmbeddedStore, srs: Srs, checks: Verdicts, claim: str
) -> None:
    job = played_with_a_takeover(AuditedJob(store, srs, {"rounds": 3}))
    job.close()
    CLAIMS[claim](job)
    assert "who claimed for seat 4" in the_mismatch(checks(job), "claims").detail


def test_each_trainer_of_a_seat_that_was_lost_twice_claims_its_own(full: AuditedJob, checks: Verdicts) -> None:
    play_round(full, 0, 1, 2, 4)
    starve(full, 0)
    full.take_over(4, WAITING)
    play_round(full, 0, 1, 2, 4)
    full.claim(0, 4, by=4)
    full.claim(2, 4, by=WAITING)
    assert mismatches(checks(full)) == set()


def test_a_seat_taken_in_the_commit_phase_of_an_attempt_that_is_undone_keeps_no_score(
    store: EmbeddedStore, srs: Srs, checks: Verdicts
) -> None:
    job = AuditedJob(store, srs, {"disputes": {"attestors": list(ATTESTORS), "answer_s": 60, "bond": "11 wei"}})
    job.enrol(0, 1, 2, 3, 4)
    job.wait(WAITING)
    for aggregator in AGGREGATORS:
        job.bond(aggregator)
    play_round(job, 0, 1, 2, 3, 4)
    starve(job, 0)
    job.take_over(4, WAITING)
    play_round(job, 0, 1, 2, 4)
    job.dispute(Fact.MODEL, 2, seat=1)
    job.answer(*ATTESTORS[:2], holds=False)
    job.resolve(Verdict.FAILS)
    assert job.lifetime[4] == 0 < job.lifetime[0]
    assert mismatches(checks(job)) == set()
