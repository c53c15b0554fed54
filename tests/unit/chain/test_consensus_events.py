from __future__ import annotations

import re
from dataclasses import fields
from enum import IntEnum

import pytest

from market.chain import artefacts
from market.chain.consensus_events import EVENTS
from market.chain.consensus_records import (
    ConsensusLedger,
    Evidence,
    PanelSeat,
    PanelState,
    PenaltyReason,
    PoolTerms,
    SeatState,
    TaskPhase,
    TaskState,
    TaskTerms,
    VerifierStake,
)
from market.protocol.consensus import Outcome

ABI = artefacts.load("IOutputConsensus").abi
ABIS = {entry["name"]: entry for entry in ABI if entry["type"] == "event"}
TYPES = (artefacts.CONTRACTS_ROOT / "src" / "interfaces" / "ConsensusTypes.sol").read_text("utf-8")


def test_every_event_of_the_contract_has_a_class() -> None:
    assert set(EVENTS) == set(ABIS)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_argument_of_an_event_is_a_field(name: str) -> None:
    read = [field.metadata["argument"] for field in fields(EVENTS[name]) if field.metadata]
    assert read == [entry["name"] for entry in ABIS[name]["inputs"]]


@pytest.mark.parametrize("name", sorted(set(EVENTS) - {"PoolOpened", "Staked", "Unstaked", "Credited", "Withdrawn"}))
def test_an_event_about_a_task_has_it_as_its_first_topic(name: str) -> None:
    first = ABIS[name]["inputs"][0]
    assert (first["name"], first["indexed"]) == ("task", True)


def test_a_credit_has_its_task_as_its_second_topic() -> None:
    assert [(entry["name"], entry["indexed"]) for entry in ABIS["Credited"]["inputs"][:2]] == [
        ("account", True), ("task", True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PoolTerms", PoolTerms),
        ("Verifier", VerifierStake),
        ("TaskTerms", TaskTerms),
        ("TaskState", TaskState),
        ("Seat", PanelSeat),
        ("Panel", PanelState),
        ("Evidence", Evidence),
        ("ConsensusLedger", ConsensusLedger),
    ],
)
def test_records_have_the_fields_of_the_contract_in_its_order(name: str, kind: type) -> None:
    body = re.search(rf"struct {name} \{{(.*?)\}}", TYPES, re.DOTALL)
    assert body is not None
    theirs = re.findall(r"^\s*[\w\[\]]+ (\w+);", body[1], re.MULTILINE)
    ours = [re.sub(r"_(wei|s)$", "", entry.name) for entry in fields(kind)]
    assert ours == [re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name) for name in theirs]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("TaskPhase", TaskPhase), ("TaskOutcome", Outcome), ("SeatState", SeatState), ("PenaltyReason", PenaltyReason)],
)
def test_enumerations_have_the_numbers_of_the_contract(name: str, kind: type[IntEnum]) -> None:
    body = re.search(rf"enum {name} \{{(.*?)\}}", TYPES, re.DOTALL)
    assert body is not None
    theirs = re.findall(r"^\s*(\w+)", re.sub(r"//.*", "", body[1]), re.MULTILINE)
    assert [member.name.replace("_", "") for member in kind] == [name.upper() for name in theirs]
    assert [int(member) for member in kind] == list(range(len(theirs)))
