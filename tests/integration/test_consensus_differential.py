"""The consensus contract and the Python decide alike, about panels that an adversary would make."""

from __future__ import annotations

import json
import random
import urllib.request
from collections import Counter

import pytest
import solcx
from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector

from fedmarket.devnet import REPOSITORY, Devnet
from market.chain.artefacts import COMPILER_SETTINGS, CONTRACTS_ROOT, OPENZEPPELIN
from market.protocol.consensus import Outcome, decide
from tests.integration.marketplace import ON_ANVIL
from tests.unit.protocol.random_panels import Case, random_case
from tests.unit.protocol.test_consensus_vectors import as_told
from tests.vectors.make_consensus import PANEL, as_panel

pytestmark = ON_ANVIL

PANELS = 600
BATCH = 30
SEED = 2_307_01898
DECIDER_ADDRESS = "0x" + "22" * 20
SHARED_PANEL = f"({','.join(PANEL)})"
VERDICT = "(uint8,uint256,uint256,uint256,uint256,uint256,uint256,bool)"
VERDICT_OF = function_signature_to_4byte_selector(f"verdictOf({SHARED_PANEL})")


@pytest.fixture
def decider(devnet: Devnet) -> Devnet:
    """A node that has the contract's own decision at an address."""
    source = "test/ConsensusDecider.sol"
    request = {
        "language": "Solidity",
        "sources": {source: {"content": (CONTRACTS_ROOT / source).read_text("utf-8")}},
        "settings": {
            **COMPILER_SETTINGS,
            "outputSelection": {source: {"ConsensusDecider": ["evm.deployedBytecode.object"]}},
        },
    }
    allowed = [CONTRACTS_ROOT, (CONTRACTS_ROOT / OPENZEPPELIN).resolve()]
    answer = solcx.compile_standard(
        request, base_path=CONTRACTS_ROOT, allow_paths=allowed, solc_binary=REPOSITORY / "tools" / "solc"
    )
    code = answer["contracts"][source]["ConsensusDecider"]["evm"]["deployedBytecode"]["object"]
    devnet.request("anvil_setCode", DECIDER_ADDRESS, "0x" + code)
    return devnet


def test_contract_and_python_decide_alike(decider: Devnet) -> None:
    rng = random.Random(SEED)
    outcomes: Counter[Outcome] = Counter()
    spared = confirmed = 0
    for _ in range(PANELS // BATCH):
        cases = [random_case(rng) for _ in range(BATCH)]
        for case, told in zip(cases, verdicts(decider, cases), strict=True):
            decision = decide(case.terms, case.reveals, case.canaries)
            ours = as_told(decision)
            assert told == (ours.outcome, ours.clique, ours.spared, ours.medoid, ours.accepted_samples, 0, 0, False)
            outcomes[decision.outcome] += 1
            spared += bool(ours.spared)
            confirmed += bool(decision.canaries_that_count)
    assert min(outcomes[outcome] for outcome in (Outcome.ACCEPTED, Outcome.NO_MAJORITY)) > PANELS // 10
    assert outcomes[Outcome.VOID] > 0
    assert min(spared, confirmed) > PANELS // 50


def verdicts(decider: Devnet, cases: list[Case]) -> list[tuple[object, ...]]:
    """What the contract says of panels, many a request."""
    calls = [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": "eth_call",
            "params": [{"to": DECIDER_ADDRESS, "data": "0x" + (VERDICT_OF + _argument(case)).hex()}, "latest"],
        }
        for number, case in enumerate(cases)
    ]
    request = urllib.request.Request(decider.url, json.dumps(calls).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        replies = sorted(json.load(response), key=lambda reply: int(reply["id"]))
    assert all("result" in reply for reply in replies), replies
    return [decode([VERDICT], bytes.fromhex(reply["result"][2:]))[0] for reply in replies]


def _argument(case: Case) -> bytes:
    return encode([SHARED_PANEL], [decode(PANEL, as_panel(case))])
