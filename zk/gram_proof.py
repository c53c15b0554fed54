"""The Gram proof: G = QQᵀ holds for committed vectors, and D = Σ w_i·C_i, in an argument of 64·c + 160 bytes.

With α_i hashed after G and every commitment, a_j = Σ_i α_i·row_ij in every chunk j, and v = αᵀGα, G is right but with
probability 2^−127 if Σ_j ⟨a_j, a_j⟩ = v, that is, if a polynomial S exists with

    Σ_j a_j(X)·a_j(1/X) = v + X·S(X) + X⁻¹·S(1/X).                                                          (1)

The prover commits to S, and opens all a_j at z and 1/z and S at z; S(1/z) follows from (1). With γ hashed after these
values, f = Σ_j γ^j·a_j + γ^c·S is opened at both points at once: r1·X + r0 interpolates its values there, and

    f(X) − r1·X − r0 = (X² − (z + 1/z)·X + 1)·W(X).                                                         (2)

The prover sends A_j = Σ_i α_i·C_ij and D_j = Σ_i w_i·C_ij. With β hashed after them the verifier checks both at once:

    Σ_i (α_i + β·w_i)·C_ij = A_j + β·D_j   for every chunk j,                                               (3)

    e(F − W, [1]) · e((z + 1/z)·W, [τ]) · e(−W, [τ²]) = 1,   F = Σ_j γ^j·A_j + γ^c·S − r0·[1] − r1·[τ].     (4)

Row 0 is the prover's own mask: zeros and fresh blinders. `docs/proofs.md` proves soundness and zero knowledge.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from zk.commitment import Blinders, Layout, check_blinders, check_srs, check_vector, commit
from zk.curve import Points, generator, is_infinity, multiply_sum, negate, parse_points, point_bytes
from zk.errors import InvalidPoint, InvalidProof, InvalidScalar, InvalidVector, SecretReused
from zk.field import SCALAR_BYTES, R, Words, limbs_of, parse_scalar
from zk.msm import msm
from zk.ntt import Autocorrelation
from zk.pairing import pairing_check
from zk.srs import Srs
from zk.transcript import (
    POINT,
    Challenges,
    GramProof,
    Statement,
    VerifyingKey,
    absorb_evaluations,
    absorb_product,
    absorb_sums,
    check_point,
    replay,
    row_challenges,
    seed_digest,
)
from zk.twist import G2_GENERATOR
from zk.vectors import Values, add_multiple, combine, divide, evaluate, from_montgomery, to_montgomery, zeros

__all__ = [
    "CommittedRow",
    "GramProof",
    "MaskRow",
    "Statement",
    "VerifyingKey",
    "check",
    "prove",
    "verify",
    "verifying_key",
]

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CommittedRow:
    """A vector with what opens its commitment.

    Attributes:
        values: int16, int32 or int64 of shape (d,); memory maps are welcome
        blinders: of the commitment
        commitment: 64·c bytes
    """

    values: Values
    blinders: Blinders
    commitment: bytes

    @classmethod
    def absent(cls, layout: Layout) -> CommittedRow:
        """A public row that does not exist yet: zeros, which take no memory, under the point at infinity."""
        zeros = np.broadcast_to(np.int16(0), (layout.dimension,))
        return cls(zeros, Blinders.zero(layout), bytes(POINT * layout.chunks))


@dataclass(frozen=True, eq=False)
class MaskRow:
    """Row 0: fresh blinders and nothing else. It hides one proof, whether that succeeds or not.

    Attributes:
        blinders: of the mask
        commitment: 64·c bytes
    """

    blinders: Blinders
    commitment: bytes
    _unused: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1), repr=False)

    @classmethod
    def fresh(cls, srs: Srs, layout: Layout) -> MaskRow:
        """Draw a mask."""
        blinders = Blinders.fresh(layout)
        nothing = np.broadcast_to(np.int16(0), (layout.dimension,))
        return cls(blinders, commit(srs, layout, nothing, blinders))

    def use(self) -> None:
        """Note that a proof is made with this mask.

        Raises:
            SecretReused: one was made before
        """
        if not self._unused.acquire(blocking=False):
            raise SecretReused("this mask hides another proof already: draw a fresh one for every proof")


# The prover


def prove(
    srs: Srs, statement: Statement, rows: Sequence[CommittedRow], mask: MaskRow, progress: Progress | None = None
) -> GramProof:
    """Prove a statement about rows, and verify the proof before it is returned.

    Memory grows with the length of a chunk, not with their number nor with the number of rows.

    Args:
        srs: at least `Layout.slots` points of it
        statement: what to prove
        rows: the n updates and the public rows, five or with an exam six, in the statement's order
        mask: a fresh one
        progress: called with the name of each stage as it begins

    Raises:
        InvalidVector: a row has another shape, type, range or commitment than the statement asks for
        InvalidScalar, InvalidSrs: blinders of another layout, or an SRS that is too short
        SecretReused: the mask made a proof before, or hides one of the rows, too
        InvalidProof: the statement's Gram matrix is not that of the rows, or a row does not open its commitment
    """
    report = progress or _silent
    layout = Layout(statement.dimension, statement.chunks)
    _check_rows(srs, layout, statement, rows, mask)
    mask.use()
    prover = _Prover(srs, layout, statement, rows, mask)
    report("multiply")
    product_polynomial = prover.multiply()
    report("commit")
    product = _commit(srs, product_polynomial)
    report("open")
    evaluations, quotient = prover.open(product, product_polynomial)
    del product_polynomial
    report("commit to the opening")
    proof = prover.proof(product + _commit(srs, quotient) + evaluations)
    report("verify")
    _verify_own(srs, layout, statement, rows, proof)
    return proof


def _silent(stage: str) -> None:
    """Report nothing."""


class _Prover:
    """What the stages of one proof share."""

    def __init__(
        self, srs: Srs, layout: Layout, statement: Statement, rows: Sequence[CommittedRow], mask: MaskRow
    ) -> None:
        self._layout = layout
        self._values = [row.values for row in rows]
        self._mask = mask
        seed = seed_digest(verifying_key(srs).id, statement, mask.commitment)
        self._alphas = row_challenges(seed, statement.rows)
        self._norm = _quadratic_form(statement, self._alphas)
        self._blinders = Blinders.scaled_sum([mask.blinders, *(row.blinders for row in rows)], self._alphas)
        self._kept: tuple[int, Words] | None = None

        # A_j = Σ α_i·C_ij, D_j = Σ w_i·C_ij, ρ_jk = Σ w_i·r_ijk.
        commitments = np.stack([parse_points(row) for row in (mask.commitment, *statement.updates, *statement.public)])
        updates = commitments[1 : 1 + statement.count]
        chunks = range(layout.chunks)
        sums = [multiply_sum(commitments[:, j], self._alphas) for j in chunks]
        sums += [multiply_sum(updates[:, j], statement.weights) for j in chunks]
        self._sums = point_bytes(np.stack(sums))
        opened = Blinders.scaled_sum([row.blinders for row in rows[: statement.count]], statement.weights)
        self._opened = opened.to_bytes()
        self._state, _ = absorb_sums(seed, self._sums, self._opened)

    def multiply(self) -> Words:
        """S of (1): S_m = Σ_j Σ_x a_jx · a_j(x+m+1).

        Raises:
            InvalidProof: Σ_j ⟨a_j, a_j⟩ is not v, so the rows have another Gram matrix
        """
        sums, squares = Autocorrelation(self._layout.slots), 0
        for j in range(self._layout.chunks):
            sums.add(self._combined(j))
            squares += evaluate(self._combined(j), 1) ** 2
        product = sums.coefficients()
        if (squares - 2 * evaluate(product, 1) - self._norm) % R:  # (1) at X = 1
            raise InvalidProof("the Gram matrix is not that of the rows")
        return product

    def open(self, product: bytes, s: Words) -> tuple[bytes, Words]:
        """y_0, ȳ_0 … s as bytes, and the quotient W of (2)."""
        chunks = range(self._layout.chunks)
        state, z = absorb_product(self._state, product)
        points = (z, pow(z, -1, R))
        values = [evaluate(a, point) for a in map(self._combined, chunks) for point in points]
        values.append(evaluate(s, z))
        evaluations = b"".join(value.to_bytes(SCALAR_BYTES, "big") for value in values)
        gamma = absorb_evaluations(state, evaluations)
        folded = zeros(self._layout.slots)
        for j in chunks:
            add_multiple(folded, self._combined(j), pow(gamma, j, R))
        add_multiple(folded, s, pow(gamma, self._layout.chunks, R))
        self._kept = None
        return evaluations, divide(folded, sum(points) % R)

    def proof(self, argument: bytes) -> GramProof:
        """The proof with this argument."""
        return GramProof(self._mask.commitment, self._sums, self._opened, argument)

    def _combined(self, chunk: int) -> Words:
        """a_j = Σ_i α_i·row_ij with blinders: shape (L + 2K, 4). Read again for every pass; only the last is kept."""
        if self._kept and self._kept[0] == chunk:
            return self._kept[1]
        self._kept = None
        polynomial = zeros(self._layout.slots)
        window = self._layout.slice(chunk)
        combine([values[window] for values in self._values], self._alphas[1:], polynomial)
        tail = to_montgomery(limbs_of(self._blinders.tail(chunk)))
        polynomial[self._layout.chunk_length :] = tail
        self._kept = chunk, polynomial
        return polynomial


def _check_rows(srs: Srs, layout: Layout, statement: Statement, rows: Sequence[CommittedRow], mask: MaskRow) -> None:
    """Refuse what cannot be proven, before any work."""
    check_srs(srs, layout)
    claimed = (*statement.updates, *statement.public)
    if len(rows) != len(claimed):
        expected = f"{statement.count} updates and {len(statement.public)} public rows"
        raise InvalidVector(f"{len(rows)} rows, expected {expected}")
    check_blinders(layout, mask.blinders)
    for i, (row, commitment) in enumerate(zip(rows, claimed, strict=True)):
        if row.commitment != commitment:
            raise InvalidVector(f"the commitment of {_name(i, statement)} is not the statement's")
        try:
            check_vector(layout, row.values)
        except InvalidVector as error:
            raise InvalidVector(f"{_name(i, statement)}: {error}") from error
        check_blinders(layout, row.blinders)
    _check_mask(rows, mask)


def _check_mask(rows: Sequence[CommittedRow], mask: MaskRow) -> None:
    """Refuse a mask that hides another row, too.

    Rows that share blinders with one another expose nobody but whoever drew them twice, and are proven: if two trainers
    could make the prover refuse, they could keep a round from ever being settled.
    """
    for row in rows:
        pairs = zip(mask.blinders.values, row.blinders.values, strict=True)
        if any(own == other != 0 for left, right in pairs for own, other in zip(left, right, strict=True)):
            raise SecretReused("the mask's blinders hide another row, too: draw a fresh mask for every proof")


def _name(row: int, statement: Statement) -> str:
    """How messages call a row, mask not counted."""
    return f"update {row}" if row < statement.count else f"public row {row - statement.count}"


def _commit(srs: Srs, polynomial: Words) -> bytes:
    return point_bytes(msm(srs.points[: len(polynomial)], from_montgomery(polynomial)))


def _verify_own(srs: Srs, layout: Layout, statement: Statement, rows: Sequence[CommittedRow], proof: GramProof) -> None:
    """Verify a proof that was just made; if it fails, find out whose fault it is."""
    try:
        verify(verifying_key(srs), statement, proof)
    except InvalidProof as error:
        for i, row in enumerate(rows):
            unbound = Blinders(row.blinders.values)
            if commit(srs, layout, row.values, unbound) != row.commitment:
                raise InvalidProof(f"{_name(i, statement)} does not open its commitment") from error
        raise


# The verifier


def verifying_key(srs: Srs) -> VerifyingKey:
    """What a verifier needs of an SRS."""
    return VerifyingKey(srs.tau_g1, srs.tau_g2, srs.tau2_g2)


@dataclass(frozen=True)
class _Parsed:
    """A statement and a proof as points, uint64 of shape (…, 8), and scalars."""

    rows: Points
    sums: Points
    product: Points
    quotient: Points
    evaluations: tuple[int, ...]


def verify(key: VerifyingKey, statement: Statement, proof: GramProof) -> None:
    """Accept exactly what the contract accepts; it still has to check G itself (`docs/proofs.md`, section 5).

    Raises:
        InvalidProof: naming the part or the check that fails
        InvalidPoint: the key is malformed
    """
    check(key, statement, proof, replay(key.id, statement, proof))


def check(key: VerifyingKey, statement: Statement, proof: GramProof, challenges: Challenges) -> None:
    """The interactive verifier: like `verify`, but for challenges that come from elsewhere.

    Raises:
        InvalidProof: naming the part or the check that fails
        InvalidPoint: the key is malformed
    """
    proof.check_shape(statement.chunks)
    check_point(challenges.z)
    try:
        parsed = _parse(statement, proof)
    except (InvalidPoint, InvalidScalar) as error:
        raise InvalidProof(str(error)) from error
    _check_sums(statement, challenges, parsed)
    _check_opening(key, statement, challenges, parsed)


def _parse(statement: Statement, proof: GramProof) -> _Parsed:
    """Check every point and every scalar. Only sums and public rows may be infinity."""
    chosen = [_parse_row("row 0", proof.mask, infinity=False)]
    chosen += [_parse_row(f"update {i}", row, infinity=False) for i, row in enumerate(statement.updates)]
    public = [_parse_row(f"public row {k}", row, infinity=True) for k, row in enumerate(statement.public)]
    product = _parse_row("S", proof.product, infinity=False)[0]
    quotient = _parse_row("W", proof.quotient, infinity=False)[0]
    _parse_scalars(proof.blinders)
    sums = _parse_row("A, D", proof.sums, infinity=True)
    return _Parsed(np.stack(chosen + public), sums, product, quotient, _parse_scalars(proof.evaluations))


def _parse_row(name: str, unverified: bytes, *, infinity: bool) -> Points:
    try:
        points = parse_points(unverified)
    except InvalidPoint as error:
        raise InvalidPoint(f"{name}: {error}") from error
    if not infinity and any(map(is_infinity, points)):
        raise InvalidPoint(f"{name} has the point at infinity")
    return points


def _parse_scalars(unverified: bytes) -> tuple[int, ...]:
    starts = range(0, len(unverified), SCALAR_BYTES)
    return tuple(parse_scalar(unverified[at : at + SCALAR_BYTES]) for at in starts)


def _check_sums(statement: Statement, challenges: Challenges, parsed: _Parsed) -> None:
    """(3) for every chunk j: Σ_i (α_i + β·w_i)·C_ij − A_j − β·D_j = 0; w = 0 for row 0 and the public rows."""
    beta, c = challenges.beta, statement.chunks
    weights = (0, *statement.weights, *(0 for _ in statement.public))
    scalars = [alpha + beta * weight for alpha, weight in zip(challenges.alphas, weights, strict=True)]
    for j in range(c):
        points = np.concatenate([parsed.rows[:, j], parsed.sums[[j, c + j]]])
        if not is_infinity(multiply_sum(points, [*scalars, -1, -beta])):
            raise InvalidProof(f"chunk {j}: A and D are not the sums of the commitments")


def _check_opening(key: VerifyingKey, statement: Statement, challenges: Challenges, parsed: _Parsed) -> None:
    """(4), with S(1/z) from (1)."""
    z, c = challenges.z, statement.chunks
    inverse = pow(z, -1, R)
    *values, s = parsed.evaluations
    y, y_inverse = values[0::2], values[1::2]
    norm = _quadratic_form(statement, challenges.alphas)
    s_inverse = z * (_dot(y, y_inverse) - norm - z * s) % R

    powers = [pow(challenges.gamma, j, R) for j in range(c + 1)]
    u, u_inverse = _dot(powers, [*y, s]), _dot(powers, [*y_inverse, s_inverse])
    r1 = (u - u_inverse) * pow(z - inverse, -1, R) % R
    r0 = (u - r1 * z) % R

    folded = np.stack([*parsed.sums[:c], parsed.product, generator(), *parse_points(key.tau_g1), parsed.quotient])
    pairs = [
        (multiply_sum(folded, [*powers, -r0, -r1, -1]), G2_GENERATOR),
        (multiply_sum(parsed.quotient[np.newaxis], [z + inverse]), key.tau_g2),
        (negate(parsed.quotient), key.tau2_g2),
    ]
    if not pairing_check([(point_bytes(left), right) for left, right in pairs]):
        raise InvalidProof("the evaluations are not those of the committed polynomials")


def _quadratic_form(statement: Statement, alphas: Sequence[int]) -> int:
    """Sum v = αᵀGα mod r over the updates and the public rows; row 0 has no part in it."""
    entries = _packed_entries(statement)
    return sum((1 if i == k else 2) * alphas[i] * alphas[k] * entry for i, k, entry in entries) % R


def _packed_entries(statement: Statement) -> Iterator[tuple[int, int, int]]:
    """(i, k, G_ik) with 1 <= i <= k, in the order in which the matrix is packed."""
    updates = range(1, 1 + statement.count)
    public = range(updates.stop, statement.rows)
    narrow = [(i, k, 8) for i in updates for k in range(i, updates.stop)]
    wide = [(i, k, 16) for i in updates for k in public]
    wide += [(i, k, 16) for i in public for k in range(i, public.stop)]
    at = 0
    for i, k, size in narrow + wide:
        yield i, k, int.from_bytes(statement.gram[at : at + size], "big", signed=True)
        at += size


def _dot(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(left, right, strict=True))
