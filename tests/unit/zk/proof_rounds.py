"""Rounds of a few coordinates that can be proven, on an SRS whose τ is known."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregator.gram import gram_matrix
from zk.commitment import Blinders, Layout, commit
from zk.field import R
from zk.gram_proof import CommittedRow, MaskRow, prove, verifying_key
from zk.srs import Srs, make_insecure
from zk.transcript import BLINDER_PAIRS, PUBLIC_ROWS, GramProof, Statement, VerifyingKey, round_context

POINTS = 80
MARKET = bytes(range(20))
PUBLIC_BITS = (33, 33, 33, 47, 47, 31)
EXAM = PUBLIC_ROWS
"""The place of an exam's reference among the public rows."""


@lru_cache(maxsize=1)
def small_srs() -> Srs:
    """Mapped from a file that is gone by now."""
    with tempfile.TemporaryDirectory() as folder:
        return make_insecure(Path(folder) / "insecure.ptau", POINTS)


@lru_cache(maxsize=1)
def key() -> VerifyingKey:
    return verifying_key(small_srs())


@dataclass(frozen=True)
class Place:
    """Where a proof belongs."""

    chain_id: int = 31337
    market: bytes = MARKET
    job: int = 7
    round_number: int = 3
    attempt: int = 11
    revealed: int = 0b1111
    excluded: int = 0b1000

    @property
    def context(self) -> bytes:
        return round_context(
            self.chain_id, self.market, self.job, self.round_number, self.attempt, self.revealed, self.excluded
        )


@dataclass(frozen=True, eq=False)
class Round:
    layout: Layout
    rows: tuple[CommittedRow, ...]
    statement: Statement

    @property
    def updates(self) -> tuple[CommittedRow, ...]:
        return self.rows[: self.statement.count]

    @property
    def public(self) -> tuple[CommittedRow, ...]:
        return self.rows[self.statement.count :]

    def proof(self) -> GramProof:
        return prove(small_srs(), self.statement, self.rows, MaskRow.fresh(small_srs(), self.layout))


def random_blinders(source: random.Random, layout: Layout) -> Blinders:
    chunks = (tuple(source.randrange(R) for _ in range(BLINDER_PAIRS)) for _ in range(layout.chunks))
    return Blinders(tuple(chunks))


def committed(layout: Layout, values: np.ndarray, blinders: Blinders) -> CommittedRow:
    return CommittedRow(values, blinders, commit(small_srs(), layout, values, blinders))


def random_update(source: random.Random, dimension: int) -> np.ndarray:
    return np.array([source.randrange(-(1 << 15), 1 << 15) for _ in range(dimension)], np.int16)


def random_public(source: random.Random, dimension: int, k: int) -> np.ndarray:
    limit = 1 << PUBLIC_BITS[k]
    return np.array([source.randrange(1 - limit, limit) for _ in range(dimension)], np.int64)


def random_exam(source: random.Random, layout: Layout) -> CommittedRow:
    """A reference as it is handed over: int32, without blinders."""
    values = random_public(source, layout.dimension, EXAM).astype(np.int32)
    return committed(layout, values, Blinders.zero(layout))


def make_round(
    seed: int,
    updates: int = 3,
    chunks: int = 1,
    dimension: int = 20,
    weights: Sequence[int] | None = None,
    examined: bool = False,
) -> Round:
    """Random updates; two aggregates of three exist; the initial model has no blinders, nor has the exam."""
    source = random.Random(seed)
    layout = Layout(dimension, chunks)
    rows = [
        committed(layout, random_update(source, dimension), random_blinders(source, layout)) for _ in range(updates)
    ]
    hidden = [random_blinders(source, layout) for _ in range(PUBLIC_ROWS - 1)]
    rows += [
        CommittedRow.absent(layout)
        if k == 2
        else committed(layout, random_public(source, dimension, k), (*hidden, Blinders.zero(layout))[k])
        for k in range(PUBLIC_ROWS)
    ]
    weights = weights or [source.randrange(1, 1 << 16) for _ in range(updates)]
    if examined:
        rows.append(random_exam(source, layout))
    return round_of(layout, rows, weights)


def round_of(layout: Layout, rows: Sequence[CommittedRow], weights: Sequence[int]) -> Round:
    """The honest statement about these rows: one update a weight, then the public rows."""
    updates, public = rows[: len(weights)], rows[len(weights) :]
    vectors = [row.values for row in updates], [row.values.astype(np.int64) for row in public]
    statement = Statement(
        context=Place().context,
        dimension=layout.dimension,
        chunks=layout.chunks,
        updates=tuple(row.commitment for row in updates),
        public=tuple(row.commitment for row in public),
        gram=gram_matrix(*vectors).pack(),
        weights=tuple(weights),
    )
    return Round(layout, tuple(rows), statement)


@lru_cache(maxsize=8)
def proven(seed: int = 1, updates: int = 3, chunks: int = 1, examined: bool = False) -> tuple[Round, GramProof]:
    """A round and a proof of it."""
    made = make_round(seed, updates, chunks, examined=examined)
    return made, made.proof()
