"""Seats that change hands: what was earned stays its trainer's, what was scored begins at zero."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from market.chain.events import (
    AttemptExpired,
    AttemptStarted,
    AttemptUndone,
    Event,
    ExamExcluded,
    ExamTaken,
    JobClosed,
    JobOpened,
    RoundSettled,
    RoundSkipped,
    SeatLost,
    SeatTaken,
    TrainerEnrolled,
    UpdateExcluded,
    UpdateRevealed,
)
from market.chain.packed import hash_of, pack_lifetime, pack_pays, pack_records
from market.chain.records import ExclusionReason
from market.job_history import JobHistory, SeatChange
from market.protocol.exam_spec import ExamSection
from market.protocol.identifiers import Digest, JobId, Seat, Wei
from market.protocol.job_spec import parse_spec

SEATS = 3
LOG = count()
AGGREGATOR = "0x" + "a1" * 20
ALICE, BOB, CAROL, DAVE = ("0x" + f"{number:02x}" * 20 for number in (0xA, 0xB, 0xC, 0xD))


def event(kind: type[Event], **values: Any) -> Event:
    return kind(next(LOG), b"block", b"transaction", 0, JobId(5), **values)


def opened(*, exam: bool = False) -> Event:
    periods = {"enrol_s": 60, "commit_s": 60, "reveal_s": 60, "settle_s": 60, "vesting_s": 10, "deadline_s": 9_000}
    money = {"round_reward": 100, "trainer_stake": 200, "aggregator_bond": 100}
    spec: dict[str, Any] = {"name": "j", "model": {"architecture": "x"}, "rounds": 3, "seats": SEATS}
    spec |= {"periods": periods, "money": money}
    if exam:
        spec |= {"rules": {"accept": ["exam"], "score": "exam"}, "exam": {"period_s": 60, "deposit": 1}}
        assert isinstance(parse_spec(spec).exam, ExamSection)
    terms = parse_spec(spec).to_terms(dimension=10, now_s=0, exam_root=b"\x01" * 32 if exam else bytes(32))
    digests = {"spec": Digest(bytes(32)), "initial_model": Digest(bytes(32)), "srs_id": bytes(32)}
    values = {"owner": AGGREGATOR, "initial_commitment": bytes(64), "deposit_wei": Wei(300), "terms": terms}
    return event(JobOpened, **digests, **values)


def sits(trainer: str, seat: int) -> Event:
    return event(TrainerEnrolled, trainer=trainer, seat=Seat(seat), stake_wei=Wei(200))


def taken(trainer: str, seat: int, former: str | None = None) -> list[Event]:
    """Somebody who waited takes a seat: from somebody, or a free one."""
    takes = event(SeatTaken, trainer=trainer, seat=Seat(seat), stake_wei=Wei(200))
    lost = [] if former is None else [event(SeatLost, trainer=former, seat=Seat(seat), stake_wei=Wei(200))]
    return [*lost, takes]


def started(attempt: int, round_number: int) -> Event:
    times = {"starts_at_s": 1_000 * attempt, "step_q16": 1 << 16, "shift": 0}
    return event(AttemptStarted, round=round_number, attempt=attempt, aggregator=AGGREGATOR, **times)


def settled(attempt: int, round_number: int, *seats: int, pay: int = 10) -> list[Event]:
    """These seats reveal, score one each, and are paid one wei more for each seat before theirs."""
    opening = {"trainer": "", "content": Digest(bytes(32)), "commitment": bytes(64), "salt": bytes(32)}
    reveals = [event(UpdateRevealed, attempt=attempt, seat=Seat(seat), **opening) for seat in seats]
    end = event(
        RoundSettled,
        round=round_number,
        attempt=attempt,
        aggregator=AGGREGATOR,
        model=Digest(bytes(32)),
        accepted=(),
        paid=True,
        weights=(1,) * len(seats),
        scores_q32=(1,) * len(seats),
        pays=pack_pays([pay + seat if seat in seats else 0 for seat in range(SEATS)]),
        returned_wei=Wei(0),
        vests_at_s=1_000 * attempt + 500,
    )
    return [*reveals, end]


def played(attempt: int, *seats: int, pay: int = 10) -> list[Event]:
    return [started(attempt, attempt), *settled(attempt, attempt, *seats, pay=pay)]


def skipped(attempt: int) -> list[Event]:
    end = event(RoundSkipped, round=attempt, attempt=attempt, had_minimum=False)
    return [started(attempt, attempt), end]


def expired(attempt: int, *seats: int) -> list[Event]:
    pays = pack_pays([2 if seat in seats else 0 for seat in range(SEATS)])
    values = {"aggregator": AGGREGATOR, "burned_wei": Wei(90), "pays": pays, "vests_at_s": 1}
    return [started(attempt, attempt), event(AttemptExpired, round=attempt, attempt=attempt, **values)]


def undone(attempt: int, *seats: int) -> Event:
    pays = pack_pays([2 if seat in seats else 0 for seat in range(SEATS)])
    values = {"aggregator": AGGREGATOR, "burned_wei": Wei(90), "pays": pays, "vests_at_s": 7}
    return event(AttemptUndone, round=attempt, attempt=attempt, **values)


def credited(history: JobHistory, trainer: str, seat: int | None) -> list[tuple[int, int, int]]:
    held = None if seat is None else Seat(seat)
    return [(credit.attempt, credit.seat, credit.amount_wei) for credit in history.credits(trainer, held)]


EVERYBODY = [opened(), sits(ALICE, 0), sits(BOB, 1), sits(CAROL, 2)]


def test_what_a_seat_earned_before_it_was_taken_is_its_former_trainers_and_the_rest_the_new_ones() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), *skipped(1), started(2, 2), *taken(DAVE, 2, CAROL)]
    story += settled(2, 2, 0, 1, 2, pay=30)
    history = JobHistory(story)
    assert history.losses == [SeatChange(2, Seat(2), CAROL)]
    assert credited(history, CAROL, None) == [(0, 2, 12)]
    assert credited(history, DAVE, 2) == [(2, 2, 32)]
    assert credited(history, ALICE, 0) == [(0, 0, 10), (2, 0, 30)]


def test_a_taken_seats_lifetime_score_begins_at_zero_and_no_other_does() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), *played(1, 0, 1, 2), started(2, 2), *taken(DAVE, 2, CAROL)]
    history = JobHistory(story)
    assert history.lifetime_q32() == [2, 2, 0]
    assert history.lifetime_q32(before=2) == [2, 2, 0]
    assert history.lifetime_q32(before=1) == [1, 1, 1]
    later = JobHistory([*story, *settled(2, 2, 1, 2)])
    assert later.lifetime_q32() == [2, 3, 1]
    assert later.packed_lifetime() == pack_lifetime([2, 3, 1])


def test_a_taken_seats_record_of_exams_begins_at_zero_and_no_other_does() -> None:
    def examined(attempt: int, *records: int) -> list[Event]:
        taken_exam = event(ExamTaken, attempt=attempt, records_q16=records)
        return [*played(attempt, 0, 1, 2)[:-1], taken_exam, *settled(attempt, attempt, 0, 1, 2)[-1:]]

    story = [opened(exam=True), *EVERYBODY[1:], *examined(0, 5, 6, -7), started(1, 1), *taken(DAVE, 2, CAROL)]
    history = JobHistory(story)
    assert history.records_q16() == history.records_q16(before=1) == (5, 6, 0)
    assert history.packed_records() == pack_records([5, 6, 0])
    later = JobHistory([*story, *examined(1, 8, 9, 3)[1:]])
    assert later.records_q16() == (8, 9, 3)
    assert later.records_q16(before=1) == (5, 6, 0)


def test_what_undoing_a_settlement_gives_back_is_as_it_was_after_the_seat_was_taken() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), started(1, 1), *taken(DAVE, 2, CAROL), *settled(1, 1, 0, 1, 2)]
    history = JobHistory(story)
    assert history.undo_of(history.attempt(1)).lifetime_hash == hash_of(pack_lifetime([1, 1, 0]))
    assert history.undo_of(history.attempt(0)).lifetime_hash == hash_of(pack_lifetime([0, 0, 0]))


def test_a_later_loss_changes_nothing_of_what_undoing_an_earlier_settlement_gave_back() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), *played(1, 0, 1, 2)]
    before = JobHistory(story)
    history = JobHistory([*story, started(2, 2), *taken(DAVE, 2, CAROL)])
    assert history.undo_of(history.attempt(1)) == before.undo_of(before.attempt(1))
    assert history.credits(CAROL, None) == before.credits(CAROL, Seat(2))


def test_an_undone_attempts_scores_do_not_count_and_its_compensation_is_who_had_the_seat_thens() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), *played(1, 0, 1, 2), started(2, 2), undone(1, 0, 1, 2)]
    story += [started(3, 1), *taken(DAVE, 2, CAROL)]
    history = JobHistory(story)
    assert history.losses == [SeatChange(3, Seat(2), CAROL)]
    assert history.lifetime_q32() == [1, 1, 0]
    assert credited(history, CAROL, None) == [(0, 2, 12), (1, 2, 2)]
    assert credited(history, DAVE, 2) == []
    assert JobHistory([*story, *settled(3, 1, 2)]).lifetime_q32() == [1, 1, 1]


def test_between_an_undone_attempt_and_the_next_the_attempt_that_was_cancelled_has_its_number() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), started(1, 1), undone(0, 0, 1, 2), *taken(DAVE, 2, CAROL)]
    assert JobHistory(story).losses == [SeatChange(2, Seat(2), CAROL)]


@pytest.mark.parametrize("end", [played(0, 0), expired(0, 0), skipped(0)])
def test_a_seat_that_is_taken_while_no_attempt_runs_is_the_new_ones_from_the_next_on(end: list[Event]) -> None:
    assert JobHistory([*EVERYBODY, *end, *taken(DAVE, 2, CAROL)]).losses == [SeatChange(1, Seat(2), CAROL)]


def test_before_the_first_attempt_a_drawn_seat_is_its_new_trainers_from_the_start() -> None:
    history = JobHistory([*EVERYBODY, *taken(DAVE, 1, BOB), *played(0, 0, 1, 2)])
    assert history.losses == [SeatChange(0, Seat(1), BOB)]
    assert credited(history, BOB, None) == []
    assert credited(history, DAVE, 1) == [(0, 1, 11)]
    assert history.lifetime_q32() == [1, 1, 1]


TWICE = [
    *EVERYBODY,
    *played(0, 0, 1, 2),
    started(1, 1),
    *taken(DAVE, 2, CAROL),
    *settled(1, 1, 0, 1, 2, pay=20),
    started(2, 2),
    *taken(CAROL, 2, DAVE),
    *settled(2, 2, 0, 1, 2, pay=30),
]
"""Carol loses her seat to Dave, and takes it back."""


def test_a_seat_that_was_lost_twice_is_each_trainers_in_its_own_attempts() -> None:
    history = JobHistory(TWICE)
    assert credited(history, CAROL, 2) == [(0, 2, 12), (2, 2, 32)]
    assert credited(history, DAVE, None) == [(1, 2, 22)]
    assert [history.seat_in(DAVE, None, attempt) for attempt in range(3)] == [None, 2, None]
    assert [history.seat_in(CAROL, Seat(2), attempt) for attempt in range(3)] == [2, None, 2]
    assert history.lifetime_q32() == [3, 3, 1]
    assert [history.lifetime_q32(before)[2] for before in range(3)] == [0, 0, 0]


def test_who_held_a_seat_is_known_for_every_attempt() -> None:
    history = JobHistory(TWICE)
    assert [history.holder(Seat(2), attempt) for attempt in range(3)] == [CAROL, DAVE, CAROL]
    assert [history.holder(Seat(0), attempt) for attempt in range(3)] == [ALICE] * 3
    assert JobHistory([opened()]).holder(Seat(0), 0) is None


def test_a_trainer_that_lost_a_seat_and_found_a_free_one_has_both_seats_credits() -> None:
    story = [opened(), sits(ALICE, 0), sits(BOB, 1), *played(0, 0, 1), started(1, 1)]
    story += [*taken(DAVE, 1, BOB), *taken(BOB, 2), *settled(1, 1, 0, 1, 2, pay=20)]
    history = JobHistory(story)
    assert credited(history, BOB, 2) == [(0, 1, 11), (1, 2, 22)]
    assert credited(history, DAVE, 1) == [(1, 1, 21)]
    without = JobHistory([it for it in story if not isinstance(it, TrainerEnrolled)])
    assert credited(without, BOB, 2) == credited(history, BOB, 2), "who follows rounds alone reads no enrolments"


def test_a_trainer_that_lost_two_seats_has_both_seats_credits() -> None:
    story = [*EVERYBODY, *played(0, 0, 1, 2), started(1, 1), *taken(DAVE, 1, BOB), *taken(BOB, 2, CAROL)]
    story += [*settled(1, 1, 0, 1, 2, pay=20), started(2, 2), *taken(CAROL, 2, BOB), *settled(2, 2, 2, pay=30)]
    history = JobHistory(story)
    assert credited(history, BOB, None) == [(0, 1, 11), (1, 2, 22)]
    assert credited(history, CAROL, 2) == [(0, 2, 12), (2, 2, 32)]


def test_what_the_close_distributes_is_who_has_the_seat_thens() -> None:
    closing = event(JobClosed, attempt=3, refundable_wei=Wei(0), burned_wei=Wei(0), pays=pack_pays([7, 8, 9]))
    history = JobHistory([*TWICE, closing])
    assert credited(history, CAROL, 2)[-1] == (3, 2, 9)
    assert all(attempt < 3 for attempt, _, _ in credited(history, DAVE, None))


def test_a_fee_is_earned_by_a_settlement_that_decides_something() -> None:
    reason = ExclusionReason.UNAVAILABLE
    plain = [opened(), started(0, 0), *settled(0, 0, 0, 1)]
    alone = [*plain, event(UpdateExcluded, attempt=0, seat=Seat(0), reason=reason)]
    everybody = [*alone, event(UpdateExcluded, attempt=0, seat=Seat(1), reason=reason)]
    left_out = [*plain, event(ExamExcluded, attempt=0, reason=reason)]
    earns = [JobHistory(story).attempt(0).earns_fee for story in (plain, alone, everybody, left_out)]
    assert earns == [True, True, False, False]
