"""BN254's two prime fields: the scalars' (r, the order of the group) and the coordinates' (p).

Inside kernels an element is a tuple of four 64-bit limbs, least significant first, in Montgomery form: x·2^256 mod the
prime, always fully reduced, so that equal elements have equal limbs. Arrays of elements are uint64 of shape (n, 4).
The functions `r_…` work in the scalars' field and `p_…` in the coordinates' field; they are called from kernels.

P. Montgomery, Modular multiplication without trial division, Mathematics of Computation 44 (1985), 519-521.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from zk.cores import kernel
from zk.errors import InvalidScalar

R = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The order of the group: the modulus of scalars."""

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""The modulus of coordinates."""

IOTA = pow(5, (R - 1) // 4, R)
"""A square root of -1 among the scalars."""

SCALAR_BYTES = 32

Limbs = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
Words = NDArray[np.uint64]

_WIDTH = 256
_WORD = ir.IntType(64)
_DOUBLE = ir.IntType(128)
_ELEMENT = ir.IntType(_WIDTH)
_WIDE = ir.IntType(_WIDTH + 64)
_LIMBS = types.UniTuple(types.uint64, 4)  # type: ignore[no-untyped-call]

_Emit = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _join(build: ir.IRBuilder, words: list[ir.Value], wide: ir.Type) -> ir.Value:
    """Emit one wide integer of several words."""
    value = build.zext(words[0], wide)
    for index, word in enumerate(words[1:], 1):
        value = build.or_(value, build.shl(build.zext(word, wide), ir.Constant(wide, 64 * index)))
    return value


def _words(build: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    """Emit the four low words of a wide integer."""
    return [build.trunc(build.lshr(value, ir.Constant(value.type, 64 * index)), _WORD) for index in range(4)]


def _times_word(build: ir.IRBuilder, words: list[ir.Value], factor: ir.Value) -> ir.Value:
    """Emit the 320-bit product of four words and one: low halves and high halves apart, for two carry chains."""
    low, high = [], []
    for word in words:
        product = build.mul(build.zext(word, _DOUBLE), build.zext(factor, _DOUBLE))
        low.append(build.trunc(product, _WORD))
        high.append(build.trunc(build.lshr(product, ir.Constant(_DOUBLE, 64)), _WORD))
    return build.add(_join(build, low, _WIDE), build.shl(_join(build, high, _WIDE), ir.Constant(_WIDE, 64)))


def _reduce_once(build: ir.IRBuilder, value: ir.Value, modulus: int) -> ir.Value:
    """Emit value mod modulus, for a value below twice the modulus."""
    less = build.sub(value, ir.Constant(_ELEMENT, modulus))
    return build.select(build.icmp_signed("<", less, ir.Constant(_ELEMENT, 0)), value, less)


def _emit_product(modulus: int) -> _Emit:
    """Montgomery multiplication, a word of the second factor at a time."""
    words = [ir.Constant(_WORD, word) for word in limbs(modulus).tolist()]
    inverse = ir.Constant(_WORD, -pow(modulus, -1, 1 << 64) % (1 << 64))

    def emit(build: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        total = ir.Constant(_WIDE, 0)
        left_words = _words(build, left)
        for factor in _words(build, right):
            total = build.add(total, _times_word(build, left_words, factor))
            quotient = build.mul(build.trunc(total, _WORD), inverse)
            total = build.lshr(build.add(total, _times_word(build, words, quotient)), ir.Constant(_WIDE, 64))
        return _reduce_once(build, build.trunc(total, _ELEMENT), modulus)

    return emit


def _emit_sum(modulus: int) -> _Emit:
    def emit(build: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        return _reduce_once(build, build.add(left, right), modulus)

    return emit


def _emit_difference(modulus: int) -> _Emit:
    def emit(build: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        less = build.sub(left, right)
        borrowed = build.ashr(less, ir.Constant(_ELEMENT, _WIDTH - 1))
        return build.add(less, build.and_(borrowed, ir.Constant(_ELEMENT, modulus)))

    return emit


def _operation(emit: _Emit) -> Callable[[Limbs, Limbs], Limbs]:
    """Make an operation on two elements that kernels can call, of the instructions that `emit` writes."""

    def generate(context: Any, build: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        left, right = (
            _join(build, [build.extract_value(element, index) for index in range(4)], _ELEMENT) for element in arguments
        )
        return context.make_tuple(build, signature.return_type, _words(build, emit(build, left, right)))

    def typed(typing_context: Any, left: Any, right: Any) -> Any:
        return _LIMBS(_LIMBS, _LIMBS), generate

    return cast("Callable[[Limbs, Limbs], Limbs]", intrinsic(typed))


def limbs(value: int) -> Words:
    """Return an integer below 2^256 as four words, least significant first: uint64 of shape (4,)."""
    return np.frombuffer(value.to_bytes(SCALAR_BYTES, "little"), "<u8").astype(np.uint64)


def limbs_of(values: Iterable[int]) -> Words:
    """Return integers below 2^256 as words: uint64 of shape (n, 4)."""
    data = b"".join(value.to_bytes(SCALAR_BYTES, "little") for value in values)
    return np.frombuffer(data, "<u8").astype(np.uint64).reshape(-1, 4)


def integer(words: Words) -> int:
    """Return the integer that four words stand for."""
    return int.from_bytes(words.astype("<u8").tobytes(), "little")


def integers(words: Words) -> list[int]:
    """Return the integers that the rows of an array of shape (n, 4) stand for."""
    data = words.astype("<u8").tobytes()
    return [int.from_bytes(data[at : at + SCALAR_BYTES], "little") for at in range(0, len(data), SCALAR_BYTES)]


def r_element(value: int) -> Words:
    """Return value mod r in Montgomery form: uint64 of shape (4,)."""
    return limbs((value << _WIDTH) % R)


def r_integer(element: Words) -> int:
    """Return the scalar in 0..r-1 that a Montgomery element of shape (4,) stands for."""
    return integer(element) * _R_BACK % R


def p_element(value: int) -> Words:
    """Return value mod p in Montgomery form: uint64 of shape (4,)."""
    return limbs((value << _WIDTH) % P)


def p_integer(element: Words) -> int:
    """Return the coordinate in 0..p-1 that a Montgomery element of shape (4,) stands for."""
    return integer(element) * _P_BACK % P


def parse_scalar(unverified: bytes) -> int:
    """Return the scalar of 32 big-endian bytes.

    Raises:
        InvalidScalar: another length, or not below r.
    """
    if len(unverified) != SCALAR_BYTES:
        raise InvalidScalar(f"a scalar has {SCALAR_BYTES} bytes, not {len(unverified)}")
    value = int.from_bytes(unverified, "big")
    if value >= R:
        raise InvalidScalar(f"scalar 0x{value:064x} is not below the group's order")
    return value


_R_BACK = pow(1 << _WIDTH, -1, R)
_P_BACK = pow(1 << _WIDTH, -1, P)

_r_product = _operation(_emit_product(R))
_r_sum = _operation(_emit_sum(R))
_r_difference = _operation(_emit_difference(R))
_p_product = _operation(_emit_product(P))
_p_sum = _operation(_emit_sum(P))
_p_difference = _operation(_emit_difference(P))


def constant(value: int) -> Limbs:
    """Return an integer below 2^256 as a tuple of words, for kernels to use as a global constant."""
    words = limbs(value)
    return words[0], words[1], words[2], words[3]


# Constants of kernels: one and 2^512 (which takes an integer to Montgomery form) in each field, and the exponents of
# inversion by Fermat's little theorem.
ZERO = constant(0)
R_ONE = constant((1 << _WIDTH) % R)
R_LIFT = constant((1 << 2 * _WIDTH) % R)
P_ONE = constant((1 << _WIDTH) % P)
P_LIFT = constant((1 << 2 * _WIDTH) % P)
_UNIT = constant(1)
_R_FERMAT = constant(R - 2)
_P_FERMAT = constant(P - 2)


@kernel
def load(array: Words, row: int) -> Limbs:
    """Return a row of an array of shape (n, 4)."""
    return array[row, 0], array[row, 1], array[row, 2], array[row, 3]


@kernel
def store(array: Words, row: int, element: Limbs) -> None:
    """Write a row of an array of shape (n, 4)."""
    array[row, 0] = element[0]
    array[row, 1] = element[1]
    array[row, 2] = element[2]
    array[row, 3] = element[3]


@kernel
def single(array: Words) -> Limbs:
    """Return the element of an array of shape (4,)."""
    return array[0], array[1], array[2], array[3]


@kernel
def is_zero(element: Limbs) -> bool:
    """Tell whether an element of either field is zero."""
    return bool((element[0] | element[1] | element[2] | element[3]) == 0)


@kernel
def is_equal(left: Limbs, right: Limbs) -> bool:
    """Tell whether two elements of one field are equal."""
    return bool(((left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3])) == 0)


@kernel
def r_mul(left: Limbs, right: Limbs) -> Limbs:
    """Return the product of two scalars; the second factor may be any integer below 2^256."""
    return _r_product(left, right)


@kernel
def r_add(left: Limbs, right: Limbs) -> Limbs:
    """Return the sum of two scalars."""
    return _r_sum(left, right)


@kernel
def r_sub(left: Limbs, right: Limbs) -> Limbs:
    """Return the difference of two scalars."""
    return _r_difference(left, right)


@kernel
def r_neg(element: Limbs) -> Limbs:
    """Return a scalar's negative."""
    return _r_difference(ZERO, element)


@kernel
def r_inv(element: Limbs) -> Limbs:
    """Return a scalar's inverse, and zero for zero."""
    result, square = R_ONE, element
    for word in _R_FERMAT:
        for _ in range(64):
            if word & 1:
                result = _r_product(result, square)
            square = _r_product(square, square)
            word >>= 1
    return result


@kernel
def r_plain(element: Limbs) -> Limbs:
    """Return the integer in 0..r-1 that a scalar in Montgomery form stands for."""
    return _r_product(element, _UNIT)


@kernel
def p_mul(left: Limbs, right: Limbs) -> Limbs:
    """Return the product of two coordinates; the second factor may be any integer below 2^256."""
    return _p_product(left, right)


@kernel
def p_add(left: Limbs, right: Limbs) -> Limbs:
    """Return the sum of two coordinates."""
    return _p_sum(left, right)


@kernel
def p_sub(left: Limbs, right: Limbs) -> Limbs:
    """Return the difference of two coordinates."""
    return _p_difference(left, right)


@kernel
def p_neg(element: Limbs) -> Limbs:
    """Return a coordinate's negative."""
    return _p_difference(ZERO, element)


@kernel
def p_inv(element: Limbs) -> Limbs:
    """Return a coordinate's inverse, and zero for zero."""
    result, square = P_ONE, element
    for word in _P_FERMAT:
        for _ in range(64):
            if word & 1:
                result = _p_product(result, square)
            square = _p_product(square, square)
            word >>= 1
    return result


@kernel
def p_plain(element: Limbs) -> Limbs:
    """Return the integer in 0..p-1 that a coordinate in Montgomery form stands for."""
    return _p_product(element, _UNIT)
