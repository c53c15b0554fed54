"""The protocol once more, short and slow, over py_ecc: every sum written out, no point or polynomial ever packed.

It shares with the fast implementation only the hashes of `zk.transcript`. The tests hold both against each other; the
naive prover makes `tests/vectors/proofs.json`. For dimensions of a few dozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from py_ecc.fields import optimized_bn128_FQ as FQ
from py_ecc.fields import optimized_bn128_FQ2 as FQ2
from py_ecc.fields import optimized_bn128_FQ12 as FQ12
from py_ecc.optimized_bn128.optimized_curve import (
    G1,
    G2,
    Z1,
    add,
    b,
    b2,
    eq,
    is_inf,
    is_on_curve,
    multiply,
    neg,
    normalize,
)
from py_ecc.optimized_bn128.optimized_pairing import pairing

from zk.errors import InvalidPoint, InvalidProof, InvalidScalar, InvalidSrs
from zk.field import IOTA, P, R
from zk.transcript import (
    BLINDER_PAIRS,
    POINT,
    WORD,
    Challenges,
    GramProof,
    Statement,
    VerifyingKey,
    absorb_evaluations,
    absorb_product,
    absorb_sums,
    replay,
    row_challenges,
    seed_digest,
)

Point = tuple[FQ, FQ, FQ]
Point2 = tuple[FQ2, FQ2, FQ2]
Polynomial = list[int]
"""Coefficients mod r, the constant first."""


@dataclass(frozen=True)
class NaiveSrs:
    """[τ^i]1 for i = 0, 1, …, and the verifier's key."""

    points: tuple[Point, ...]
    key: VerifyingKey

    @classmethod
    def known(cls, tau: int, length: int) -> NaiveSrs:
        """Make one from a τ that everybody knows: for tests and vectors."""
        points = [multiply(G1, pow(tau, i, R)) for i in range(length)]
        tau_g2, tau2_g2 = multiply(G2, tau), multiply(G2, tau * tau % R)
        key = VerifyingKey(encode_point(points[1]), encode_point2(tau_g2), encode_point2(tau2_g2))
        return cls(tuple(points), key)


@dataclass(frozen=True)
class NaiveRow:
    """A row's d integers and its c lists of K blinders."""

    values: Sequence[int]
    blinders: Sequence[Sequence[int]]


# Points and scalars as bytes


def encode_point(point: Point) -> bytes:
    """Encode as x ‖ y, big-endian; 64 zero bytes for infinity."""
    if is_inf(point):
        return bytes(POINT)
    return b"".join(int(coordinate).to_bytes(WORD, "big") for coordinate in normalize(point))


def encode_point2(point: Point2) -> bytes:
    """Encode as x imaginary ‖ x real ‖ y imaginary ‖ y real."""
    x, y = normalize(point)
    return b"".join(int(part).to_bytes(WORD, "big") for element in (x, y) for part in reversed(element.coeffs))


def decode_point(unverified: bytes, name: str, *, infinity: bool) -> Point:
    """Parse x ‖ y.

    Raises:
        InvalidPoint: not 64 bytes, a coordinate >= p, not on the curve, or infinity where that is not allowed
    """
    if len(unverified) != POINT:
        raise InvalidPoint(f"{name} has {len(unverified)} bytes, expected {POINT}")
    x, y = int.from_bytes(unverified[:WORD], "big"), int.from_bytes(unverified[WORD:], "big")
    if x >= P or y >= P:
        raise InvalidPoint(f"{name} has a coordinate that is not below p")
    if (x, y) == (0, 0):
        if not infinity:
            raise InvalidPoint(f"{name} is the point at infinity")
        return Z1
    point = (FQ(x), FQ(y), FQ(1))
    if not is_on_curve(point, b):
        raise InvalidPoint(f"{name} is not on the curve")
    return point


def decode_point2(unverified: bytes) -> Point2:
    """Parse a point of G2: on the curve and of order r.

    Raises:
        InvalidSrs: anything else
    """
    words = _words(unverified)
    if len(unverified) != 4 * WORD or max(words) >= P:
        raise InvalidSrs("a point of G2 is not four coordinates below p")
    point = (FQ2([words[1], words[0]]), FQ2([words[3], words[2]]), FQ2.one())
    if not is_on_curve(point, b2) or not is_inf(multiply(point, R)):
        raise InvalidSrs("a point is not in G2")
    return point


def decode_points(unverified: bytes, name: str, *, infinity: bool) -> list[Point]:
    """Parse one point a chunk."""
    parts = (unverified[at : at + POINT] for at in range(0, len(unverified), POINT))
    return [decode_point(part, f"{name}, chunk {j}", infinity=infinity) for j, part in enumerate(parts)]


def decode_scalars(unverified: bytes, name: str) -> list[int]:
    """Parse 32-byte words.

    Raises:
        InvalidScalar: a word >= r
    """
    scalars = _words(unverified)
    for place, scalar in enumerate(scalars):
        if scalar >= R:
            raise InvalidScalar(f"{name} {place} is not below r")
    return scalars


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + WORD], "big") for at in range(0, len(data), WORD)]


def _encode_scalars(scalars: Sequence[int]) -> bytes:
    return b"".join(scalar.to_bytes(WORD, "big") for scalar in scalars)


# Polynomials and sums of points


def combine(scalars: Sequence[int], points: Sequence[Point]) -> Point:
    """Σ s_i · P_i."""
    total = Z1
    for scalar, point in zip(scalars, points, strict=True):
        total = add(total, multiply(point, scalar % R))
    return total


def evaluate(polynomial: Polynomial, x: int) -> int:
    """Σ a_i x^i."""
    return sum(a * pow(x, i, R) for i, a in enumerate(polynomial)) % R


def linear_combination(scalars: Sequence[int], polynomials: Sequence[Polynomial]) -> Polynomial:
    """Σ s_i · a_i(X), as long as the longest."""
    total = [0] * max(map(len, polynomials))
    for scalar, polynomial in zip(scalars, polynomials, strict=True):
        for i, a in enumerate(polynomial):
            total[i] = (total[i] + scalar * a) % R
    return total


def row_polynomials(row: NaiveRow, chunks: int) -> list[Polynomial]:
    """Cut a row into chunks of L = ⌈d/c⌉ and append r_k, ι·r_k for every k in slots L + 2k, L + 2k + 1."""
    length = -(-len(row.values) // chunks)
    polynomials = []
    for j, blinders in enumerate(row.blinders):
        values = [int(value) % R for value in row.values[j * length : (j + 1) * length]]
        tail = [scalar for r in blinders for scalar in (r, IOTA * r % R)]
        polynomials.append(values + [0] * (length - len(values)) + tail)
    return polynomials


def commit(srs: NaiveSrs, row: NaiveRow, chunks: int) -> bytes:
    """One point a chunk: Σ_x a_x·[τ^x]."""
    return b"".join(
        encode_point(combine(polynomial, srs.points[: len(polynomial)])) for polynomial in row_polynomials(row, chunks)
    )


# The proof


def full_matrix(statement: Statement) -> list[list[int]]:
    """Unpack G over updates and public rows, both triangles."""
    n, rows = statement.count, statement.count + len(statement.public)
    sizes = [(i, k, 8) for i in range(n) for k in range(i, n)]
    sizes += [(i, k, 16) for i in range(n) for k in range(n, rows)]
    sizes += [(i, k, 16) for i in range(n, rows) for k in range(i, rows)]
    matrix = [[0] * rows for _ in range(rows)]
    at = 0
    for i, k, size in sizes:
        matrix[i][k] = matrix[k][i] = int.from_bytes(statement.gram[at : at + size], "big", signed=True)
        at += size
    return matrix


def quadratic_form(statement: Statement, alphas: Sequence[int]) -> int:
    """Sum v = αᵀGα over all rows but row 0, whose products are zero whatever the prover says."""
    rest = alphas[1:]
    matrix = full_matrix(statement)
    return sum(x * y * matrix[i][k] for i, x in enumerate(rest) for k, y in enumerate(rest)) % R


def prove(srs: NaiveSrs, statement: Statement, rows: Sequence[NaiveRow], mask: NaiveRow) -> GramProof:
    """Prove the statement's G for these updates and public rows; it is not checked that it is theirs."""
    chunks = statement.chunks
    polynomials = [row_polynomials(row, chunks) for row in (mask, *rows)]
    mask_point = commit(srs, mask, chunks)
    seed = seed_digest(srs.key.id, statement, mask_point)
    alphas = row_challenges(seed, statement.rows)
    weights = (0, *statement.weights, *(0 for _ in statement.public))

    # A_j = Σ α_i C_ij, D_j = Σ w_i C_ij, ρ_jk = Σ w_i r_ijk.
    a = [linear_combination(alphas, [row[j] for row in polynomials]) for j in range(chunks)]
    aggregate = [linear_combination(weights, [row[j] for row in polynomials]) for j in range(chunks)]
    sums = b"".join(encode_point(combine(chunk, srs.points[: len(chunk)])) for chunk in (*a, *aggregate))
    blinders = _encode_scalars([chunk[-2 * (BLINDER_PAIRS - k)] for chunk in aggregate for k in range(BLINDER_PAIRS)])
    state, _ = absorb_sums(seed, sums, blinders)

    # Σ_j a_j(X)·a_j(1/X) = v + X·S(X) + X⁻¹·S(1/X), so S_m = Σ_j Σ_x a_jx · a_j(x+m+1).
    size = len(a[0])
    s = [sum(chunk[x] * chunk[x + m + 1] for chunk in a for x in range(size - m - 1)) % R for m in range(size - 1)]
    product = encode_point(combine(s, srs.points[: len(s)]))
    state, z = absorb_product(state, product)

    pairs = [(evaluate(chunk, z), evaluate(chunk, pow(z, -1, R))) for chunk in a]
    evaluations = _encode_scalars([y for pair in pairs for y in pair] + [evaluate(s, z)])
    gamma = absorb_evaluations(state, evaluations)

    # W = [ (f − r1·X − r0) / (X² − (z + 1/z)·X + 1) ]; the division leaves r1·X + r0 by itself.
    f = linear_combination([pow(gamma, j, R) for j in range(chunks + 1)], [*a, s])
    quotient = divide(f, z)
    witness = encode_point(combine(quotient, srs.points[: len(quotient)]))
    return GramProof(mask_point, sums, blinders, product + witness + evaluations)


def divide(polynomial: Polynomial, z: int) -> Polynomial:
    """The quotient of a division by (X − z)·(X − 1/z), from the highest coefficient down."""
    middle = (z + pow(z, -1, R)) % R
    rest = list(polynomial)
    quotient = [0] * (len(rest) - 2)
    for i in reversed(range(len(quotient))):
        quotient[i] = rest[i + 2]
        rest[i + 1] = (rest[i + 1] + middle * quotient[i]) % R
        rest[i] = (rest[i] - quotient[i]) % R
    return quotient


def verify(key: VerifyingKey, statement: Statement, proof: GramProof) -> None:
    """Accept exactly the proofs that the contract accepts.

    Raises:
        InvalidProof: a part is malformed, or a check fails
    """
    challenges = replay(key.id, statement, proof)
    try:
        _check(key, statement, proof, challenges)
    except (InvalidPoint, InvalidScalar) as error:
        raise InvalidProof(str(error)) from error


def _check(key: VerifyingKey, statement: Statement, proof: GramProof, challenges: Challenges) -> None:
    alphas, z, gamma, c = challenges.alphas, challenges.z, challenges.gamma, statement.chunks
    rows = [decode_points(proof.mask, "row 0", infinity=False)]
    rows += [decode_points(row, f"update {i}", infinity=False) for i, row in enumerate(statement.updates)]
    rows += [decode_points(row, f"public row {k}", infinity=True) for k, row in enumerate(statement.public)]
    sums = decode_points(proof.sums, "sum", infinity=True)
    product = decode_point(proof.product, "S", infinity=False)
    witness = decode_point(proof.quotient, "W", infinity=False)
    decode_scalars(proof.blinders, "blinder")
    *openings, s = decode_scalars(proof.evaluations, "evaluation")
    y, y_inverse = openings[0::2], openings[1::2]

    # Σ_i (α_i + β·w_i)·C_ij = A_j + β·D_j for every chunk.
    weights = (0, *statement.weights, *(0 for _ in statement.public))
    merged = [alpha + challenges.beta * weight for alpha, weight in zip(alphas, weights, strict=True)]
    for j in range(c):
        claimed = add(sums[j], multiply(sums[c + j], challenges.beta))
        if not eq(combine(merged, [row[j] for row in rows]), claimed):
            raise InvalidProof(f"chunk {j}: A and D are not the sums of the commitments")

    # S(1/z) follows from Σ_j a_j(z)·a_j(1/z) = v + z·S(z) + S(1/z)/z.
    v = quadratic_form(statement, alphas)
    s_inverse = z * (sum(map(int.__mul__, y, y_inverse)) - v - z * s) % R

    # f = Σ_j γ^j·a_j + γ^c·S is r1·X + r0 at z and at 1/z.
    powers = [pow(gamma, j, R) for j in range(c + 1)]
    u = sum(map(int.__mul__, powers, [*y, s]))
    u_inverse = sum(map(int.__mul__, powers, [*y_inverse, s_inverse]))
    r1 = (u - u_inverse) * pow(z - pow(z, -1, R), -1, R) % R
    r0 = (u - r1 * z) % R

    # e(F − W, [1]) · e((z + 1/z)·W, [τ]) · e(−W, [τ²]) = 1, with F = [f − r1·X − r0].
    tau_g1 = decode_point(key.tau_g1, "[τ]", infinity=False)
    folded = combine([*powers, -r0, -r1], [*sums[:c], product, G1, tau_g1])
    middle = (z + pow(z, -1, R)) % R
    left = pairing(G2, add(folded, neg(witness)))
    left *= pairing(decode_point2(key.tau_g2), multiply(witness, middle))
    left *= pairing(decode_point2(key.tau2_g2), neg(witness))
    if left != FQ12.one():
        raise InvalidProof("the evaluations are not those of the committed polynomials")
