"""Who may take a seat, as a spec says it: what cannot be had is refused before anything is posted."""

from __future__ import annotations

from typing import Any

import pytest

from market.protocol.errors import InvalidJobSpec
from market.protocol.job_spec import JobSpec, parse_spec

PATRON = "0x" + "00" * 19 + "0a"


def spec(entry: dict[str, Any], enrol_s: int = 600, block_time_s: int = 1) -> JobSpec:
    periods = {"commit_s": 60, "reveal_s": 60, "settle_s": 60, "vesting_s": 10, "deadline_s": 9_000}
    return parse_spec(
        {
            "name": "j",
            "model": {"architecture": "x"},
            "rounds": 3,
            "seats": 4,
            "periods": {"enrol_s": enrol_s, "block_time_s": block_time_s, **periods},
            "money": {"round_reward": 100, "trainer_stake": 200, "aggregator_bond": 100},
            "entry": entry,
        }
    )


def test_a_draw_begins_before_the_end_of_the_enrolment() -> None:
    terms = spec({"draw_s": 200}).to_terms(dimension=10, now_s=1_000)
    assert (terms.draw_from_s, terms.enrol_until_s) == (1_400, 1_600)


@pytest.mark.parametrize(
    ("draw_s", "enrol_s", "block_time_s", "words"),
    [
        (143, 600, 1, "draw_s: is 143: expected 0, or at least 144, 144 blocks, and less than periods.enrol_s, 600"),
        (600, 600, 1, "entry.draw_s: is 600"),
        (1_700, 3_600, 12, "expected 0, or at least 1728, 144 blocks"),
    ],
)
def test_a_draw_that_its_block_comes_too_late_for_is_refused(
    draw_s: int, enrol_s: int, block_time_s: int, words: str
) -> None:
    with pytest.raises(InvalidJobSpec, match=words):
        spec({"draw_s": draw_s}, enrol_s, block_time_s)


def test_a_record_is_asked_of_who_can_have_one() -> None:
    entry = spec({"patron": PATRON, "paid_rounds": 5}).to_terms(dimension=10, now_s=0).entry
    assert (int(entry.patron, 16), entry.paid_rounds) == (10, 5)
    with pytest.raises(InvalidJobSpec, match=r"entry.paid_rounds: is 5: expected entry.patron, too"):
        spec({"paid_rounds": 5})
    with pytest.raises(InvalidJobSpec, match=r"entry.paid_rounds: is 0: expected at least 1, paid by 0x"):
        spec({"patron": PATRON})
