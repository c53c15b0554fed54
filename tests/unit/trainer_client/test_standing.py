"""What a trainer without a seat is told about what it waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.chain.events import SeatLost
from market.chain.records import SeatDraw
from market.protocol.identifiers import JobId, Seat, Wei
from market.protocol.seat_draw import drawn_number
from market.protocol.terms import NO_ENTRY_TERMS, EntryTerms, JobTerms
from tests.unit.protocol.test_entry_spec import spec
from trainer_client.standing import Standing

TRAINER = "0x" + "11" * 20
UNASKED, ASKED, DRAWN = SeatDraw(0, bytes(32)), SeatDraw(77, bytes(32)), SeatDraw(77, bytes([5]) * 32)
IDLE = "waiting for one that misses two attempts in a row, or one that starves"
WAITING = Standing(TRAINER, 0, Wei(600), 1_590, False, None, 0, 0, UNASKED)


@pytest.fixture
def terms() -> JobTerms:
    """Four seats at 200 wei; enrolment until 1,600 s, the draw from 1,400 s on."""
    return spec({"draw_s": 200}).to_terms(dimension=10, now_s=1_000)


def lost(stake_wei: int) -> SeatLost:
    return SeatLost(9, b"block", b"transaction", 0, JobId(5), TRAINER, Seat(2), Wei(stake_wei))


def at(now_s: int, draw: SeatDraw = UNASKED, standing: Standing = WAITING) -> Standing:
    return replace(standing, now_s=now_s, draw=draw)


def test_before_the_draw_it_says_when_that_is_and_with_how_many_tickets(terms: JobTerms) -> None:
    expected = "all 4 seats are taken; the draw is in 5 min 50 s, with 3 tickets for this stake"
    assert at(1_050).outlook(terms) == expected
    assert "1 ticket for" in replace(at(1_050), stake_wei=Wei(399)).outlook(terms)


def test_in_the_draw_it_says_which_block_decides(terms: JobTerms) -> None:
    assert at(1_550).outlook(terms).endswith(": the block that decides is not fixed yet")
    assert at(1_550, ASKED).outlook(terms).endswith(": block 77 decides")


def test_once_drawn_it_says_its_number(terms: JobTerms) -> None:
    number = drawn_number(DRAWN.seed, TRAINER, 3) / 2**256
    told = f"drew {number:.4f} with 3 tickets, and every seat has a lower number: {IDLE}"
    assert at(1_550, DRAWN).outlook(terms) == at(9_000, DRAWN).outlook(terms) == told


def test_who_comes_too_late_has_no_part_in_the_draw(terms: JobTerms) -> None:
    late = replace(WAITING, is_late=True)
    expected = f"all 4 seats are taken, and it came too late for the draw: {IDLE}"
    assert at(1_550, ASKED, late).outlook(terms) == at(1_700, DRAWN, late).outlook(terms) == expected
    assert not at(1_550, UNASKED, late).is_drawing(terms)


def test_a_draw_that_nobody_held_is_told_as_that(terms: JobTerms) -> None:
    assert at(1_600, ASKED).outlook(terms) == f"all 4 seats are taken, and nobody had them drawn in time: {IDLE}"


def test_without_a_draw_it_waits_for_a_seat_that_nobody_comes_to(terms: JobTerms) -> None:
    undrawn = replace(terms, entry=NO_ENTRY_TERMS)
    assert at(1_550).outlook(undrawn) == f"all 4 seats are taken: {IDLE}"
    assert not at(1_550).is_drawing(undrawn)


@pytest.mark.parametrize(("now_s", "expected"), [(1_399, False), (1_400, True), (1_599, True), (1_600, False)])
def test_the_draw_is_asked_for_in_its_time_alone(terms: JobTerms, now_s: int, expected: bool) -> None:
    assert at(now_s).is_drawing(terms) == expected
    assert not replace(at(now_s), stake_wei=Wei(0)).is_drawing(terms)


def test_a_seat_that_was_lost_is_told_with_what_stays(terms: JobTerms) -> None:
    drawn = replace(WAITING, is_late=True, lost=lost(600), lost_at_s=1_590)
    stays = "what was earned stays this account's to claim"
    assert drawn.loss(terms) == "seat 2 was lost in the draw: its stake waits for another"
    idle = replace(drawn, lost_at_s=2_000, since_s=2_000)
    assert idle.loss(terms) == f"seat 2 was lost for not committing: its stake waits for another; {stays}"
    overtaken = replace(idle, lost_at_s=2_000, since_s=1_999)
    expected = "seat 2 went to one who had waited longer: its stake waits for another, with the turn that it had"
    assert overtaken.loss(terms) == expected
    bare = replace(idle, stake_wei=Wei(0), lost=lost(0))
    assert (
        bare.loss(terms) == f"seat 2 was lost for not committing: it had no stake there: enrol again to wait; {stays}"
    )
    assert bare.outlook(terms) == "neither a seat nor a stake that waits for one: enrol again"


def test_only_what_has_changed_but_for_the_time_is_another_stage(terms: JobTerms) -> None:
    assert at(1_050).stage(terms) == at(1_051).stage(terms)
    stages = [at(1_050), at(1_500), at(1_500, ASKED), at(1_500, DRAWN), at(1_600, DRAWN)]
    assert len({standing.stage(terms) for standing in stages}) == len(stages)


def test_a_late_comer_draws_no_number(terms: JobTerms) -> None:
    assert at(1_550, DRAWN, replace(WAITING, is_late=True)).number(terms) is None
    assert replace(terms, entry=EntryTerms()).draw_from_s == terms.enrol_until_s
