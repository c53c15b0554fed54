"""The check that a product of pairings over BN254 is one, as Ethereum's precompile at address 8 makes it.

The optimal ate pairing (Vercauteren, "Optimal pairings", 2010) of P ∈ G1 and Q ∈ G2, with u = 4965661367192848881:

    e(P, Q) = ( f_(6u+2, Q)(P) · l_([6u+2]Q, πQ)(P) · l_([6u+2]Q+πQ, −π²Q)(P) ) ^ ((p¹² − 1)/r)

Points of G2 are kept on the twist y² = x³ + 3/ξ over F_p2; (x, y) stands for (w²x, w³y) on the curve over F_p12. The
line of slope λ through T = (x, y) on the twist is then, at P: y_P − λ·x_P·w + (λ·x − y)·w³.

No inversion in F_p12: (p¹² − 1)/r = (p⁶ − 1)·h with h = (p² + 1)·(p⁴ − p² + 1)/r. For f ≠ 0 and g = f^h,

    f^((p¹² − 1)/r) = 1  ⇔  g^(p⁶) = g  ⇔  the coefficients of w, w³ and w⁵ in g are zero,

because the p⁶-th power is the automorphism w → −w: it leaves F_p2 alone, and w^(p⁶) = w·ξ^((p⁶ − 1)/6) = −w, for ξ is
no square in F_p2. And f ≠ 0: every factor is a line whose constant term is y_P, and no point of odd order has y_P = 0.

No slope's denominator is zero: a chord joins [k]Q and [k']Q with k ≠ ±k' mod r, for Q of order r.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zk.cores import kernel
from zk.curve import is_infinity, parse_point
from zk.field import P, R, Words
from zk.tower import (
    add2,
    conjugate2,
    copy2,
    inverse2,
    is_zero2,
    mul2,
    mul12,
    mul_line12,
    one2,
    one12,
    scale2,
    square12,
    sub2,
)
from zk.twist import XI, bits_after_first, montgomery, parse_g2

_BN_PARAMETER = 4965661367192848881
_GAMMAS = montgomery(*XI.power((P - 1) // 3), *XI.power((P - 1) // 2)).reshape(2, 2, 4)
_OMEGAS = montgomery(*(pow(82, k * (P - 1) // 6, P) for k in range(6)))  # ω = ξ^((p²−1)/6), and ξ^(p+1) = 9² + 1²
_LOOP = bits_after_first(6 * _BN_PARAMETER + 2)
_HARD_PART = bits_after_first((P**4 - P**2 + 1) // R)


def pairing_check(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether the product of e(P, Q) over all pairs (P, Q) is one.

    Args:
        pairs: points of G1 (64 bytes: x, y) and of G2 (128 bytes, imaginary parts first), big-endian. Infinity is zero
            bytes; a pair with infinity counts as one, and so does having no pair.

    Raises:
        InvalidPoint: another length, a coordinate that is not reduced, off the curve or the twist, or not in G2.
    """
    parsed = [(parse_point(left), parse_g2(right)) for left, right in pairs]
    finite = [(left, right.elements()) for left, right in parsed if right is not None and not is_infinity(left)]
    if not finite:
        return True
    left_points = np.stack([left.reshape(2, 4) for left, _ in finite])
    right_points = np.stack([right for _, right in finite])
    return _product_is_one(left_points, right_points, _LOOP, _HARD_PART, _GAMMAS, _OMEGAS)


@kernel
def _solve(slopes: Words, runs: Words) -> None:
    """Divide slopes, given as rises, by their runs, with one inversion for all (Montgomery's trick). Both (n, 2, 4)."""
    products, inverse, rest = np.empty_like(runs), np.empty((2, 4), np.uint64), np.empty((2, 4), np.uint64)
    one2(inverse)
    for k in range(len(runs)):
        copy2(products[k], inverse)
        mul2(inverse, inverse, runs[k])
    inverse2(inverse, inverse)
    for k in range(len(runs) - 1, -1, -1):
        mul2(rest, inverse, products[k])
        mul2(slopes[k], slopes[k], rest)
        mul2(inverse, inverse, runs[k])


@kernel
def _tangents(slopes: Words, points: Words) -> None:
    """Write the slopes 3x² / 2y of the tangents."""
    runs = np.empty_like(slopes)
    for k in range(len(points)):
        mul2(runs[k], points[k, 0], points[k, 0])
        add2(slopes[k], runs[k], runs[k])
        add2(slopes[k], slopes[k], runs[k])
        add2(runs[k], points[k, 1], points[k, 1])
    _solve(slopes, runs)


@kernel
def _chords(slopes: Words, points: Words, others: Words) -> None:
    """Write the slopes of the chords."""
    runs = np.empty_like(slopes)
    for k in range(len(points)):
        sub2(slopes[k], others[k, 1], points[k, 1])
        sub2(runs[k], others[k, 0], points[k, 0])
    _solve(slopes, runs)


@kernel
def _follow(f: Words, slopes: Words, points: Words, others: Words, left: Words) -> None:
    """Multiply f by the lines through points and others, at the points of G1; then add the others to the points."""
    free = np.zeros((3, 2, 4), np.uint64)
    linear, cubic, x = free[0], free[1], free[2]
    for k in range(len(points)):
        old_x, old_y, slope = points[k, 0], points[k, 1], slopes[k]
        x[:] = 0
        scale2(linear, slope, left[k, 0])
        sub2(linear, x, linear)
        mul2(cubic, slope, old_x)
        sub2(cubic, cubic, old_y)
        mul_line12(f, left[k, 1], linear, cubic)
        mul2(x, slope, slope)
        sub2(x, x, old_x)
        sub2(x, x, others[k, 0])
        sub2(linear, old_x, x)
        mul2(linear, linear, slope)
        sub2(old_y, linear, old_y)
        copy2(old_x, x)


@kernel
def _frobenius(images: Words, right: Words, gammas: Words) -> None:
    """Write the Frobenius images of points of G2: coordinates conjugated, times ξ^((p−1)/3) and ξ^((p−1)/2)."""
    for k in range(len(right)):
        for coordinate in range(2):
            conjugate2(images[k, coordinate], right[k, coordinate])
            mul2(images[k, coordinate], images[k, coordinate], gammas[coordinate])


@kernel
def _miller_loop(f: Words, left: Words, right: Words, loop: Words, gammas: Words, omegas: Words) -> None:
    """Write the product of the Miller functions of all pairs."""
    points, images, slopes = right.copy(), np.empty_like(right), np.empty((len(right), 2, 4), np.uint64)
    one12(f)
    for digit in loop:
        square12(f, f)
        _tangents(slopes, points)
        _follow(f, slopes, points, points, left)
        if digit:
            _chords(slopes, points, right)
            _follow(f, slopes, points, right, left)
    _frobenius(images, right, gammas)
    _chords(slopes, points, images)
    _follow(f, slopes, points, images, left)
    for k in range(len(right)):  # −π²(x, y) = (ω²·x, y), because π² multiplies y by ω³ = −1
        scale2(images[k, 0], right[k, 0], omegas[2])
        copy2(images[k, 1], right[k, 1])
    _chords(slopes, points, images)
    _follow(f, slopes, points, images, left)


@kernel
def _product_is_one(left: Words, right: Words, loop: Words, hard_part: Words, gammas: Words, omegas: Words) -> bool:
    """Tell whether the pairings' product is one, for points (n, 2, 4) of G1 and (n, 2, 2, 4) of G2, n > 0."""
    f, power = np.empty((6, 2, 4), np.uint64), np.empty((6, 2, 4), np.uint64)
    _miller_loop(f, left, right, loop, gammas, omegas)
    for k in range(6):  # the p²-th power: conjugation twice, and w^k times ω^k
        scale2(power[k], f[k], omegas[k])
    mul12(f, f, power)
    for k in range(6):
        copy2(power[k], f[k])
    for digit in hard_part:
        square12(power, power)
        if digit:
            mul12(power, power, f)
    return is_zero2(power[1]) and is_zero2(power[3]) and is_zero2(power[5])
