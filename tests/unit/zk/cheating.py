"""A prover who may lie anywhere, over an SRS whose τ is known only so that it can commit to any polynomial quickly.

It uses τ for nothing else: what it sends for a polynomial is what an MSM over the SRS would give. (Whoever uses τ for
more can prove anything, as `test_zero_knowledge` does.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from market.protocol.gram_matrix import GramMatrix
from tests.unit.zk.proof_rounds import Round, key, random_blinders
from zk import reference
from zk.commitment import Layout
from zk.curve import generator, multiply, point_bytes
from zk.errors import InvalidProof
from zk.field import IOTA, R
from zk.gram_proof import CommittedRow, verify
from zk.reference import Polynomial, divide, evaluate, linear_combination, quadratic_form
from zk.srs import INSECURE_TAU
from zk.transcript import (
    BLINDER_PAIRS,
    PUBLIC_ROWS,
    Challenges,
    GramProof,
    Statement,
    VerifyingKey,
    absorb_evaluations,
    absorb_product,
    absorb_sums,
    row_challenges,
    seed_digest,
)

Row = list[Polynomial]
"""One polynomial a chunk, blinders included."""


def commit_polynomial(polynomial: Polynomial) -> bytes:
    return point_bytes(multiply(generator(), evaluate(polynomial, INSECURE_TAU)))


def commit_row(row: Row) -> bytes:
    return b"".join(commit_polynomial(chunk) for chunk in row)


def polynomials(layout: Layout, row: CommittedRow) -> Row:
    chunks = []
    for j in range(layout.chunks):
        values = [int(value) % R for value in row.values[layout.slice(j)]]
        chunks.append(values + [0] * (layout.chunk_length - len(values)) + row.blinders.tail(j))
    return chunks


def tail(blinders: Sequence[int]) -> Polynomial:
    return [scalar for r in blinders for scalar in (r, IOTA * r % R)]


class Challenger:
    """The challenges of `zk.transcript`, one after the other, as a prover meets them."""

    def __init__(self, statement: Statement, mask: bytes) -> None:
        self._state = self.seed(statement, mask)
        self.alphas = self.rows(statement)
        self.beta = self.z = self.gamma = 0

    def seed(self, statement: Statement, mask: bytes) -> bytes:
        return seed_digest(key().id, statement, mask)

    def rows(self, statement: Statement) -> tuple[int, ...]:
        return row_challenges(self._state, statement.rows)

    def after_sums(self, sums: bytes, blinders: bytes) -> int:
        self._state, self.beta = absorb_sums(self._state, sums, blinders)
        return self.beta

    def after_product(self, product: bytes) -> int:
        self._state, self.z = absorb_product(self._state, product)
        return self.z

    def after_evaluations(self, evaluations: bytes) -> int:
        self.gamma = absorb_evaluations(self._state, evaluations)
        return self.gamma

    @property
    def challenges(self) -> Challenges:
        return Challenges(self.alphas, self.beta, self.z, self.gamma)


@dataclass(frozen=True)
class Answers:
    """What the prover answers at z, and what it knows then: v as G says, and the true value of S(1/z)."""

    z: int
    norm: int
    y: tuple[int, ...]
    y_inverse: tuple[int, ...]
    s: int
    s_inverse: int


def truth(answers: Answers) -> Answers:
    return answers


def lie_about_s(answers: Answers) -> Answers:
    """Make (1) hold by another S(z)."""
    products = sum(y * other for y, other in zip(answers.y, answers.y_inverse, strict=True))
    inverse = pow(answers.z, -1, R)
    return replace(answers, s=(products - answers.norm - inverse * answers.s_inverse) * inverse % R)


def lie_about_y(answers: Answers) -> Answers:
    """Make (1) hold by another a_0(z)."""
    rest = sum(y * other for y, other in zip(answers.y[1:], answers.y_inverse[1:], strict=True))
    inverse = pow(answers.z, -1, R)
    needed = answers.norm + answers.z * answers.s + inverse * answers.s_inverse - rest
    return replace(answers, y=(needed * pow(answers.y_inverse[0], -1, R) % R, *answers.y[1:]))


def autocorrelation(a: Row) -> Polynomial:
    size = len(a[0])
    return [sum(chunk[x] * chunk[x + m + 1] for chunk in a for x in range(size - m - 1)) % R for m in range(size - 1)]


def argue(
    statement: Statement,
    rows: Sequence[Row],
    challenger: Challenger | None = None,
    *,
    answer: Callable[[Answers], Answers] = truth,
    guess_z: int | None = None,
    tamper_sums: Callable[[list[int]], list[int]] = lambda sums: sums,
    blinders: bytes | None = None,
) -> tuple[GramProof, Challenges]:
    """Argue for a statement with all rows as polynomials, as well as the given lies allow.

    Args:
        statement: what to argue for; true or not
        rows: the mask first
        challenger: Fiat and Shamir's by default
        answer: changes what is answered at z
        guess_z: make S such that (1) holds at this z
        tamper_sums: changes the discrete logarithms of A and D before β is drawn
        blinders: ρ, if not the true one
    """
    mask = commit_row(rows[0])
    challenger = challenger or Challenger(statement, mask)
    chunks = range(statement.chunks)
    a = [linear_combination(challenger.alphas, [row[j] for row in rows]) for j in chunks]
    weights = (0, *statement.weights, *(0 for _ in statement.public))
    d = [linear_combination(weights, [row[j] for row in rows]) for j in chunks]
    sums = tamper_sums([evaluate(polynomial, INSECURE_TAU) for polynomial in (*a, *d)])
    sums_bytes = b"".join(point_bytes(multiply(generator(), exponent)) for exponent in sums)
    opened = blinders if blinders is not None else true_blinders(statement, rows)
    challenger.after_sums(sums_bytes, opened)

    norm = quadratic_form(statement, challenger.alphas)
    s = autocorrelation(a)
    if guess_z is not None:
        s[0] = (s[0] + _correction(a, s, norm, guess_z)) % R
    product = commit_polynomial(s)
    z = challenger.after_product(product)
    inverse = pow(z, -1, R)
    true = Answers(
        z,
        norm,
        tuple(evaluate(chunk, z) for chunk in a),
        tuple(evaluate(chunk, inverse) for chunk in a),
        evaluate(s, z),
        evaluate(s, inverse),
    )
    evaluations = _encode(answer(true))
    gamma = challenger.after_evaluations(evaluations)
    folded = linear_combination([pow(gamma, j, R) for j in range(statement.chunks + 1)], [*a, s])
    argument = product + commit_polynomial(divide(folded, z)) + evaluations
    return GramProof(mask, sums_bytes, opened, argument), challenger.challenges


def true_blinders(statement: Statement, rows: Sequence[Row]) -> bytes:
    """ρ, read from slots L, L + 2, … of every chunk."""
    length = -(-statement.dimension // statement.chunks)
    scalars = []
    for j in range(statement.chunks):
        for k in range(BLINDER_PAIRS):
            own = [row[j][length + 2 * k] for row in rows[1 : 1 + statement.count]]
            scalars.append(sum(w * r for w, r in zip(statement.weights, own, strict=True)) % R)
    return b"".join(scalar.to_bytes(32, "big") for scalar in scalars)


def square_root(value: int) -> int | None:
    """One of the roots of a scalar, or None (Tonelli and Shanks; r − 1 = 2^28 · odd)."""
    if pow(value, (R - 1) // 2, R) not in (0, 1):
        return None
    odd, power = R - 1, 0
    while odd % 2 == 0:
        odd, power = odd // 2, power + 1
    generator_of_twos, root, rest = pow(5, odd, R), pow(value, (odd + 1) // 2, R), pow(value, odd, R)
    while rest not in (0, 1):
        order, square = 0, rest
        while square != 1:
            square, order = square * square % R, order + 1
        factor = pow(generator_of_twos, 1 << (power - order - 1), R)
        root, rest = root * factor % R, rest * factor * factor % R
        generator_of_twos, power = factor * factor % R, order
    return root


def _correction(a: Row, s: Polynomial, norm: int, z: int) -> int:
    """What to add to S_0 so that (1) holds at z."""
    inverse = pow(z, -1, R)
    product = sum(evaluate(chunk, z) * evaluate(chunk, inverse) for chunk in a)
    missing = product - norm - z * evaluate(s, z) - inverse * evaluate(s, inverse)
    return missing * pow(z + inverse, -1, R) % R


def _encode(answers: Answers) -> bytes:
    pairs = zip(answers.y, answers.y_inverse, strict=True)
    scalars = [value for pair in pairs for value in pair] + [answers.s]
    return b"".join(scalar.to_bytes(32, "big") for scalar in scalars)


def rows_of(made: Round, seed: int = 5) -> list[Row]:
    """The polynomials of a round with a fresh mask."""
    mask = CommittedRow(
        np.zeros(made.layout.dimension, np.int16), random_blinders(random.Random(seed), made.layout), b""
    )
    return [polynomials(made.layout, row) for row in (mask, *made.rows)]


def changed_gram(statement: Statement, i: int, k: int, change: int) -> Statement:
    """Add to one entry of G; public rows follow the updates."""
    gram = unpacked(statement)
    n = statement.count
    if k < n:
        gram.updates[i][k] += change
        gram.updates[k][i] = gram.updates[i][k]
    elif i < n:
        gram.mixed[i][k - n] += change
    else:
        gram.public[i - n][k - n] += change
        gram.public[k - n][i - n] = gram.public[i - n][k - n]
    return replace(statement, gram=gram.pack())


def unpacked(statement: Statement) -> GramMatrix:
    """G as integers."""
    return GramMatrix.unpack(statement.gram, statement.count, len(statement.public) > PUBLIC_ROWS)


def assert_refused(statement: Statement, proof: GramProof, srs: VerifyingKey | None = None) -> None:
    """By both verifiers."""
    for verifier in (verify, reference.verify):
        with pytest.raises(InvalidProof):
            verifier(srs or key(), statement, proof)


def replaced(proof: GramProof, part: str, at: int, new: bytes) -> GramProof:
    """A proof with other bytes in one part."""
    old = getattr(proof, part)
    return replace(proof, **{part: old[:at] + new + old[at + len(new) :]})
