"""What a whole settlement costs: gas of the real transaction, everything included, numbers as large as real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aggregator.decision import decide
from aggregator.gram import GramMatrix, gram_matrix
from fedmarket.devnet import Devnet
from market.chain.events import JobOpened, RoundSettled
from market.chain.job_market import JobMarket
from market.chain.packed import pack_lifetime
from market.chain.records import Settlement
from market.protocol.identifiers import Digest, JobId
from market.protocol.job_spec import parse_spec
from market.protocol.rounds import FULL_STEP_Q16
from market.protocol.seal import seal
from market.protocol.terms import JobTerms

DIMENSION = 1 << 16
SALT = b"\x05" * 32
MODEL = Digest(b"\x07" * 32)

BUDGETS = {16: 550_000, 32: 1_500_000, 64: 5_000_000}
"""DESIGN.md section 8, less what the proof will cost."""


def terms_for(trainers: int, now_s: int) -> JobTerms:
    periods = {"enrol_s": 50_000, "commit_s": 50_000, "reveal_s": 50_000, "settle_s": 50_000, "vesting_s": 1_000}
    spec = parse_spec(
        {
            "name": "gas",
            "model": {"architecture": "mlp"},
            "rules": {"accept": ["median_cosine"], "step": {"rule": "agreement", "factor": 0.9, "threshold": 0.1}},
            "rounds": 2,
            "seats": trainers,
            "periods": {**periods, "deadline_s": 1_000_000},
            "money": {
                "round_reward": "1 ether",
                "aggregator_fee": "0.1 ether",
                "trainer_stake": "2 ether",
                "aggregator_bond": "1 ether",
            },
        }
    )
    return spec.to_terms(DIMENSION, now_s)


def agreeing_gram(trainers: int) -> GramMatrix:
    """Updates that agree somewhat, and five public rows of full length: no entry is zero or short."""
    random = np.random.default_rng(trainers)
    shared = random.standard_normal(DIMENSION)
    updates = [np.rint(3_000 * (0.4 * shared + random.standard_normal(DIMENSION))) for _ in range(trainers)]
    public = [np.rint(random.standard_normal(DIMENSION) * 2.0**bits) for bits in (28, 28, 28, 36, 36)]
    return gram_matrix([update.astype(np.int16) for update in updates], [row.astype(np.int64) for row in public])


def reach_settlement(deployed: JobMarket, devnet: Devnet, actors: Any, trainers: int) -> JobId:
    """Open a job, fill every seat, and have everybody commit and reveal."""
    terms = terms_for(trainers, devnet.timestamp())
    receipt = actors["owner"].send("open", deployed.open_job(terms, Digest(b"\x01" * 32), Digest(b"\x02" * 32)))
    [opened] = [event for event in deployed.events_in(receipt.logs) if isinstance(event, JobOpened)]
    job = opened.job
    actors["aggregator"].send("bond", deployed.bond(job, terms))
    names = [f"trainer {index}" for index in range(trainers)]
    for name in names:
        actors[name].send("enrol", deployed.enrol(job, terms))
    devnet.advance_to(deployed.state(job).attempt_start_s)
    context = deployed.seal_context(job, 0, 0)
    content = Digest(b"\x03" * 32)
    for name in names:
        actors[name].send("commit", deployed.commit(job, 0, seal(context, actors[name].address, content, SALT)))
    schedule = terms.schedule(deployed.state(job).attempt_start_s)
    devnet.advance_to(schedule.commit_end_s)
    for name in names:
        actors[name].send("reveal", deployed.reveal(job, 0, actors[name].address, content, SALT))
    devnet.advance_to(schedule.reveal_end_s)
    return job


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trainers", BUDGETS)
def test_a_whole_settlement_by_median_cosine_stays_within_its_budget(
    deployed: JobMarket, devnet: Devnet, actors: Any, trainers: int
) -> None:
    job = reach_settlement(deployed, devnet, actors, trainers)
    gram = agreeing_gram(trainers)
    decision = decide(deployed.terms(job).rules, trainers, 0, FULL_STEP_Q16, gram)
    assert len(decision.accepted_rows) == trainers
    settlement = Settlement({}, gram.pack(), MODEL, pack_lifetime([0] * trainers))
    receipt = actors["aggregator"].send("settle", deployed.settle_round(job, 0, settlement))
    [settled] = [event for event in deployed.events_in(receipt.logs) if isinstance(event, RoundSettled)]
    assert settled.scores_q32 == decision.scores
    print(f"\nsettleRound, median_cosine, n = {trainers}: {receipt.gas_used:,} gas of {BUDGETS[trainers]:,}")
    assert receipt.gas_used <= BUDGETS[trainers]
