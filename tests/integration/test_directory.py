"""The directory on a real chain: keys and endpoints are announced, and sealed bytes handed over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from market.chain import directory as directories
from market.chain import log_windows
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.directory import Announcement, Delivery, Directory
from market.protocol.errors import ChainError, ContractRevert
from market.protocol.identifiers import JobId

JOB = JobId(7)
KEY, OTHER_KEY, TOPIC = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


@pytest.fixture
def directory(deployment: Deployment, chain: Chain) -> Directory:
    return deployment.directory_on(chain)


@pytest.fixture(autouse=True)
def in_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_windows, "WINDOW_BLOCKS", 2)


def test_what_an_account_announced_last_is_what_it_says(directory: Directory, actors: Any) -> None:
    alice, bob = actors["alice"], actors["bob"]
    assert directory.announcements(JOB) == {}
    alice.send("first", directory.announce(JOB, KEY, "http://127.0.0.1:1"))
    bob.send("his", directory.announce(JOB, OTHER_KEY))
    alice.send("elsewhere", directory.announce(JobId(8), KEY, "another job's"))
    alice.send("second", directory.announce(JOB, OTHER_KEY, "http://127.0.0.1:2/ä"))
    expected = {
        alice.address: Announcement(OTHER_KEY, "http://127.0.0.1:2/ä"),
        bob.address: Announcement(OTHER_KEY, ""),
    }
    assert directory.announcements(JOB) == expected
    assert directory.announcements(JOB, [bob.address]) == {bob.address: expected[bob.address]}
    assert directory.announcements(JOB, []) == {}


def test_deliveries_name_who_sent_them(directory: Directory, actors: Any) -> None:
    alice, bob, carol = (actors[name] for name in ("alice", "bob", "carol"))
    alice.send("hand over", directory.deliver(JOB, TOPIC, [bob.address, carol.address], [b"to bob", b"to carol"]))
    carol.send("pretend", directory.deliver(JOB, TOPIC, [bob.address], [b"from carol"]))
    alice.send("elsewhere", directory.deliver(JobId(8), TOPIC, [bob.address], [b"another job's"]))
    alice.send("otherwise", directory.deliver(JOB, KEY, [bob.address], [b"of another topic"]))
    assert directory.deliveries(JOB, TOPIC, bob.address) == [
        Delivery(alice.address, b"to bob"),
        Delivery(carol.address, b"from carol"),
    ]
    assert directory.deliveries(JOB, TOPIC, carol.address) == [Delivery(alice.address, b"to carol")]
    assert directory.deliveries(JOB, TOPIC, alice.address) == []


def test_bounds_are_the_contracts_own(directory: Directory, actors: Any) -> None:
    assert directory._read("MAX_ENDPOINT_BYTES") == directories.MAX_ENDPOINT_BYTES
    assert directory._read("MAX_DELIVERIES") == directories.MAX_DELIVERIES
    assert directory._read("MAX_SEALED_BYTES") == directories.MAX_SEALED_BYTES
    alice = actors["alice"]
    most = directories.MAX_DELIVERIES
    alice.send("largest", directory.deliver(JOB, TOPIC, [alice.address] * most, [bytes(256)] * most))
    assert len(directory.deliveries(JOB, TOPIC, alice.address)) == most
    with pytest.raises(ContractRevert) as refused:
        alice.send("too long", directory.announce(JOB, KEY, "x" * (directories.MAX_ENDPOINT_BYTES + 1)))
    assert (refused.value.name, refused.value.arguments) == ("EndpointTooLong", {"length": 201, "most": 200})


def test_another_contract_is_not_taken_for_the_directory(deployment: Deployment, chain: Chain) -> None:
    with pytest.raises(ChainError, match="is not the Directory"):
        replace(deployment, directory=deployment.exams).connect(chain)
    with pytest.raises(ChainError, match="expected the Directory"):
        replace(deployment, directory="0x" + "42" * 20).connect(chain)


def test_an_endpoint_that_is_no_text_keeps_nobody_from_reading_the_others(directory: Directory, actors: Any) -> None:
    """The contract does not look at the bytes of a string: one such announcement would be everybody's."""
    alice, bob = actors["alice"], actors["bob"]
    alice.send("hers", directory.announce(JOB, KEY, "http://127.0.0.1:1"))
    garbled = directory.announce(JOB, OTHER_KEY, "no text")
    bob.send("his", replace(garbled, data=garbled.data.replace(b"no text", b"no\xff\xc0\x80xt")))
    announced = directory.announcements(JOB, [alice.address, bob.address])
    assert announced[alice.address] == Announcement(KEY, "http://127.0.0.1:1")
    assert announced[bob.address] == Announcement(OTHER_KEY, "")


def test_a_log_that_the_contract_never_makes_is_the_node_s_fault(
    directory: Directory, actors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = actors["alice"]
    alice.send("hers", directory.announce(JOB, KEY))
    alice.send("handed over", directory.deliver(JOB, TOPIC, [alice.address], [b"sealed"]))
    logs_of = log_windows.logs_of
    monkeypatch.setattr(directories, "logs_of", lambda *where: ({**log, "data": b"\0" * 40} for log in logs_of(*where)))
    with pytest.raises(ChainError, match="the directory never makes"):
        directory.announcements(JOB)
    with pytest.raises(ChainError, match="the directory never makes"):
        directory.deliveries(JOB, TOPIC, alice.address)


def test_any_number_of_accounts_can_be_asked_for(
    directory: Directory, actors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes refuse queries that name more than a thousand: whoever enrols and leaves again makes more of them."""
    monkeypatch.setattr(directories, "MAX_NAMED", 2)
    alice, bob, carol = (actors[name] for name in ("alice", "bob", "carol"))
    for number in range(3):
        alice.send(f"again {number}", directory.announce(JOB, KEY, f"http://127.0.0.1:{1 + number}"))
    carol.send("hers", directory.announce(JOB, OTHER_KEY))
    asked = [alice.address, bob.address, actors["late"].address, carol.address]
    assert directory.announcements(JOB, asked) == {
        alice.address: Announcement(KEY, "http://127.0.0.1:3"),
        carol.address: Announcement(OTHER_KEY, ""),
    }
