"""The sixth public row, an exam's reference r: what a prover may try with it, and what nobody can see of it.

The chain takes C_r from what was sealed before any update was revealed, so that a statement with another C_r, with
none, or with C_r in another place is one that the contract never makes. A proof made for such a statement must not pass
for the one that it does make.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from market.protocol.errors import InvalidGram
from market.protocol.gram_matrix import GramMatrix
from tests.unit.zk.cheating import (
    Row,
    argue,
    assert_refused,
    changed_gram,
    commit_polynomial,
    commit_row,
    lie_about_s,
    rows_of,
    square_root,
    unpacked,
)
from tests.unit.zk.proof_rounds import (
    EXAM,
    Round,
    committed,
    key,
    make_round,
    proven,
    random_blinders,
    random_exam,
    round_of,
    small_srs,
)
from zk import reference
from zk.commitment import Blinders, Layout, commit
from zk.errors import InvalidProof
from zk.field import R
from zk.gram_proof import CommittedRow, verify
from zk.transcript import PUBLIC_ROWS, GramProof, Statement

UPDATES = 3
PLACE = 1 + UPDATES + EXAM
"""r's place among all rows, row 0 included."""


def with_exam(made: Round, exam: CommittedRow) -> Round:
    """The same round, examined by another reference."""
    return round_of(made.layout, (*made.rows[: UPDATES + PUBLIC_ROWS], exam), made.statement.weights)


def without_exam(made: Round) -> Round:
    return round_of(made.layout, made.rows[: UPDATES + PUBLIC_ROWS], made.statement.weights)


def with_public(statement: Statement, place: int, commitment: bytes) -> Statement:
    public = list(statement.public)
    public[place] = commitment
    return replace(statement, public=tuple(public))


def another_exam(layout: Layout) -> CommittedRow:
    return random_exam(random.Random(77), layout)


def forged(made: Round, exam: Row, statement: Statement | None = None) -> tuple[Statement, GramProof]:
    """The best proof for a round whose r is this polynomial, under its own commitment."""
    statement = with_public(statement or made.statement, EXAM, commit_row(exam))
    return statement, argue(statement, [*rows_of(made)[:PLACE], exam])[0]


def assert_accepted(statement: Statement, proof: GramProof) -> None:
    """By both verifiers."""
    verify(key(), statement, proof)
    reference.verify(key(), statement, proof)


# Honest


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_round_with_an_exam_is_proven(chunks: int) -> None:
    assert_accepted(*((made := make_round(1, chunks=chunks, examined=True)).statement, made.proof()))


def test_an_exam_of_64_bits_is_the_same_row() -> None:
    made = make_round(1, examined=True)
    wide = replace(made.rows[-1], values=np.asarray(made.rows[-1].values, np.int64))
    other = with_exam(made, wide)
    assert other.statement == made.statement
    verify(key(), made.statement, other.proof())


def test_an_exam_that_is_zero_in_one_chunk_is_infinity_there() -> None:
    layout = Layout(20, 2)
    for half in (slice(0, 10), slice(10, 20)):
        values = np.array(another_exam(layout).values)
        values[half] = 0
        exam = committed(layout, values, Blinders.zero(layout))
        assert (exam.commitment[:64] == bytes(64)) is (half.start == 0)
        assert (exam.commitment[64:] == bytes(64)) is (half.start == 10)
        made = with_exam(make_round(1, chunks=2, examined=True), exam)
        assert_accepted(made.statement, made.proof())


# Another r than the one that was committed to


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_matrix_of_another_reference_cannot_be_proven(chunks: int) -> None:
    made = make_round(1, chunks=chunks, examined=True)
    other = with_exam(made, another_exam(made.layout))
    false = replace(made.statement, gram=other.statement.gram)
    assert_refused(false, argue(false, rows_of(made), answer=lie_about_s)[0])  # the committed rows, another G
    assert_refused(false, argue(false, rows_of(other))[0])  # other rows than committed, their G
    assert_refused(made.statement, argue(made.statement, rows_of(other))[0])


def test_a_proof_with_another_reference_is_worth_nothing_for_this_one() -> None:
    made, proof = proven(examined=True)
    other = with_exam(made, another_exam(made.layout))
    assert_refused(other.statement, proof)
    assert_refused(replace(other.statement, gram=made.statement.gram), proof)
    assert_refused(replace(made.statement, gram=other.statement.gram), other.proof())


def test_the_prover_names_a_reference_that_does_not_open_its_commitment() -> None:
    made = make_round(1, examined=True)
    liar = replace(another_exam(made.layout), commitment=made.rows[-1].commitment)
    with pytest.raises(InvalidProof, match="public row 5 does not open its commitment"):
        with_exam(made, liar).proof()


@pytest.mark.parametrize("row", range(UPDATES + EXAM + 1))
@pytest.mark.parametrize("change", [1, -1])
def test_no_product_with_the_reference_can_be_off_by_one(row: int, change: int) -> None:
    made = make_round(1, examined=True)
    false = changed_gram(made.statement, row, UPDATES + EXAM, change)
    proof, _ = argue(false, rows_of(made), answer=lie_about_s)
    with pytest.raises(InvalidProof):
        verify(key(), false, proof)


# r dropped, added, twice, or in another place


def test_a_reference_cannot_be_dropped() -> None:
    made, proof = proven(examined=True)
    plain = without_exam(made).statement
    assert_refused(plain, proof)
    # Proven for five rows with r's share still in A.
    rows = rows_of(made)
    assert_refused(plain, argue(made.statement, rows)[0])
    assert_refused(made.statement, argue(plain, rows[:-1])[0])


def test_a_reference_cannot_be_added() -> None:
    made, _ = proven(examined=True)
    assert_refused(made.statement, without_exam(made).proof())
    # Nor a sixth row that is nothing: G has zeros, C_r infinity.
    nothing = with_exam(made, CommittedRow.absent(made.layout))
    assert_refused(nothing.statement, without_exam(made).proof())


def test_an_update_is_not_taken_for_a_reference_nor_a_reference_for_an_update() -> None:
    """As many rows in all, cut at another place."""
    made, proof = proven(examined=True)
    rows, vectors = (*made.statement.updates, *made.statement.public), unpacked(made.statement)
    short = GramMatrix(
        updates=[row[:2] for row in vectors.updates[:2]],
        mixed=[row[:PUBLIC_ROWS] for row in vectors.mixed[:2]],
        public=[row[:PUBLIC_ROWS] for row in vectors.public[:PUBLIC_ROWS]],
    )
    fewer = replace(
        made.statement,
        updates=rows[:2],
        public=rows[3:8],
        gram=short.pack(),
        weights=made.statement.weights[:2],
    )
    assert_refused(fewer, proof)
    more = round_of(made.layout, made.rows[: UPDATES + PUBLIC_ROWS], made.statement.weights)
    assert more.statement.rows + 1 == made.statement.rows
    assert_refused(more.statement, proof)


def test_a_reference_cannot_stand_twice() -> None:
    made, _ = proven(examined=True)
    exam = made.rows[-1]
    with pytest.raises(InvalidProof, match="list of public rows has length 7"):
        replace(made.statement, public=(*made.statement.public, exam.commitment))
    for place in range(PUBLIC_ROWS):
        rows = list(made.rows)
        rows[UPDATES + place] = replace(exam, values=np.asarray(exam.values, np.int64))
        twice = round_of(made.layout, rows, made.statement.weights)
        assert_refused(made.statement, argue(twice.statement, rows_of(twice))[0])


@pytest.mark.parametrize("place", range(PUBLIC_ROWS))
def test_a_reference_cannot_change_places_with_another_public_row(place: int) -> None:
    made, proof = proven(examined=True)
    first, last = made.statement.public[place], made.statement.public[EXAM]
    swapped = with_public(with_public(made.statement, place, last), EXAM, first)
    rows = rows_of(made)
    exchanged = list(rows)
    exchanged[1 + UPDATES + place], exchanged[PLACE] = rows[PLACE], rows[1 + UPDATES + place]
    assert_refused(swapped, proof)
    # G as it was, rows exchanged; then G as the exchanged rows have it, for the rows in their places.
    assert_refused(swapped, argue(swapped, exchanged)[0])
    true = replace(swapped, gram=exchanged_gram(made.statement, UPDATES + place, UPDATES + EXAM))
    own, _ = argue(true, exchanged)
    verify(key(), true, own)  # a true proof, of a statement that no contract makes
    assert_refused(made.statement, own)
    assert_refused(replace(made.statement, gram=true.gram), argue(true, rows)[0])


def exchanged_gram(statement: Statement, i: int, k: int) -> bytes:
    """G of the same rows, two public ones exchanged."""
    matrix, n = reference.full_matrix(statement), statement.count
    order = list(range(len(matrix)))
    order[i], order[k] = k, i
    full = [[matrix[a][b] for b in order] for a in order]
    return GramMatrix(
        [row[:n] for row in full[:n]], [row[n:] for row in full[:n]], [row[n:] for row in full[n:]]
    ).pack()


def test_a_reference_cannot_change_places_with_an_update() -> None:
    made, proof = proven(examined=True)
    updates = (made.statement.public[EXAM], *made.statement.updates[1:])
    swapped = with_public(replace(made.statement, updates=updates), EXAM, made.statement.updates[0])
    assert_refused(swapped, proof)
    rows = rows_of(made)
    rows[1], rows[PLACE] = rows[PLACE], rows[1]
    assert_refused(swapped, argue(swapped, rows)[0])


# C_r that no r opens


def test_infinity_does_not_stand_for_a_reference() -> None:
    made, proof = proven(examined=True)
    assert_refused(with_public(made.statement, EXAM, bytes(64)), proof)
    two, proof = proven(chunks=2, examined=True)
    for at in (0, 64):
        hidden = bytearray(two.statement.public[EXAM])
        hidden[at : at + 64] = bytes(64)
        false = with_public(two.statement, EXAM, bytes(hidden))
        assert_refused(false, proof)
        assert_refused(false, argue(false, rows_of(two))[0])


def test_a_reference_off_the_curve_is_refused() -> None:
    made, proof = proven(examined=True)
    for point in (bytes(63) + b"\1", (1).to_bytes(32, "big") * 2, b"\xff" * 64):
        assert_refused(with_public(made.statement, EXAM, point), proof)


def test_a_coordinate_beyond_the_vector_counts_in_the_reference_s_norm() -> None:
    made = make_round(1, examined=True)
    beyond = [[*rows_of(made)[PLACE][0], 12345]]
    statement, proof = forged(made, beyond)
    assert_refused(statement, proof)
    counted = changed_gram(made.statement, UPDATES + EXAM, UPDATES + EXAM, 12345**2)
    statement, proof = forged(made, beyond, counted)
    assert_accepted(statement, proof)  # true mod r; whoever publishes d integers for this C_r is found out
    honest = made.rows[-1]
    assert commit(small_srs(), made.layout, honest.values, honest.blinders) != statement.public[EXAM]


def test_a_coordinate_in_a_blinder_s_slot_is_no_blinder() -> None:
    """One slot of a pair alone has a square: only ι times as much in the other takes it away again."""
    made = make_round(1, examined=True)
    slots = list(rows_of(made)[PLACE][0])
    slots[made.layout.chunk_length] = 5
    assert_refused(*forged(made, [slots]))


def test_blinders_in_a_reference_change_no_product_and_are_seen_when_it_is_opened() -> None:
    made = make_round(1, examined=True)
    exam = made.rows[-1]
    hidden = committed(made.layout, exam.values, random_blinders(random.Random(4), made.layout))
    blinded = with_exam(made, hidden)
    assert blinded.statement.gram == made.statement.gram
    assert_accepted(blinded.statement, blinded.proof())
    opened = commit(small_srs(), made.layout, exam.values, Blinders.zero(made.layout))
    assert opened == made.statement.public[EXAM] != blinded.statement.public[EXAM]
    assert_refused(made.statement, blinded.proof())


def test_a_coordinate_that_wraps_around_is_the_one_that_it_wraps_to() -> None:
    made = make_round(1, examined=True)
    slots = list(rows_of(made)[PLACE][0])
    assert commit_polynomial([slot + R for slot in slots]) == made.statement.public[EXAM]


@pytest.mark.parametrize("coordinate", [1 << 31, 1 << 64, (R + 1) // 2, R - (1 << 40)])
def test_a_reference_out_of_range_is_not_proven_with_products_in_range(coordinate: int) -> None:
    made = make_round(1, examined=True)
    slots = list(rows_of(made)[PLACE][0])
    slots[3] = coordinate
    assert_refused(*forged(made, [slots]))
    values = np.array(made.rows[-1].values, np.int64)
    values[3] = 1 << 31
    exam = CommittedRow(values, Blinders.zero(made.layout), made.rows[-1].commitment)
    with pytest.raises(InvalidGram, match="public row 5 has coordinates"):
        with_exam(made, exam)


def test_a_reference_whose_square_wraps_is_stopped_by_its_range_or_by_cauchy_and_schwarz() -> None:
    """h² = −(r² − 1) in slots that nobody else uses makes r's norm one, and leaves all of its products alone."""
    source = random.Random(3)
    made = make_round(1, examined=True)
    matrix = unpacked(made.statement)
    square = matrix.public[EXAM][EXAM]
    wanted = 1 - square
    x, y = next(
        (x, root)
        for x in (source.randrange(R) for _ in range(99))
        if (root := square_root((wanted - x * x) % R)) is not None
    )
    slots = [*rows_of(made)[PLACE][0], x, y]
    shrunk = changed_gram(made.statement, UPDATES + EXAM, UPDATES + EXAM, wanted)
    statement, proof = forged(made, [slots], shrunk)
    assert_accepted(statement, proof)  # these are the products mod r
    with pytest.raises(InvalidGram, match="Cauchy-Schwarz"):
        unpacked(statement).verify(made.layout.dimension)
