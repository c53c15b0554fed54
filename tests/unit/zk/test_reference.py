"""The reference and the fast implementation say the same, on the shared vectors, on acceptance and on refusal."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from py_ecc.optimized_bn128 import FQ2, G1, G2, Z1, add, curve_order, field_modulus, multiply

from tests.unit.zk.proof_rounds import key, make_round, proven, small_srs
from zk import reference
from zk.errors import InvalidPoint, InvalidProof, InvalidScalar, InvalidSrs, ZkError
from zk.field import IOTA, P, R
from zk.gram_proof import MaskRow, prove, verify
from zk.reference import NaiveRow, NaiveSrs
from zk.srs import INSECURE_TAU
from zk.transcript import GramProof, Statement, VerifyingKey, replay, round_context, seed_digest
from zk.twist import G2_GENERATOR

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "proofs.json").read_text())
CASES = {case["name"]: case for case in VECTORS["cases"]}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


VECTOR_KEY = VerifyingKey(*(unhex(VECTORS["srs"][name]) for name in ("tau_g1", "tau_g2", "tau2_g2")))


def read(case: dict[str, Any]) -> tuple[Statement, GramProof]:
    size, n, data = 64 * case["chunks"], case["updates"], unhex(case["rows"])
    mask, *rows = (data[at : at + size] for at in range(0, len(data), size))
    statement = Statement(
        context=unhex(case["context"]),
        dimension=case["dimension"],
        chunks=case["chunks"],
        updates=tuple(rows[:n]),
        public=tuple(rows[n:]),
        gram=unhex(case["gram"]),
        weights=tuple(case["weights"]),
    )
    return statement, GramProof(mask, *(unhex(case[name]) for name in ("sums", "blinders", "argument")))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_both_verifiers_accept_the_shared_vectors(case: dict[str, Any]) -> None:
    statement, proof = read(case)
    verify(VECTOR_KEY, statement, proof)
    reference.verify(VECTOR_KEY, statement, proof)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_shared_vectors_have_their_challenges(case: dict[str, Any]) -> None:
    statement, proof = read(case)
    challenges = replay(VECTOR_KEY.id, statement, proof)
    assert VECTOR_KEY.id == unhex(VECTORS["srs"]["id"])
    assert seed_digest(VECTOR_KEY.id, statement, proof.mask) == unhex(case["seed"])
    assert list(challenges.alphas) == [int(alpha, 16) for alpha in case["alphas"]]
    assert [challenges.beta, challenges.z, challenges.gamma] == [int(case[x], 16) for x in ("beta", "z", "gamma")]
    words = case["round_context"]
    names = ("job", "round", "attempt", "revealed", "excluded")
    numbers = [int(words[name], 16) for name in names]
    assert round_context(int(words["chain_id"], 16), unhex(words["market"]), *numbers) == statement.context


def test_the_shared_vectors_cover_what_they_are_for() -> None:
    cases = list(CASES.values())
    assert {case["chunks"] for case in cases} >= {1, 2}
    assert {case["updates"] for case in cases} >= {3, 4}
    assert any(not any(case["weights"]) for case in cases)
    for public_rows in (5, 6):
        statements = [statement for c in cases if len((statement := read(c)[0]).public) == public_rows]
        assert {statement.chunks for statement in statements} >= {1, 2, 3}
        assert any(not any(statement.weights) for statement in statements)
        absent = [any(row == bytes(64 * s.chunks) for row in s.public) for s in statements]
        assert set(absent) == {True, False}
    exams = [statement.public[5] for c in cases if len((statement := read(c)[0]).public) == 6]
    assert any(exam[:64] == bytes(64) for exam in exams)
    assert not any(exam == bytes(len(exam)) for exam in exams)


@pytest.mark.parametrize("examined", [False, True])
def test_both_provers_make_the_same_proof_from_the_same_mask(examined: bool) -> None:
    made = make_round(3, updates=2, chunks=2, dimension=11, examined=examined)
    layout = made.layout
    mask = MaskRow.fresh(small_srs(), layout)
    naive_srs = NaiveSrs(NaiveSrs.known(INSECURE_TAU, layout.slots).points, key())
    rows = [NaiveRow([int(value) for value in row.values], row.blinders.values) for row in made.rows]
    naive = reference.prove(naive_srs, made.statement, rows, NaiveRow([0] * 11, mask.blinders.values))
    assert prove(small_srs(), made.statement, made.rows, mask) == naive


def verdict(verifier: Callable[..., None], statement: Statement, proof: GramProof) -> type[ZkError] | None:
    try:
        verifier(key(), statement, proof)
    except ZkError as error:
        return type(error)
    return None


def test_both_verifiers_agree_on_random_changes() -> None:
    """A word of the proof is replaced by another word of it, by its negative, or by noise."""
    source = random.Random(6)
    for seed in range(24):
        made, proof = proven(chunks=1 + seed % 2, examined=seed % 4 > 1)
        part = source.choice(["mask", "sums", "blinders", "argument"])
        data = getattr(proof, part)
        at = 32 * source.randrange(len(data) // 32)
        old = int.from_bytes(data[at : at + 32], "big")
        other = 32 * source.randrange(len(proof.argument) // 32)
        word = source.choice(
            [(P - old) % P, (R - old) % R, old, int.from_bytes(proof.argument[other : other + 32], "big")]
        )
        changed = replace(proof, **{part: data[:at] + word.to_bytes(32, "big") + data[at + 32 :]})
        expected = None if changed == proof else InvalidProof
        assert verdict(verify, made.statement, changed) is expected
        assert verdict(reference.verify, made.statement, changed) is expected


def test_the_constants_are_those_of_the_curve() -> None:
    assert (curve_order, field_modulus) == (R, P)
    assert IOTA * IOTA % R == R - 1
    assert reference.encode_point2(G2) == G2_GENERATOR


def test_points_come_back_from_their_bytes() -> None:
    for scalar in (1, 2, 12345, R - 1):
        point = multiply(G1, scalar)
        assert reference.eq(reference.decode_point(reference.encode_point(point), "P", infinity=False), point)
    assert reference.encode_point(Z1) == bytes(64)
    assert reference.encode_point(add(G1, multiply(G1, R - 1))) == bytes(64)
    assert reference.is_inf(reference.decode_point(bytes(64), "P", infinity=True))
    assert reference.eq(reference.decode_point2(reference.encode_point2(multiply(G2, 7))), multiply(G2, 7))


@pytest.mark.parametrize(
    "data",
    [bytes(64), bytes(63), bytes(65), bytes(63) + b"\1", (P + 1).to_bytes(32, "big") + (2).to_bytes(32, "big")],
    ids=["infinity", "short", "long", "off the curve", "not reduced"],
)
def test_malformed_points_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPoint):
        reference.decode_point(data, "P", infinity=False)


def test_scalars_that_are_not_reduced_are_refused() -> None:
    assert reference.decode_scalars((R - 1).to_bytes(32, "big"), "s") == [R - 1]
    with pytest.raises(InvalidScalar):
        reference.decode_scalars(R.to_bytes(32, "big"), "s")


def test_points_outside_the_second_group_are_refused() -> None:
    with pytest.raises(InvalidSrs):
        reference.decode_point2(bytes(127) + b"\1")
    with pytest.raises(InvalidSrs):
        reference.decode_point2(bytes(64))
    outside = next(found for x in range(1, 99) if (found := point_on_twist(x)))
    with pytest.raises(InvalidSrs):
        reference.decode_point2(outside)


def point_on_twist(x: int) -> bytes | None:
    """A point with this x on the twist, almost surely of another order than r."""
    square = FQ2([x, 0]) * FQ2([x, 0]) * FQ2([x, 0]) + reference.b2
    root = square ** ((P * P + 15) // 32)  # a square root but for a 32nd root of unity, as p² = 17 mod 32
    unity = FQ2([9, 1]) ** ((P * P - 1) // 32)
    for power in range(32):
        y = root * unity**power
        if y * y == square:
            return reference.encode_point2((FQ2([x, 0]), y, FQ2.one()))
    return None


def test_a_polynomial_is_divided_without_its_linear_rest() -> None:
    z = 7
    assert reference.divide([1, -(z + pow(z, -1, R)) % R, 1], z) == [1]
    assert reference.divide([5, 3], z) == []
    assert np.array_equal(reference.row_polynomials(NaiveRow([-1], [[0] * 6]), 1)[0][:1], [R - 1])
