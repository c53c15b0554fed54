"""What `job show` says of an attempt's exam."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from aggregator.gram import gram_matrix
from fedmarket.commands.exam_overview import ExamLine, exam_line
from fedmarket.commands.job_overview import AttemptLine
from fedmarket.commands.job_tables import exam_table, terms_rows
from market.chain.events import (
    AttemptStarted,
    Event,
    ExamCommitted,
    ExamExcluded,
    ExamMissed,
    ExamOpened,
    ExamTaken,
    UpdateRevealed,
)
from market.chain.records import ExclusionReason
from market.job_history import Attempt
from market.protocol.identifiers import Digest, JobId, Seat, Wei
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring
from market.protocol.terms import NATIVE, ExamTerms, JobTerms, PayMode

D = 400
LOG = count()
EXAM = ExamTerms(root=b"\x07" * 32, examiner=NATIVE, period_s=60, slices=6, deposit_wei=9)


def terms(**changes: Any) -> JobTerms:
    rules = RuleTerms(dimension=D, rules=(Rule(RuleKind.EXAM),), scoring=Scoring.EXAM)
    periods = dict.fromkeys(("commit_period_s", "reveal_period_s", "settle_period_s"), 60)
    money = dict.fromkeys(("round_reward_wei", "trainer_stake_wei", "aggregator_bond_wei"), 100)
    rest = dict.fromkeys(
        ("aggregator_fee_wei", "compensation_wei", "price_wei", "score_target_q32", "scale_exponent", "initial_shift"),
        0,
    )
    counts = {"seats": 8, "minimum_commits": 3, "rounds": 4, "chunks": 1, "enrol_until_s": 0, "deadline_s": 9_000}
    values = {**rest, **periods, **money, **counts, "vesting_period_s": 10, "confirmation_period_s": 1}
    return JobTerms(token=NATIVE, pay_mode=PayMode.POT, rules=rules, exam=EXAM, **values | changes)


def event(kind: type[Event], **values: Any) -> Any:
    return kind(next(LOG), b"block", b"transaction", 0, JobId(1), attempt=0, **values)


def attempt(*events: Event) -> Attempt:
    started = event(AttemptStarted, round=0, aggregator=NATIVE, starts_at_s=1, step_q16=1 << 16, shift=0)
    made = Attempt(started)
    for seat in (1, 4, 6):
        values = {"trainer": NATIVE, "content": Digest(bytes(32)), "commitment": b"", "salt": b""}
        made.reveals[Seat(seat)] = event(UpdateRevealed, seat=Seat(seat), **values)
    names = {ExamCommitted: "committed", ExamOpened: "opened", ExamExcluded: "excluded", ExamMissed: "missed"}
    names[ExamTaken] = "taken"
    return replace(made, **{f"exam_{names[type(it)]}": it for it in events})


COMMITTED = event(ExamCommitted, seal=bytes(32))
OPENED = event(ExamOpened, content=Digest(bytes(32)), commitment=b"", salt=b"")
EXCLUDED = event(ExamExcluded, reason=ExclusionReason.UNREADABLE)
MISSED = event(ExamMissed, deposit_wei=Wei(9))
TAKEN = event(ExamTaken, records_q16=(ONE_Q16 // 2, 0, -ONE_Q16))
NO_RECORDS = (0,) * 8


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ((), ExamLine("none")),
        ((COMMITTED,), ExamLine("committed")),
        ((COMMITTED, OPENED), ExamLine("opened")),
        ((COMMITTED, OPENED, EXCLUDED), ExamLine("left out: unreadable")),
        ((COMMITTED, MISSED), ExamLine("missed", 9)),
        (
            (COMMITTED, OPENED, TAKEN),
            ExamLine("opened", records={Seat(1): 0.5, Seat(4): 0.0, Seat(6): -1.0}),
        ),
    ],
)
def test_an_exam_stands_where_its_events_say(events: tuple[Event, ...], line: ExamLine) -> None:
    assert exam_line(terms(), attempt(*events), None, NO_RECORDS) == line


def line_of(exam: ExamLine) -> AttemptLine:
    return AttemptLine(2, 3, "settled", 3, 3, {}, (), 0, None, exam)


def updates() -> tuple[Any, list[Any]]:
    """What the exam asks for; an update that follows it, one that says nothing, and one that points away."""
    random = np.random.default_rng(3)
    asked = random.integers(-100, 100, D)
    noise = random.integers(-100, 100, D)
    noise = noise - asked * int(noise @ asked) // int(asked @ asked)
    return asked.astype(np.int64), [row.astype(np.int16) for row in (asked, noise, -asked)]


def test_whoever_failed_is_named_with_the_mark_the_record_and_the_reason() -> None:
    asked, rows = updates()
    gram = gram_matrix(rows, [None, None, None, None, None, asked]).pack()
    line = exam_line(terms(), attempt(COMMITTED, OPENED), gram, NO_RECORDS)
    assert (line.state, line.line) == ("opened", pytest.approx(3 / 20, rel=1e-3))
    assert set(line.failed) == {4, 6}
    assert line.failed[Seat(6)] == "its mark is -1.0000, and must exceed 0.1500"
    assert (line.marks[Seat(1)], line.records[Seat(1)]) == pytest.approx((1.0, 1.0), abs=1e-4)
    assert (line.marks[Seat(6)], line.records[Seat(6)]) == pytest.approx((-1.0, -1.0), abs=1e-4)


def test_who_is_in_debt_fails_however_good_the_mark_and_who_has_a_record_passes_without_one() -> None:
    asked, rows = updates()
    gram = gram_matrix(rows, [None, None, None, None, None, asked]).pack()
    before = [0, -2 * ONE_Q16, 0, 0, 2 * ONE_Q16, 0, 5 * ONE_Q16, 0]
    line = exam_line(terms(), attempt(COMMITTED, OPENED), gram, before)
    assert line.failed == {
        Seat(1): "a mark of 1.0000 makes its record -0.9375, which must exceed 0.3000",
        Seat(6): "its mark of -1.0000 is below -0.1500",
    }
    assert line.records[Seat(4)] == pytest.approx(7 / 4, abs=0.01)


def test_on_the_terminal_each_seat_has_its_record_and_its_mark() -> None:
    asked, rows = updates()
    gram = gram_matrix(rows, [None, None, None, None, None, asked]).pack()
    screen = Console(width=200)
    with screen.capture() as captured:
        screen.print(exam_table([line_of(exam_line(terms(), attempt(OPENED), gram, [2 * ONE_Q16] * 8))], NATIVE))
    shown = captured.get()
    assert "1: +2.75 (+1.00)" in shown
    assert "6: +0.75 (-1.00)" in shown
    assert "6: its mark of -1.0000 is below -0.1500" in shown
    assert "0.30" in shown


def test_where_the_exam_only_scores_nobody_fails_it() -> None:
    asked, rows = updates()
    gram = gram_matrix(rows, [None, None, None, None, None, asked]).pack()
    rules = replace(terms().rules, rules=(Rule(RuleKind.MEDIAN_COSINE),))
    line = exam_line(replace(terms(), rules=rules), attempt(OPENED), gram, NO_RECORDS)
    assert line.failed == {}
    assert set(line.marks) == set(line.records) == {1, 4, 6}


def test_an_exam_of_what_is_public_is_told_apart() -> None:
    asked, rows = updates()
    gram = gram_matrix(rows, [None, None, None, None, asked, asked]).pack()
    assert exam_line(terms(), attempt(OPENED), gram, NO_RECORDS).state == "opened, asks for nothing that is not public"


def test_a_matrix_that_is_none_leaves_the_marks_out() -> None:
    assert exam_line(terms(), attempt(OPENED), b"short", NO_RECORDS).marks == {}


def test_a_jobs_terms_name_its_exam() -> None:
    screen = Console(width=200)
    with screen.capture() as captured:
        screen.print(dict(terms_rows(terms()))["exam"])
    assert "6 secret slices, one an attempt" in captured.get()
    assert "exam 1 min" in dict(terms_rows(terms()))["periods"]
    assert "exam" not in dict(terms_rows(replace(terms(), exam=ExamTerms())))
