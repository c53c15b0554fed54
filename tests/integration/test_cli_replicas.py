"""Replicas of a job's training on the command line: asked for, shown, and audited."""

from __future__ import annotations

import json

from tests.integration.marketplace import ON_ANVIL, samples
from tests.integration.terminal import JOB, TRAINERS, Terminal, refuses
from trainer_client.exam import slice_bytes

pytestmark = ON_ANVIL

REPLICATION = """
replication:
  shards: [{shard}]
  share: 0.01 ether
  seat_s: 600
  commit_s: 1000
  reveal_s: 600
  appeal_s: 600
"""


def post(terminal: Terminal, replication: str) -> None:
    spec = terminal.folder / "job.yaml"
    spec.write_text(spec.read_text() + replication)
    terminal.told("job", "post", spec, "--warm-start", terminal.folder / "owner.npz", who="owner")


def test_replicas_are_asked_for_shown_and_audited(terminal: Terminal) -> None:
    (terminal.folder / "shard.npz").write_bytes(slice_bytes(samples(7)))
    shard = terminal.told("storage", "add", terminal.folder / "shard.npz").split()[0]
    post(terminal, REPLICATION.format(shard=shard))
    assert "3 train alike on 1 shard every round; digests within 3 bits" in terminal.told("job", "show", JOB)
    assert "have staked in pool 0" in terminal.told("verify", "replicate", JOB, "--once", who="owner")
    for who in TRAINERS:
        terminal.told("verifier", "stake", "0", "--units", "1", who=who)
    told = terminal.told("verify", "replicate", JOB, "--once", who="owner")
    assert "round 0: task 0 asks 3 replicas" in told
    assert "pool 0: 1 tasks: 0" in told
    # Another time there is nothing left to open.
    assert terminal.told("verify", "replicate", JOB, "--once", who="owner") == "pool 0: 1 tasks: 0\n"

    shown = json.loads(terminal.told("job", "show", JOB, "--json"))["replicas"]
    assert [(line["round"], line["task"], line["outcome"]) for line in shown] == [(0, 0, "undecided")]
    assert "Replicas" in terminal.told("job", "show", JOB)
    audited = [line.split() for line in terminal.told("audit", JOB).splitlines() if " replicas " in line]
    assert audited[0][:2] == ["unproven", "replicas"]
    assert "decided" in audited[0]


def test_a_job_that_asks_for_none_says_so(terminal: Terminal) -> None:
    post(terminal, "")
    refused = terminal.run("verify", "replicate", JOB, "--once", who="owner")
    refuses(refused, 2, "ask for no replicas", "a job without replicas")
    assert "Replicas" not in terminal.told("job", "show", JOB)
