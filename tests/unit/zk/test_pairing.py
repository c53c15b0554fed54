"""The pairing check against py_ecc, and everything that must not get into it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import optimized_bn128 as oracle

from zk.errors import InvalidPoint
from zk.field import P, R
from zk.pairing import pairing_check
from zk.twist import G2_GENERATOR, Fp2, G2Point, multiply_g2, parse_g2

G1_GENERATOR = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
INFINITY_1, INFINITY_2 = bytes(64), bytes(128)
COFACTOR = 2 * P - R
"""Of G2 in the twist's group."""

scalars = st.integers(0, R - 1)


def g1(scalar: int) -> bytes:
    return encoded(oracle.multiply(oracle.G1, scalar))


def g2(scalar: int) -> bytes:
    return encoded(oracle.multiply(oracle.G2, scalar))


def encoded(point: Any) -> bytes:
    """A point of py_ecc's in the EVM's encoding."""
    if oracle.is_inf(point):
        return INFINITY_1 if isinstance(point[0], oracle.FQ) else INFINITY_2
    words = [word for value in oracle.normalize(point) for word in reversed(getattr(value, "coeffs", (value,)))]
    return b"".join(int(word).to_bytes(32, "big") for word in words)


def random_point_of_the_twist() -> Any:
    """On the twist, and with overwhelming probability not in G2: a square root in F_p2 after a few tries."""
    while True:
        x = oracle.FQ2([secrets.randbelow(P), secrets.randbelow(P)])
        y_square = x * x * x + oracle.b2
        # p² = 9 mod 16 or not: the norm decides, and the root is found by way of it.
        real, imaginary = (int(value) for value in y_square.coeffs)
        norm = (real * real + imaginary * imaginary) % P
        root = pow(norm, (P + 1) // 4, P)
        for sign in (1, -1):
            half = (real + sign * root) * pow(2, -1, P) % P
            y_real = pow(half, (P + 1) // 4, P)
            if root * root % P == norm and y_real and y_real * y_real % P == half:
                y = oracle.FQ2([y_real, imaginary * pow(2 * y_real, -1, P) % P])
                assert y * y == y_square
                return x, y, oracle.FQ2.one()


def test_the_generators_are_py_eccs() -> None:
    assert encoded(oracle.G1) == G1_GENERATOR
    assert encoded(oracle.G2) == G2_GENERATOR


@settings(max_examples=15, deadline=None)
@given(a=scalars, b=scalars)
def test_the_pairing_is_bilinear(a: int, b: int) -> None:
    assert pairing_check([(g1(a), g2(b)), (g1(-a * b % R), G2_GENERATOR)])
    assert pairing_check([(g1(a), g2(b)), (g1(-b % R), g2(a))])


@settings(max_examples=10, deadline=None)
@given(factors=st.lists(st.tuples(scalars, scalars), min_size=1, max_size=4))
def test_a_product_is_one_exactly_when_the_exponents_cancel(factors: list[tuple[int, int]]) -> None:
    pairs = [(g1(a), g2(b)) for a, b in factors]
    rest = -sum(a * b for a, b in factors) % R

    assert pairing_check(pairs) is (rest == 0)
    assert pairing_check([*pairs, (g1(rest), G2_GENERATOR)])
    assert not pairing_check([*pairs, (g1((rest + 1) % R), G2_GENERATOR)])


@pytest.mark.parametrize("total", [0, 1])
def test_the_oracle_agrees_on_a_product_of_three(total: int) -> None:
    a, b, c, d = (secrets.randbelow(R) for _ in range(4))
    factors = [(a, b), (c, d), ((total - a * b - c * d) % R, 1)]

    product = oracle.FQ12.one()
    for left, right in factors:
        product *= oracle.pairing(oracle.multiply(oracle.G2, right), oracle.multiply(oracle.G1, left))

    assert (product == oracle.FQ12.one()) is (total == 0)
    assert pairing_check([(g1(left), g2(right)) for left, right in factors]) is (total == 0)


def test_the_pairing_is_not_degenerate() -> None:
    assert not pairing_check([(G1_GENERATOR, G2_GENERATOR)])


def test_infinity_contributes_one() -> None:
    assert pairing_check([])
    assert pairing_check([(INFINITY_1, G2_GENERATOR), (G1_GENERATOR, INFINITY_2), (INFINITY_1, INFINITY_2)])
    assert not pairing_check([(INFINITY_1, G2_GENERATOR), (G1_GENERATOR, G2_GENERATOR)])
    assert pairing_check([(g1(7), G2_GENERATOR), (G1_GENERATOR, INFINITY_2), (g1(R - 7), G2_GENERATOR)])


def test_no_chord_of_the_loop_is_vertical() -> None:
    u = 4965661367192848881
    chords = [(2 * ((6 * u + 2) >> shift + 1), 1) for shift in range(64) if (6 * u + 2) >> shift & 1]
    chords += [(6 * u + 2, P), (6 * u + 2 + P, -(P**2))]

    assert all((k - other) % R != 0 != (k + other) % R for k, other in chords)
    assert (6 * u + 2 + P - P**2 + P**3) % R == 0


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (bytes(63), "a point has 64 bytes, not 63"),
        (bytes(65), "a point has 64 bytes, not 65"),
        (P.to_bytes(32, "big") + bytes(32), "is not below the field's modulus"),
        ((P + 1).to_bytes(32, "big") + (2).to_bytes(32, "big"), "is not below the field's modulus"),
        ((1).to_bytes(32, "big") + (P + 2).to_bytes(32, "big"), "is not below the field's modulus"),
        (b"\xff" * 64, "is not below the field's modulus"),
        ((1).to_bytes(32, "big") + (3).to_bytes(32, "big"), "is not on the curve"),
        (bytes(63) + b"\x01", "is not on the curve"),
    ],
    ids=["short", "long", "x = p", "x = p + 1", "y = p + 2", "largest", "off", "near infinity"],
)
def test_what_is_no_point_of_g1_is_refused(point: bytes, words: str) -> None:
    with pytest.raises(InvalidPoint, match=words):
        pairing_check([(point, INFINITY_2)])  # also where the other point would make it irrelevant


def with_word(index: int, value: int) -> bytes:
    return G2_GENERATOR[: 32 * index] + value.to_bytes(32, "big") + G2_GENERATOR[32 * (index + 1) :]


@pytest.mark.parametrize("index", range(4))
def test_a_coordinate_of_g2_that_is_not_reduced_is_refused(index: int) -> None:
    same = int.from_bytes(G2_GENERATOR[32 * index : 32 * (index + 1)], "big") + P
    for value in (P, same, 2**256 - 1):
        with pytest.raises(InvalidPoint, match="is not below the field's modulus"):
            pairing_check([(INFINITY_1, with_word(index, value))])


@pytest.mark.parametrize("index", range(4))
def test_a_point_off_the_twist_is_refused(index: int) -> None:
    for value in (0, 1, P - 1):
        with pytest.raises(InvalidPoint, match="is not on the twist"):
            pairing_check([(INFINITY_1, with_word(index, value))])


def test_the_real_part_does_not_come_first() -> None:
    words = [G2_GENERATOR[at : at + 32] for at in range(0, 128, 32)]

    with pytest.raises(InvalidPoint, match="is not on the twist"):
        parse_g2(words[1] + words[0] + words[3] + words[2])


@pytest.mark.parametrize("length", [0, 64, 127, 129])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidPoint, match=f"a point of G2 has 128 bytes, not {length}"):
        parse_g2(bytes(length))


@pytest.mark.parametrize("order", [1, 10069, 10069 * R, COFACTOR])
def test_a_point_of_the_twist_outside_g2_is_refused(order: int) -> None:
    """Of the twist's whole group, of the smallest order, of that times r, and without any part in G2."""
    assert COFACTOR % 10069 == 0
    point = random_point_of_the_twist()
    if order > 1:
        point = oracle.multiply(point, COFACTOR * R // order)
    assert oracle.is_on_curve(point, oracle.b2)

    with pytest.raises(InvalidPoint, match="on the twist, but not of the group's order"):
        pairing_check([(G1_GENERATOR, encoded(point))])


@settings(max_examples=20, deadline=None)
@given(scalar=st.integers(1, R - 1))
def test_points_of_g2_are_what_they_were_made_of(scalar: int) -> None:
    x, y = oracle.normalize(oracle.multiply(oracle.G2, scalar))

    point = parse_g2(g2(scalar))

    assert point == G2Point(Fp2(*(int(value) for value in x.coeffs)), Fp2(*(int(value) for value in y.coeffs)))


@settings(max_examples=20, deadline=None)
@given(scalar=st.one_of(scalars, st.sampled_from([0, 1, 2, R - 1, R, R + 3, -1])), base=st.integers(1, 10))
def test_multiples_in_g2_are_py_eccs(scalar: int, base: int) -> None:
    assert multiply_g2(g2(base), scalar) == g2(base * scalar % R)


def test_a_multiple_of_infinity_is_infinity() -> None:
    assert multiply_g2(INFINITY_2, 5) == INFINITY_2
