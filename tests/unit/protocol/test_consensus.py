"""The decision of a panel: what holds whoever reveals what."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.protocol.consensus import (
    VOID,
    ConsensusTerms,
    Decision,
    Outcome,
    Panel,
    Reveal,
    batch_of,
    decide,
    digests_of,
    hamming,
    judge,
)
from market.protocol.errors import InvalidData, InvalidTerms
from tests.unit.protocol.random_panels import Case, flipped, random_case

cases = st.integers(0, 2**48).map(lambda seed: random_case(random.Random(seed)))
small_cases = st.builds(
    lambda seed, seats: random_case(random.Random(seed), seats), st.integers(0, 2**48), st.sampled_from((3, 5, 7))
)


def decided(case: Case) -> Decision:
    return decide(case.terms, case.reveals, case.canaries)


@given(cases)
def test_paid_spared_and_penalised_are_all_seats_and_each_is_one_of_them(case: Case) -> None:
    decision = decided(case)
    seats = [*decision.clique, *decision.spared, *decision.penalised]
    assert sorted(seats) == list(range(case.terms.verifiers))


@given(cases)
def test_everybody_who_is_paid_agrees_with_everybody_else_who_is(case: Case) -> None:
    panel = Panel(case.terms, case.reveals, case.canaries)
    for left, right in combinations(panel.largest, 2):
        assert panel.agree(panel.reveals[left], panel.reveals[right])


@settings(max_examples=60)
@given(small_cases)
def test_no_other_set_that_agrees_is_larger_or_nearer_together(case: Case) -> None:
    panel = Panel(case.terms, case.reveals, case.canaries)
    best = (0, 0, 0)
    for size in range(1, case.terms.verifiers + 1):
        for seats in combinations(range(case.terms.verifiers), size):
            pairs = list(combinations(seats, 2))
            if all(_agree(case, panel.counting, *pair) for pair in [*pairs, *((seat, seat) for seat in seats)]):
                total = sum(_distance(case, *pair) for pair in pairs)
                best = max(best, (size, -total, -sum(1 << seat for seat in seats)))
    assert sum(1 << seat for seat in panel.largest) == -best[2]


@given(cases)
def test_the_medoid_is_nearest_to_the_rest_of_the_clique(case: Case) -> None:
    decision = decided(case)
    if decision.medoid is None:
        return
    sums = {seat: sum(_distance(case, seat, other) for other in decision.clique) for seat in decision.clique}
    assert decision.medoid == min(sums, key=lambda seat: (sums[seat], seat))


@given(cases)
def test_silence_is_always_penalised_and_nobody_near_the_clique_ever_is(case: Case) -> None:
    decision, panel = decided(case), Panel(case.terms, case.reveals, case.canaries)
    for seat, reveal in enumerate(case.reveals):
        if reveal is None:
            assert seat in decision.penalised
        elif any(panel.is_near(reveal, case.reveals[member]) for member in decision.clique):
            assert seat not in decision.penalised


@settings(max_examples=60)
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_seats_decides_nothing_where_no_two_sets_tie(case: Case, rng: random.Random) -> None:
    order = list(range(case.terms.verifiers))
    rng.shuffle(order)
    before = decided(case)
    after = decided(replace(case, reveals=tuple(case.reveals[seat] for seat in order)))
    assert (before.outcome, before.canaries_that_count) == (after.outcome, after.canaries_that_count)
    assert len(before.largest) == len(after.largest)
    if len(_equals(case)) == 1:
        assert set(before.clique) == {order[seat] for seat in after.clique}
        assert set(before.spared) == {order[seat] for seat in after.spared}
        assert set(before.penalised) == {order[seat] for seat in after.penalised}


@given(cases)
def test_a_false_canary_parts_nobody_who_agrees_about_that_sample(case: Case) -> None:
    far = {0: flipped(random.Random(1), _centre(case), 200)}
    counting = Panel(case.terms, case.reveals, far).counting
    if not counting:
        assert decide(case.terms, case.reveals, far) == decide(case.terms, case.reveals, {})


def test_three_of_three_that_agree_are_paid_and_the_middle_one_is_accepted() -> None:
    rng = random.Random(3)
    digest = rng.randbytes(32)
    near = flipped(rng, digest, 4)
    decision = decide(TERMS, [_batch(near), _batch(digest), _batch(digest)], {})
    assert decision == Decision(Outcome.ACCEPTED, (0, 1, 2), (), (), 1, 1, (), (0, 1, 2))


def test_a_lazy_one_loses_its_unit() -> None:
    rng = random.Random(4)
    digest = rng.randbytes(32)
    decision = decide(TERMS, [_batch(digest), _batch(rng.randbytes(32)), _batch(digest)])
    assert (decision.clique, decision.spared, decision.penalised) == ((0, 2), (), (1,))


def test_a_digest_between_two_clusters_wins_with_one_and_the_other_is_spared() -> None:
    left = bytes([0xFF] * 32)
    middle, right = _moved(left, 0, 8), _moved(left, 0, 16)
    decision = decide(TERMS, [_batch(left), _batch(middle), _batch(right)])
    assert (decision.clique, decision.spared, decision.penalised, decision.medoid) == ((0, 1), (2,), (), 0)


def test_void_wins_by_majority_and_whoever_gave_digests_keeps_its_unit() -> None:
    decision = decide(TERMS, [VOID, _batch(b"\x01" * 32), VOID])
    assert decision == Decision(Outcome.VOID, (0, 2), (1,), (), 0, 0, (), (0, 2))


def test_without_a_majority_only_silence_is_penalised() -> None:
    rng = random.Random(5)
    decision = decide(TERMS, [_batch(rng.randbytes(32)), _batch(rng.randbytes(32)), None])
    assert decision.outcome is Outcome.NO_MAJORITY
    assert (decision.clique, decision.spared, decision.penalised, decision.medoid) == ((), (0, 1), (2,), None)


def test_a_panel_whose_seats_are_not_all_taken_decides_nothing_and_penalises_nobody() -> None:
    decision = decide(TERMS, [_batch(b"\x01" * 32)] * 2)
    assert (decision.outcome, decision.clique, decision.spared) == (Outcome.NO_MAJORITY, (), (0, 1))
    assert decide(TERMS, [None]).penalised == decide(TERMS, []).penalised == ()


def test_a_canary_that_the_majority_meets_parts_who_guessed_from_them() -> None:
    rng = random.Random(6)
    right, guess = [rng.randbytes(32) for _ in range(8)], rng.randbytes(32)
    terms = ConsensusTerms(3, 8, 8, 249)
    guessed = batch_of([guess, *right[1:]])
    reveals: list[Reveal] = [batch_of(right), guessed, batch_of(right)]
    assert decide(terms, reveals).clique == (0, 1, 2)
    decision = decide(terms, reveals, {0: right[0]})
    assert (decision.clique, decision.penalised, decision.canaries_that_count) == ((0, 2), (), (0,))
    assert decide(terms, reveals, {0: guess}).clique == (0, 1, 2)


def test_true_canaries_where_each_uses_its_slack_undo_no_majority() -> None:
    rng = random.Random(8)
    right = [rng.randbytes(32) for _ in range(8)]
    terms = ConsensusTerms(3, 8, 8, 249)
    reveals: list[Reveal] = [right_but(right, sample, rng.randbytes(32)) for sample in range(2)]
    panel = Panel(terms, [*reveals, None], {})
    assert panel.decision.outcome is Outcome.NO_MAJORITY, "they differ at two samples where one is allowed"
    near: list[Reveal] = [
        right_but(right, 0, rng.randbytes(32)),
        batch_of(right),
        right_but(right, 1, rng.randbytes(32)),
    ]
    canaries = {0: right[0], 1: right[1]}
    decision = decide(terms, near, canaries)
    assert Panel(terms, near, canaries).confirmed == (0, 1)
    assert (decision.outcome, decision.clique, decision.canaries_that_count) == (Outcome.ACCEPTED, (0, 1), ())
    assert decide(terms, near, {}) == decision


def test_a_canary_costs_a_share_and_no_unit_within_the_slack() -> None:
    rng = random.Random(12)
    digests = [rng.randbytes(32) for _ in range(8)]
    terms = ConsensusTerms(3, 8, 8, 125)
    right, slack = batch_of(digests), right_but(digests, 3, rng.randbytes(32))
    decision = decide(terms, [right, slack, right], {3: digests[3]})
    assert (decision.clique, decision.spared, decision.penalised) == ((0, 2), (1,), ())
    more = slack.copy()
    more[4] = np.frombuffer(rng.randbytes(32), np.uint8)
    assert decide(terms, [right, more, right], {3: digests[3]}).penalised == (1,)


def test_canaries_shown_on_appeal_spare_who_used_its_slack_there() -> None:
    rng = random.Random(13)
    digests = [rng.randbytes(32) for _ in range(8)]
    appeal = Panel(ConsensusTerms(7, 8, 8, 125), [batch_of(digests)] * 7, {3: digests[3]})
    judged = judge(appeal, [batch_of(digests), right_but(digests, 3, rng.randbytes(32)), batch_of(digests[::-1])])
    assert (judged.paid, judged.spared, judged.penalised) == ((0,), (1,), (2,))


def right_but(digests: list[bytes], sample: int, other: bytes) -> np.ndarray:
    return batch_of([other if place == sample else digest for place, digest in enumerate(digests)])


def test_an_appeal_pays_who_agrees_with_its_medoid_and_penalises_the_overturned() -> None:
    rng = random.Random(7)
    digest, lie = rng.randbytes(32), rng.randbytes(32)
    near, between = _moved(digest, 0, 8), _moved(digest, 0, 14)
    panel = Panel(ConsensusTerms(7, 1, 8, 0), [_batch(digest)] * 5 + [_batch(near), _batch(lie)], {})
    judged = judge(panel, [_batch(digest), _batch(between), _batch(lie), None, VOID])
    assert (judged.paid, judged.spared, judged.penalised) == ((0,), (1,), (2, 3, 4))


def test_an_appeal_that_finds_the_request_void_spares_who_gave_digests() -> None:
    panel = Panel(ConsensusTerms(7, 1, 8, 0), [VOID] * 4 + [None] * 3, {})
    judged = judge(panel, [_batch(b"\x01" * 32), VOID, None])
    assert (judged.paid, judged.spared, judged.penalised) == ((1,), (0,), (2,))


def test_an_appeal_without_a_majority_judges_nobody() -> None:
    with pytest.raises(InvalidTerms, match="expected one with"):
        judge(Panel(ConsensusTerms(7, 1, 8, 0), [None] * 7, {}), [VOID])


@pytest.mark.parametrize(
    ("term", "value"),
    [("verifiers", 0), ("verifiers", 16), ("samples", 0), ("samples", 257), ("tolerance_bits", 128),
     ("tolerance_bits", -1), ("slack_permille", 250)],
)  # fmt: skip
def test_terms_out_of_range_are_named(term: str, value: int) -> None:
    with pytest.raises(InvalidTerms, match=f"{term} is {value}"):
        replace(TERMS, **{term: value})


@pytest.mark.parametrize(
    "batch",
    [np.zeros((2, 32), np.uint8) + 1, np.ones((1, 31), np.uint8), np.ones((1, 32), np.int64), np.ones(32, np.uint8)],
)
def test_digests_of_another_shape_are_refused(batch: np.ndarray) -> None:
    with pytest.raises(InvalidData, match="expected uint8"):
        decide(TERMS, [batch])


def test_digests_of_zero_short_digests_too_many_seats_and_strange_canaries_are_refused() -> None:
    with pytest.raises(InvalidData, match="digest of sample 0 is zero"):
        decide(TERMS, [_batch(bytes(32))])
    with pytest.raises(InvalidData, match="has 31 bytes"):
        batch_of([bytes(31)])
    with pytest.raises(InvalidData, match="expected uint8"):
        digests_of(np.zeros(32, np.uint8))
    with pytest.raises(InvalidTerms, match="3 seats has 4 reveals"):
        decide(TERMS, [None] * 4)
    with pytest.raises(InvalidData, match="a canary of sample 1"):
        decide(TERMS, [None], {1: b"\x01" * 32})
    with pytest.raises(InvalidData, match="has 5 bytes"):
        decide(TERMS, [None], {0: b"\x01" * 5})


def test_digests_are_the_same_as_bytes_and_as_an_array() -> None:
    digests = (b"\x01" * 32, b"\x02" * 32)
    assert digests_of(batch_of(digests)) == digests
    assert hamming(batch_of(digests[:1]), batch_of(digests[1:])).tolist() == [64]


TERMS = ConsensusTerms(verifiers=3, samples=1, tolerance_bits=8, slack_permille=0)


def _batch(digest: bytes) -> np.ndarray:
    return batch_of([digest])


def _moved(digest: bytes, first: int, bits: int) -> bytes:
    value = int.from_bytes(digest, "big")
    for bit in range(first, first + bits):
        value ^= 1 << bit
    return value.to_bytes(32, "big")


def _centre(case: Case) -> bytes:
    return next((r[0].tobytes() for r in case.reveals if isinstance(r, np.ndarray)), b"\x01" * 32)


def _distance(case: Case, left: int, right: int) -> int:
    a, b = case.reveals[left], case.reveals[right]
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return 0
    return sum(
        (int.from_bytes(x.tobytes(), "big") ^ int.from_bytes(y.tobytes(), "big")).bit_count()
        for x, y in zip(a, b, strict=True)
    )


def _agree(case: Case, counting: tuple[int, ...], left: int, right: int) -> bool:
    a, b = case.reveals[left], case.reveals[right]
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return a is VOID and b is VOID
    far = [s for s in range(case.terms.samples) if _bits(a[s], b[s]) > case.terms.tolerance_bits]
    return len(far) * 1000 <= case.terms.allowed * 1000 and not set(far) & set(counting)


def _bits(left: np.ndarray, right: np.ndarray) -> int:
    return sum((int(x) ^ int(y)).bit_count() for x, y in zip(left, right, strict=True))


def _equals(case: Case) -> list[int]:
    """The masks of all sets as large and as near together as the one that wins."""
    from market.protocol.consensus import _sets

    panel = Panel(case.terms, case.reveals, case.canaries)
    sizes, totals = _sets(panel.agreement, panel.distances)
    best = np.flatnonzero(sizes == sizes.max())
    return [int(mask) for mask in best[totals[best] == totals[best].min()]]
