"""What is said of seats before anything is sent: stakes that buy nothing, who waits, the example that draws."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedmarket.cli import main
from fedmarket.commands.seat_overview import who_waits
from fedmarket.commands.trainer import checked_stake
from market.chain.events import Event, SeatLost, SeatTaken, TrainerEnrolled, TrainerWaits, WaitEnded
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import JobId, Seat, Wei
from market.protocol.job_spec import load_spec
from market.protocol.terms import EntryTerms
from tests.unit.protocol.test_entry_spec import spec

DRAWN = spec({"draw_s": 200}).to_terms(dimension=10, now_s=1_000)
A, B = "0x" + "aa" * 20, "0x" + "bb" * 20
LOG = count()


def test_the_least_stake_is_put_down_where_nothing_else_is_said() -> None:
    assert checked_stake(0, DRAWN, None, 1_100) == checked_stake(0, DRAWN, 200, 1_550) == 200
    assert checked_stake(0, DRAWN, 64 * 200, 1_100) == 12_800


@pytest.mark.parametrize(
    ("stake_wei", "now_s", "draws", "words"),
    [
        (199, 1_100, True, "is too little for job 0: expected at least"),
        (400, 1_100, False, "job 0 draws no seats: more than .* buys nothing; leave --stake out"),
        (400, 1_500, True, "it is too late for the draw of job 0"),
        (12_801, 1_100, True, "64 tickets are the most in the draw of job 0: expected at most"),
    ],
)
def test_a_stake_that_buys_nothing_is_refused(stake_wei: int, now_s: int, draws: bool, words: str) -> None:
    terms = DRAWN if draws else replace(DRAWN, entry=EntryTerms())
    with pytest.raises(InvalidInput, match=words):
        checked_stake(0, terms, stake_wei, now_s)


def event(kind: type[Event], trainer: str, **values: object) -> Event:
    place = {"block_number": next(LOG), "block_hash": b"b", "transaction": b"t", "log_index": 0, "job": JobId(0)}
    return kind(**place, trainer=trainer, **values)  # type: ignore[arg-type]


def test_who_waits_is_who_came_and_has_neither_sat_down_nor_left() -> None:
    story = [event(TrainerWaits, A, stake_wei=Wei(5)), event(TrainerWaits, B, stake_wei=Wei(5))]
    assert list(who_waits(story)) == [A, B]
    story.append(event(WaitEnded, B, to=B, amount_wei=Wei(5)))
    assert list(who_waits(story)) == [A]
    story += [
        event(SeatLost, B, seat=Seat(1), stake_wei=Wei(7)),
        event(SeatTaken, A, seat=Seat(1), stake_wei=Wei(5)),
    ]
    [(address, began)] = who_waits(story).items()
    assert (address, began.stake_wei) == (B, 7)
    story += [event(SeatLost, A, seat=Seat(1), stake_wei=Wei(0)), event(TrainerEnrolled, B, seat=1, stake_wei=Wei(5))]
    assert not who_waits(story)


@pytest.mark.parametrize("without_exam", [False, True])
def test_the_example_that_draws_is_a_spec(tmp_path: Path, without_exam: bool) -> None:
    options = ["--draw", "--attestor", A, *(["--without-exam"] if without_exam else [])]
    printed = CliRunner().invoke(main, ["job", "example", *options])
    assert (printed.exit_code, printed.stderr) == (0, "")
    (tmp_path / "job.yaml").write_text(printed.stdout, "utf-8")
    parsed = load_spec(tmp_path / "job.yaml")
    root = bytes(32) if without_exam else bytes([1]) * 32
    terms = (parsed if without_exam else parsed.with_norm(10)).to_terms(dimension=3_000, now_s=0, exam_root=root)
    assert (terms.entry.draw_period_s, terms.enrol_until_s) == (180, 360)
    assert terms.disputes.attestors
