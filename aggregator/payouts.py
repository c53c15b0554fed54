"""Who is paid what: wei in, wei out, nothing created or lost. `contracts/src/JobMarket.sol` is the same functions.

Shares round down. What rounding leaves over stays in the job's carry, which is paid out or burned when the job closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RoundPay:
    """How one settled round's reward is divided: carry + reward = Σ pays + returned + carry afterwards.

    Attributes:
        pays_wei: one for each score, in their order
        returned_wei: what goes back to the owner; always zero in a pot
        carry_wei: what the job carries on to later rounds
    """

    pays_wei: tuple[int, ...]
    returned_wei: int
    carry_wei: int


@dataclass(frozen=True)
class ClosingPay:
    """How the carry is divided when a job closes: carry = Σ pays + burned."""

    pays_wei: tuple[int, ...]
    burned_wei: int


def pot_round(scores: Sequence[int], included: int, excluded: int, round_reward_wei: int, carry_wei: int) -> RoundPay:
    """Divide a round's pot by score; the excluded seats' equal share of it is carried over.

    pool = reward + min(carry, reward);   pool' = ⌊pool·included / (included + excluded)⌋;   pay_i = ⌊pool'·s_i / Σs⌋

    Args:
        scores: one a seat, zero for who is not paid
        included: number of revealed updates that entered the Gram matrix
        excluded: number of revealed updates that the aggregator left out
        round_reward_wei: what the job set aside for this round
        carry_wei: what earlier rounds left over

    >>> pot_round([1, 3, 0], included=3, excluded=1, round_reward_wei=100, carry_wei=0)
    RoundPay(pays_wei=(18, 56, 0), returned_wei=0, carry_wei=26)
    """
    revealed, total = included + excluded, sum(scores)
    pool = round_reward_wei + min(carry_wei, round_reward_wei)
    included_pool = pool * included // revealed if revealed else 0
    pays = tuple(included_pool * score // total if total else 0 for score in scores)
    return RoundPay(pays, 0, carry_wei + round_reward_wei - sum(pays))


def price_round(
    scores: Sequence[int],
    included: int,
    excluded: int,
    round_reward_wei: int,
    carry_wei: int,
    price_wei: int,
    target_q32: int,
) -> RoundPay:
    """Pay a price for each update, in full from the target score on; the rest returns to the owner.

    pay_i = ⌊price·min(s_i, target) / target⌋;   the excluded seats' share ⌊reward·excluded / revealed⌋ is carried over,
    the whole reward if nobody revealed, but never what the pays already took.

    Args:
        scores: one a seat, Q32, zero for who is not paid
        included: number of revealed updates that entered the Gram matrix
        excluded: number of revealed updates that the aggregator left out
        round_reward_wei: what the job set aside for this round, at least seats·price
        carry_wei: what earlier rounds left over
        price_wei: what an update of target score earns
        target_q32: the job's target score, above zero

    >>> price_round([1, 3], 2, 0, round_reward_wei=100, carry_wei=5, price_wei=40, target_q32=2)
    RoundPay(pays_wei=(20, 40), returned_wei=40, carry_wei=5)
    """
    revealed = included + excluded
    pays = tuple(price_wei * min(score, target_q32) // target_q32 for score in scores)
    left_wei = max(0, round_reward_wei - sum(pays))
    share_wei = round_reward_wei * excluded // revealed if revealed else round_reward_wei
    carried_wei = min(share_wei, left_wei)
    return RoundPay(pays, left_wei - carried_wei, carry_wei + carried_wei)


def examined_price(pay: RoundPay, *, examined: bool) -> RoundPay:
    """What `price_round` comes to in a job with an exam: the owner saves by none that was not sat, or that all failed.

    What would return is carried over then.

    Args:
        pay: as `price_round` divided the reward
        examined: whether the round's exam counted: something of it was left beside what is public

    >>> examined_price(RoundPay((20, 40), returned_wei=40, carry_wei=5), examined=False)
    RoundPay(pays_wei=(20, 40), returned_wei=0, carry_wei=45)
    """
    if examined and any(pay.pays_wei):
        return pay
    return RoundPay(pay.pays_wei, 0, pay.carry_wei + pay.returned_wei)


def close(lifetime_scores: Sequence[int], carry_wei: int) -> ClosingPay:
    """Divide the carry by lifetime score; dust, or everything where nobody ever scored, is burned.

    Args:
        lifetime_scores: one a seat, the sum of its scores over the whole job
        carry_wei: what the job's rounds left over

    >>> close([1, 2], carry_wei=10)
    ClosingPay(pays_wei=(3, 6), burned_wei=1)
    """
    total = sum(lifetime_scores)
    pays = tuple(carry_wei * score // total if total else 0 for score in lifetime_scores)
    return ClosingPay(pays, carry_wei - sum(pays))
