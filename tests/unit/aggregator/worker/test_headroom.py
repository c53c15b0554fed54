import numpy as np
import pytest

from aggregator.worker.models import check_headroom
from market.protocol.errors import InvalidModel
from market.protocol.integer_model import MODEL_LIMIT
from market.protocol.job_spec import parse_spec
from market.protocol.terms import JobTerms
from market.protocol.update import UPDATE_LIMIT

ROUNDS, RATE = 3, 1 << 16


@pytest.fixture
def terms() -> JobTerms:
    periods = {"enrol_s": 60, "commit_s": 60, "reveal_s": 60, "settle_s": 60, "vesting_s": 30, "deadline_s": 9_000}
    money = {"round_reward": 1, "trainer_stake": 2, "aggregator_bond": 1}
    fields = {"name": "j", "model": {"architecture": "mlp"}, "rounds": ROUNDS, "seats": 3, "periods": periods}
    return parse_spec({**fields, "update": {"initial_shift": 2}, "money": money}).to_terms(4, 0)


def test_a_model_that_no_round_can_drive_out_of_range_is_taken(terms: JobTerms) -> None:
    room = ROUNDS * RATE * UPDATE_LIMIT * 4
    check_headroom(np.array([0, MODEL_LIMIT - room, room - MODEL_LIMIT], dtype=np.int64), terms)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_owner_cannot_trap_an_aggregator_with_a_model_at_the_edge_of_its_range(terms: JobTerms, sign: int) -> None:
    room = ROUNDS * RATE * UPDATE_LIMIT * 4
    edge = np.array([0, sign * (MODEL_LIMIT - room + 1)], dtype=np.int64)
    with pytest.raises(InvalidModel, match="could not be settled"):
        check_headroom(edge, terms)
