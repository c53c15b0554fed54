"""The update that a trainer is making, or has made and not committed: what is kept of it, and when it has to end."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from market.protocol.errors import InvalidUpdate
from market.protocol.identifiers import Digest
from trainer_client.late_update import Base, PendingUpdate, Record, left_to_train_s

BASE = Base(round=4, attempt=6, step_q16=1 << 15, model=Digest(b"\x07" * 32))
D = 5


@pytest.fixture
def pending(tmp_path: Path) -> PendingUpdate:
    return PendingUpdate(tmp_path / "job-1" / "pending")


def test_an_update_is_there_once_it_is_whole_until_it_is_dropped(pending: PendingUpdate) -> None:
    assert pending.record() is None
    pending.begin(BASE)
    assert pending.record() == Record(BASE)
    with pytest.raises(InvalidUpdate, match="cannot be read"):
        pending.delta(D)
    pending.keep(Record(BASE), np.arange(D, dtype=np.float32))
    again = PendingUpdate(pending.folder)
    assert again.record() == Record(BASE, is_trained=True)
    assert again.delta(D).tolist() == [0, 1, 2, 3, 4]
    again.drop()
    again.drop()
    assert (pending.record(), list(pending.folder.iterdir())) == (None, [])


def test_a_new_training_leaves_nothing_of_the_last(pending: PendingUpdate) -> None:
    pending.keep(Record(BASE), np.ones(D, np.float32))
    later = Base(7, 9, 1 << 16, BASE.model)
    pending.begin(later)
    assert pending.record() == Record(later)
    assert not (pending.folder / "delta.f32").exists()


def test_the_attempt_that_it_was_sealed_for_is_kept(pending: PendingUpdate) -> None:
    pending.seal_in(8)
    assert pending.record() is None  # of nothing there is nothing to say
    pending.keep(Record(BASE), np.ones(D, np.float32))
    pending.seal_in(8)
    assert pending.record() == Record(BASE, is_trained=True, sealed_in=8)


def test_nobody_else_reads_it(pending: PendingUpdate) -> None:
    pending.keep(Record(BASE), np.ones(D, np.float32))
    assert pending.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"base": {}}', '{"base": {"model": 3}}'])
def test_a_damaged_record_is_none(pending: PendingUpdate, text: str) -> None:
    pending.begin(BASE)
    (pending.folder / "pending.json").write_text(text)
    assert pending.record() is None


@pytest.mark.parametrize(
    ("state", "left_s"),
    [
        ({"round": 4}, math.inf),  # the phase of its own round ends: later ones take it, too
        ({"round": 6}, 7.0),
        ({"round": 6, "attempt_start_s": 0}, math.inf),  # nobody aggregates: no attempt runs
        ({"round": 7}, 0.0),
        ({"round": 4, "closed": True}, 0.0),
    ],
)
def test_a_training_has_time_until_the_last_round_that_takes_it(state: dict[str, Any], left_s: float) -> None:
    now: Any = SimpleNamespace(**{"attempt_start_s": 100, "closed": False, **state})
    assert left_to_train_s(now, 6, lambda: 7.0) == left_s
