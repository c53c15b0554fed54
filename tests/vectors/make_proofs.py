"""Writes proofs.json: an SRS whose τ is known, and round proofs made by `zk.reference`, with every challenge.

    python -m tests.vectors.make_proofs

Forge replays them on the contract, pytest on the fast verifier. Every value is hex in exactly the bytes that the
contract takes or hashes.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from eth_hash.auto import keccak

from aggregator.gram import gram_matrix
from zk.field import R
from zk.reference import NaiveRow, NaiveSrs, commit, prove, verify
from zk.transcript import BLINDER_PAIRS, PUBLIC_ROWS, GramProof, Statement, replay, round_context, seed_digest

PATH = Path(__file__).with_name("proofs.json")
TAU = int.from_bytes(keccak(b"fedmarket/insecure tau of the test vectors"), "big") % R
SRS_LENGTH = 40
EXAM_BITS: Final = 31
MARKET = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")


@dataclass(frozen=True)
class Case:
    """One proof.

    Attributes:
        name: of the case
        dimension: d
        chunks: c
        weights: one an update
        public: how many of the five public rows exist, from the model's side
        exam: which coordinates of the reference are not zero; None where the round has no exam
    """

    name: str
    dimension: int
    chunks: int
    weights: tuple[int, ...]
    public: int
    exam: slice | None = None


CASES = (
    Case("first_round_zero_model", 20, 1, (21845, 21845, 21845), 0),
    Case("second_round", 20, 1, (21845, 0, 21845), 3),
    Case("later_round_four_updates", 17, 1, (16384, 9000, 12345, 1), 5),
    Case("nobody_accepted", 20, 1, (0, 0, 0), 5),
    Case("two_chunks", 20, 2, (21845, 21845, 21845), 5),
    Case("two_chunks_uneven_four_updates", 17, 2, (16384, 0, 16384, 32768), 2),
    Case("three_chunks_the_last_empty", 4, 3, (65536, 0, 0), 5),
    Case("one_update", 8, 1, (65536,), 2),
    Case("examined", 20, 1, (21845, 0, 21845), 5, slice(None)),
    Case("examined_first_round_zero_model", 20, 1, (21845, 21845, 21845), 0, slice(None)),
    Case("examined_four_updates", 17, 1, (16384, 9000, 12345, 1), 3, slice(None)),
    Case("examined_nobody_accepted", 20, 1, (0, 0, 0), 5, slice(None)),
    Case("examined_two_chunks", 20, 2, (21845, 21845, 21845), 5, slice(None)),
    Case("examined_in_the_second_chunk_alone", 17, 2, (16384, 0, 16384, 32768), 2, slice(9, None)),
    Case("examined_in_the_first_of_three_chunks", 4, 3, (65536, 0, 0), 5, slice(2)),
    Case("examined_one_update", 8, 1, (65536,), 2, slice(3, 4)),
)


def main() -> None:
    """Make every case, verify it once more and write the file."""
    source = random.Random(7)
    srs = NaiveSrs.known(TAU, SRS_LENGTH)
    document = {
        "srs": {
            "tau": _word(TAU),
            "tau_g1": _hex(srs.key.tau_g1),
            "tau_g2": _hex(srs.key.tau_g2),
            "tau2_g2": _hex(srs.key.tau2_g2),
            "id": _hex(srs.key.id),
        },
        "cases": [_case(srs, case, number, source) for number, case in enumerate(CASES)],
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def _case(srs: NaiveSrs, case: Case, number: int, source: random.Random) -> dict[str, Any]:
    updates = [
        np.array([source.randrange(-(1 << 15), 1 << 15) for _ in range(case.dimension)], dtype=np.int16)
        for _ in case.weights
    ]
    public = _public_rows(case, source)
    rows = [NaiveRow(row, _blinders(case.chunks, source)) for row in updates]
    # The initial model and the exam have no blinders; the aggregates and later models have.
    hidden = [row is not None and k < PUBLIC_ROWS - 1 for k, row in enumerate(public)]
    zeros = np.zeros(case.dimension, dtype=np.int64)
    rows += [
        NaiveRow(zeros if row is None else row, _blinders(case.chunks, source if hides else None))
        for row, hides in zip(public, hidden, strict=True)
    ]
    context = {
        "chain_id": 31337,
        "job": number + 1,
        "round": source.randrange(100),
        "attempt": source.randrange(1000),
        "revealed": (1 << len(updates)) - 1 | 1 << 63,
        "excluded": 1 << 63,
    }
    chain_id, job, round_number, attempt, revealed, excluded = context.values()
    commitments = [commit(srs, row, case.chunks) for row in rows]
    statement = Statement(
        context=round_context(chain_id, MARKET, job, round_number, attempt, revealed, excluded),
        dimension=case.dimension,
        chunks=case.chunks,
        updates=tuple(commitments[: len(updates)]),
        public=tuple(commitments[len(updates) :]),
        gram=gram_matrix(updates, public).pack(),
        weights=case.weights,
    )
    proof = prove(srs, statement, rows, NaiveRow(zeros, _blinders(case.chunks, source)))
    verify(srs.key, statement, proof)
    inputs = {"market": _hex(MARKET), **{name: _word(value) for name, value in context.items()}}
    return {
        "name": case.name,
        "round_context": inputs,
        **_bytes(statement, proof),
        **_challenges(srs, statement, proof),
    }


def _public_rows(case: Case, source: random.Random) -> list[np.ndarray | None]:
    """The last aggregates, two models, the reference, within their ranges; those that do not exist yet are None."""
    bits = (33, 33, 33, 47, 47)
    order = (4, 3, 0, 1, 2)
    rows: list[np.ndarray | None] = [None] * PUBLIC_ROWS
    for k in order[: case.public]:
        rows[k] = _coordinates(case.dimension, bits[k], source)
    if case.exam is not None:
        reference = np.zeros(case.dimension, dtype=np.int64)
        reference[case.exam] = _coordinates(case.dimension, EXAM_BITS, source)[case.exam]
        rows.append(reference)
    return rows


def _coordinates(count: int, bits: int, source: random.Random) -> np.ndarray:
    limit = (1 << bits) - 1
    return np.array([source.randrange(-limit, limit + 1) for _ in range(count)], dtype=np.int64)


def _blinders(chunks: int, source: random.Random | None) -> list[list[int]]:
    return [[source.randrange(R) if source else 0 for _ in range(BLINDER_PAIRS)] for _ in range(chunks)]


def _bytes(statement: Statement, proof: GramProof) -> dict[str, Any]:
    return {
        "context": _hex(statement.context),
        "dimension": statement.dimension,
        "chunks": statement.chunks,
        "updates": len(statement.updates),
        "rows": _hex(b"".join((proof.mask, *statement.updates, *statement.public))),
        "gram": _hex(statement.gram),
        "weights": list(statement.weights),
        "sums": _hex(proof.sums),
        "blinders": _hex(proof.blinders),
        "argument": _hex(proof.argument),
    }


def _challenges(srs: NaiveSrs, statement: Statement, proof: GramProof) -> dict[str, Any]:
    challenges = replay(srs.key.id, statement, proof)
    return {
        "seed": _hex(seed_digest(srs.key.id, statement, proof.mask)),
        "alphas": [_word(alpha) for alpha in challenges.alphas],
        "beta": _word(challenges.beta),
        "z": _word(challenges.z),
        "gamma": _word(challenges.gamma),
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _word(value: int) -> str:
    return _hex(value.to_bytes(32, "big"))


if __name__ == "__main__":
    main()
