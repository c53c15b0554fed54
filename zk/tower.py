"""The extension fields of BN254's pairing, for kernels.

    F_p2  = F_p[i] / (i² + 1)       an array of shape (2, 4): real part, imaginary part
    F_p12 = F_p2[w] / (w⁶ − ξ)      an array of shape (6, 2, 4): the coefficients of w⁰ … w⁵;  ξ = 9 + i

Arrays are C-contiguous uint64, elements of F_p in Montgomery form. The result is written into the first argument, which
may be one of the operands. Arrays and not tuples: the compiler then sees small functions, and is done in seconds.
"""

from __future__ import annotations

import numpy as np

from zk.cores import kernel
from zk.field import P_ONE, Words, is_zero, load, p_add, p_inv, p_mul, p_neg, p_sub, single, store


@kernel
def is_zero2(a: Words) -> bool:
    """Tell whether an element of F_p2 is zero."""
    return is_zero(load(a, 0)) and is_zero(load(a, 1))


@kernel
def one2(out: Words) -> None:
    """Write one into an element of F_p2."""
    out[:] = 0
    store(out, 0, P_ONE)


@kernel
def copy2(out: Words, a: Words) -> None:
    """Write a in F_p2."""  # by words: the assignment of a whole array takes the compiler seconds
    store(out, 0, load(a, 0))
    store(out, 1, load(a, 1))


@kernel
def add2(out: Words, a: Words, b: Words) -> None:
    """Write a + b in F_p2."""
    store(out, 0, p_add(load(a, 0), load(b, 0)))
    store(out, 1, p_add(load(a, 1), load(b, 1)))


@kernel
def sub2(out: Words, a: Words, b: Words) -> None:
    """Write a − b in F_p2."""
    store(out, 0, p_sub(load(a, 0), load(b, 0)))
    store(out, 1, p_sub(load(a, 1), load(b, 1)))


@kernel
def mul2(out: Words, a: Words, b: Words) -> None:
    """Write a·b in F_p2, by three multiplications instead of four (Karatsuba)."""
    real, imaginary = p_mul(load(a, 0), load(b, 0)), p_mul(load(a, 1), load(b, 1))
    both = p_mul(p_add(load(a, 0), load(a, 1)), p_add(load(b, 0), load(b, 1)))
    store(out, 0, p_sub(real, imaginary))
    store(out, 1, p_sub(p_sub(both, real), imaginary))


@kernel
def scale2(out: Words, a: Words, factor: Words) -> None:
    """Write a·factor in F_p2, for a factor from F_p, of shape (4,)."""
    store(out, 0, p_mul(load(a, 0), single(factor)))
    store(out, 1, p_mul(load(a, 1), single(factor)))


@kernel
def conjugate2(out: Words, a: Words) -> None:
    """Write a^p in F_p2: the imaginary part changes its sign."""
    store(out, 0, load(a, 0))
    store(out, 1, p_neg(load(a, 1)))


@kernel
def inverse2(out: Words, a: Words) -> None:
    """Write 1/a = conjugate(a) / (real² + imaginary²) in F_p2; zero for zero."""
    real, imaginary = load(a, 0), load(a, 1)
    inverse = p_inv(p_add(p_mul(real, real), p_mul(imaginary, imaginary)))
    store(out, 0, p_mul(real, inverse))
    store(out, 1, p_mul(p_neg(imaginary), inverse))


@kernel
def add_xi2(out: Words, a: Words) -> None:
    """Add ξ·a = (9·real − imaginary) + (9·imaginary + real)·i to an element of F_p2."""
    real, imaginary = load(a, 0), load(a, 1)
    real_9, imaginary_9 = real, imaginary
    for _ in range(3):
        real_9, imaginary_9 = p_add(real_9, real_9), p_add(imaginary_9, imaginary_9)
    real_9, imaginary_9 = p_add(real_9, real), p_add(imaginary_9, imaginary)
    store(out, 0, p_add(load(out, 0), p_sub(real_9, imaginary)))
    store(out, 1, p_add(load(out, 1), p_add(imaginary_9, real)))


@kernel
def one12(out: Words) -> None:
    """Write one into an element of F_p12."""
    out[:] = 0
    store(out[0], 0, P_ONE)


@kernel
def _reduce12(out: Words, wide: Words) -> None:
    """Write a polynomial of 11 coefficients, reduced by w⁶ = ξ."""
    for k in range(6):
        copy2(out[k], wide[k])
        if k < 5:
            add_xi2(out[k], wide[k + 6])


@kernel
def mul12(out: Words, a: Words, b: Words) -> None:
    """Write a·b in F_p12."""
    wide, product = np.zeros((11, 2, 4), np.uint64), np.empty((2, 4), np.uint64)
    for i in range(6):
        for j in range(6):
            mul2(product, a[i], b[j])
            add2(wide[i + j], wide[i + j], product)
    _reduce12(out, wide)


@kernel
def square12(out: Words, a: Words) -> None:
    """Write a² in F_p12: every mixed product once, doubled."""
    wide, product = np.zeros((11, 2, 4), np.uint64), np.empty((2, 4), np.uint64)
    for i in range(6):
        for j in range(i + 1, 6):
            mul2(product, a[i], a[j])
            add2(wide[i + j], wide[i + j], product)
    for k in range(11):
        add2(wide[k], wide[k], wide[k])
    for i in range(6):
        mul2(product, a[i], a[i])
        add2(wide[2 * i], wide[2 * i], product)
    _reduce12(out, wide)


@kernel
def mul_line12(f: Words, c0: Words, c1: Words, c3: Words) -> None:
    """Multiply an element of F_p12 by c0 + c1·w + c3·w³, with c0 from F_p and the others from F_p2."""
    wide, product = np.zeros((11, 2, 4), np.uint64), np.empty((2, 4), np.uint64)
    for i in range(6):
        scale2(product, f[i], c0)
        add2(wide[i], wide[i], product)
        mul2(product, f[i], c1)
        add2(wide[i + 1], wide[i + 1], product)
        mul2(product, f[i], c3)
        add2(wide[i + 3], wide[i + 3], product)
    _reduce12(f, wide)
