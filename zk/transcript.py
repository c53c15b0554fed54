"""The transcript of a round's proof: what is claimed, what the prover sends, and every challenge hashed from both.

Fiat-Shamir with keccak256. Every hash begins with its own domain tag; all that follows are 32-byte words, big-endian.
`contracts/src/libraries/Transcript.sol` hashes the same bytes. `docs/proofs.md` says why each of them is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Final

from eth_hash.auto import keccak

from zk.errors import InvalidProof
from zk.field import R

WORD: Final = 32
POINT: Final = 2 * WORD
"""Bytes of a G1 point: x, y; infinity is all zeros."""

BLINDER_PAIRS: Final = 6
"""K, blinders a chunk: the fewest that hide one proof a mask."""

PUBLIC_ROWS: Final = 5
"""The last three aggregates (latest first), the current model, the initial model."""

EXAMINED_ROWS: Final = PUBLIC_ROWS + 1
"""In a round with an exam its reference is public, too, as the last row."""

WEIGHT_BYTES: Final = 4
WEIGHT_LIMIT: Final = 1 << 8 * WEIGHT_BYTES


@dataclass(frozen=True)
class VerifyingKey:
    """The three points of the SRS that a verifier needs, as EVM bytes; [1]1 and [1]2 are the curve's generators.

    Attributes:
        tau_g1: [τ]1, 64 bytes
        tau_g2: [τ]2, 128 bytes: x imaginary, x real, y imaginary, y real
        tau2_g2: [τ²]2, 128 bytes
    """

    tau_g1: bytes
    tau_g2: bytes
    tau2_g2: bytes

    @cached_property
    def id(self) -> bytes:
        """keccak256 of the three points: the SRS's name on the chain."""
        return _hash("fedmarket/srs/1", self.tau_g1, self.tau_g2, self.tau2_g2)


@dataclass(frozen=True)
class Statement:
    """Everything about a round that both sides know before the proof. Points are still to be checked, by `verify`.

    Attributes:
        context: `round_context`, 32 bytes
        dimension: d, the length of every row
        chunks: c, into how many parts a row is cut
        updates: commitments of the n included updates, by ascending seat, 64·c bytes each
        public: commitments of the public rows, five or, with an exam, six, 64·c bytes each; infinity where a row does
            not exist yet
        gram: the packed matrix of `contracts/src/interfaces/IRoundRules.sol`
        weights: w_i of every update; zero for one that was not accepted

    Raises:
        InvalidProof: a part has another length than d, c and n ask for, or a weight is out of range
    """

    context: bytes
    dimension: int
    chunks: int
    updates: tuple[bytes, ...]
    public: tuple[bytes, ...]
    gram: bytes
    weights: tuple[int, ...]

    def __post_init__(self) -> None:
        _expect("context", len(self.context), WORD)
        if self.dimension < 1 or self.chunks < 1 or not self.updates:
            raise InvalidProof(
                f"d = {self.dimension}, c = {self.chunks}, n = {self.count}: expected at least 1 of each"
            )
        for commitment in (*self.updates, *self.public):
            _expect("commitment", len(commitment), POINT * self.chunks)
        if len(self.public) not in (PUBLIC_ROWS, EXAMINED_ROWS):
            expected = f"{PUBLIC_ROWS}, or {EXAMINED_ROWS} with an exam"
            raise InvalidProof(f"list of public rows has length {len(self.public)}, expected {expected}")
        _expect("list of weights", len(self.weights), self.count)
        _expect("packed Gram matrix", len(self.gram), packed_length(self.count, len(self.public)))
        for weight in self.weights:
            if not 0 <= weight < WEIGHT_LIMIT:
                raise InvalidProof(f"weight {weight}, expected 0 to 2^32 - 1")

    @property
    def count(self) -> int:
        """n, the number of updates."""
        return len(self.updates)

    @property
    def rows(self) -> int:
        """The number of all rows: row 0, the updates, the public rows."""
        return 1 + self.count + len(self.public)


@dataclass(frozen=True)
class GramProof:
    """What the prover sends, in the bytes that `settleRound` takes.

    Attributes:
        mask: the commitment of row 0, 64·c bytes
        sums: A_0 … A_(c-1), D_0 … D_(c-1), 128·c bytes
        blinders: ρ, chunk by chunk, 32·K·c bytes: what opens D beside the aggregate itself
        argument: S, W, y_0, ȳ_0 … y_(c-1), ȳ_(c-1), s: 160 + 64·c bytes
    """

    mask: bytes
    sums: bytes
    blinders: bytes
    argument: bytes

    def check_shape(self, chunks: int) -> None:
        """Refuse a proof whose parts are not as long as c chunks ask for.

        Raises:
            InvalidProof: naming the part
        """
        _expect("mask", len(self.mask), POINT * chunks)
        _expect("sums", len(self.sums), 2 * POINT * chunks)
        _expect("blinders", len(self.blinders), WORD * BLINDER_PAIRS * chunks)
        _expect("argument", len(self.argument), argument_length(chunks))

    @property
    def product(self) -> bytes:
        """S, the commitment of the product's upper half, 64 bytes."""
        return self.argument[:POINT]

    @property
    def quotient(self) -> bytes:
        """W, the commitment of the opening's quotient, 64 bytes."""
        return self.argument[POINT : 2 * POINT]

    @property
    def evaluations(self) -> bytes:
        """y_0, ȳ_0 … y_(c-1), ȳ_(c-1), s."""
        return self.argument[2 * POINT :]


@dataclass(frozen=True)
class Challenges:
    """What the transcript answers: α for every row (row 0 first), then β, z, γ, each hashed from all before it."""

    alphas: tuple[int, ...]
    beta: int
    z: int
    gamma: int


def round_context(
    chain_id: int, market: bytes, job: int, round_number: int, attempt: int, revealed: int, excluded: int
) -> bytes:
    """Bind a proof to one attempt at one round of one job on one contract, and to the rows that it is about.

    Args:
        chain_id: EIP-155 chain id
        market: address of the JobMarket, 20 bytes
        job: job id
        round_number: the round
        attempt: the attempt's number, never used twice
        revealed: bit s: seat s revealed
        excluded: bit s: seat s revealed and is excluded

    Returns:
        32 bytes
    """
    words = (chain_id, int.from_bytes(market, "big"), job, round_number, attempt, revealed, excluded)
    return _hash("fedmarket/round/1", *map(_word, words))


def replay(srs_id: bytes, statement: Statement, proof: GramProof) -> Challenges:
    """Derive every challenge from a finished proof.

    Raises:
        InvalidProof: a part of the proof has the wrong length, or z is one of the three values that prove nothing
    """
    proof.check_shape(statement.chunks)
    seed = seed_digest(srs_id, statement, proof.mask)
    summed, beta = absorb_sums(seed, proof.sums, proof.blinders)
    multiplied, z = absorb_product(summed, proof.product)
    return Challenges(row_challenges(seed, statement.rows), beta, z, absorb_evaluations(multiplied, proof.evaluations))


def seed_digest(srs_id: bytes, statement: Statement, mask: bytes) -> bytes:
    """Hash the statement with the commitment of every row, row 0 included: the α depend on all of them.

    The weights are in it, too: with weights chosen after β, a false A could be made up for by a false D. The number of
    public rows needs no word of its own: c and n are there, and so it follows from the length of what is hashed.
    """
    rows = b"".join((mask, *statement.updates, *statement.public))
    sizes = (statement.dimension, statement.chunks, statement.count)
    weights = b"".join(weight.to_bytes(WEIGHT_BYTES, "big") for weight in statement.weights)
    hashes = keccak(rows), keccak(statement.gram), keccak(weights)
    return _hash("fedmarket/gram/1", statement.context, srs_id, *map(_word, sizes), *hashes)


def row_challenges(seed: bytes, rows: int) -> tuple[int, ...]:
    """α_i for row 0, the updates and the public rows: independent 128-bit hashes, never powers of one challenge."""
    return tuple(_upper_half(_hash("fedmarket/alpha/1", seed, _word(row))) for row in range(rows))


def absorb_sums(seed: bytes, sums: bytes, blinders: bytes) -> tuple[bytes, int]:
    """After A, D and ρ: the transcript's state and β, which merges the checks of A and D into one."""
    state = _hash("fedmarket/sums/1", seed, sums, blinders)
    return state, _upper_half(state)


def absorb_product(state: bytes, product: bytes) -> tuple[bytes, int]:
    """After S: the transcript's state and z, where the identity is tested.

    Raises:
        InvalidProof: z tests nothing
    """
    state = _hash("fedmarket/product/1", state, product)
    z = int.from_bytes(state, "big") % R
    check_point(z)
    return state, z


def absorb_evaluations(state: bytes, evaluations: bytes) -> int:
    """After all evaluations: γ, which folds their openings into one."""
    return _upper_half(_hash("fedmarket/opening/1", state, evaluations))


def check_point(z: int) -> None:
    """Refuse z = 0, which has no inverse, and z² = 1, where z and 1/z are one point and r1 is not defined.

    Raises:
        InvalidProof: z is one of these three values
    """
    if z * z % R in (0, 1):
        raise InvalidProof(f"the challenge z is {z}, expected one with z² other than 0 and 1")


def packed_length(updates: int, public_rows: int = PUBLIC_ROWS) -> int:
    """Bytes of a packed Gram matrix: int64 among the updates, int128 wherever a public row takes part."""
    return 8 * comb(updates + 1, 2) + 16 * (public_rows * updates + comb(public_rows + 1, 2))


def argument_length(chunks: int) -> int:
    """Bytes of the argument: 224 for one chunk."""
    return 2 * POINT + WORD * (2 * chunks + 1)


def _hash(tag: str, *words: bytes) -> bytes:
    return keccak(keccak(tag.encode("ascii")) + b"".join(words))


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def _upper_half(digest: bytes) -> int:
    """The first 128 bits of a hash."""
    return int.from_bytes(digest[: WORD // 2], "big")


def _expect(part: str, length: int, expected: int) -> None:
    if length != expected:
        raise InvalidProof(f"{part} has length {length}, expected {expected}")
