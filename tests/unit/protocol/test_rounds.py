import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.rounds import FULL_STEP_Q16, Phase, Schedule, shift_of_step

SCHEDULE = Schedule.of_attempt(1_000, commit_s=60, reveal_s=30, exam_s=20, settle_s=90)
WITHOUT_EXAM = Schedule.of_attempt(1_000, commit_s=60, reveal_s=30, exam_s=0, settle_s=90)


@pytest.mark.parametrize(
    ("timestamp_s", "phase"),
    [
        (999, Phase.ENROLMENT),
        (1_000, Phase.COMMIT),
        (1_059, Phase.COMMIT),
        (1_060, Phase.REVEAL),
        (1_089, Phase.REVEAL),
        (1_090, Phase.EXAM),
        (1_109, Phase.EXAM),
        (1_110, Phase.SETTLE),
        (1_199, Phase.SETTLE),
        (1_200, Phase.OVERDUE),
    ],
)
def test_phases_are_half_open(timestamp_s: int, phase: Phase) -> None:
    assert SCHEDULE.phase(timestamp_s, enough_commits=True) is phase


@pytest.mark.parametrize(
    ("timestamp_s", "phase"),
    [(1_089, Phase.REVEAL), (1_090, Phase.SETTLE), (1_179, Phase.SETTLE), (1_180, Phase.OVERDUE)],
)
def test_without_an_exam_its_phase_is_empty(timestamp_s: int, phase: Phase) -> None:
    assert WITHOUT_EXAM.phase(timestamp_s, enough_commits=True) is phase


def test_a_round_below_its_minimum_is_starved_once_commits_have_ended() -> None:
    assert SCHEDULE.phase(1_059, enough_commits=False) is Phase.COMMIT
    assert SCHEDULE.phase(1_060, enough_commits=False) is Phase.STARVED
    assert SCHEDULE.phase(5_000, enough_commits=False) is Phase.STARVED


@given(st.integers(0, 10_000), st.booleans())
def test_every_moment_has_one_phase_and_phases_never_go_back(timestamp_s: int, enough: bool) -> None:
    order = [Phase.ENROLMENT, Phase.COMMIT, Phase.STARVED, Phase.REVEAL, Phase.EXAM, Phase.SETTLE, Phase.OVERDUE]
    now, later = SCHEDULE.phase(timestamp_s, enough), SCHEDULE.phase(timestamp_s + 1, enough)
    assert order.index(now) <= order.index(later)


@pytest.mark.parametrize(
    ("initial", "step", "shift"),
    [
        (3, FULL_STEP_Q16, 3),
        (3, FULL_STEP_Q16 - 1, 2),
        (3, FULL_STEP_Q16 // 2, 2),
        (3, 1, 0),
        (0, 1, 0),
        (8, 1 << 9, 1),
    ],
)
def test_shift_falls_by_one_each_time_the_step_halves(initial: int, step: int, shift: int) -> None:
    assert shift_of_step(initial, step) == shift
