"""Bytes of a proof that are not what they should be: refused by both verifiers, wherever they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.zk.cheating import (
    Challenger,
    argue,
    assert_refused,
    commit_row,
    replaced,
    rows_of,
    true_blinders,
)
from tests.unit.zk.proof_rounds import (
    key,
    make_round,
    proven,
    round_of,
)
from zk.commitment import Layout
from zk.curve import generator, multiply, point_bytes
from zk.errors import InvalidProof
from zk.field import P, R
from zk.gram_proof import CommittedRow, check, verify
from zk.transcript import WORD, check_point

PARTS = ("mask", "sums", "blinders", "argument")


@pytest.mark.parametrize("part", PARTS)
def test_no_single_bit_of_a_proof_can_be_flipped(part: str) -> None:
    made, proof = proven()
    data = getattr(proof, part)
    for bit in range(8 * len(data)):
        at = bit // 8
        flipped = replaced(proof, part, at, bytes([data[at] ^ 1 << bit % 8]))
        with pytest.raises(InvalidProof):
            verify(key(), made.statement, flipped)


POINTS = {
    "row 0": ("mask", 0),
    "A": ("sums", 0),
    "D": ("sums", 64),
    "S": ("argument", 0),
    "W": ("argument", 64),
}


@pytest.mark.parametrize("place", POINTS.values(), ids=POINTS.keys())
def test_points_off_the_curve_are_refused(place: tuple[str, int]) -> None:
    made, proof = proven()
    for point in ((1).to_bytes(32, "big") * 2, bytes(31) + b"\1" + bytes(32), bytes(63) + b"\1"):
        assert_refused(made.statement, replaced(proof, *place, point))


@pytest.mark.parametrize("place", POINTS.values(), ids=POINTS.keys())
def test_coordinates_that_are_not_reduced_are_refused(place: tuple[str, int]) -> None:
    made, proof = proven()
    part, at = place
    for start in (at, at + WORD):
        coordinate = int.from_bytes(getattr(proof, part)[start : start + WORD], "big")
        assert_refused(made.statement, replaced(proof, part, start, (coordinate + P).to_bytes(WORD, "big")))


@pytest.mark.parametrize("place", POINTS.values(), ids=POINTS.keys())
def test_infinity_is_refused_where_it_is_not_a_true_sum(place: tuple[str, int]) -> None:
    made, proof = proven()
    assert_refused(made.statement, replaced(proof, *place, bytes(64)))
    assert_refused(made.statement, replaced(proof, *place, P.to_bytes(WORD, "big") * 2))


def test_an_update_at_infinity_is_refused_even_where_it_would_be_a_true_row() -> None:
    layout = Layout(20, 1)
    made = make_round(1)
    nothing = CommittedRow.absent(layout)
    with_zero = round_of(layout, (*made.updates, nothing, *made.rows[3:]), (1, 1, 1, 1))
    proof, _ = argue(with_zero.statement, rows_of(with_zero))
    assert_refused(with_zero.statement, proof)


def test_a_row_zero_at_infinity_is_refused_even_where_it_would_be_a_true_row() -> None:
    made = make_round(1)
    _, *rows = rows_of(made)
    proof, _ = argue(made.statement, [[[0] * made.layout.slots], *rows])
    assert_refused(made.statement, proof)


def test_scalars_that_are_not_reduced_are_refused() -> None:
    made, proof = proven(chunks=2)
    for part, start in (("blinders", 0), ("argument", 128)):
        data = getattr(proof, part)
        for at in range(start, len(data), WORD):
            scalar = int.from_bytes(data[at : at + WORD], "big")
            with pytest.raises(InvalidProof):
                verify(key(), made.statement, replaced(proof, part, at, (scalar + R).to_bytes(WORD, "big")))
    assert_refused(made.statement, replaced(proof, "argument", 128, R.to_bytes(WORD, "big")))


def test_a_scalar_that_is_not_reduced_is_refused_even_where_the_transcript_is_made_for_it() -> None:
    made = make_round(1)
    rows = rows_of(made)

    class Unreduced(Challenger):
        def after_evaluations(self, evaluations: bytes) -> int:
            first = int.from_bytes(evaluations[:WORD], "big") + R
            return super().after_evaluations(first.to_bytes(WORD, "big") + evaluations[WORD:])

    proof, drawn = argue(made.statement, rows, Unreduced(made.statement, commit_row(rows[0])))
    check(key(), made.statement, proof, drawn)  # but for its range the scalar is right
    y = int.from_bytes(proof.evaluations[:WORD], "big") + R
    assert_refused(made.statement, replaced(proof, "argument", 128, y.to_bytes(WORD, "big")))


def test_blinders_that_are_not_reduced_are_refused_even_where_the_transcript_is_made_for_them() -> None:
    made = make_round(1)
    rows = rows_of(made)
    true = true_blinders(made.statement, rows)
    for at in range(0, len(true), WORD):
        unreduced = int.from_bytes(true[at : at + WORD], "big") + R
        data = true[:at] + unreduced.to_bytes(WORD, "big") + true[at + WORD :]
        proof, _ = argue(made.statement, rows, blinders=data)
        with pytest.raises(InvalidProof, match="is not below the group's order"):
            verify(key(), made.statement, proof)
    assert_refused(made.statement, proof)


@pytest.mark.parametrize("z", [0, 1, R - 1])
def test_challenges_that_test_nothing_are_refused(z: int) -> None:
    with pytest.raises(InvalidProof):
        check_point(z)
    made, proof = proven()
    drawn = replace(argue(made.statement, rows_of(made))[1], z=z)
    with pytest.raises(InvalidProof, match="challenge z"):
        check(key(), made.statement, proof, drawn)


def test_other_points_for_s_and_w_are_refused() -> None:
    made, proof = proven()
    for at in (0, 64):
        for exponent in (1, 2, R - 1):
            point = point_bytes(multiply(generator(), exponent))
            with pytest.raises(InvalidProof):
                verify(key(), made.statement, replaced(proof, "argument", at, point))
