"""The spec of the jobs that are played in memory."""

from __future__ import annotations

from typing import Any


def spec(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "audited",
        "model": {"architecture": "linear"},
        "rounds": 3,
        "seats": 5,
        "periods": {
            "enrol_s": 200,
            "commit_s": 100,
            "reveal_s": 100,
            "settle_s": 100,
            "vesting_s": 50,
            "deadline_s": 5_000,
        },
        "money": {
            "round_reward": 1_000,
            "aggregator_fee": 10,
            "trainer_stake": 2_000,
            "aggregator_bond": 3_000,
            "compensation": 7,
        },
    }
    plain["periods"] |= {"confirmations": 1, "block_time_s": 1}
    return plain | changes
