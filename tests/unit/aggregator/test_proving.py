"""A round is proven from what `run_round` found and what everybody committed to, the exam's r among it."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from aggregator.proving import STAGES, CommittedModel, ProvenRound, prove_round, warm_up
from aggregator.round import ModelVersion, RoundResult, run_round
from market.protocol.rounds import FULL_STEP_Q16
from market.protocol.rule_terms import RuleTerms
from tests.unit.zk.proof_rounds import (
    committed,
    key,
    random_blinders,
    random_exam,
    random_public,
    random_update,
    small_srs,
)
from zk.commitment import Blinders, Layout
from zk.errors import InvalidProof
from zk.gram_proof import CommittedRow, verify

DIMENSION = 20
CONTEXT = bytes(range(32))


class Examined:
    """A first round of three updates, and a reference for it."""

    def __init__(self, chunks: int = 1) -> None:
        source = random.Random(5)
        self.layout = Layout(DIMENSION, chunks)
        self.updates = [
            committed(self.layout, random_update(source, DIMENSION), random_blinders(source, self.layout))
            for _ in range(3)
        ]
        model = random_public(source, DIMENSION, 3) >> 8
        none = Blinders.zero(self.layout)
        commitment = committed(self.layout, model, none).commitment
        self.model = CommittedModel(ModelVersion(model), commitment, none, b"", none)
        self.exam = random_exam(source, self.layout)

    def result(self, exam: CommittedRow | None) -> RoundResult:
        reference = None if exam is None else np.asarray(exam.values, np.int64)
        updates = [np.asarray(row.values, np.int16) for row in self.updates]
        return run_round(RuleTerms(DIMENSION), updates, [self.model.version], 0, FULL_STEP_Q16, reference)

    def proven(self, result: RoundResult, exam: CommittedRow | None) -> ProvenRound:
        return prove_round(small_srs(), self.layout, CONTEXT, result, self.updates, [self.model], exam=exam)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("chunks", [1, 2])
def test_a_round_with_an_exam_is_proven_with_the_reference_as_last_row(chunks: int, kind: type) -> None:
    made = Examined(chunks)
    exam = replace(made.exam, values=made.exam.values.astype(kind))
    proven = made.proven(made.result(exam), exam)
    verify(key(), proven.statement, proven.proof)
    assert len(proven.statement.public) == 6
    assert proven.statement.public[5] == exam.commitment
    assert proven.statement.context == CONTEXT


def test_a_round_without_an_exam_is_proven_with_five_public_rows() -> None:
    made = Examined()
    proven = made.proven(made.result(None), None)
    verify(key(), proven.statement, proven.proof)
    assert len(proven.statement.public) == 5


def test_every_stage_is_told_with_an_exam_as_without() -> None:
    made, told = Examined(), list[str]()
    result = made.result(made.exam)
    prove_round(small_srs(), made.layout, CONTEXT, result, made.updates, [made.model], told.append, exam=made.exam)
    assert len(told) == STAGES


def test_a_matrix_with_a_reference_is_not_proven_without_it_nor_one_without_it_with_it() -> None:
    made = Examined()
    with pytest.raises(InvalidProof, match="packed Gram matrix has length 672, expected 528"):
        made.proven(made.result(made.exam), None)
    with pytest.raises(InvalidProof, match="packed Gram matrix has length 528, expected 672"):
        made.proven(made.result(None), made.exam)


def test_a_reference_with_blinders_is_refused() -> None:
    made = Examined()
    hidden = committed(made.layout, made.exam.values, random_blinders(random.Random(1), made.layout))
    with pytest.raises(InvalidProof, match="r has blinders"):
        made.proven(made.result(hidden), hidden)


def test_a_reference_that_does_not_open_its_commitment_is_named() -> None:
    made = Examined()
    other = replace(random_exam(random.Random(6), made.layout), commitment=made.exam.commitment)
    with pytest.raises(InvalidProof, match="public row 5 does not open its commitment"):
        made.proven(made.result(other), other)


def test_a_matrix_of_another_reference_is_not_proven() -> None:
    made = Examined()
    other = random_exam(random.Random(6), made.layout)
    with pytest.raises(InvalidProof, match="the Gram matrix is not that of the rows"):
        made.proven(made.result(other), made.exam)


def test_warming_up_proves_a_round_with_an_exam() -> None:
    warm_up(small_srs())
