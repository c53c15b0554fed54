from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt, sqrt

import numpy as np
import pytest

from aggregator.decision import Decision, decide
from aggregator.exam import exam_results
from aggregator.gram import gram_matrix
from aggregator.projection import exam_row
from aggregator.round import ModelVersion, run_round
from market.protocol.errors import InvalidGram, InvalidTerms
from market.protocol.gram_matrix import EXAM, PUBLIC_ROWS, GramMatrix
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring

DIMENSION = 900
HONEST = 6
EVERYBODY = (1 << HONEST) - 1
TERMS = RuleTerms(
    dimension=DIMENSION, rules=(Rule(RuleKind.EXAM),), scoring=Scoring.EXAM, significance_q8=3 << 7
)  # a record has to exceed twice the line
WITHOUT = replace(TERMS, rules=(Rule(RuleKind.MEDIAN_COSINE),), scoring=Scoring.LEAVE_ONE_OUT_COSINE)
SCORINGS = pytest.mark.parametrize("scoring", [Scoring.EXAM, Scoring.SHAPLEY])

source = np.random.default_rng(41)
COMMON = source.normal(0, 300, DIMENSION)
UPDATES = [COMMON + source.normal(0, 400, DIMENSION) for _ in range(HONEST + 1)]
PUBLIC: list[np.ndarray | None] = [*source.integers(-(2**22), 2**22, (4, DIMENSION)), None]
NOISE = source.normal(0, 500, (8, DIMENSION))


def as_exam(direction: np.ndarray) -> np.ndarray:
    """r as the owner would count it, int64: its largest coordinate near 2^30."""
    return np.rint(direction * (2**30 / np.abs(direction).max())).astype(np.int64)


REFERENCE = as_exam(COMMON + source.normal(0, 600, DIMENSION))


def matrix_of(
    updates: Sequence[np.ndarray], exam: np.ndarray | None, public: Sequence[np.ndarray | None] = PUBLIC
) -> GramMatrix:
    rows = [np.clip(np.rint(row), -32_768, 32_767).astype(np.int16) for row in updates]
    return gram_matrix(rows, [*public] if exam is None else [*public, exam])


def unpaid(decision: Decision) -> Decision:
    return replace(decision, paid=False, scores=(0,) * len(decision.scores))


def decided(terms: RuleTerms, gram: GramMatrix) -> Decision:
    return decide(terms, gram.rows, 0, ONE_Q16, gram, examined=gram.examined)


CHEATS = {
    "sign flip": -3 * UPDATES[HONEST],
    "noise": NOISE[0],
    "zeros": np.zeros(DIMENSION),
    "inner product manipulation": -0.5 * np.mean(UPDATES[:HONEST], axis=0),
    "last aggregate": PUBLIC[0] / 2**10,  # type: ignore[operator]
    "older aggregate": PUBLIC[2] / 2**10,  # type: ignore[operator]
    "the model": PUBLIC[3] / 2**10,  # type: ignore[operator]
}


@SCORINGS
@pytest.mark.parametrize("cheat", CHEATS)
def test_the_exam_pays_the_honest_and_not_the_cheat(cheat: str, scoring: Scoring) -> None:
    gram = matrix_of([*UPDATES[:HONEST], CHEATS[cheat]], REFERENCE)
    result = decided(replace(TERMS, scoring=scoring), gram)
    assert result.accepted == EVERYBODY
    assert result.paid
    assert min(result.scores[:HONEST]) > 0
    assert result.weights[HONEST] == result.scores[HONEST] == 0


def test_the_exam_finds_the_honest_among_a_majority_in_league() -> None:
    league = [NOISE[1] + noise / 4 for noise in NOISE[2:]]
    gram = matrix_of([*UPDATES[:3], *league], REFERENCE)
    assert decided(TERMS, gram).accepted == 0b111
    assert decided(WITHOUT, matrix_of([*UPDATES[:3], *league], None)).accepted == 0b111111000


def test_a_replay_that_the_exam_asks_for_is_rejected_only_because_it_is_public() -> None:
    """Training on goes where it went: the last aggregate points where r does."""
    trend = np.rint(COMMON).astype(np.int64)
    gram = matrix_of([*UPDATES[:HONEST], trend], REFERENCE, [trend, None, None, None, None])
    assert not decided(TERMS, gram).accepted >> HONEST & 1
    unknown = matrix_of([*UPDATES[:HONEST], trend], REFERENCE, [None] * PUBLIC_ROWS)
    assert decided(TERMS, unknown).accepted >> HONEST & 1


@SCORINGS
def test_a_public_row_with_and_without_a_hidden_part_earns_the_hidden_part_alone(scoring: Scoring) -> None:
    """P + h and P - h: the one's little h points along r, but is held against its whole norm; the other's, away."""
    hidden, shown = COMMON / 20, PUBLIC[3] / 2**10  # type: ignore[operator]
    gram = matrix_of([*UPDATES[:HONEST], shown + hidden, shown - hidden], REFERENCE)
    plain = exam_row(gram)
    assert plain is not None
    residual_cosine = plain.products[HONEST] / sqrt(plain.square) / np.linalg.norm(hidden)
    assert residual_cosine > 0.3  # against what is left of it alone, it would be as good as anybody
    result = decided(replace(TERMS, scoring=scoring, rules=()), gram)
    assert result.scores[HONEST] * 40 < min(result.scores[:HONEST])
    assert result.scores[HONEST + 1] == 0
    assert decided(TERMS, gram).accepted == EVERYBODY


@pytest.mark.parametrize(
    "asked",
    [
        np.zeros(DIMENSION, np.int64),
        -7 * PUBLIC[1],  # type: ignore[operator]
        3 * PUBLIC[0] - 5 * PUBLIC[3],  # type: ignore[operator]
    ],
    ids=["zero", "a public row", "a mixture of public rows"],
)
@SCORINGS
def test_an_exam_that_asks_for_nothing_new_counts_for_none(asked: np.ndarray, scoring: Scoring) -> None:
    updates = [*UPDATES[:HONEST], CHEATS["noise"]]
    gram = matrix_of(updates, asked)
    assert exam_row(gram) is None
    assert exam_results(TERMS, gram) is None
    assert decided(replace(TERMS, scoring=scoring), gram) == unpaid(decided(WITHOUT, matrix_of(updates, None)))


@SCORINGS
def test_a_round_without_its_exam_is_decided_as_one_of_a_job_without_and_pays_nobody(scoring: Scoring) -> None:
    gram = matrix_of([*UPDATES[:HONEST], CHEATS["sign flip"]], None)
    assert decided(replace(TERMS, scoring=scoring), gram) == unpaid(decided(WITHOUT, gram))


@pytest.mark.parametrize(
    "terms",
    [TERMS, replace(TERMS, scoring=Scoring.EQUAL), replace(WITHOUT, scoring=Scoring.EXAM)],
    ids=["rule and score", "rule alone", "score alone"],
)
def test_a_league_that_has_the_exam_dropped_is_not_paid_for_agreeing_with_itself(terms: RuleTerms) -> None:
    league = [NOISE[0] + 0.3 * noise for noise in NOISE[1:5]]
    dropped = decided(terms, matrix_of([*league, UPDATES[0]], None))
    assert dropped.accepted & 0b1111 == 0b1111
    assert not dropped.paid
    assert not any(dropped.scores)
    assert (
        sum(decided(replace(terms, rules=TERMS.rules), matrix_of([*league, *UPDATES[:3]], REFERENCE)).scores[:4]) == 0
    )


def test_an_exam_copied_from_an_update_pays_its_author_most_and_shuts_out_nobody_who_has_data() -> None:
    """What an owner can do for a favourite whose update is known beforehand; the slices, once published, show it."""
    favoured = decided(TERMS, matrix_of(UPDATES[:HONEST], as_exam(np.rint(UPDATES[2]))))
    assert favoured.accepted == EVERYBODY
    assert favoured.scores.index(max(favoured.scores)) == 2
    capped = decided(replace(TERMS, cap_q16=ONE_Q16 // 8), matrix_of(UPDATES[:HONEST], as_exam(np.rint(UPDATES[2]))))
    assert max(capped.scores) <= 1 << 26


def test_whoever_points_nearer_to_the_exam_earns_more() -> None:
    nearer = [COMMON * share + noise for share, noise in zip((1, 2, 4), NOISE, strict=False)]
    scores = decided(TERMS, matrix_of(nearer, as_exam(COMMON))).scores
    assert scores[0] < scores[1] < scores[2]


def test_nobody_who_fails_is_paid_and_the_fallback_pays_nobody() -> None:
    gram = matrix_of(list(NOISE), REFERENCE)
    nobody = decided(TERMS, gram)
    assert nobody == Decision(0, False, ONE_Q16, (0,) * 8, (0,) * 8, nobody.records_q16)
    result = decided(replace(TERMS, fallback_faults=2), gram)
    assert result.accepted.bit_count() == 6
    assert (result.paid, sum(result.scores)) == (False, 0)


def forged(gram: GramMatrix, row: int, product: int) -> GramMatrix:
    mixed = [list(entries) for entries in gram.mixed]
    mixed[row][EXAM] = product
    return GramMatrix(gram.updates, mixed, gram.public)


def test_products_with_the_exam_that_no_vectors_have_are_refused() -> None:
    gram = matrix_of(UPDATES[:HONEST], REFERENCE)
    most = isqrt(gram.updates[4][4] * gram.public[EXAM][EXAM])
    forged(gram, 4, most).verify(DIMENSION)
    with pytest.raises(InvalidGram, match=f"rows 4 and {HONEST + EXAM} violate"):
        decided(TERMS, forged(gram, 4, most + 1))
    public = [list(entries) for entries in gram.public]
    public[EXAM][EXAM] = (DIMENSION << 62) + 1
    with pytest.raises(InvalidGram, match=f"diagonal of row {HONEST + EXAM} is"):
        decided(TERMS, GramMatrix(gram.updates, gram.mixed, public))


def test_a_matrix_of_another_number_of_public_rows_is_refused() -> None:
    for exam, examined in ((REFERENCE, False), (None, True)):
        gram = matrix_of(UPDATES[:HONEST], exam)
        with pytest.raises(InvalidGram, match="length is"):
            decide(TERMS, HONEST, 0, ONE_Q16, gram.pack(), examined=examined)


def test_what_no_vectors_have_is_clamped() -> None:
    """Two public rows nearly the same, and r all against the first and all along the second."""
    wide, asked = 1 << 94, 1 << 92
    public = [[0] * 6 for _ in range(6)]
    public[3][3] = public[4][4] = wide
    public[3][4] = public[4][3] = wide - (wide >> 23)
    public[EXAM][EXAM] = asked
    public[EXAM][3] = public[3][EXAM] = -(1 << 93)
    public[EXAM][4] = public[4][EXAM] = 1 << 93
    gram = GramMatrix([[1 << 60]], [[0] * 6], public)
    gram.verify(1 << 30)
    assert exam_row(gram) is None


def test_results_say_who_failed_and_by_how_much() -> None:
    gram = matrix_of([*UPDATES[:HONEST], CHEATS["sign flip"], CHEATS["zeros"]], REFERENCE)
    terms = replace(TERMS, floor_q16=ONE_Q16 // 16)
    results = exam_results(terms, gram)
    assert results is not None
    assert results.passed == (True,) * HONEST + (False, False)
    assert results.line == 0.0625
    assert results.marks[HONEST] < -0.2
    assert results.marks[HONEST + 1] == 0
    assert results.sentence(HONEST).startswith("failed the exam: its mark is -0.2")
    assert results.sentence(HONEST).endswith(", and must exceed 0.0625")
    later = exam_results(terms, gram, [1] * gram.rows)
    assert later is not None
    assert later.sentence(HONEST).endswith("which must exceed 0.1250")
    left = np.linalg.norm(UPDATES[0]) * np.linalg.norm(REFERENCE)
    assert results.marks[0] == pytest.approx(float(UPDATES[0] @ REFERENCE) / left, abs=0.02)


def test_results_are_those_that_the_rule_finds() -> None:
    updates = [COMMON * share + noise for share, noise in zip(np.linspace(-0.6, 1, 8), NOISE, strict=True)]
    gram = matrix_of(updates, REFERENCE)
    results = exam_results(TERMS, gram)
    assert results is not None
    assert decided(TERMS, gram).accepted == sum(1 << i for i, passed in enumerate(results.passed) if passed)
    assert results.passed == tuple(mark > results.line for mark in results.marks)
    later = exam_results(TERMS, gram, [1] * gram.rows)
    assert later is not None
    assert later.passed == tuple(mark > 2 * results.line for mark in results.marks)
    assert later.passed != results.passed


def test_a_whole_round_takes_its_exam() -> None:
    updates = [np.rint(row).astype(np.int16) for row in (*UPDATES[:HONEST], CHEATS["noise"])]
    start = [ModelVersion(source.integers(-(2**30), 2**30, DIMENSION))]
    result = run_round(TERMS, updates, start, 0, ONE_Q16, REFERENCE)
    assert result.decision.accepted == EVERYBODY
    assert result.gram.examined
    assert len(result.public) == PUBLIC_ROWS + 1
    assert result.public[EXAM] is REFERENCE
    without = run_round(TERMS, updates, start, 0, ONE_Q16)
    assert not without.gram.examined
    assert without.decision == unpaid(run_round(WITHOUT, updates, start, 0, ONE_Q16).decision)


# ---------------------------------------------------------------------- records


def with_records(records_q16: Sequence[int]) -> Decision:
    gram = matrix_of(UPDATES[:HONEST], REFERENCE)
    return decide(TERMS, HONEST, 0, ONE_Q16, gram, examined=True, records_q16=records_q16)


def bar_q16() -> int:
    return 2 * (isqrt(-(-(TERMS.significance_q8**2 << 48) // DIMENSION)) >> 16)


def test_first_records_are_the_signed_cosines_with_the_exam() -> None:
    gram = matrix_of([UPDATES[0], -UPDATES[0], np.zeros(DIMENSION), UPDATES[1]], REFERENCE)
    records = decided(TERMS, gram).records_q16
    results = exam_results(TERMS, gram)
    assert results is not None
    assert records == pytest.approx([mark * ONE_Q16 for mark in results.marks], abs=1)
    assert records[0] == -records[1] > 0 == records[2]


def test_a_record_forgets_an_eighth_of_credit_and_less_of_a_debt_and_takes_the_new_mark() -> None:
    marks = with_records(()).records_q16
    before = [8, -32, -33, 7, -ONE_Q16, ONE_Q16]
    left = [7, -31, -31, 7, ONE_Q16 // 32 - ONE_Q16, ONE_Q16 - ONE_Q16 // 8]
    assert with_records(before).records_q16 == tuple(old + mark for old, mark in zip(left, marks, strict=True))


def test_a_debt_has_to_be_made_up_for_before_anything_is_accepted() -> None:
    mark = with_records(()).records_q16[2]
    owed = next(debt for debt in range(-1, -ONE_Q16, -1) if debt - (debt >> 5) + mark <= bar_q16())
    assert with_records([0, 0, owed + 1, 0, 0, 0]).accepted == EVERYBODY
    in_debt = with_records([0, 0, owed, 0, 0, 0])
    assert in_debt.accepted == EVERYBODY & ~0b100
    assert (in_debt.weights[2], in_debt.scores[2]) == (0, 0)
    assert in_debt.records_q16[2] > owed  # the work counts, if not yet for pay


def test_a_majority_that_sends_its_work_threefold_is_cut_to_what_the_others_send() -> None:
    many = [*UPDATES[:2], *(3 * update for update in UPDATES[2:HONEST])]
    lengths = [float(np.linalg.norm(update)) for update in many]
    furthest = []
    for terms, exam in ((TERMS, REFERENCE), (WITHOUT, None)):
        decision = decided(terms, matrix_of(many, exam))
        assert decision.accepted == EVERYBODY
        moved = [weight * length for weight, length in zip(decision.weights, lengths, strict=True)]
        furthest.append(max(moved) / moved[0])
    # 5/4, and crowding lets the weights of equals differ a little. Without an exam a majority is thought honest.
    assert furthest[0] < 1.5 < 2 < furthest[1]


def test_a_newcomer_is_held_to_the_line_of_those_who_have_a_record() -> None:
    """Else a stake that moves from seat to seat, to shed a debt or to try its luck, would be for ever new."""
    weak = UPDATES[0] * 0.5 + NOISE[1] * 1.3
    gram = matrix_of([*UPDATES[:HONEST], weak], REFERENCE)
    results = exam_results(TERMS, gram)
    assert results is not None
    assert results.line < results.marks[HONEST] < 2 * results.line
    assert decided(TERMS, gram).accepted >> HONEST & 1
    known = [ONE_Q16] * HONEST + [0]
    later = decide(TERMS, HONEST + 1, 0, ONE_Q16, gram, examined=True, records_q16=known)
    assert later.accepted == EVERYBODY


@pytest.mark.parametrize("cheat", [-UPDATES[HONEST], -3 * UPDATES[HONEST], -0.5 * np.mean(UPDATES[:HONEST], axis=0)])
def test_credit_makes_up_for_nothing_that_is_against_the_exam(cheat: np.ndarray) -> None:
    gram = matrix_of([*UPDATES[:HONEST], cheat], REFERENCE)
    rich = [0] * HONEST + [2**31 - 1]
    assert decide(TERMS, HONEST + 1, 0, ONE_Q16, gram, examined=True, records_q16=rich).accepted == EVERYBODY


def test_who_has_credit_may_have_a_bad_round_but_earns_nothing_with_noise() -> None:
    gram = matrix_of([*UPDATES[:HONEST], NOISE[1]], REFERENCE)
    results = exam_results(TERMS, gram)
    assert results is not None
    assert abs(results.marks[HONEST]) < results.line
    rich = [0] * HONEST + [ONE_Q16]
    decision = decide(TERMS, HONEST + 1, 0, ONE_Q16, gram, examined=True, records_q16=rich)
    assert decision.accepted == (1 << HONEST + 1) - 1
    assert decision.scores[HONEST] < min(decision.scores[:HONEST]) // 20


def test_records_count_in_no_round_without_an_exam() -> None:
    poor = [-(2**31)] * HONEST
    missed = matrix_of(UPDATES[:HONEST], None)
    decision = decide(TERMS, HONEST, 0, ONE_Q16, missed, records_q16=poor)
    assert decision == decided(TERMS, missed)
    assert decision.records_q16 == ()


def test_records_of_other_rows_are_refused() -> None:
    with pytest.raises(InvalidTerms, match="records: length is 20 bytes, expected 0 or 24"):
        with_records([0] * (HONEST - 1))


def test_why_an_update_failed_is_said() -> None:
    gram = matrix_of([*UPDATES[:HONEST], -UPDATES[HONEST]], REFERENCE)
    results = exam_results(TERMS, gram, [-ONE_Q16, *[0] * (HONEST - 1), ONE_Q16])
    assert results is not None
    assert results.passed == (False, *[True] * (HONEST - 1), False)
    assert "makes its record -0." in results.sentence(0)
    assert results.sentence(1).startswith("passed")
    assert "is below -0.0500" in results.sentence(HONEST)
