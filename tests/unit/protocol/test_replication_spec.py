import copy
from typing import Any

import pytest
import yaml

from market.protocol.errors import InvalidJobSpec
from market.protocol.job_spec import JobSpec, parse_spec, spec_problems

SHARD = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
TEXT = f"""
name: digits
model:
  architecture: cnn
  arguments: {{channels: 1, height: 8, width: 8, classes: 10}}
rules: {{accept: [median_cosine]}}
rounds: 5
seats: 8
periods: {{enrol_s: 60, commit_s: 60, reveal_s: 50, settle_s: 40, vesting_s: 30, deadline_s: 86400, block_time_s: 1}}
money: {{round_reward: 1 ether, trainer_stake: 2 ether, aggregator_bond: 1 ether, compensation: 0.01 ether}}
replication:
  shards: [{SHARD}]
  every: 2
  share: 0.01 ether
  seat_s: 60
  commit_s: 60
  reveal_s: 60
  appeal_s: 60
"""


@pytest.fixture
def fields() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load(TEXT))


def with_replication(fields: dict[str, Any], **values: Any) -> JobSpec:
    fields["replication"].update(values)
    return parse_spec(fields)


def test_a_jobs_terms_ask_for_replicas_of_stated_rounds(fields: dict[str, Any]) -> None:
    section = parse_spec(fields).replication
    assert section is not None
    assert list(section.rounds_due(5)) == [0, 2, 4]
    assert [section.due(number) for number in range(4)] == [True, False, True, False]
    assert section.replicas == 3


def test_a_job_that_asks_for_none_has_none(fields: dict[str, Any]) -> None:
    del fields["replication"]
    assert parse_spec(fields).replication is None


def test_a_replica_stakes_three_shares_unless_more_is_asked_for(fields: dict[str, Any]) -> None:
    section = with_replication(fields).replication
    assert section is not None
    assert section.stake_wei == 3 * 10**16
    more = with_replication(fields, stake="1 ether").replication
    assert more is not None
    assert more.stake_wei == 10**18


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"replicas": 4}, "replication.replicas"),
        ({"replicas": 1}, "replication.replicas"),
        ({"every": 6}, "replication.every"),
        ({"every": 0}, "replication.every"),
        ({"stake": "0.02 ether"}, "replication.stake"),
        ({"share": 0}, "replication.stake"),
        ({"shards": []}, "replication.shards"),
        ({"shards": ["../data.npz"]}, "replication.shards[0]"),
        ({"tolerance_bits": 128}, "replication.tolerance_bits"),
        ({"seats": [1, 1]}, "replication.seats"),
        ({"seats": [1, 8]}, "replication.seats"),
        ({"commit_s": 0}, "replication.commit_s"),
        ({"pool": 3}, "replication.pool"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(fields: dict[str, Any], values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJobSpec) as refused:
        with_replication(fields, **values)
    assert refused.value.field == field
    told = [problem.field for problem in spec_problems(fields, 1_000) if isinstance(problem, InvalidJobSpec)]
    assert field in told


def test_replicas_of_sealed_models_are_refused_for_they_could_not_read_them(fields: dict[str, Any]) -> None:
    fields["models"] = "sealed"
    with pytest.raises(InvalidJobSpec, match="models that everybody can read"):
        parse_spec(fields)
