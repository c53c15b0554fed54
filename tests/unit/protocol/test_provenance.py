"""The rolling hash of an attempt's reveals, and the public rows from round to round."""

import pytest
from eth_utils.crypto import keccak

from market.protocol.errors import InvalidTerms
from market.protocol.identifiers import Seat
from market.protocol.job_spec import parse_spec
from market.protocol.provenance import NO_REVEALS, POINT_BYTES, PublicRows, extended

FIRST, SECOND = b"\x01" * POINT_BYTES, b"\x02" * POINT_BYTES
NONE = bytes(POINT_BYTES)


def test_a_reveal_is_hashed_behind_those_before_it() -> None:
    chain = extended(NO_REVEALS, Seat(3), FIRST)
    assert chain == keccak(bytes(32) + bytes(31) + b"\x03" + FIRST)
    assert extended(chain, Seat(0), SECOND) == keccak(chain + bytes(32) + SECOND)


def test_the_rolling_hash_depends_on_order_seat_and_commitment() -> None:
    both = extended(extended(NO_REVEALS, Seat(0), FIRST), Seat(1), SECOND)
    assert both != extended(extended(NO_REVEALS, Seat(1), SECOND), Seat(0), FIRST)
    assert both != extended(extended(NO_REVEALS, Seat(1), FIRST), Seat(0), SECOND)
    assert both != extended(extended(NO_REVEALS, Seat(0), SECOND), Seat(1), FIRST)


def test_a_job_opens_without_aggregates_and_with_its_initial_model_as_the_current_one() -> None:
    rows = PublicRows.at_opening(FIRST)
    assert rows.to_bytes() == 3 * NONE + FIRST + FIRST
    assert rows.digest == keccak(rows.to_bytes())


def test_a_round_moves_the_aggregates_back_by_one_and_keeps_the_initial_model() -> None:
    rows = PublicRows.at_opening(FIRST)
    for number in range(4):
        rows = rows.after(bytes([10 + number]) * POINT_BYTES, bytes([20 + number]) * POINT_BYTES)
    expected = [bytes([value]) * POINT_BYTES for value in (13, 12, 11, 23)]
    assert rows.to_bytes() == b"".join(expected) + FIRST


@pytest.mark.parametrize(("seats", "most"), [(3, 64), (9, 64), (10, 60), (57, 16), (64, 14)])
def test_a_job_of_more_seats_has_fewer_chunks(seats: int, most: int) -> None:
    fields = {
        "name": "chunks",
        "model": {"architecture": "mlp"},
        "rounds": 2,
        "seats": seats,
        "periods": {
            **{"enrol_s": 100, "commit_s": 100, "reveal_s": 100, "settle_s": 100, "vesting_s": 10},
            "deadline_s": 10_000,
        },
        "money": {"round_reward": 100, "trainer_stake": 200, "aggregator_bond": 100},
    }
    spec = parse_spec(fields)
    assert spec.with_chunks(most).to_terms(10, 0).chunks == most
    if most < 64:
        with pytest.raises(
            InvalidTerms, match=f"chunks is {most + 1}: expected 1 to {most} with {seats} updates a round"
        ):
            spec.with_chunks(most + 1).to_terms(10, 0)
