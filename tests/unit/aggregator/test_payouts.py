from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aggregator.payouts import close, pot_round, price_round

WEI = st.integers(0, 2**128)
SCORES = st.lists(st.one_of(st.just(0), st.integers(0, 2**32)), max_size=64)
SEATS = st.integers(0, 64)


@given(SCORES, SEATS, SEATS, WEI, WEI)
def test_pot_keeps_every_wei(scores: list[int], included: int, excluded: int, reward: int, carry: int) -> None:
    pay = pot_round(scores, included, excluded, reward, carry)
    assert sum(pay.pays_wei) + pay.returned_wei + pay.carry_wei == carry + reward
    assert min((*pay.pays_wei, pay.carry_wei)) >= 0
    assert pay.returned_wei == 0
    assert sum(pay.pays_wei) <= 2 * reward


@given(SCORES, SEATS, SEATS, WEI, WEI, WEI, st.integers(1, 2**32))
def test_price_keeps_every_wei_where_the_reward_covers_all_seats(
    scores: list[int], included: int, excluded: int, spare: int, carry: int, price: int, target: int
) -> None:
    reward = price * len(scores) + spare
    pay = price_round(scores, included, excluded, reward, carry, price, target)
    assert sum(pay.pays_wei) + pay.returned_wei + pay.carry_wei == carry + reward
    assert min((*pay.pays_wei, pay.returned_wei)) >= 0
    assert pay.carry_wei >= carry
    assert max(pay.pays_wei, default=0) <= price


@given(SCORES, WEI)
def test_close_keeps_every_wei(lifetime: list[int], carry: int) -> None:
    pay = close(lifetime, carry)
    assert sum(pay.pays_wei) + pay.burned_wei == carry
    assert min((*pay.pays_wei, pay.burned_wei)) >= 0


@given(SCORES, SEATS, SEATS, WEI, WEI)
def test_pot_pays_nothing_for_nothing(scores: list[int], included: int, excluded: int, reward: int, carry: int) -> None:
    pay = pot_round(scores, included, excluded, reward, carry)
    assert all(wei == 0 for wei, score in zip(pay.pays_wei, scores, strict=True) if score == 0)


def test_pot_pays_from_the_carry_at_most_what_the_round_pays() -> None:
    assert sum(pot_round([1], 1, 0, round_reward_wei=100, carry_wei=10_000).pays_wei) == 200


def test_pot_carries_the_share_of_excluded_seats() -> None:
    pay = pot_round([1, 1], included=2, excluded=2, round_reward_wei=100, carry_wei=0)
    assert (pay.pays_wei, pay.carry_wei) == ((25, 25), 50)


def test_pot_returns_nothing_to_an_owner_whose_round_rejects_everybody() -> None:
    pay = pot_round([0, 0, 0], included=3, excluded=0, round_reward_wei=100, carry_wei=7)
    assert (sum(pay.pays_wei), pay.returned_wei, pay.carry_wei) == (0, 0, 107)


def test_pot_divides_by_score() -> None:
    assert pot_round([1, 2, 5], 3, 0, round_reward_wei=80, carry_wei=0).pays_wei == (10, 20, 50)


def test_price_is_full_from_the_target_on() -> None:
    pay = price_round([5, 10, 11, 1_000], 4, 0, 400, 0, price_wei=100, target_q32=10)
    assert pay.pays_wei == (50, 100, 100, 100)
    assert pay.returned_wei == 50


def test_price_cuts_the_excluded_share_before_the_pays() -> None:
    pay = price_round(
        [10, 10, 0, 0], included=2, excluded=6, round_reward_wei=100, carry_wei=1, price_wei=40, target_q32=10
    )
    assert (pay.pays_wei, pay.carry_wei, pay.returned_wei) == ((40, 40, 0, 0), 21, 0)


def test_price_carries_everything_where_nobody_revealed() -> None:
    pay = price_round([], 0, 0, round_reward_wei=100, carry_wei=1, price_wei=10, target_q32=1)
    assert (pay.carry_wei, pay.returned_wei) == (101, 0)


def test_close_burns_everything_where_nobody_ever_scored() -> None:
    assert close([0, 0], 9).burned_wei == 9
