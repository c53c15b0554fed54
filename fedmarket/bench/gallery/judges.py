"""The rules that the gallery compares: how each averages and pays the same integer updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregator.payouts import pot_round
from aggregator.round import ModelVersion, run_round
from market.protocol import integer_model
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring, Weighting

Update = NDArray[np.int16]
Reference = NDArray[np.int32]
REWARD_WEI = 10**18
"""What a round pays."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a rule made of a round.

    Attributes:
        weights: one an update, in units of 2^-16; zero for who is not in the average.
        pays_wei: one an update.
        carry_wei: what the round did not pay.
        model: the next one, int64 (d,); None where it stays.
        records_q16: each seat's record of exams; empty where the rule keeps none.
    """

    weights: tuple[int, ...]
    pays_wei: tuple[int, ...]
    carry_wei: int
    model: NDArray[np.int64] | None
    records_q16: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """A round before its judge.

    Attributes:
        updates: int16 (d,), one a seat.
        versions: the job's models so far.
        reference: r, int32 (d,).
        faults: how many of the updates are a cheat's; only the peers' rules are told.
        carry_wei: what earlier rounds left over.
        usual_norm: what one training on an exam slice moves the initial model, in counts; the owner knows it.
        floor: of the job's terms.
        records_q16: each seat's record of exams so far.
    """

    updates: Sequence[Update]
    versions: Sequence[ModelVersion]
    reference: Reference
    faults: int
    carry_wei: int
    usual_norm: int = 0
    floor: float = 0.0
    records_q16: tuple[int, ...] = ()


Judge = Callable[[Case], Judgement]


MakeTerms = Callable[[int, int, float], RuleTerms]
"""From the dimension, the usual norm and the floor."""


def by_contract(make_terms: MakeTerms) -> Judge:
    """The project's own rules: what `contracts/src/RoundRules.sol` decides, bit for bit, and the pot that it pays."""

    def judge(case: Case) -> Judgement:
        terms = make_terms(len(case.reference), case.usual_norm, case.floor)
        exam = case.reference.astype(np.int64) if terms.needs_exam else None
        records = case.records_q16 if exam is not None else ()
        result = run_round(terms, case.updates, case.versions, 0, ONE_Q16, exam=exam, records_q16=records)
        decision = result.decision
        pay = pot_round(decision.scores, len(case.updates), 0, REWARD_WEI, case.carry_wei)
        return Judgement(decision.weights, pay.pays_wei, pay.carry_wei, result.model, decision.records_q16)

    return judge


def by_weight(case: Case, weights: Sequence[int]) -> Judgement:
    """For rules that know no pay: who is averaged is paid, by weight."""
    pay = pot_round(weights, len(case.updates), 0, REWARD_WEI, case.carry_wei)
    model = integer_model.fold(case.versions[-1].model, case.updates, weights, 0) if any(weights) else None
    return Judgement(tuple(weights), pay.pays_wei, pay.carry_wei, model)


LARGEST_NORM = 6
"""Times the usual norm; beyond it an update is refused. Honest first rounds reach 5.7."""
LEAST_NORM = 10
"""Part of the usual norm below which an update is refused: who moves nothing is not averaged, and not paid."""


def exam_terms(dimension: int, usual_norm: int, floor: float) -> RuleTerms:
    """The sealed exam, as a job that has one is decided by default."""
    bound = Rule(RuleKind.NORM_BOUND, LARGEST_NORM * usual_norm, usual_norm // LEAST_NORM)
    return RuleTerms(
        dimension=dimension,
        scoring=Scoring.EXAM,
        rules=(bound, Rule(RuleKind.EXAM)),
        floor_q16=round(floor * ONE_Q16),
        norm_floor=usual_norm,
    )


def shapley_terms(dimension: int, usual_norm: int, floor: float) -> RuleTerms:
    """The exam accepts, the Shapley value of the quadratic utility pays."""
    return replace(exam_terms(dimension, usual_norm, floor), scoring=Scoring.SHAPLEY)


def median_terms(dimension: int, usual_norm: int, floor: float) -> RuleTerms:
    """The default without an exam."""
    return RuleTerms(dimension=dimension)


def averaging_terms(dimension: int, usual_norm: int, floor: float) -> RuleTerms:
    """FedAvg (McMahan et al. 2017, arXiv:1602.05629): everybody, equally."""
    return RuleTerms(dimension=dimension, scoring=Scoring.EQUAL, weighting=Weighting.EQUAL, rules=())


JUDGES: Mapping[str, Judge] = {
    "exam": by_contract(exam_terms),
    "exam-shapley": by_contract(shapley_terms),
    "median-cosine": by_contract(median_terms),
    "fedavg": by_contract(averaging_terms),
}
"""The project's own rules by name."""
