"""The transcript hashes exactly what docs/proofs.md says, and everything that a proof must be bound to."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_hash.auto import keccak

from tests.unit.zk.proof_rounds import Place, key, make_round, proven
from zk.errors import InvalidProof
from zk.field import R
from zk.transcript import (
    EXAMINED_ROWS,
    VerifyingKey,
    absorb_evaluations,
    absorb_product,
    absorb_sums,
    argument_length,
    check_point,
    packed_length,
    replay,
    round_context,
    row_challenges,
    seed_digest,
)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def tagged(text: str, *parts: bytes) -> bytes:
    return keccak(keccak(text.encode()) + b"".join(parts))


@pytest.mark.parametrize("examined", [False, True])
def test_every_hash_is_the_one_that_is_written_down(examined: bool) -> None:
    made, proof = proven(chunks=2, examined=examined)
    statement = made.statement
    srs_id = tagged("fedmarket/srs/1", key().tau_g1, key().tau_g2, key().tau2_g2)
    assert key().id == srs_id
    rows = keccak(proof.mask + b"".join(statement.updates) + b"".join(statement.public))
    sizes = word(20), word(2), word(3)
    weights = keccak(b"".join(weight.to_bytes(4, "big") for weight in statement.weights))
    seed = tagged("fedmarket/gram/1", statement.context, srs_id, *sizes, rows, keccak(statement.gram), weights)
    assert seed_digest(srs_id, statement, proof.mask) == seed
    challenges = replay(srs_id, statement, proof)
    rows_in_all = 1 + 3 + len(statement.public)
    alphas = [int.from_bytes(tagged("fedmarket/alpha/1", seed, word(i)), "big") >> 128 for i in range(rows_in_all)]
    assert list(challenges.alphas) == alphas
    first = tagged("fedmarket/sums/1", seed, proof.sums, proof.blinders)
    assert challenges.beta == int.from_bytes(first, "big") >> 128
    second = tagged("fedmarket/product/1", first, proof.argument[:64])
    assert challenges.z == int.from_bytes(second, "big") % R
    third = tagged("fedmarket/opening/1", second, proof.argument[128:])
    assert challenges.gamma == int.from_bytes(third, "big") >> 128


def test_a_context_is_the_hash_of_its_words() -> None:
    place = Place()
    words = (place.chain_id, int.from_bytes(place.market, "big"), place.job, place.round_number, place.attempt)
    expected = tagged("fedmarket/round/1", *map(word, (*words, place.revealed, place.excluded)))
    assert place.context == expected


def test_a_context_depends_on_each_of_its_parts() -> None:
    base = (1, bytes(20), 2, 3, 4, 5, 6)
    contexts = {round_context(*base)}
    for place in range(len(base)):
        changed = [*base]
        changed[place] = bytes(19) + b"\1" if place == 1 else 99
        contexts.add(round_context(*changed))
    assert len(contexts) == 1 + len(base)


def test_every_challenge_depends_on_everything_before_it() -> None:
    made, proof = proven()
    statement = made.statement
    seeds = {
        seed_digest(key().id, statement, proof.mask),
        seed_digest(bytes(32), statement, proof.mask),
        seed_digest(key().id, statement, bytes(64)),
        seed_digest(key().id, replace(statement, context=bytes(32)), proof.mask),
        seed_digest(key().id, replace(statement, dimension=21), proof.mask),
        seed_digest(key().id, replace(statement, updates=statement.updates[::-1]), proof.mask),
        seed_digest(key().id, replace(statement, public=statement.public[::-1]), proof.mask),
        seed_digest(key().id, replace(statement, gram=bytes(len(statement.gram))), proof.mask),
        seed_digest(key().id, replace(statement, weights=(0,) * statement.count), proof.mask),
    }
    assert len(seeds) == 9
    seed = seed_digest(key().id, statement, proof.mask)
    assert absorb_sums(seed, b"A", b"r")[1] != absorb_sums(seed, b"B", b"r")[1]
    assert absorb_sums(seed, b"A", b"r")[1] != absorb_sums(seed, b"A", b"s")[1]
    assert absorb_product(seed, b"S")[1] != absorb_product(seed, b"T")[1]
    assert absorb_evaluations(seed, b"y") != absorb_evaluations(seed, b"z")


def test_challenges_of_rows_are_short_and_all_different() -> None:
    alphas = row_challenges(bytes(32), 1 + 64 + EXAMINED_ROWS)
    assert len(alphas) == len(set(alphas)) == 71
    assert max(alphas) < 1 << 128


@pytest.mark.parametrize("z", [0, 1, R - 1])
def test_a_point_that_tests_nothing_is_refused(z: int) -> None:
    with pytest.raises(InvalidProof):
        check_point(z)


def test_other_points_are_taken() -> None:
    for z in (2, R - 2, R // 2):
        check_point(z)


def test_sizes_are_those_of_the_contract() -> None:
    assert argument_length(1) == 224
    assert argument_length(4) == 160 + 64 * 4
    assert packed_length(3) == 8 * 6 + 16 * (15 + 15)
    assert packed_length(3, EXAMINED_ROWS) == 8 * 6 + 16 * (18 + 21)


def test_a_proof_of_another_shape_is_refused() -> None:
    made, proof = proven()
    for field in fields(proof):
        data = getattr(proof, field.name)
        for wrong in (data[:-1], data + b"\0", b""):
            with pytest.raises(InvalidProof, match="has length"):
                replay(key().id, made.statement, replace(proof, **{field.name: wrong}))


def test_a_statement_whose_parts_do_not_fit_is_refused() -> None:
    statement = make_round(1).statement
    wrong = [
        {"context": bytes(31)},
        {"dimension": 0},
        {"chunks": 0},
        {"chunks": 2},
        {"updates": ()},
        {"updates": statement.updates[:2]},
        {"updates": (b"", *statement.updates[1:])},
        {"public": statement.public[:4]},
        {"public": (*statement.public, bytes(64))},  # the matrix is still one of five public rows
        {"public": (*statement.public, bytes(64)), "gram": bytes(packed_length(3, 7))},
        {"public": (*statement.public, *[bytes(64)] * 2), "gram": bytes(packed_length(3, 7))},
        {"public": statement.public[:4], "gram": bytes(packed_length(3, 4))},
        {"public": (), "gram": bytes(packed_length(3, 0))},
        {"gram": statement.gram[:-1]},
        {"weights": (1, 2)},
        {"weights": (-1, 2, 3)},
        {"weights": (1, 2, 1 << 32)},
    ]
    for change in wrong:
        with pytest.raises(InvalidProof):
            replace(statement, **change)


@pytest.mark.parametrize("count", [0, 4, 7])
def test_another_number_of_public_rows_than_five_or_six_is_named(count: int) -> None:
    statement = make_round(1).statement
    with pytest.raises(InvalidProof, match=f"list of public rows has length {count}, expected 5, or 6 with an exam"):
        replace(statement, public=(bytes(64),) * count, gram=bytes(packed_length(3, count)))


def test_no_two_numbers_of_public_rows_hash_to_one_seed() -> None:
    """The same rows, cut as three updates and six public rows, or as four and five: n is hashed, too."""
    examined = make_round(1, examined=True).statement
    rows = (*examined.updates, *examined.public)
    shifted = replace(
        examined, updates=rows[:4], public=rows[4:], gram=bytes(packed_length(4)), weights=(*examined.weights, 0)
    )
    assert shifted.rows == examined.rows
    assert seed_digest(key().id, shifted, bytes(64)) != seed_digest(key().id, examined, bytes(64))
    fewer = replace(examined, public=examined.public[:-1], gram=make_round(1).statement.gram)
    assert seed_digest(key().id, fewer, bytes(64)) != seed_digest(key().id, examined, bytes(64))


def test_an_srs_is_named_by_all_of_its_points() -> None:
    names = {key().id}
    for place in range(3):
        points = [key().tau_g1, key().tau_g2, key().tau2_g2]
        points[place] = bytes(len(points[place]))
        names.add(VerifyingKey(*points).id)
    assert len(names) == 4
