from __future__ import annotations

from dataclasses import fields

import pytest

from market.chain import artefacts
from market.chain.events import EVENTS, Event
from market.chain.job_market import ARTEFACT

ABIS = {entry["name"]: entry for entry in artefacts.load(ARTEFACT).abi if entry["type"] == "event"}


def test_every_event_of_the_contract_has_a_class() -> None:
    assert set(EVENTS) == set(ABIS)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_argument_of_an_event_is_a_field(name: str) -> None:
    read = [field.metadata["argument"] for field in fields(EVENTS[name]) if field.metadata]
    assert read == [entry["name"] for entry in ABIS[name]["inputs"]]


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_job_is_the_first_topic_of_every_event(name: str) -> None:
    first = ABIS[name]["inputs"][0]
    assert (first["name"], first["indexed"]) == ("job", True)


def test_events_are_frozen() -> None:
    assert all(kind.__dataclass_params__.frozen for kind in [Event, *EVENTS.values()])  # type: ignore[attr-defined]
