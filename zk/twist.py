"""G2 of BN254: the points of order r on the twist y² = x³ + 3/ξ over F_p2, and their encoding in the EVM.

An encoded point is 128 bytes, big-endian: the imaginary part of x, its real part, the imaginary part of y, its real
part; infinity is 128 zero bytes. For kernels a point is an array of shape (2, 2, 4): x and y, see zk.tower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zk.cores import kernel
from zk.errors import InvalidPoint
from zk.field import P, R, Words, limbs_of, p_integer
from zk.tower import add2, copy2, is_zero2, mul2, one2, sub2

G2_BYTES = 128

G2_GENERATOR = bytes.fromhex(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
)
"""The generator that EIP-197 fixes."""


class Fp2(NamedTuple):
    """real + imaginary·i, both in 0..p-1."""

    real: int
    imaginary: int

    def times(self, other: Fp2) -> Fp2:
        """Return the product."""
        return Fp2(
            (self.real * other.real - self.imaginary * other.imaginary) % P,
            (self.real * other.imaginary + self.imaginary * other.real) % P,
        )

    def plus(self, other: Fp2) -> Fp2:
        """Return the sum."""
        return Fp2((self.real + other.real) % P, (self.imaginary + other.imaginary) % P)

    def power(self, exponent: int) -> Fp2:
        """Return a power with an exponent of zero or more."""
        result = Fp2(1, 0)
        for digit in f"{exponent:b}":
            result = result.times(result)
            if digit == "1":
                result = result.times(self)
        return result

    def __str__(self) -> str:
        return f"{self.real:#x} + {self.imaginary:#x}·i"


XI = Fp2(9, 1)
"""What w⁶ is: neither a square nor a cube."""

_B = Fp2(3 * 9, P - 3).times(Fp2(pow(82, -1, P), 0))  # 3/ξ = 3·(9 − i)/82


class G2Point(NamedTuple):
    """A point of G2 other than infinity."""

    x: Fp2
    y: Fp2

    def elements(self) -> Words:
        """Return the point in Montgomery form, for kernels: uint64 of shape (2, 2, 4)."""
        return montgomery(*self.x, *self.y).reshape(2, 2, 4)


def parse_g2(unverified: bytes) -> G2Point | None:
    """Return the point of G2 that 128 bytes encode, and None for infinity.

    Raises:
        InvalidPoint: another length, a coordinate that is not reduced, not on the twist, or not of order r.
    """
    if len(unverified) != G2_BYTES:
        raise InvalidPoint(f"a point of G2 has {G2_BYTES} bytes, not {len(unverified)}")
    words = [int.from_bytes(unverified[at : at + 32], "big") for at in range(0, G2_BYTES, 32)]
    if not any(words):
        return None
    if max(words) >= P:
        raise InvalidPoint(f"coordinate {max(words):#x} of a point of G2 is not below the field's modulus")
    point = G2Point(Fp2(words[1], words[0]), Fp2(words[3], words[2]))
    if point.y.times(point.y) != point.x.power(3).plus(_B):
        raise InvalidPoint(f"the point of G2 with x = {point.x} is not on the twist y² = x³ + 3/(9 + i)")
    if _jacobian_multiple(point, R)[2].any():
        raise InvalidPoint(f"the point with x = {point.x} is on the twist, but not of the group's order")
    return point


def multiply_g2(point: bytes, scalar: int) -> bytes:
    """Return a point of G2 times an integer of any size and sign, both points in the EVM's encoding.

    Raises:
        InvalidPoint: what `parse_g2` refuses.
    """
    parsed, factor = parse_g2(point), scalar % R
    if parsed is None or factor == 0:
        return bytes(G2_BYTES)
    x, y, z = (Fp2(p_integer(element[0]), p_integer(element[1])) for element in _jacobian_multiple(parsed, factor))
    inverse = z.power(P * P - 2)
    square = inverse.times(inverse)
    coordinates = x.times(square), y.times(square.times(inverse))
    return b"".join(part.to_bytes(32, "big") for element in coordinates for part in reversed(element))


def _jacobian_multiple(point: G2Point, factor: int) -> Words:
    """Return a multiple, for a positive factor, in Jacobian coordinates: uint64 of shape (3, 2, 4)."""
    total = np.empty((3, 2, 4), np.uint64)
    _multiply(total, point.elements(), bits_after_first(factor))
    return total


def montgomery(*elements: int) -> Words:
    """Return elements of F_p in Montgomery form: uint64 of shape (n, 4)."""
    return limbs_of((element << 256) % P for element in elements)


def bits_after_first(number: int) -> Words:
    """Return a positive number's binary digits after the leading one: the steps of double-and-add, uint64 of (n,)."""
    return np.array([int(digit) for digit in f"{number:b}"[1:]], dtype=np.uint64)


@kernel
def _double(x: Words, y: Words, z: Words) -> None:
    """Double a point in Jacobian coordinates on a curve y² = x³ + b. Infinity (z = 0) stays infinity."""
    free = np.empty((3, 2, 4), np.uint64)
    y_square, chord, slope = free[0], free[1], free[2]
    mul2(z, z, y)
    add2(z, z, z)
    mul2(y_square, y, y)
    mul2(chord, x, y_square)
    add2(chord, chord, chord)
    add2(chord, chord, chord)  # 4xy²
    mul2(x, x, x)
    add2(slope, x, x)
    add2(slope, slope, x)  # 3x²
    mul2(x, slope, slope)
    sub2(x, x, chord)
    sub2(x, x, chord)
    mul2(y_square, y_square, y_square)
    for _ in range(3):
        add2(y_square, y_square, y_square)  # 8y⁴
    sub2(chord, chord, x)
    mul2(y, slope, chord)
    sub2(y, y, y_square)


@kernel
def _add_affine(x: Words, y: Words, z: Words, point: Words) -> None:
    """Add an affine point to one in Jacobian coordinates that is neither infinity nor equal to it."""
    free = np.empty((3, 2, 4), np.uint64)
    width, height, cube = free[0], free[1], free[2]
    _differences(width, height, x, y, z, point)
    mul2(z, z, width)
    mul2(cube, width, width)
    mul2(width, cube, width)
    mul2(cube, x, cube)
    mul2(x, height, height)
    sub2(x, x, width)
    sub2(x, x, cube)
    sub2(x, x, cube)
    mul2(width, width, y)
    sub2(cube, cube, x)
    mul2(y, height, cube)
    sub2(y, y, width)


@kernel
def _differences(width: Words, height: Words, x: Words, y: Words, z: Words, point: Words) -> None:
    """Write the affine point's coordinates, brought to the scale of (x, y, z), less x and y."""
    mul2(height, z, z)
    mul2(width, point[0], height)
    sub2(width, width, x)
    mul2(height, height, z)
    mul2(height, height, point[1])
    sub2(height, height, y)


@kernel
def _multiply(total: Words, point: Words, digits: Words) -> None:
    """Write a multiple of a point in Jacobian coordinates, (3, 2, 4). `digits`: the factor's after the first."""
    free = np.empty((2, 2, 4), np.uint64)
    x, y, z = total[0], total[1], total[2]
    copy2(x, point[0])
    copy2(y, point[1])
    one2(z)
    for digit in digits:
        _double(x, y, z)
        if digit == 0:
            continue
        _differences(free[0], free[1], x, y, z, point)
        if is_zero2(z):  # infinity: start again at the point
            copy2(x, point[0])
            copy2(y, point[1])
            one2(z)
        elif is_zero2(free[0]) and is_zero2(free[1]):  # the point itself
            _double(x, y, z)
        else:
            _add_affine(x, y, z, point)
