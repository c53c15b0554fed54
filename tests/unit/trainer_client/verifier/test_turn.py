from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.verifier.turn import (
    Act,
    Kept,
    Load,
    PanelView,
    SeatView,
    Stage,
    TaskView,
    fits,
    is_turn,
    next_act,
    rank,
)

ME, SEAL, OTHER_SEAL = "0xme", b"\x01" * 32, b"\x02" * 32
NOTHING = Kept()
PANEL = PanelView(0, 3, draw_block=10, seed=b"\x07" * 32, seat_until_s=100, commit_until_s=200, reveal_until_s=300)


def task(stage: Stage, *seats: SeatView, clique: int = 0, was_appealed: bool = False) -> TaskView:
    panel = replace(PANEL, seats=seats, clique=clique)
    return TaskView(3, 0, bytes(32), 7, 8, stage, panel, was_appealed)


def act(view: TaskView, kept: Kept = NOTHING, now_s: int = 120, block: int = 50) -> Act:
    return next_act(view, ME, kept, now_s, block)


def mine(seal: bytes = bytes(32), has_revealed: bool = False) -> SeatView:
    return SeatView(ME, 5, seal, has_revealed)


def test_the_draw_is_due_once_the_block_that_decides_is_mined() -> None:
    assert act(task(Stage.DRAWING), block=9) is Act.NONE
    assert act(task(Stage.DRAWING), block=10) is Act.DRAW


def test_who_has_no_seat_can_sit_while_seats_are_taken_and_never_later() -> None:
    assert act(task(Stage.SEATING)) is Act.SIT
    for stage in (Stage.COMMIT, Stage.REVEAL, Stage.APPEAL, Stage.FINISHED):
        assert act(task(stage)) is Act.NONE


def test_who_sits_generates_at_once_and_commits_once_the_phase_has_come() -> None:
    for stage in (Stage.SEATING, Stage.COMMIT):
        assert act(task(stage, mine())) is Act.GENERATE
    assert act(task(Stage.SEATING, mine()), Kept(SEAL)) is Act.NONE
    assert act(task(Stage.COMMIT, mine()), Kept(SEAL)) is Act.COMMIT


def test_who_came_too_late_to_commit_does_nothing_more() -> None:
    assert act(task(Stage.REVEAL, mine()), Kept(SEAL)) is Act.NONE


def test_missing_contents_are_waited_for_during_half_of_the_commit_period() -> None:
    view, kept = task(Stage.COMMIT, mine()), Kept(is_unavailable=True)
    assert act(view, kept, now_s=149) is Act.GENERATE
    assert act(view, kept, now_s=150) is Act.VOID
    assert act(task(Stage.SEATING, mine()), kept, now_s=150) is Act.GENERATE


def test_what_nobody_can_do_is_void_at_once() -> None:
    assert act(task(Stage.SEATING, mine()), Kept(is_impossible=True)) is Act.VOID


def test_what_was_sealed_stands_whatever_becomes_of_the_request() -> None:
    assert act(task(Stage.COMMIT, mine()), Kept(SEAL, is_unavailable=True, is_impossible=True), 199) is Act.COMMIT


def test_who_committed_reveals_what_is_on_its_disk_and_nothing_else() -> None:
    assert act(task(Stage.COMMIT, mine(SEAL)), Kept(SEAL)) is Act.NONE
    assert act(task(Stage.REVEAL, mine(SEAL)), Kept(SEAL)) is Act.REVEAL
    assert act(task(Stage.REVEAL, mine(SEAL)), Kept(OTHER_SEAL)) is Act.RECOVER
    assert act(task(Stage.COMMIT, mine(SEAL)), Kept()) is Act.RECOVER
    assert act(task(Stage.REVEAL, mine(SEAL, has_revealed=True)), Kept(SEAL)) is Act.NONE


@pytest.mark.parametrize("seats", [(), (mine(),)])
def test_settling_and_finishing_is_for_anybody(seats: tuple[SeatView, ...]) -> None:
    assert act(task(Stage.SETTLE, *seats)) is Act.SETTLE
    assert act(task(Stage.FINISH, *seats)) is Act.FINISH


def test_appeals_are_made_only_when_told_and_only_by_who_revealed_and_was_left_out() -> None:
    told, out = Kept(SEAL, appeals=True), mine(SEAL, has_revealed=True)
    assert act(task(Stage.APPEAL, out, clique=0b110), told) is Act.APPEAL
    assert act(task(Stage.APPEAL, out, clique=0b110), Kept(SEAL)) is Act.NONE
    assert act(task(Stage.APPEAL, out, clique=0b011), told) is Act.NONE
    assert act(task(Stage.APPEAL, mine(SEAL), clique=0b110), told) is Act.NONE
    assert act(task(Stage.APPEAL, out, clique=0b110, was_appealed=True), told) is Act.NONE


def test_there_is_room_for_a_lower_number_than_the_highest_that_sits() -> None:
    full = replace(PANEL, seats=(SeatView("a", 1), SeatView("b", 9), SeatView("c", 4)))
    assert full.has_room_for(8)
    assert not full.has_room_for(9)
    assert replace(full, seats=full.seats[:2]).has_room_for(1 << 256)


def test_seats_have_their_turns_before_strangers_and_everybody_has_one() -> None:
    ranks = [rank(3, f"0x{seat}", seat, 3) for seat in range(3)]
    assert ranks == [0, 1, 2]
    stranger = rank(3, ME, None, 3)
    assert 3 <= stranger < 11
    assert [is_turn(0, 0), is_turn(stranger, 5), is_turn(stranger, 100)] == [True, False, True]


def test_work_fits_where_each_piece_is_done_before_it_is_due() -> None:
    assert fits([Load(10, 50), Load(30, 40)], now_s=0)
    assert not fits([Load(10, 50), Load(30, 40), Load(11, 45)], now_s=0)
    assert not fits([Load(10, 50)], now_s=41)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), max_size=5),
    st.tuples(st.integers(1, 20), st.integers(0, 60)),
)
def test_more_work_never_makes_room(some: list[tuple[int, int]], more: tuple[int, int]) -> None:
    loads = [Load(*load) for load in some]
    if fits([*loads, Load(*more)], 0):
        assert fits(loads, 0)
