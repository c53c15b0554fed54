from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.chain.consensus_records import ConsensusLedger, PoolTerms, TaskTerms
from market.protocol.consensus import ConsensusTerms
from market.protocol.errors import InvalidTerms
from market.protocol.identifiers import Digest, PoolId, Wei
from market.protocol.terms import NATIVE

POOL = PoolTerms(Digest(b"\x01" * 32), 1, 40, 50, 256, Wei(300))
WORKER = "0x" + "11" * 20
TASK = TaskTerms(
    PoolId(0), Digest(b"\x02" * 32), 5, 64, 3, Wei(100), NATIVE, Wei(0), bytes(32), bytes(32), 600, 600, 600, 600
)


def test_what_a_task_locks_and_an_appeal_costs_follows_from_its_terms() -> None:
    task = replace(TASK, worker=WORKER, claim=b"\x03" * 32, worker_reward_wei=Wei(7))
    task.check(POOL)
    assert (task.deposit_wei, task.appeal_verifiers, task.appeal_bond_wei) == (307, 7, 700)
    assert task.consensus(POOL) == ConsensusTerms(3, 64, 40, 50)
    assert task.consensus(POOL, 7).verifiers == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verifiers": 4}, "verifiers is 4, expected 3, 5 or 7"),
        ({"verifiers": 9}, "verifiers is 9, expected 3, 5 or 7"),
        ({"samples": 0}, "samples is 0, expected 1 to 256"),
        ({"samples": 129, "verifiers": 7}, "samples is 129, expected 1 to 128"),
        ({"seed": 1 << 64}, "seed is"),
        ({"share_wei": 101}, "share is 101, expected 1 to 100"),
        ({"share_wei": 0}, "share is 0"),
        ({"worker": WORKER}, "belong together"),
        ({"claim": b"\x03" * 32}, "belong together"),
        ({"worker_reward_wei": 5}, "expected 0 without a worker"),
        ({"commit_period_s": 59}, "commit_period is 59, expected 60 to 2592000"),
    ],
)
def test_a_task_that_the_contract_would_refuse_is_refused_before(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTerms, match=words):
        replace(TASK, **changes).check(POOL)


@pytest.mark.parametrize(
    ("field", "value"),
    [("service", bytes(32)), ("tolerance_bits", 128), ("slack_permille", 250), ("max_samples", 257), ("unit_wei", 0)],
)
def test_a_pool_that_the_contract_would_refuse_is_refused_before(field: str, value: Any) -> None:
    POOL.check()
    with pytest.raises(InvalidTerms, match=field.removesuffix("_wei")):
        replace(POOL, **{field: value}).check()


def test_a_ledger_is_balanced_where_every_wei_is_somewhere() -> None:
    ledger = ConsensusLedger(*map(Wei, (21, 1, 2, 3, 7, 8)))
    assert ledger.is_balanced
    assert not replace(ledger, burned_wei=Wei(3)).is_balanced
