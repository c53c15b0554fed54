"""The proof shows G, the aggregate and its blinders, and nothing else: a simulator that knows τ but no update.

What the prover shows beside them: C_i, C_0, y_j = a_j(z), ȳ_j = a_j(1/z), S = S(τ), s = S(z), as discrete logarithms.
All else follows: A and D are sums, W is the only point that passes (4).

The simulator draws all of these uniformly, the C_i such that Σ w_i·C_i = D. How far is that from the prover?

1. C_i, given ρ: blinders of row i give C_i a uniform share Σ_k r_ik·b_k with b_k = τ^(L+2k)·(1 + ιτ) ≠ 0. K − 1 of them
   stay free when ρ is given, and only Σ w_i·C_i is fixed. Exactly the simulator's.
2. C_0, y, ȳ, given everything about other rows: three linear forms of a chunk's 6 blinders of row 0, with coefficients
   x^(L+2k)·(1 + ιx) at x = τ, z, 1/z. They are independent (Vandermonde in x²) unless two of τ², z², 1/z² are equal or
   ιx = −1 for one x: exactly uniform but for O(1)/r of the challenges.
3. (S, s), given all that: m = (K − 3)·c blinders stay free. For (λ, μ) ≠ 0 the form λ·S(τ) + μ·S(z) is quadratic in
   them, of some rank ρ(λ, μ), and a sum of a quadratic form's character is at most p^(−ρ/2). So by Plancherel

       Δ <= ½ · sqrt( Σ_(λ,μ)≠0 p^(−ρ(λ,μ)) ).                                                            (5)

   For K = 6, c = 1: m = 3, and the rank is 3 but for at most three directions (λ : μ), the roots of a determinant of
   degree 3, where it is 2. So the sum is at most (p² − 1)/p³ + 3·(p − 1)/p² < 4/p, and Δ < p^(−1/2): 2^(−126) for r.
   Smaller ranks need (τ, z) on a curve whose degree depends on K alone, neither on d nor on any row: O(1)/p of all
   challenges, seen here as some 25/p. For K = 5 two free blinders face two values: Δ is a constant. K = 6 is the least.

(5) is computed here from the ranks for given p, τ, z and compared with the exact distance, by enumeration.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from tests.unit.zk.cheating import commit_polynomial
from tests.unit.zk.proof_rounds import Round, key, make_round
from zk import reference
from zk.commitment import Blinders
from zk.curve import generator, multiply, point_bytes
from zk.errors import InvalidProof
from zk.field import R
from zk.gram_proof import verify
from zk.srs import INSECURE_TAU
from zk.transcript import (
    GramProof,
    Statement,
    absorb_evaluations,
    absorb_product,
    absorb_sums,
    row_challenges,
    seed_digest,
)

# The simulator


@dataclass(frozen=True)
class Known:
    """All that the simulator is told: no update and no blinder of one.

    Attributes:
        statement: with commitments of updates that mean nothing; its G, weights and public rows count
        aggregate: discrete logarithms of D, which the aggregate and ρ give
        public: discrete logarithms of the public rows, which everybody can open
        blinders: ρ
    """

    statement: Statement
    aggregate: tuple[int, ...]
    public: tuple[tuple[int, ...], ...]
    blinders: bytes


def points(exponents: Sequence[int]) -> bytes:
    return b"".join(point_bytes(multiply(generator(), exponent)) for exponent in exponents)


def told(made: Round) -> Known:
    """What a round makes public."""
    weights = made.statement.weights
    opened = Blinders.scaled_sum([row.blinders for row in made.updates], weights)
    weighted = zip(weights, made.updates, strict=True)
    aggregate = np.asarray(sum(np.int64(weight) * row.values.astype(np.int64) for weight, row in weighted))
    return Known(
        statement=replace(made.statement, updates=(bytes(64 * made.layout.chunks),) * made.statement.count),
        aggregate=exponents_of(made, aggregate, opened),
        public=tuple(exponents_of(made, row.values, row.blinders) for row in made.public),
        blinders=opened.to_bytes(),
    )


def exponents_of(made: Round, values: np.ndarray, blinders: Blinders) -> tuple[int, ...]:
    row = reference.NaiveRow([int(value) for value in values], blinders.values)
    return tuple(
        reference.evaluate(chunk, INSECURE_TAU) for chunk in reference.row_polynomials(row, made.layout.chunks)
    )


def draw_updates(known: Known, source: random.Random) -> list[list[int]]:
    """Uniform discrete logarithms C_ij with Σ_i w_i·C_ij = D_j."""
    weights, chunks = known.statement.weights, known.statement.chunks
    drawn = [[source.randrange(R) for _ in range(chunks)] for _ in weights]
    accepted = next((i for i, weight in enumerate(weights) if weight), None)
    if accepted is None:
        return drawn
    for j, target in enumerate(known.aggregate):
        rest = sum(w * row[j] for i, (w, row) in enumerate(zip(weights, drawn, strict=True)) if i != accepted)
        drawn[accepted][j] = (target - rest) * pow(weights[accepted], -1, R) % R
    return drawn


def simulate(known: Known, source: random.Random) -> tuple[Statement, GramProof]:
    """A transcript that verifies, from τ and what is public alone."""
    chunks = range(known.statement.chunks)
    updates = draw_updates(known, source)
    statement = replace(known.statement, updates=tuple(map(points, updates)))
    mask = [source.randrange(R) for _ in chunks]
    seed = seed_digest(key().id, statement, points(mask))
    alphas = row_challenges(seed, statement.rows)
    rows = [mask, *updates, *known.public]
    a = [sum(alpha * row[j] for alpha, row in zip(alphas, rows, strict=True)) % R for j in chunks]
    sums = points([*a, *known.aggregate])
    state, _ = absorb_sums(seed, sums, known.blinders)

    s_at_tau = source.randrange(R)
    state, z = absorb_product(state, points([s_at_tau]))
    pairs = [(source.randrange(R), source.randrange(R)) for _ in chunks]
    s = source.randrange(R)
    answers = [value for pair in pairs for value in pair] + [s]
    evaluations = b"".join(value.to_bytes(32, "big") for value in answers)
    gamma = absorb_evaluations(state, evaluations)

    norm = reference.quadratic_form(statement, alphas)
    s_inverse = z * (sum(y * other for y, other in pairs) - norm - z * s)
    powers = [pow(gamma, j, R) for j in range(len(pairs) + 1)]
    u = sum(map(int.__mul__, powers, [*(y for y, _ in pairs), s]))
    u_inverse = sum(map(int.__mul__, powers, [*(other for _, other in pairs), s_inverse]))
    inverse = pow(z, -1, R)
    r1 = (u - u_inverse) * pow(z - inverse, -1, R)
    folded = sum(map(int.__mul__, powers, [*a, s_at_tau]))
    divisor = (INSECURE_TAU - z) * (INSECURE_TAU - inverse)
    quotient = (folded - r1 * INSECURE_TAU - (u - r1 * z)) * pow(divisor, -1, R) % R
    argument = points([s_at_tau, quotient]) + evaluations
    return statement, GramProof(points(mask), sums, known.blinders, argument)


@pytest.mark.parametrize("examined", [False, True], ids=["five", "six"])
@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("weights", [(1, 2, 3), (65536, 0, 0), (0, 0, 0)], ids=["all", "one", "nobody"])
def test_a_simulated_transcript_verifies(weights: tuple[int, ...], chunks: int, examined: bool) -> None:
    known = told(make_round(1, chunks=chunks, weights=weights, examined=examined))
    statement, proof = simulate(known, random.Random(2))
    verify(key(), statement, proof)
    reference.verify(key(), statement, proof)


def test_the_simulator_needs_no_true_matrix() -> None:
    known = told(make_round(1))
    other = replace(known, statement=replace(known.statement, gram=make_round(2).statement.gram))
    verify(key(), *simulate(other, random.Random(2)))


def test_the_simulator_is_told_an_exam_by_its_commitment_alone() -> None:
    """Whoever has not r sees C_r and G: that is all that a transcript is made of."""
    made = make_round(1, examined=True)
    known = told(made)
    forgotten = replace(known, public=(*known.public[:-1], (random.Random(3).randrange(R),)))
    exam = points(forgotten.public[-1])
    statement = replace(known.statement, public=(*known.statement.public[:-1], exam))
    verify(key(), *simulate(replace(forgotten, statement=statement), random.Random(2)))


def test_only_the_one_quotient_passes() -> None:
    statement, proof = simulate(told(make_round(1)), random.Random(2))
    shifted = proof.argument[:64] + commit_polynomial([7]) + proof.argument[128:]
    with pytest.raises(InvalidProof):
        verify(key(), statement, replace(proof, argument=shifted))


# The prover's distribution over small primes

Matrix = np.ndarray


@dataclass(frozen=True)
class SmallField:
    """One proof's fixed part over F_p: τ, z, and the sum of all rows but row 0, whose mask is to hide it.

    Attributes:
        p: a prime with p = 1 mod 4
        pairs: K
        rest: Σ_(i>0) α_i·row_i: one array of L + 2K a chunk
    """

    p: int
    pairs: int
    tau: int
    z: int
    rest: tuple[np.ndarray, ...]

    @classmethod
    def draw(cls, seed: int, p: int, pairs: int, length: int = 5, chunks: int = 1) -> SmallField:
        """Uniform, but for challenges that the analysis excludes: three points with different squares and ιx ≠ −1."""
        source = np.random.default_rng([seed, p, pairs])
        iota = square_root_of_minus_one(p)
        while True:
            tau, z = (int(value) for value in source.integers(1, p, 2))
            at = (tau, z, pow(z, -1, p))
            if len({x * x % p for x in at}) == 3 and all((1 + iota * x) % p for x in at):
                break
        size = length + 2 * pairs
        return cls(p, pairs, tau, z, tuple(source.integers(0, p, size) for _ in range(chunks)))

    @property
    def free(self) -> int:
        """Blinders of row 0."""
        return self.pairs * len(self.rest)

    def polynomials(self, blinders: np.ndarray) -> list[np.ndarray]:
        """a_j for many masks: blinders (N, K·c) → c arrays of (N, L + 2K). With α_0 = 1, for α_0·r is uniform, too."""
        iota = square_root_of_minus_one(self.p)
        result = []
        for j, rest in enumerate(self.rest):
            own = blinders[:, j * self.pairs : (j + 1) * self.pairs]
            a = np.repeat(rest[np.newaxis], len(own), axis=0)
            a[:, -2 * self.pairs :: 2] += own
            a[:, 1 - 2 * self.pairs :: 2] += iota * own
            result.append(a % self.p)
        return result

    def openings(self, a: Sequence[np.ndarray]) -> np.ndarray:
        """(N, 3c): a_j(τ), which C_0 shows up to what is known, a_j(z) and a_j(1/z)."""
        at = (self.tau, self.z, pow(self.z, -1, self.p))
        return np.stack([self.at(chunk, x) for chunk in a for x in at], axis=1)

    def products(self, a: Sequence[np.ndarray]) -> np.ndarray:
        """(N, 2): S(τ) and S(z)."""
        size = a[0].shape[1]
        lags = [sum((chunk[:, : size - m] * chunk[:, m:]).sum(axis=1) for chunk in a) for m in range(1, size)]
        s = np.stack(lags, axis=1) % self.p
        return np.stack([self.at(s, self.tau), self.at(s, self.z)], axis=1)

    def at(self, polynomials: np.ndarray, x: int) -> np.ndarray:
        powers = np.array([pow(x, k, self.p) for k in range(polynomials.shape[1])])
        return (polynomials * powers % self.p).sum(axis=1) % self.p


def square_root_of_minus_one(p: int) -> int:
    return next(x for x in range(p) if x * x % p == p - 1)


def every_vector(p: int, length: int) -> np.ndarray:
    """All p^length vectors."""
    return np.stack(np.meshgrid(*[np.arange(p)] * length, indexing="ij"), axis=-1).reshape(-1, length)


def distance_from_uniform(views: np.ndarray, p: int) -> float:
    """Exact statistical distance of what the rows of an array say from uniform on all such rows."""
    cells = p ** views.shape[1]
    index = np.zeros(len(views), np.int64)
    for column in views.T:
        index = index * p + column
    counts = np.bincount(index, minlength=cells)
    return float(np.abs(counts / len(views) - 1 / cells).sum() / 2)


def kernel_of(matrix: Matrix, p: int) -> Matrix:
    """A basis of all x with matrix·x = 0 mod p, a row each."""
    rows, pivots = reduced(matrix, p)
    columns = matrix.shape[1]
    basis = []
    for column in sorted(set(range(columns)) - set(pivots)):
        vector = np.zeros(columns, np.int64)
        vector[column] = 1
        for row, pivot in zip(rows, pivots, strict=True):
            vector[pivot] = -row[column] % p
        basis.append(vector)
    return np.array(basis).reshape(-1, columns)


def reduced(matrix: Matrix, p: int) -> tuple[list[np.ndarray], list[int]]:
    """Gauss and Jordan: the rows that are not zero, and their pivots."""
    rest, done, pivots = [row % p for row in matrix], [], []
    for column in range(matrix.shape[1]):
        found = next((i for i, row in enumerate(rest) if row[column]), None)
        if found is None:
            continue
        row = rest.pop(found)
        row = row * pow(int(row[column]), -1, p) % p
        rest = [(other - other[column] * row) % p for other in rest]
        done = [(other - other[column] * row) % p for other in done]
        done.append(row)
        pivots.append(column)
    return done, pivots


def views_given_openings(small: SmallField) -> np.ndarray:
    """All (S(τ), S(z)) of masks that leave the openings as some mask has them."""
    forms = linear_forms(small)
    basis = kernel_of(forms, small.p)
    start = np.random.default_rng(1).integers(0, small.p, small.free)
    steps = every_vector(small.p, len(basis))
    blocks = np.array_split(steps, -(-len(steps) // 200_000))
    return np.concatenate([small.products(small.polynomials((start + block @ basis) % small.p)) for block in blocks])


def linear_forms(small: SmallField) -> Matrix:
    """What each blinder adds to each opening: (3c, K·c)."""
    origin = small.openings(small.polynomials(np.zeros((1, small.free), np.int64)))
    units = small.openings(small.polynomials(np.eye(small.free, dtype=np.int64)))
    return (units - origin).T % small.p


def all_ranks(small: SmallField) -> list[int]:
    """The rank of λ·S(τ) + μ·S(z) on the masks that leave the openings alone, for each direction (λ : μ)."""
    basis = kernel_of(linear_forms(small), small.p)
    hessians = [polar_form(small, basis, place) for place in (0, 1)]
    directions = [(1, mu) for mu in range(small.p)] + [(0, 1)]
    return [len(reduced(x * hessians[0] + y * hessians[1], small.p)[1]) for x, y in directions]


def bound(small: SmallField) -> float:
    """(5): each direction (λ : μ) has p − 1 pairs."""
    return 0.5 * sum((small.p - 1) * float(small.p) ** -rank for rank in all_ranks(small)) ** 0.5


def polar_form(small: SmallField, basis: Matrix, place: int) -> Matrix:
    """B(u, v) = Q(u + v) − Q(u) − Q(v) + Q(0) for S at τ or at z: twice the quadratic part's matrix."""

    def values(vectors: np.ndarray) -> np.ndarray:
        return small.products(small.polynomials(vectors % small.p))[:, place]

    count = len(basis)
    both = values(np.array([u + v for u, v in product(basis, repeat=2)])).reshape(count, count)
    alone, origin = values(basis), values(np.zeros_like(basis[:1]))
    return (both - alone[:, np.newaxis] - alone + origin) % small.p


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("p", [13, 29])
def test_openings_are_exactly_uniform(p: int, seed: int) -> None:
    for chunks in (1, 2):
        small = SmallField.draw(seed, p, 6, chunks=chunks)
        assert len(reduced(linear_forms(small), p)[1]) == 3 * chunks


def test_everything_that_a_mask_hides_is_nearly_uniform() -> None:
    """The whole joint distribution of (C_0, y, ȳ, S, s) over all 13^6 masks."""
    small = SmallField.draw(1, 13, 6)
    views = []
    for first in range(13):
        others = every_vector(13, 5)
        a = small.polynomials(np.concatenate([np.full((len(others), 1), first), others], axis=1))
        views.append(np.concatenate([small.openings(a), small.products(a)], axis=1))
    everything = np.concatenate(views)
    assert distance_from_uniform(everything[:, :3], 13) == 0
    assert distance_from_uniform(everything, 13) <= bound(small)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("p", [29, 61, 101])
def test_the_products_are_within_the_stated_distance(p: int, seed: int) -> None:
    small = SmallField.draw(seed, p, 6)
    distance = distance_from_uniform(views_given_openings(small), p)
    assert 0 < distance <= bound(small)


def ranks(small: SmallField) -> list[int]:
    """The ranks of λ·S(τ) + μ·S(z) below the largest, one a direction (λ : μ), in order; the largest comes last."""
    found = sorted(all_ranks(small))
    return [rank for rank in found if rank < found[-1]] + found[-1:]


@pytest.mark.parametrize("chunks", [1, 2])
def test_the_ranks_are_those_of_the_analysis(chunks: int) -> None:
    """For nearly all τ, z: rank 3c, but 2c in one direction or three; degenerate ones die out as 1/p."""
    generic = ([2 * chunks, 3 * chunks], [2 * chunks] * 3 + [3 * chunks])
    for p, samples in ((61, 40), (197, 40), (389, 20)):
        found = [ranks(SmallField.draw(seed, p, 6, chunks=chunks)) for seed in range(samples)]
        assert sum(each not in generic for each in found) <= 25 / p * samples


def test_the_stated_distance_is_as_small_as_it_is_said_to_be() -> None:
    for p in (197, 389):
        for chunks in (1, 2):
            small = SmallField.draw(1, p, 6, chunks=chunks)
            assert ranks(small)[0] == 2 * chunks
            assert bound(small) < p ** (0.5 - chunks)


def test_two_chunks_are_within_the_stated_distance() -> None:
    small = SmallField.draw(1, 13, 6, length=3, chunks=2)
    assert len(kernel_of(linear_forms(small), 13)) == 6
    assert distance_from_uniform(views_given_openings(small), 13) <= bound(small)


def test_the_quadratic_part_depends_neither_on_the_rows_nor_on_their_length() -> None:
    short = SmallField.draw(3, 61, 6, length=2)
    rows = np.random.default_rng(9).integers(0, 61, 31 + 12)
    assert all_ranks(short) == all_ranks(replace(short, rest=(rows,)))


def test_fewer_blinders_do_not_hide() -> None:
    """With five pairs the distance does not fall as p grows; with four it is nearly one."""
    for p in (101, 197):
        five = [distance_from_uniform(views_given_openings(SmallField.draw(seed, p, 5)), p) for seed in range(3)]
        assert min(five) > 0.2
        four = [distance_from_uniform(views_given_openings(SmallField.draw(seed, p, 4)), p) for seed in range(3)]
        assert min(four) > 0.9


def test_commitments_of_updates_are_exactly_those_of_the_simulator() -> None:
    """All blinders of three updates over F_5 with K = 2: (C_1, C_2, C_3, ρ) is uniform where Σ w_i·C_i is D."""
    p, pairs, tau = 5, 2, 2
    iota = next(x for x in (2, 3) if (1 + x * tau) % p)  # both are roots of −1 mod 5
    weights = np.array([2, 0, 3])
    values = np.array([1, 4, 2])  # Σ_x q_ix·τ^x of each update
    b = np.array([pow(tau, 3 + 2 * k, p) * (1 + iota * tau) % p for k in range(pairs)])
    blinders = every_vector(p, 3 * pairs).reshape(-1, 3, pairs)
    commitments = (values + blinders @ b) % p
    opened = np.einsum("i,nik->nk", weights, blinders) % p
    aggregate = (weights @ values + opened @ b) % p
    assert ((commitments @ weights - aggregate) % p == 0).all()
    # C_3 follows from the others and ρ; these are uniform and independent, as the simulator draws them.
    assert distance_from_uniform(np.concatenate([commitments[:, :2], opened], axis=1), p) == 0
