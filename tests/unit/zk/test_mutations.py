"""Thousands of proofs that were changed somewhere, at random and by design: none is accepted.

`MUTATIONS` of them are tried here; the contract's fuzz tries the rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.zk.proof_rounds import key, proven
from zk.curve import generator, multiply, negate, parse_point, point_bytes
from zk.errors import InvalidProof
from zk.field import P, R
from zk.gram_proof import verify
from zk.transcript import WEIGHT_LIMIT, GramProof, Statement

SWEEPS = 8
SWEEP_LENGTH = 2_250
EXAMPLES = 2_000
MUTATIONS = SWEEPS * SWEEP_LENGTH + EXAMPLES

WORD, POINT = 32, 64


@dataclass(frozen=True)
class Sound:
    """A statement with two proofs of it, to take parts from both."""

    statement: Statement
    proof: GramProof
    other: GramProof


Mutation = tuple[Statement, GramProof]
Item = TypeVar("Item")


@lru_cache(maxsize=4)
def sound(chunks: int, examined: bool) -> Sound:
    made, proof = proven(chunks=chunks, examined=examined)
    return Sound(made.statement, proof, made.proof())


def put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def with_part(case: Sound, part: str, data: bytes) -> Mutation:
    return case.statement, replace(case.proof, **{part: data})


def points_of(case: Sound) -> list[tuple[str, int]]:
    """Where points are in a proof."""
    proof = case.proof
    ends = {"mask": len(proof.mask), "sums": len(proof.sums), "argument": 2 * POINT}
    return [(part, at) for part, end in ends.items() for at in range(0, end, POINT)]


def scalars_of(case: Sound) -> list[tuple[str, int]]:
    """Where scalars are in a proof."""
    proof = case.proof
    starts = {"blinders": (0, len(proof.blinders)), "argument": (2 * POINT, len(proof.argument))}
    return [(part, at) for part, (start, end) in starts.items() for at in range(start, end, WORD)]


def flip_bits(case: Sound, source: random.Random) -> Mutation:
    """One to three bits of any part."""
    part = source.choice(["mask", "sums", "blinders", "argument"])
    data = bytearray(getattr(case.proof, part))
    for bit in source.sample(range(8 * len(data)), source.randint(1, 3)):
        data[bit // 8] ^= 1 << bit % 8
    return with_part(case, part, bytes(data))


def replace_word(case: Sound, source: random.Random) -> Mutation:
    """Any word by noise, or by a number at the edge of a range."""
    part = source.choice(["mask", "sums", "blinders", "argument"])
    data = getattr(case.proof, part)
    at = WORD * source.randrange(len(data) // WORD)
    word = source.choice([0, 1, R - 1, R, P - 1, P, 2**256 - 1, source.randrange(R), source.randrange(2**256)])
    return with_part(case, part, put(data, at, word.to_bytes(WORD, "big")))


def shift_scalar(case: Sound, source: random.Random) -> Mutation:
    """A scalar plus a small one, negated, inverted, or written unreduced."""
    part, at = source.choice(scalars_of(case))
    data = getattr(case.proof, part)
    old = int.from_bytes(data[at : at + WORD], "big")
    new = source.choice([(old + source.choice([1, -1, 2, 1 << 128])) % R, -old % R, pow(old, -1, R), old + R])
    return with_part(case, part, put(data, at, new.to_bytes(WORD, "big")))


def replace_point(case: Sound, source: random.Random) -> Mutation:
    """A point by another on the curve: its negative, its multiple, its neighbour, infinity, or any."""
    part, at = source.choice(points_of(case))
    data = getattr(case.proof, part)
    old = parse_point(data[at : at + POINT])
    factor = source.randrange(R)
    new = source.choice([negate(old), multiply(old, factor), multiply(old, 2), multiply(generator(), factor), 0 * old])
    return with_part(case, part, put(data, at, point_bytes(new)))


def copy_within(case: Sound, source: random.Random) -> Mutation:
    """A point over another, or a scalar over another, from anywhere in the proof or the statement."""
    places, size = source.choice([(points_of(case), POINT), (scalars_of(case), WORD)])
    (part, at), (other, start) = source.choice(places), source.choice(places)
    new = getattr(case.proof, other)[start : start + size]
    if size == POINT and source.random() < 0.5:
        new = source.choice([*case.statement.updates, *case.statement.public])[:POINT]
    return with_part(case, part, put(getattr(case.proof, part), at, new))


def splice(case: Sound, source: random.Random) -> Mutation:
    """A part, or a word of it, of another proof of the same statement."""
    part = source.choice(["mask", "sums", "argument"])
    mine, other = getattr(case.proof, part), getattr(case.other, part)
    places = range(0, len(mine), POINT if part != "argument" else WORD)
    first = source.choice(places)
    stop = source.choice([first + places.step, len(mine)])
    return with_part(case, part, put(mine, first, other[first:stop]))


def swap(case: Sound, source: random.Random) -> Mutation:
    """Two points or two scalars of the proof, exchanged."""
    places, size = source.choice([(points_of(case), POINT), (scalars_of(case), WORD)])
    (part, at), (other, start) = source.sample(places, 2)
    proof = case.proof
    left, right = getattr(proof, part)[at : at + size], getattr(proof, other)[start : start + size]
    proof = replace(proof, **{part: put(getattr(proof, part), at, right)})
    return case.statement, replace(proof, **{other: put(getattr(proof, other), start, left)})


def change_statement(case: Sound, source: random.Random) -> Mutation:
    """One part of what is claimed."""
    statement = case.statement
    gram = bytearray(statement.gram)
    gram[source.randrange(len(gram))] ^= 1 << source.randrange(8)
    place, other = source.randrange(statement.count), source.randrange(len(statement.public))
    weights = put_at(statement.weights, place, source.randrange(WEIGHT_LIMIT))
    point = point_bytes(multiply(generator(), source.randrange(1, R)))
    updates = put_at(statement.updates, place, put(statement.updates[place], 0, point))
    public = put_at(statement.public, other, put(statement.public[other], 0, point))
    changes: list[dict[str, object]] = [
        {"gram": bytes(gram)},
        {"weights": weights},
        {"updates": updates},
        {"public": public},
        {"context": source.randbytes(WORD)},
        {"dimension": statement.dimension + source.choice([1, -1, 1 << 20])},
    ]
    return replace(statement, **source.choice(changes)), case.proof


def put_at(items: tuple[Item, ...], place: int, item: Item) -> tuple[Item, ...]:
    return (*items[:place], item, *items[place + 1 :])


MUTATORS: tuple[Callable[[Sound, random.Random], Mutation], ...] = (
    flip_bits,
    replace_word,
    shift_scalar,
    replace_point,
    copy_within,
    splice,
    swap,
    change_statement,
)


def changed(case: Sound, source: random.Random, mutator: Callable[[Sound, random.Random], Mutation]) -> Mutation:
    """Mutate until something is different."""
    while True:
        mutation = mutator(case, source)
        if mutation != (case.statement, case.proof):
            return mutation


def refuse(mutation: Mutation) -> None:
    with pytest.raises(InvalidProof):
        verify(key(), *mutation)


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
def test_no_mutated_proof_is_accepted(mutator: Callable[[Sound, random.Random], Mutation]) -> None:
    source = random.Random(mutator.__name__)
    for turn in range(SWEEP_LENGTH):
        refuse(changed(sound(1 + turn % 4 // 3, turn // 4 % 2 == 1), source, mutator))


@settings(max_examples=EXAMPLES)
@given(st.integers(1, 2), st.booleans(), st.sampled_from(MUTATORS), st.randoms(use_true_random=False))
def test_no_mutated_proof_that_is_searched_for_is_accepted(
    chunks: int, examined: bool, mutator: Callable[[Sound, random.Random], Mutation], source: random.Random
) -> None:
    refuse(changed(sound(chunks, examined), source, mutator))


def test_what_is_mutated_is_accepted_as_it_was() -> None:
    for chunks, examined in product((1, 2), (False, True)):
        case = sound(chunks, examined)
        verify(key(), case.statement, case.proof)
        verify(key(), case.statement, case.other)


def test_there_are_as_many_mutations_as_are_counted_on() -> None:
    assert len(MUTATORS) == SWEEPS
    assert MUTATIONS == 20_000
