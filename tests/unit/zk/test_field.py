from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bn128 import curve_order, field_modulus

from zk import field
from zk.errors import InvalidScalar
from zk.field import IOTA, Limbs, P, R

FULL = (1 << 64) - 1
"""Every bit of a word: a multiple of it carries from word to word."""

Operation = Callable[[Limbs, Limbs], Limbs]


def _words(value: int) -> Limbs:
    return field.constant(value)


def _value(element: Limbs) -> int:
    return field.integer(np.array(element, np.uint64))  # kernels hand plain integers back


def _elements(modulus: int) -> st.SearchStrategy[int]:
    edges = [0, 1, 2, modulus - 1, modulus - 2, modulus // 2, modulus // 2 + 1]
    words = [FULL, FULL << 64, FULL << 128, (1 << 192) - 1, (1 << 252) - 1, (1 << 256) % modulus]
    return st.sampled_from(edges + words) | st.integers(0, modulus - 1)


class Field:
    def __init__(self, name: str, modulus: int) -> None:
        self.modulus = modulus
        self.back = pow(1 << 256, -1, modulus)
        self.mul: Operation = getattr(field, f"{name}_mul")
        self.add: Operation = getattr(field, f"{name}_add")
        self.sub: Operation = getattr(field, f"{name}_sub")
        self.neg: Callable[[Limbs], Limbs] = getattr(field, f"{name}_neg")
        self.inv: Callable[[Limbs], Limbs] = getattr(field, f"{name}_inv")
        self.plain: Callable[[Limbs], Limbs] = getattr(field, f"{name}_plain")
        self.element = getattr(field, f"{name}_element")
        self.integer = getattr(field, f"{name}_integer")


FIELDS = [Field("r", R), Field("p", P)]


def test_the_moduli_are_those_of_the_independent_implementation() -> None:
    assert (curve_order, field_modulus) == (R, P)
    assert IOTA * IOTA % R == R - 1


@pytest.mark.parametrize("prime", FIELDS, ids="rp")
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_kernels_compute_what_integers_do(prime: Field, data: st.DataObject) -> None:
    left, right = data.draw(_elements(prime.modulus)), data.draw(_elements(prime.modulus))
    a, b = _words(left), _words(right)
    assert _value(prime.mul(a, b)) == left * right * prime.back % prime.modulus
    assert _value(prime.add(a, b)) == (left + right) % prime.modulus
    assert _value(prime.sub(a, b)) == (left - right) % prime.modulus
    assert _value(prime.neg(a)) == -left % prime.modulus
    assert _value(prime.plain(a)) == left * prime.back % prime.modulus


@pytest.mark.parametrize("prime", FIELDS, ids="rp")
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_element_but_zero_has_an_inverse(prime: Field, data: st.DataObject) -> None:
    value = data.draw(_elements(prime.modulus))
    inverse = _words(_value(prime.inv(_words(value))))
    product = prime.mul(_words(value), inverse)
    assert _value(product) == ((1 << 256) % prime.modulus if value else 0)


@pytest.mark.parametrize("prime", FIELDS, ids="rp")
@given(value=st.integers(-(1 << 300), 1 << 300))
def test_integers_survive_the_way_to_montgomery_form_and_back(prime: Field, value: int) -> None:
    assert prime.integer(prime.element(value)) == value % prime.modulus


@given(st.lists(st.integers(0, (1 << 256) - 1), max_size=5))
def test_integers_survive_the_way_to_words_and_back(values: list[int]) -> None:
    assert field.integers(field.limbs_of(values)) == values
    assert [field.integer(field.limbs(value)) for value in values] == values


def test_elements_are_compared_word_by_word() -> None:
    for shift in range(0, 256, 64):
        one = _words(1 << shift)
        assert not field.is_zero(one)
        assert not field.is_equal(one, field.ZERO)
        assert field.is_equal(one, _words(1 << shift))
    assert field.is_zero(field.ZERO)


def test_a_scalar_is_parsed_only_when_reduced() -> None:
    assert field.parse_scalar((R - 1).to_bytes(32, "big")) == R - 1
    with pytest.raises(InvalidScalar, match="not below the group's order"):
        field.parse_scalar(R.to_bytes(32, "big"))
    with pytest.raises(InvalidScalar, match="32 bytes, not 31"):
        field.parse_scalar(bytes(31))


def test_kernels_are_compiled() -> None:
    assert isinstance(field.r_mul, numba.core.registry.CPUDispatcher)
