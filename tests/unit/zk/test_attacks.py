"""Every known way to cheat, carried out as well as the cheat can, and refused.

Where an attack works against a weaker protocol, that is shown too: else the test would prove nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from market.protocol.errors import InvalidGram
from market.protocol.gram_matrix import GramMatrix
from tests.unit.zk.cheating import (
    Answers,
    Challenger,
    Row,
    argue,
    assert_refused,
    changed_gram,
    commit_row,
    lie_about_s,
    lie_about_y,
    replaced,
    rows_of,
    square_root,
    tail,
    truth,
)
from tests.unit.zk.proof_rounds import (
    Place,
    Round,
    committed,
    key,
    make_round,
    proven,
    random_blinders,
    random_update,
    round_of,
    small_srs,
)
from zk import reference
from zk.commitment import Blinders, Layout, commit, weighted_sum
from zk.errors import InvalidProof
from zk.field import R
from zk.gram_proof import check, verify
from zk.transcript import PUBLIC_ROWS, Statement, seed_digest

UPDATES = 3


# A Gram matrix that is not the rows'

ENTRIES = {
    "diagonal": (1, 1),
    "off-diagonal": (0, 2),
    "update and public row": (1, UPDATES + 4),
    "public diagonal": (UPDATES + 3, UPDATES + 3),
    "public off-diagonal": (UPDATES, UPDATES + 3),
}


def test_the_cheating_prover_is_believed_when_it_does_not_cheat() -> None:
    for chunks in (1, 2):
        made = make_round(1, chunks=chunks)
        proof, _ = argue(made.statement, rows_of(made))
        verify(key(), made.statement, proof)
        reference.verify(key(), made.statement, proof)


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("answer", [truth, lie_about_s, lie_about_y], ids=lambda lie: lie.__name__)
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_an_entry_off_by_one_cannot_be_proven(
    entry: tuple[int, int], answer: Callable[[Answers], Answers], change: int
) -> None:
    made = make_round(1)
    false = changed_gram(made.statement, *entry, change)
    proof, _ = argue(false, rows_of(made), answer=answer)
    with pytest.raises(InvalidProof):
        verify(key(), false, proof)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_an_entry_off_by_one_is_refused_by_the_reference_too(entry: tuple[int, int]) -> None:
    made = make_round(1, chunks=2)
    false = changed_gram(made.statement, *entry, 1)
    assert_refused(false, argue(false, rows_of(made), answer=lie_about_s)[0])


def test_a_true_proof_does_not_prove_another_matrix() -> None:
    made, proof = proven()
    assert_refused(changed_gram(made.statement, 0, 0, 1), proof)


def test_who_guesses_z_proves_anything_and_who_does_not_proves_nothing() -> None:
    made = make_round(1)
    false = changed_gram(made.statement, 0, 1, 1)
    guess = 123456789
    proof, drawn = argue(false, rows_of(made), guess_z=guess)
    assert_refused(false, proof)

    class Lucky(Challenger):
        def after_product(self, product: bytes) -> int:
            super().after_product(product)
            self.z = guess
            return guess

    rows = rows_of(made)
    proof, drawn = argue(false, rows, Lucky(false, commit_row(rows[0])), guess_z=guess)
    check(key(), false, proof, drawn)


def test_an_entry_off_by_a_multiple_of_r_has_the_same_norm() -> None:
    made = make_round(1)
    alphas = [random.Random(1).getrandbits(128) for _ in range(1 + UPDATES + PUBLIC_ROWS)]
    matrix = reference.full_matrix(made.statement)
    for i, k in ENTRIES.values():
        matrix[i][k] -= R
        matrix[k][i] = matrix[i][k]
    # The argument sees G only through v = αᵀGα mod r, so it would accept this matrix.
    rest = alphas[1:]
    norm = sum(x * y * matrix[i][k] for i, x in enumerate(rest) for k, y in enumerate(rest)) % R
    assert norm == reference.quadratic_form(made.statement, alphas)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
@pytest.mark.parametrize("change", [R, -R])
def test_an_entry_off_by_a_multiple_of_r_cannot_be_packed(entry: tuple[int, int], change: int) -> None:
    with pytest.raises(InvalidGram):
        changed_gram(make_round(1).statement, *entry, change)


# A proof in another place

ELSEWHERE = {
    "another chain": Place(chain_id=1),
    "another contract": Place(market=bytes(20)),
    "another job": Place(job=8),
    "another round": Place(round_number=4),
    "another attempt": Place(attempt=12),
    "another set of reveals": Place(revealed=0b11111),
    "another excluded set": Place(excluded=0b0100),
    "job and round swapped": Place(job=3, round_number=7),
}


@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_proof_is_worth_nothing_elsewhere(place: Place) -> None:
    made, proof = proven()
    assert place.context != Place().context
    assert_refused(replace(made.statement, context=place.context), proof)


def test_a_proof_is_worth_nothing_under_another_srs() -> None:
    made, proof = proven()
    tau = 987654321
    assert_refused(made.statement, proof, reference.NaiveSrs.known(tau, 2).key)


def test_a_proof_is_worth_nothing_for_other_sizes() -> None:
    made, proof = proven()
    assert_refused(replace(made.statement, dimension=made.statement.dimension + 1), proof)


def test_a_proof_is_worth_nothing_for_other_weights() -> None:
    made, proof = proven()
    first, *others = made.statement.weights
    assert_refused(replace(made.statement, weights=(first + 1, *others)), proof)


# Other rows than those that were revealed


def without(made: Round, dropped: int) -> Round:
    rows = [row for i, row in enumerate(made.rows) if i != dropped]
    weights = [weight for i, weight in enumerate(made.statement.weights) if i != dropped]
    return round_of(made.layout, rows, weights)


def test_a_commitment_cannot_be_dropped() -> None:
    made, proof = proven()
    for row in range(UPDATES):
        assert_refused(without(made, row).statement, proof)


def test_a_commitment_cannot_be_inserted() -> None:
    made, _ = proven()
    fewer = without(made, 1)
    assert_refused(made.statement, fewer.proof())


def test_a_commitment_cannot_be_replaced() -> None:
    made, proof = proven()
    source = random.Random(9)
    other = committed(made.layout, random_update(source, 20), random_blinders(source, made.layout))
    for place in range(UPDATES):
        updates = list(made.statement.updates)
        updates[place] = other.commitment
        swapped = replace(made.statement, updates=tuple(updates))
        assert_refused(swapped, proof)
        with pytest.raises(InvalidProof):  # re-proven: the rows are still what G says, the commitment is another's
            verify(key(), swapped, argue(swapped, rows_of(made))[0])


def test_a_public_row_cannot_be_replaced() -> None:
    made, proof = proven()
    for place in range(PUBLIC_ROWS):
        public = list(made.statement.public)
        public[place] = made.statement.updates[0]
        swapped = replace(made.statement, public=tuple(public))
        with pytest.raises(InvalidProof):
            verify(key(), swapped, proof)
        with pytest.raises(InvalidProof):
            verify(key(), swapped, argue(swapped, rows_of(made))[0])


def test_commitments_cannot_be_reordered() -> None:
    made, proof = proven()
    first, second, third = made.statement.updates
    swapped = replace(made.statement, updates=(second, first, third))
    assert_refused(swapped, proof)
    rows = rows_of(made)
    rows[1], rows[2] = rows[2], rows[1]
    assert_refused(swapped, argue(swapped, rows)[0])


def test_an_excluded_update_cannot_be_counted_nor_an_included_one_left_out() -> None:
    made, _ = proven()
    fewer = without(made, 1)
    proof, _ = argue(fewer.statement, rows_of(fewer))
    verify(key(), fewer.statement, proof)
    # The contract makes the statement from the excluded set that is named; it hashes that set into the context.
    named = replace(made.statement, context=Place(excluded=0b1000).context)
    proven_for = replace(fewer.statement, context=Place(excluded=0b1010).context)
    proof, _ = argue(proven_for, rows_of(fewer))
    verify(key(), proven_for, proof)
    assert_refused(named, proof)
    assert_refused(replace(proven_for, context=Place(excluded=0b1000).context), proof)


def test_a_commitment_that_opens_to_another_vector_is_named_by_the_prover() -> None:
    made = make_round(1)
    other = make_round(2)
    liar = replace(other.rows[1], commitment=made.rows[1].commitment)
    rows = (made.rows[0], liar, *made.rows[2:])
    false = round_of(made.layout, rows, made.statement.weights)
    with pytest.raises(InvalidProof, match="update 1 does not open its commitment"):
        false.proof()


def test_a_commitment_that_opens_to_another_vector_cannot_be_proven() -> None:
    made = make_round(1)
    liar = replace(make_round(2).rows[1], commitment=made.rows[1].commitment)
    false = round_of(made.layout, (made.rows[0], liar, *made.rows[2:]), made.statement.weights)
    assert_refused(false.statement, argue(false.statement, rows_of(false))[0])


def test_a_commitment_to_a_model_does_not_open_to_another_model() -> None:
    made = make_round(1)
    model = made.rows[-2]
    for change in (1, -1):
        for place in (0, 19):
            other = np.array(model.values)
            other[place] += change
            assert commit(small_srs(), made.layout, other, model.blinders) != model.commitment


# Challenges that depend on each other, or are known too early


class Powers(Challenger):
    """A weaker protocol: α_i = α^i."""

    def rows(self, statement: Statement) -> tuple[int, ...]:
        alpha = super().rows(statement)[0]
        return tuple(pow(alpha, i, R) for i in range(statement.rows))


def test_errors_that_cancel_under_powers_of_one_challenge_are_refused_under_independent_ones() -> None:
    made = make_round(1)
    false = made.statement
    for i, k, change in ((0, 2, 1), (1, 1, -2)):  # 2·α¹·α³ − 2·α²·α² = 0
        false = changed_gram(false, i, k, change)
    rows = rows_of(made)
    proof, drawn = argue(false, rows, Powers(false, commit_row(rows[0])))
    check(key(), false, proof, drawn)
    assert_refused(false, argue(false, rows)[0])


class BlindToRowZero(Challenger):
    """A weaker protocol: row 0 is not hashed before α."""

    def seed(self, statement: Statement, mask: bytes) -> bytes:
        return seed_digest(key().id, statement, b"")


def row_zero_for(statement: Statement, rows: Sequence[Row], alphas: Sequence[int]) -> Row:
    """One coordinate x of row 0 with (rest_x + α_0·x)² = v − ‖rest‖² + rest_x²: then any G is proven."""
    rest = reference.linear_combination(alphas[1:], [row[0] for row in rows[1:]])
    excess = reference.quadratic_form(statement, alphas) - sum(value * value for value in rest)
    chosen = list(rows[0][0])  # its blinders change no norm
    slot, root = next(
        (slot, root)
        for slot in range(statement.dimension)
        if (root := square_root((excess + rest[slot] ** 2) % R)) is not None
    )
    chosen[slot] = (root - rest[slot]) * pow(alphas[0], -1, R) % R
    return [chosen]


def test_a_row_zero_chosen_after_alpha_proves_anything_unless_alpha_depends_on_it() -> None:
    made = make_round(1)
    false = changed_gram(changed_gram(made.statement, 0, 0, 12345), 1, 2, -7)
    rows = rows_of(made)
    weak = BlindToRowZero(false, b"")
    chosen = row_zero_for(false, rows, weak.alphas)
    proof, drawn = argue(false, [chosen, *rows[1:]], weak)
    check(key(), false, proof, drawn)
    assert_refused(false, proof)
    # With our transcript the α that it was chosen for are gone as soon as it is committed to.
    known = Challenger(false, commit_row(rows[0])).alphas
    chosen = row_zero_for(false, rows, known)
    assert_refused(false, argue(false, [chosen, *rows[1:]])[0])


class BlindToWeights(Challenger):
    """A weaker protocol: the weights are not hashed."""

    def seed(self, statement: Statement, mask: bytes) -> bytes:
        return seed_digest(key().id, replace(statement, weights=(0,) * statement.count), mask)


@pytest.mark.parametrize("slot", range(8))
def test_weights_chosen_after_beta_make_up_for_a_false_sum_unless_beta_depends_on_them(slot: int) -> None:
    """Rows 2^(32·i)·e_slot are digits: Σ w_i·q_i is any multiple of e_slot, and so A may be wrong by any."""
    made = make_round(1, updates=8)
    mask, *others = rows_of(made)
    digits = [[[(1 << 32 * i) * (x == slot) % R for x in range(len(mask[0]))]] for i in range(8)]
    rows = [mask, *digits, *others[8:]]
    false = replace(made.statement, updates=tuple(map(commit_row, digits)), weights=(0,) * 8)
    weak = BlindToWeights(false, commit_row(mask))
    sum_of_rows = reference.linear_combination(weak.alphas, [row[0] for row in rows])
    excess = reference.quadratic_form(false, weak.alphas) - sum(value * value for value in sum_of_rows)
    root = square_root((excess + sum_of_rows[slot] ** 2) % R)
    if root is None:
        return  # for every second slot there is one
    shift = root - sum_of_rows[slot]
    other_mask = [[value + shift * pow(weak.alphas[0], -1, R) * (x == slot) for x, value in enumerate(mask[0])]]
    proof, drawn = argue(false, [other_mask, *rows[1:]], weak, blinders=bytes(192))
    total = shift * pow(drawn.beta, -1, R) % R
    chosen = replace(false, weights=tuple(total >> 32 * i & 0xFFFFFFFF for i in range(8)))
    proof = replace(proof, mask=commit_row(mask))
    check(key(), chosen, proof, drawn)
    assert_refused(chosen, proof)


# Sums that are not the rows'


def test_a_false_aggregate_is_refused() -> None:
    made = make_round(1)
    proof, _ = argue(made.statement, rows_of(made), tamper_sums=lambda sums: [sums[0], sums[1] + 1])
    assert_refused(made.statement, proof)


def test_a_false_sum_of_rows_is_refused() -> None:
    made = make_round(1)
    proof, _ = argue(made.statement, rows_of(made), tamper_sums=lambda sums: [sums[0] + 1, sums[1]])
    assert_refused(made.statement, proof)


def test_sums_whose_errors_cancel_need_the_right_guess_of_beta() -> None:
    made = make_round(1)
    guess = 123456789

    def both_wrong(sums: list[int]) -> list[int]:
        return [sums[0] + guess, sums[1] - 1]

    rows = rows_of(made)
    assert_refused(made.statement, argue(made.statement, rows, tamper_sums=both_wrong)[0])
    proof, drawn = argue(made.statement, rows, tamper_sums=both_wrong)
    with pytest.raises(InvalidProof, match="the evaluations"):  # (3) holds for the guess; A still has to be opened
        check(key(), made.statement, proof, replace(drawn, beta=guess))


def test_errors_in_two_chunks_do_not_cancel() -> None:
    made = make_round(1, chunks=2)
    proof, _ = argue(made.statement, rows_of(made), tamper_sums=lambda s: [s[0], s[1], s[2] + 1, s[3] - 1])
    assert_refused(made.statement, proof)


def test_blinders_changed_after_the_proof_are_refused() -> None:
    made, proof = proven()
    assert_refused(made.statement, replaced(proof, "blinders", 31, bytes([proof.blinders[31] ^ 1])))


def test_wrong_blinders_spoil_their_opening_and_nothing_else() -> None:
    made = make_round(1)
    wrong = bytes(31) + b"\5" + bytes(160)
    proof, _ = argue(made.statement, rows_of(made), blinders=wrong)
    verify(key(), made.statement, proof)  # D is right all the same
    true = weighted_sum(made.statement.updates, made.statement.weights)
    assert proof.sums[64:] == true
    weighted = zip(made.statement.weights, made.updates, strict=True)
    aggregate = sum(np.int64(weight) * row.values.astype(np.int64) for weight, row in weighted)
    opened = Blinders.scaled_sum([row.blinders for row in made.updates], made.statement.weights)
    assert commit(small_srs(), made.layout, aggregate, opened) == true
    published = Blinders.parse(made.layout, proof.blinders)
    assert commit(small_srs(), made.layout, aggregate, published) != true


# A league of two trainers and the aggregator


def league(hidden_at: int, dimension: int) -> tuple[Statement, list[Row], Layout, list[np.ndarray], list[Blinders]]:
    """Five honest updates, P + h and P − h: h² takes from P's norm what would give it away, and leaves every average.

    Args:
        hidden_at: the slot of h's two scalars, where every honest row is zero
        dimension: d
    """
    source = random.Random(11)
    layout = Layout(dimension, 1)
    dead = range(hidden_at, hidden_at + 2)
    honest = [random_update(source, dimension) // np.int16(8) for _ in range(5)]
    loud = random_update(source, dimension)
    for vector in (*honest, loud):
        vector[[slot for slot in dead if slot < dimension]] = 0
    wanted = sorted(int(np.dot(q.astype(np.int64), q)) for q in honest)[2]
    square = wanted - int(np.dot(loud.astype(np.int64), loud))
    x, y = next((x, root) for x in range(1, 99) if (root := square_root((square - x * x) % R)) is not None)
    rows, vectors = [], [*honest, loud, loud]
    blinders = [random_blinders(source, layout) for _ in range(8)]
    for i, vector in enumerate(vectors):
        row = [int(value) % R for value in vector] + tail(blinders[i].values[0]) + [0, 0]
        if i >= 5:
            sign = 1 if i == 5 else -1
            row[hidden_at], row[hidden_at + 1] = sign * x % R, sign * y % R
        rows.append([row])
    mask: Row = [[0] * dimension + tail(blinders[7].values[0]) + [0, 0]]
    nothing: Row = [[0] * (layout.slots + 2)]
    gram = [[int(np.dot(a.astype(np.int64), b)) for b in vectors] for a in vectors]
    gram[5][5] = gram[6][6] = wanted
    gram[5][6] = gram[6][5] = 2 * gram[5][6] - wanted
    packed = GramMatrix(gram, [[0] * PUBLIC_ROWS] * 7, [[0] * PUBLIC_ROWS] * PUBLIC_ROWS).pack()
    commitments = tuple(commit_row(row) for row in rows)
    public = (bytes(64),) * PUBLIC_ROWS
    statement = Statement(Place().context, dimension, 1, commitments, public, packed, (9000,) * 7)
    return statement, [mask, *rows, *[nothing] * PUBLIC_ROWS], layout, vectors, blinders


@pytest.mark.parametrize(("hidden_at", "dimension"), [(32, 20), (18, 20)], ids=["beyond the blinders", "in dead slots"])
def test_a_league_that_hides_a_norm_is_stopped_by_cauchy_and_schwarz(hidden_at: int, dimension: int) -> None:
    statement, rows, layout, vectors, blinders = league(hidden_at, dimension)
    proof, _ = argue(statement, rows)
    verify(key(), statement, proof)  # the argument alone accepts: these are the rows' inner products mod r
    reference.verify(key(), statement, proof)

    # And the average opens within its range: h is not in it.
    aggregate = sum(9000 * vector.astype(np.int64) for vector in vectors)
    opened = Blinders.scaled_sum(blinders[:7], [9000] * 7)
    assert commit(small_srs(), layout, np.asarray(aggregate), opened) == proof.sums[64:]

    with pytest.raises(InvalidGram, match="Cauchy-Schwarz"):
        GramMatrix.unpack(statement.gram, 7).verify(dimension)


def test_what_lies_beyond_a_vector_counts_in_its_norm() -> None:
    made = make_round(1)
    rows = [[[*row[0], 0]] for row in rows_of(made)]
    rows[1][0][-1] = 12345
    statement = replace(made.statement, updates=(commit_row(rows[1]), *made.statement.updates[1:]))
    assert_refused(statement, argue(statement, rows)[0])
    counted = changed_gram(statement, 0, 0, 12345**2)
    verify(key(), counted, argue(counted, rows)[0])
