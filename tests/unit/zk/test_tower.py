"""The kernels of the extension fields, against py_ecc."""

from __future__ import annotations

import secrets

import numpy as np
from py_ecc.optimized_bn128 import FQ2, FQ12

from zk import tower
from zk.field import P, Words, p_integer
from zk.twist import XI, Fp2, montgomery


def fp2() -> Fp2:
    return Fp2(secrets.randbelow(P), secrets.randbelow(P))


def array(*elements: Fp2) -> Words:
    return np.stack([montgomery(*element) for element in elements])


def pair(element: Words) -> tuple[int, int]:
    return p_integer(element[0]), p_integer(element[1])


def oracle2(element: Fp2) -> FQ2:
    return FQ2([element.real, element.imaginary])


def oracle12(coefficients: list[Fp2]) -> FQ12:
    """The same element over py_ecc's basis 1 … w¹¹, in which i = w⁶ − 9."""
    low = [real - 9 * imaginary for real, imaginary in coefficients]
    return FQ12([value % P for value in low + [imaginary for _, imaginary in coefficients]])


def integers12(element: Words) -> FQ12:
    return oracle12([Fp2(*pair(coefficient)) for coefficient in element])


def test_arithmetic_of_f_p2_is_py_eccs() -> None:
    for a, b in [(fp2(), fp2()) for _ in range(20)] + [(Fp2(0, 0), fp2()), (Fp2(P - 1, P - 1), Fp2(P - 1, P - 1))]:
        out = np.empty((2, 4), np.uint64)
        for kernel, expected in (
            (tower.add2, oracle2(a) + oracle2(b)),
            (tower.sub2, oracle2(a) - oracle2(b)),
            (tower.mul2, oracle2(a) * oracle2(b)),
        ):
            kernel(out, array(a)[0], array(b)[0])
            assert FQ2(pair(out)) == expected
        tower.inverse2(out, array(b)[0])
        assert FQ2(pair(out)) * oracle2(b) == FQ2.one()
        tower.conjugate2(out, array(a)[0])
        assert pair(out) == (a.real, -a.imaginary % P)
        assert oracle2(a.times(b)) == oracle2(a) * oracle2(b)
        assert oracle2(a.plus(b)) == oracle2(a) + oracle2(b)


def test_a_result_may_replace_its_operand() -> None:
    a, b = fp2(), fp2()
    left, right = array(a)[0], array(b)[0]

    tower.mul2(left, left, right)
    tower.mul2(right, left, right)

    assert pair(right) == tuple(a.times(b).times(b))


def test_zero_has_no_inverse_and_gives_zero() -> None:
    out = array(fp2())[0]

    tower.inverse2(out, np.zeros((2, 4), np.uint64))

    assert tower.is_zero2(out)
    assert not tower.is_zero2(array(Fp2(0, 1))[0])


def test_what_is_added_is_xi_times_the_element() -> None:
    a, b = fp2(), fp2()
    out = array(a)[0]

    tower.add_xi2(out, array(b)[0])

    assert pair(out) == tuple(a.plus(b.times(XI)))


def test_products_in_f_p12_are_py_eccs() -> None:
    for _ in range(5):
        a, b = [fp2() for _ in range(6)], [fp2() for _ in range(6)]
        out = np.empty((6, 2, 4), np.uint64)

        tower.mul12(out, array(*a), array(*b))
        assert integers12(out) == oracle12(a) * oracle12(b)
        tower.square12(out, array(*a))
        assert integers12(out) == oracle12(a) * oracle12(a)


def test_a_sparse_product_is_the_product_with_the_whole_line() -> None:
    a, c0, c1, c3, zero = [fp2() for _ in range(6)], secrets.randbelow(P), fp2(), fp2(), Fp2(0, 0)
    out = array(*a)

    tower.mul_line12(out, montgomery(c0)[0], array(c1)[0], array(c3)[0])

    assert integers12(out) == oracle12(a) * oracle12([Fp2(c0, 0), c1, zero, c3, zero, zero])


def test_the_p6th_power_changes_the_sign_of_w() -> None:
    a = [fp2() for _ in range(6)]

    assert oracle12(a) ** (P**6) == oracle12(
        [element if k % 2 == 0 else Fp2(-element.real % P, -element.imaginary % P) for k, element in enumerate(a)]
    )
