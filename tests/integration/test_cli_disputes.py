"""Disputes as people have them: an attestor that runs, a trainer that disputes, an auditor that looks."""

from __future__ import annotations

import json

import pytest

from fedmarket.devnet import Devnet
from market.chain import keystore
from market.chain.job_market import JobMarket
from market.protocol.rounds import Phase
from tests.integration.marketplace import ON_ANVIL
from tests.integration.terminal import (
    COIN,
    JOB,
    PASSWORD,
    SPEC,
    TRAINERS,
    Terminal,
    ended,
    refuses,
    wait_until,
)

pytestmark = ON_ANVIL


@pytest.fixture
def court(terminal: Terminal, devnet: Devnet) -> Terminal:
    """A posted job that names an attestor, and whose three seats are taken."""
    attestor = keystore.create(terminal.folder / "attestor.json", PASSWORD, "scrypt-light")
    devnet.fund(attestor.address, COIN)
    named = f'disputes: {{attestors: ["{attestor.address}"], answer_s: 600, bond: 0.5 ether}}\n'
    spec = terminal.folder / "job.yaml"
    spec.write_text(SPEC + named)
    terminal.told("job", "post", spec, "--warm-start", terminal.folder / "owner.npz", who="owner")
    for who in TRAINERS:
        terminal.told("trainer", "enrol", JOB, who=who)
    return terminal


@pytest.mark.timeout(420)  # five processes, most of which load PyTorch
def test_a_false_alarm_is_answered_by_who_runs_an_attestor(
    court: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    attestor = court.start("attestor", "run", JOB, who="attestor")
    aggregator = court.aggregate()
    wait_until(lambda: deployed.state(JOB).attempt_start_s > 0, "the bond")
    schedule = deployed.terms(JOB).schedule(deployed.state(JOB).attempt_start_s)
    devnet.advance_to(schedule.start_s)
    trainers = [court.train(who) for who in TRAINERS]
    wait_until(lambda: deployed.state(JOB).committed == 0b111, "three commits")
    devnet.advance_to(schedule.commit_end_s)
    wait_until(lambda: deployed.state(JOB).revealed == 0b111, "three reveals")
    devnet.advance_to(schedule.reveal_end_s)
    wait_until(lambda: deployed.state(JOB).round == 1, "the settlement")
    assert aggregator.poll() is None, "what was settled can still be undone"

    refuses(court.run("dispute", "open", JOB, 0, "exam", who="owner"), 1, "no such fact to dispute", "no exam")
    refuses(court.run("dispute", "open", JOB, 0, "exclusion", who="owner"), 1, "has no seat", "the owner's")
    refuses(court.run("dispute", "thaw", JOB, who="owner"), 2, "no dispute is open", "nothing to thaw")
    refuses(court.run("dispute", "claim", JOB, who="owner"), 2, "has won no dispute", "nothing won")
    told = court.told("dispute", "open", JOB, 0, "model", who="owner")
    assert "the model of attempt 0 is disputed, bond 0.5 ETH; 1 of 1 attestors have until" in told
    wait_until(lambda: deployed.phase(JOB) is not Phase.DISPUTED, "the answer")
    assert deployed.ledger(JOB).burned_wei >= COIN // 2
    refuses(
        court.run("dispute", "open", JOB, 0, "model", who="owner"), 2, "was disputed by this account before", "once"
    )

    devnet.advance_to(deployed.outcome(JOB, 0).vests_at_s)
    assert ended(aggregator)[0] == 0
    assert [ended(trainer)[0] for trainer in trainers] == [0, 0, 0]
    refuses(court.run("dispute", "open", JOB, 0, "model", who="trainer-0"), 1, "too late", "vested")
    shown = court.told("job", "show", JOB)
    assert "1 of 1 attestors decide within 10 min, for a bond of 0.5 ETH" in shown
    assert "job 0 is closed" in court.told("job", "close", JOB, who="owner")
    status, output, errors = ended(attestor)
    assert (status, errors) == (0, "")
    assert "the model is disputed: answered that it holds" in output
    report = json.loads(court.told("audit", JOB, "--json"))
    assert report["ok"]
    assert any(check["name"] == "dispute" for check in report["checks"])
