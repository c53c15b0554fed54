"""Secrets that are used twice are refused where they are one's own, and stop nobody where they are another's."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.unit.zk.cheating import (
    changed_gram,
)
from tests.unit.zk.proof_rounds import (
    committed,
    key,
    make_round,
    random_blinders,
    random_update,
    round_of,
    small_srs,
)
from zk.commitment import Blinders, Layout, commit
from zk.errors import InvalidProof, SecretReused
from zk.gram_proof import MaskRow, prove, verify

UPDATES = 3


def test_a_mask_makes_one_proof() -> None:
    made = make_round(1)
    mask = MaskRow.fresh(small_srs(), made.layout)
    prove(small_srs(), made.statement, made.rows, mask)
    with pytest.raises(SecretReused):
        prove(small_srs(), made.statement, made.rows, mask)


def test_a_mask_is_used_up_by_a_proof_that_fails() -> None:
    made = make_round(1)
    mask = MaskRow.fresh(small_srs(), made.layout)
    with pytest.raises(InvalidProof):
        prove(small_srs(), changed_gram(made.statement, 0, 0, 1), made.rows, mask)
    with pytest.raises(SecretReused):
        prove(small_srs(), made.statement, made.rows, mask)


def test_a_mask_that_hides_a_row_too_is_refused() -> None:
    made = make_round(1)
    nothing = np.zeros(made.layout.dimension, np.int16)
    shared = made.rows[1].blinders
    mask = MaskRow(shared, commit(small_srs(), made.layout, nothing, shared))
    with pytest.raises(SecretReused):
        prove(small_srs(), made.statement, made.rows, mask)


def test_fresh_blinders_hide_one_vector() -> None:
    layout = Layout(20, 1)
    source = random.Random(3)
    first, second = random_update(source, 20), random_update(source, 20)
    blinders = Blinders.fresh(layout)
    commitment = commit(small_srs(), layout, first, blinders)
    with pytest.raises(SecretReused):
        commit(small_srs(), layout, second, blinders)
    assert commit(small_srs(), layout, first, blinders) == commitment


def test_two_trainers_with_the_same_blinders_cannot_stop_a_round() -> None:
    made = make_round(1)
    layout = made.layout
    other = committed(layout, made.rows[1].values, made.rows[0].blinders)
    copy = made.rows[0]
    for cheat in (other, copy):
        crowded = round_of(layout, (*made.updates, cheat, *made.rows[UPDATES:]), (1, 2, 3, 4))
        verify(key(), crowded.statement, crowded.proof())


def test_two_trainers_who_cancel_each_other_cannot_stop_a_round() -> None:
    made = make_round(1, updates=2)
    layout = made.layout
    values = random_update(random.Random(4), 20) // np.int16(2)
    blinders = random_blinders(random.Random(4), layout)
    opposite = Blinders.scaled_sum([blinders], [-1])
    pair = (committed(layout, values, blinders), committed(layout, -values, opposite))
    cancelled = round_of(layout, (*pair, *made.rows[2:]), (5, 5))
    proof = cancelled.proof()
    assert proof.sums[64:] == bytes(64)
    verify(key(), cancelled.statement, proof)
