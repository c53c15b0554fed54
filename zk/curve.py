"""BN254's group G1, y² = x³ + 3 over the coordinates' field: points, one at a time and by the million.

Points are affine, their coordinates in Montgomery form: uint64 of shape (8,), x before y, or (n, 8) for many, which is
the layout of `.ptau` files. Infinity is eight zeros. The group's order is a prime, so no point but infinity has y = 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zk.cores import kernel, on_all_cores, ranges
from zk.errors import InvalidPoint
from zk.field import (
    P_ONE,
    ZERO,
    Limbs,
    P,
    R,
    Words,
    constant,
    is_equal,
    is_zero,
    limbs_of,
    p_add,
    p_element,
    p_integer,
    p_inv,
    p_mul,
    p_neg,
    p_sub,
)

POINT_BYTES = 64
COORDINATE_BYTES = 32
BATCH = 1024
"""Additions that share an inversion: few enough for the cache, enough to make the inversion cheap."""

Points = NDArray[np.uint64]
Indices = NDArray[np.int64]

_GRAIN = 1 << 12
_THREE = constant((3 << 256) % P)
_MODULUS = constant(P)


def infinity() -> Points:
    """Return the neutral element."""
    return np.zeros(8, np.uint64)


def generator() -> Points:
    """Return the group's generator, (1, 2)."""
    return np.concatenate([p_element(1), p_element(2)])


def is_infinity(point: Points) -> bool:
    """Tell whether a point is the neutral element."""
    return not point.any()


def parse_point(unverified: bytes) -> Points:
    """Return the point of 64 bytes as the EVM's precompiles have them: x before y, big-endian; zeros are infinity.

    Raises:
        InvalidPoint: another length, a coordinate that is not reduced, or a point off the curve.
    """
    if len(unverified) != POINT_BYTES:
        raise InvalidPoint(f"a point has {POINT_BYTES} bytes, not {len(unverified)}")
    x, y = (int.from_bytes(unverified[at : at + COORDINATE_BYTES], "big") for at in (0, COORDINATE_BYTES))
    for name, value in (("x", x), ("y", y)):
        if value >= P:
            raise InvalidPoint(f"coordinate {name} = 0x{value:064x} is not below the field's modulus")
    if (x or y) and (y * y - x**3 - 3) % P:
        raise InvalidPoint(f"(0x{x:064x}, 0x{y:064x}) is not on the curve y² = x³ + 3")
    return np.concatenate([p_element(x), p_element(y)])


def parse_points(unverified: bytes) -> Points:
    """Return the points, shape (n, 8), of 64·n bytes.

    Raises:
        InvalidPoint: a length that is no multiple of 64, or a point that `parse_point` refuses, with its index.
    """
    if len(unverified) % POINT_BYTES:
        raise InvalidPoint(f"points have {POINT_BYTES} bytes each; {len(unverified)} bytes are no whole number of them")
    points = np.empty((len(unverified) // POINT_BYTES, 8), np.uint64)
    for index in range(len(points)):
        try:
            points[index] = parse_point(unverified[index * POINT_BYTES : (index + 1) * POINT_BYTES])
        except InvalidPoint as error:
            raise InvalidPoint(f"point {index}: {error}") from error
    return points


def point_bytes(points: Points) -> bytes:
    """Return the EVM bytes of one point, shape (8,), or of many, shape (n, 8), one after the other."""
    coordinates = np.ascontiguousarray(points).reshape(-1, 4)
    return b"".join(p_integer(coordinate).to_bytes(COORDINATE_BYTES, "big") for coordinate in coordinates)


def check_points(unverified: Points, infinity_allowed: bool = False) -> None:
    """Check that every point of an array, shape (n, 8), is reduced and on the curve.

    Raises:
        InvalidPoint: names the first point that is not, or that is infinity where that is not allowed.
    """

    def first_bad(part: tuple[int, int]) -> int:
        return _first_bad(unverified, part[0], part[1], infinity_allowed)

    bad = [index for index in on_all_cores(first_bad, ranges(len(unverified), _GRAIN)) if index >= 0]
    if bad:
        index = min(bad)
        coordinates = unverified[index].tobytes().hex()
        problem = "is infinity" if is_infinity(unverified[index]) else "is not a reduced point on the curve"
        raise InvalidPoint(f"point {index} {problem}: 0x{coordinates} (Montgomery words)")


def negate(point: Points) -> Points:
    """Return a point's inverse."""
    result = np.array(point)
    _negate(result)
    return result


def add(left: Points, right: Points) -> Points:
    """Return the sum of two points."""
    return total(np.stack([left, right]))


def double(point: Points) -> Points:
    """Return twice a point."""
    return add(point, point)


def total(points: Points) -> Points:
    """Return the sum of the points of an array of shape (n, 8)."""
    if len(points) == 0:
        return infinity()
    work = np.array(points)
    add_segments(work, np.array([0, len(work)]))
    return np.array(work[0])


def multiply(point: Points, scalar: int) -> Points:
    """Return a point times an integer of any size and sign."""
    return multiply_sum(point.reshape(1, 8), [scalar])


def multiply_sum(points: Points, scalars: Sequence[int]) -> Points:
    """Return Σ scalar_i·point_i for a few points, shape (n, 8), and integers of any size and sign.

    Above some dozens of points `zk.msm.msm` is faster.
    """
    result = infinity()
    _interleaved(np.array(points), limbs_of(scalar % R for scalar in scalars), result)
    return result


def generator_multiples(scalars: Words) -> Points:
    """Return scalar_i·(1, 2) for each scalar: uint64 of shape (n, 4), plain integers below 2^256, to points (n, 8)."""
    table = _byte_table(generator())
    multiples = np.empty((len(scalars), 8), np.uint64)

    def fill(part: tuple[int, int]) -> None:
        _look_up(table, scalars, part[0], part[1], multiples)

    on_all_cores(fill, ranges(len(scalars), BATCH))
    return multiples


def _byte_table(base: Points) -> Points:
    """Return b·256^w·base at row 256·w + b, for the 32 bytes of a scalar."""
    table = np.zeros((32, 256, 8), np.uint64)
    for place in range(32):
        table[place, 1] = multiply(base, 1 << (8 * place))
    rows = table.reshape(-1, 8)
    _fill_table(rows)
    return rows


@kernel
def load_x(points: Points, row: int) -> Limbs:
    """Return the x of a row of an array of points."""
    return points[row, 0], points[row, 1], points[row, 2], points[row, 3]


@kernel
def load_y(points: Points, row: int) -> Limbs:
    """Return the y of a row of an array of points: zero for infinity, and for nothing else."""
    return points[row, 4], points[row, 5], points[row, 6], points[row, 7]


@kernel
def store_point(points: Points, row: int, x: Limbs, y: Limbs) -> None:
    """Write a row of an array of points."""
    for word in range(4):
        points[row, word] = x[word]
        points[row, 4 + word] = y[word]


@kernel
def _first_bad(points: Points, start: int, stop: int, infinity_allowed: bool) -> int:
    """Return the index of the first point in start..stop that is not a reduced point on the curve, or -1."""
    for row in range(start, stop):
        x, y = load_x(points, row), load_y(points, row)
        if is_zero(x) and is_zero(y):
            if not infinity_allowed:
                return row
        elif not (_is_reduced(x) and _is_reduced(y)) or not is_equal(p_mul(y, y), p_add(p_mul(p_mul(x, x), x), _THREE)):
            return row
    return -1


@kernel
def _is_reduced(value: Limbs) -> bool:
    for word in range(3, -1, -1):
        if value[word] != _MODULUS[word]:
            return bool(value[word] < _MODULUS[word])
    return False


@kernel
def _negate(point: Points) -> None:
    y = p_neg((point[4], point[5], point[6], point[7]))
    for word in range(4):
        point[4 + word] = y[word]


@kernel
def batch_room() -> Words:
    """Return the room that `add_pairs` works in."""
    return np.empty((2 * BATCH, 4), np.uint64)


@kernel
def add_pairs(into: Points, to: Indices, source: Points, of: Indices, count: int, room: Words) -> None:
    """Compute into[to[i]] += source[of[i]] for i below `count`, at most BATCH, in affine coordinates.

    One inversion serves all (Montgomery's trick), which leaves six multiplications an addition. Equal and opposite
    points and infinity are right everywhere. The targets are distinct, and none is also a source. `to` and `of` are
    overwritten.

    P. Montgomery, Speeding the Pollard and elliptic curve methods of factorization, Mathematics of Computation 48
    (1987), 243-264; for buckets: D. Bernstein, J. Doumen, T. Lange, J. Oosterwijk, Faster batch forgery
    identification, INDOCRYPT 2012.
    """
    kept = 0
    product = P_ONE
    for pair in range(count):
        row, other = to[pair], of[pair]
        denominator = _denominator(into, row, source, other)
        if is_zero(denominator):
            continue
        for word in range(4):
            room[kept, word] = denominator[word]
            room[BATCH + kept, word] = product[word]
        product = p_mul(product, denominator)
        to[kept] = row
        of[kept] = other
        kept += 1
    if kept == 0:
        return
    inverse = p_inv(product)
    for pair in range(kept - 1, -1, -1):
        before = BATCH + pair
        denominator = (room[pair, 0], room[pair, 1], room[pair, 2], room[pair, 3])
        reciprocal = p_mul(inverse, (room[before, 0], room[before, 1], room[before, 2], room[before, 3]))
        inverse = p_mul(inverse, denominator)
        _add_with(into, to[pair], source, of[pair], reciprocal)


@kernel
def _denominator(into: Points, row: int, source: Points, other: int) -> Limbs:
    """Return the slope's denominator for an addition; where none is needed, add at once and return zero."""
    y1, y2 = load_y(into, row), load_y(source, other)
    if is_zero(y2):
        return ZERO
    x1, x2 = load_x(into, row), load_x(source, other)
    if is_zero(y1):
        store_point(into, row, x2, y2)
        return ZERO
    difference = p_sub(x2, x1)
    if not is_zero(difference):
        return difference
    if is_equal(y1, y2):
        return p_add(y1, y1)
    store_point(into, row, ZERO, ZERO)
    return ZERO


@kernel
def _add_with(into: Points, row: int, source: Points, other: int, reciprocal: Limbs) -> None:
    """Add two points, the reciprocal of whose slope's denominator is known."""
    x1, y1 = load_x(into, row), load_y(into, row)
    x2, y2 = load_x(source, other), load_y(source, other)
    if is_equal(x1, x2):
        square = p_mul(x1, x1)
        numerator = p_add(p_add(square, square), square)
    else:
        numerator = p_sub(y2, y1)
    slope = p_mul(numerator, reciprocal)
    x3 = p_sub(p_sub(p_mul(slope, slope), x1), x2)
    store_point(into, row, x3, p_sub(p_mul(slope, p_sub(x1, x3)), y1))


@kernel
def add_segments(work: Points, starts: Indices) -> None:
    """Sum each segment starts[s]..starts[s+1] of an array of points, in place, into the segment's first row.

    A tree of pairs at doubling distances, so that the additions of a level are independent and share inversions.
    """
    room = batch_room()
    to, of = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    distance, longest = 1, 2
    while distance < longest:
        count = 0
        for segment in range(len(starts) - 1):
            stop = starts[segment + 1]
            longest = max(longest, stop - starts[segment])
            for row in range(starts[segment], stop - distance, 2 * distance):
                to[count] = row
                of[count] = row + distance
                count += 1
                if count == BATCH:
                    add_pairs(work, to, work, of, count, room)
                    count = 0
        add_pairs(work, to, work, of, count, room)
        distance *= 2


@kernel
def _fill_table(table: Points) -> None:
    """Fill rows 256·w + b for b > 1 from row 256·w + 1."""
    room = batch_room()
    places = len(table) // 256
    to, of = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    for byte in range(2, 256):
        for place in range(places):
            row = 256 * place + byte
            for word in range(8):
                table[row, word] = table[row - 1, word]
            to[place] = row
            of[place] = 256 * place + 1
        add_pairs(table, to, table, of, places, room)


@kernel
def _look_up(table: Points, scalars: Words, start: int, stop: int, multiples: Points) -> None:
    """Write the multiples for scalars start..stop: a table's entry for each byte, summed."""
    room = batch_room()
    to, of = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    multiples[start:stop] = 0
    for first in range(start, stop, BATCH):
        count = min(BATCH, stop - first)
        for place in range(32):
            for index in range(count):
                word = np.int64(scalars[first + index, place // 8] >> np.uint64(8 * (place % 8))) & 255
                to[index] = first + index
                of[index] = 256 * place + word
            add_pairs(multiples, to, table, of, count, room)


@kernel
def _interleaved(points: Points, scalars: Words, result: Points) -> None:
    """Write Σ scalar_i·point_i by one chain of doublings for all points, bit by bit, in Jacobian coordinates."""
    x, y, z = ZERO, P_ONE, ZERO
    for bit in range(255, -1, -1):
        x, y, z = _jacobian_double(x, y, z)
        for row in range(len(points)):
            if (scalars[row, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1):
                x, y, z = _jacobian_add(x, y, z, load_x(points, row), load_y(points, row))
    inverse = p_inv(z)
    square = p_mul(inverse, inverse)
    affine_x, affine_y = p_mul(x, square), p_mul(y, p_mul(square, inverse))
    for word in range(4):
        result[word] = affine_x[word]
        result[4 + word] = affine_y[word]


@kernel
def _jacobian_double(x: Limbs, y: Limbs, z: Limbs) -> tuple[Limbs, Limbs, Limbs]:
    """Double a point (X/Z², Y/Z³); infinity has Z = 0."""
    if is_zero(z):
        return x, y, z
    a, b = p_mul(x, x), p_mul(y, y)
    c = p_mul(b, b)
    shifted = p_add(x, b)
    d = p_sub(p_sub(p_mul(shifted, shifted), a), c)
    d = p_add(d, d)
    e = p_add(p_add(a, a), a)
    x3 = p_sub(p_mul(e, e), p_add(d, d))
    c = p_add(c, c)
    c = p_add(c, c)
    y3 = p_sub(p_mul(e, p_sub(d, x3)), p_add(c, c))
    z3 = p_mul(y, z)
    return x3, y3, p_add(z3, z3)


@kernel
def _jacobian_add(x: Limbs, y: Limbs, z: Limbs, x2: Limbs, y2: Limbs) -> tuple[Limbs, Limbs, Limbs]:
    """Add an affine point to one in Jacobian coordinates."""
    if is_zero(y2):
        return x, y, z
    if is_zero(z):
        return x2, y2, P_ONE
    square = p_mul(z, z)
    h = p_sub(p_mul(x2, square), x)
    slope = p_sub(p_mul(y2, p_mul(square, z)), y)
    if is_zero(h):
        if is_zero(slope):
            return _jacobian_double(x, y, z)
        return ZERO, P_ONE, ZERO
    h2 = p_mul(h, h)
    h3, shifted = p_mul(h2, h), p_mul(x, h2)
    x3 = p_sub(p_sub(p_mul(slope, slope), h3), p_add(shifted, shifted))
    return x3, p_sub(p_mul(slope, p_sub(shifted, x3)), p_mul(y, h3)), p_mul(z, h)
