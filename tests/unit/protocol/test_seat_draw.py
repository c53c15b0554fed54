"""The draw for seats: its numbers are the contract's, and tickets weigh what they cost."""

from __future__ import annotations

from math import log, sqrt

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.seat_draw import LATE, MAX_TICKETS, drawn_number, in_cohort

SEEDS = st.binary(min_size=32, max_size=32)
TRAINERS = st.integers(0, (1 << 160) - 1).map(lambda number: f"0x{number:040x}")
TICKETS = st.integers(1, MAX_TICKETS)

SEED = bytes(range(32))
TRAINER = "0x00112233445566778899aabbccddeeff00112233"


def number_of_words(seed: bytes, trainer: str, ticket: int) -> int:
    """keccak256 of three words of 32 bytes, written out."""
    words = seed + bytes(12) + bytes.fromhex(trainer[2:]) + ticket.to_bytes(32, "big")
    return int.from_bytes(keccak(words), "big")


@given(seed=SEEDS, trainer=TRAINERS, tickets=TICKETS)
def test_a_trainers_number_is_the_lowest_of_its_tickets(seed: bytes, trainer: str, tickets: int) -> None:
    numbers = [number_of_words(seed, trainer, ticket) for ticket in range(tickets)]
    assert drawn_number(seed, trainer, tickets) == min(numbers) <= LATE


@pytest.mark.parametrize(
    ("tickets", "number"),
    [
        (1, 0x3BE6B8BA2C370DECEBF765292C70B0ECE73CC6F2B44E5C9071F3CA7A00B60307),
        (2, 0x3BE6B8BA2C370DECEBF765292C70B0ECE73CC6F2B44E5C9071F3CA7A00B60307),
        (64, 0x0195C05EB246D37F52241F4C4A56E46AF8E85AFE71A4F5CCB133AFB00F2B6E63),
    ],
)
def test_the_numbers_of_a_known_seed_are_known(tickets: int, number: int) -> None:
    assert drawn_number(SEED, TRAINER, tickets) == number


@given(seed=SEEDS, trainer=TRAINERS, tickets=st.integers(MAX_TICKETS, 10**9))
def test_more_tickets_than_the_most_that_count_change_nothing(seed: bytes, trainer: str, tickets: int) -> None:
    assert drawn_number(seed, trainer, tickets) == drawn_number(seed, trainer, MAX_TICKETS)


@given(seed=SEEDS, trainer=TRAINERS, tickets=st.integers(1, MAX_TICKETS - 1))
def test_one_more_ticket_never_makes_a_number_worse(seed: bytes, trainer: str, tickets: int) -> None:
    assert drawn_number(seed, trainer, tickets + 1) <= drawn_number(seed, trainer, tickets)


@given(seed=SEEDS, trainer=TRAINERS)
def test_an_accounts_spelling_is_no_part_of_its_number(seed: bytes, trainer: str) -> None:
    assert drawn_number(seed, "0x" + trainer[2:].upper(), 3) == drawn_number(seed, trainer, 3)


DRAWS = 2_000
ALPHA = 1e-9
"""How likely true chance fails one of these tests."""
BOUND = sqrt(log(2 / ALPHA) / (2 * DRAWS))
"""The e for which 2·exp(-2·n·e²) is that."""


@pytest.mark.parametrize("tickets", [1, 2, 7, 64])
def test_the_lowest_of_k_tickets_is_below_x_as_often_as_the_law_says(tickets: int) -> None:
    """P(lowest of k < x) = 1 - (1 - x)^k for every x: Kolmogorov's distance of 2,000 accounts' numbers from that law.

    By the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (1990) the distance exceeds e with
    probability at most 2·exp(-2·n·e²).
    """
    lowest = sorted(drawn_number(SEED, f"0x{who:040x}", tickets) / 2**256 for who in range(DRAWS))
    law = [1 - (1 - x) ** tickets for x in lowest]
    farthest = max(max((place + 1) / DRAWS - p, p - place / DRAWS) for place, p in enumerate(law))
    assert farthest < BOUND


def test_two_tickets_beat_one_twice_as_often_as_they_are_beaten() -> None:
    """P(2 tickets below 1) = 2/3, as for three trainers with one each. Hoeffding's bound (1963): 2·exp(-2·n·e²)."""
    wins = sum(
        drawn_number(SEED, f"0x{2 * who:040x}", 2) < drawn_number(SEED, f"0x{2 * who + 1:040x}", 1)
        for who in range(DRAWS)
    )
    assert abs(wins / DRAWS - 2 / 3) < BOUND


@given(seed=SEEDS, attempt=st.integers(0, 1 << 32), staked=st.sets(st.integers(0, 63)), cohort=st.integers(1, 64))
def test_a_cohort_is_as_many_staked_seats_as_it_says_with_the_lowest_numbers(
    seed: bytes, attempt: int, staked: set[int], cohort: int
) -> None:
    def number(seat: int) -> int:
        return int.from_bytes(keccak(seed + attempt.to_bytes(32, "big") + seat.to_bytes(32, "big")), "big")

    drawn = {seat for seat in staked if in_cohort(seed, attempt, seat, staked, cohort)}
    if any(seed):
        assert drawn == set(sorted(staked, key=number)[:cohort])
    assert all(in_cohort(none, attempt, seat, staked, cohort) for none in (b"", bytes(32)) for seat in staked)
    assert all(in_cohort(seed, attempt, seat, staked, 0) for seat in staked)
