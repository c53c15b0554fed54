from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmarket.sightings import UNSEEN, Sighting, Sightings
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Digest

SETTLE_START_S = 1_000
FIRST, SECOND = Digest(b"\x01" * 32), Digest(b"\x02" * 32)
GOOD = {"came_s": 7, "missing_s": None}


@pytest.mark.parametrize(
    ("sighting", "in_time"),
    [
        (Sighting(came_s=999), True),
        (Sighting(came_s=1_000), None),
        (Sighting(missing_s=1_000), False),
        (Sighting(missing_s=999), None),
        (Sighting(came_s=1_010, missing_s=1_005), False),
        (Sighting(came_s=1_010, missing_s=990), None),
        (UNSEEN, None),
    ],
    ids=[
        "there at the last look before",
        "there at the first look, at the boundary",
        "not there at the boundary",
        "not there before, and never looked for again",
        "not there at a look after it, and there at the next",
        "came between two looks, on either side",
        "never looked for",
    ],
)
def test_what_came_in_time_is_told_by_looks_on_its_own_side_of_the_boundary_alone(
    sighting: Sighting, in_time: bool | None
) -> None:
    assert sighting.in_time(SETTLE_START_S) is in_time


@given(st.integers(0, 2_000), st.sets(st.integers(0, 2_000)))
def test_what_is_told_is_true_whenever_it_came_and_whoever_was_away(came_s: int, looks_s: set[int]) -> None:
    """An attestor that looks at any moments never says the opposite of what happened."""
    found = [look_s for look_s in sorted(looks_s) if look_s >= came_s]
    missed = [look_s for look_s in sorted(looks_s) if SETTLE_START_S <= look_s < came_s]
    sighting = Sighting(found[0] if found else None, missed[0] if missed else None)
    assert sighting.in_time(SETTLE_START_S) in (None, came_s < SETTLE_START_S)
    if any(came_s <= look_s < SETTLE_START_S for look_s in looks_s):
        assert sighting.in_time(SETTLE_START_S) is True
    if missed:
        assert sighting.in_time(SETTLE_START_S) is False


def test_receipts_are_the_same_after_a_restart(tmp_path: Path) -> None:
    kept = {FIRST: Sighting(came_s=5), SECOND: Sighting(missing_s=9)}
    Sightings(tmp_path / "sightings").keep(3, kept)
    again = Sightings(tmp_path / "sightings")
    assert again.of(3) == kept
    assert again.of(4) == {}, "of another attempt"
    again.keep(3, {FIRST: Sighting(came_s=5, missing_s=2)})
    assert Sightings(tmp_path / "sightings").of(3) == {FIRST: Sighting(came_s=5, missing_s=2)}


def test_nothing_is_created_before_something_is_kept(tmp_path: Path) -> None:
    assert Sightings(tmp_path / "sightings").of(0) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "7",
        "[" * 100_000,
        "\xff",
        json.dumps({"01": GOOD}),
        json.dumps({"2": 1_700_000_000}),
        json.dumps({FIRST.hex(): {"came_s": 7}}),
        json.dumps({FIRST.hex(): {**GOOD, "more": 1}}),
        json.dumps({FIRST.hex(): {**GOOD, "came_s": "7"}}),
        json.dumps({FIRST.hex(): {**GOOD, "came_s": True}}),
        json.dumps({FIRST.hex(): {**GOOD, "came_s": -1}}),
        json.dumps({FIRST.hex(): {**GOOD, "missing_s": 1.5}}),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    sightings = Sightings(tmp_path)
    sightings.keep(0, {FIRST: Sighting(came_s=7)})
    (tmp_path / "attempt-000000.json").write_text(damage, "latin-1")
    with pytest.raises(InvalidInput, match=r"attempt-000000\.json is damaged"):
        sightings.of(0)
