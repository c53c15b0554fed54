"""tests/vectors/consensus.json, which the contract is held to as well."""

from __future__ import annotations

import json
import random

import pytest
from eth_abi import decode

from market.protocol.consensus import VOID, ConsensusTerms, Decision, Outcome, Reveal, batch_of, decide
from tests.unit.protocol.consensus_oracle import Verdict
from tests.unit.protocol.random_panels import random_case
from tests.vectors.make_consensus import EMPTY, GIVEN, PANEL, PATH, VERDICT, oracle, text

VECTORS = json.loads(PATH.read_text("utf-8"))


def test_the_file_is_what_the_script_makes() -> None:
    assert PATH.read_text("utf-8") == text()


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_a_shared_vector_is_decided_as_written(name: str) -> None:
    vector = VECTORS[name]
    seats, samples, tolerance, slack, states, digests, where, canaries = decode(
        PANEL, bytes.fromhex(vector["panel"][2:])
    )
    reveals: list[Reveal] = [
        batch_of(batch) if state == GIVEN else VOID if state == EMPTY else None
        for state, batch in zip(states, digests, strict=True)
    ]
    decision = decide(
        ConsensusTerms(seats, samples, tolerance, slack), reveals, dict(zip(where, canaries, strict=True))
    )
    assert as_told(decision) == Verdict(*decode(VERDICT, bytes.fromhex(vector["verdict"][2:])))


@pytest.mark.parametrize("seats", [3, 5, 7])
def test_the_oracle_agrees_on_panels_that_are_in_no_file(seats: int) -> None:
    rng = random.Random(seats)
    for _ in range(150):
        case = random_case(rng, seats)
        assert as_told(decide(case.terms, case.reveals, case.canaries)) == oracle(case)


def as_told(decision: Decision) -> Verdict:
    """A decision as the contract tells it: nothing of seats without a majority."""
    if decision.outcome is Outcome.NO_MAJORITY:
        return Verdict(int(decision.outcome), 0, 0, 0, 0)
    masks = [sum(1 << seat for seat in seats) for seats in (decision.clique, decision.spared)]
    assert decision.medoid is not None
    return Verdict(int(decision.outcome), *masks, decision.medoid, decision.accepted_samples)
