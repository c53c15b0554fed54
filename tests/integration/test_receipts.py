"""Attestors' receipts on a real chain: what a quorum holds nobody excludes as unavailable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from market.chain.attestation import HeldReceipt
from market.chain.events import ReceiptsFiled
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.identifiers import Seat
from tests.integration.court import ATTESTORS, Court, audited, file_receipts, receipt
from tests.integration.sealings import block_of

ALL = [Seat(seat) for seat in range(4)]


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    return Court(devnet, deployed, actors, tmp_path).post().join()


def test_receipts_are_signed_over_what_the_contract_computes(court: Court) -> None:
    court.commit()
    court.reveal()
    held, account = receipt(court, ALL), court.actor(ATTESTORS[0]).account
    assert court.market.receipt_digest(held) == held.digest
    assert held.held == ALL
    assert held.signer(held.sign(account)) == account.address
    other = replace(held, seats=1)
    assert court.market.receipt_digest(other) == other.digest != held.digest
    assert other.signer(held.sign(account)) != account.address


def test_signatures_that_are_none_are_refused_before_the_chain_is_asked(court: Court) -> None:
    held = HeldReceipt(1, court.market.address, court.id, 0, 0, 1, bytes(32), 1)
    for unverified in (b"", bytes(64), bytes(65), b"\xff" * 65):
        with pytest.raises(InvalidInput):
            held.signer(unverified)
    with pytest.raises(InvalidInput, match="Receipt"):
        replace(held, seats=1 << 64).sign(court.actor("owner").account)


def test_what_a_quorum_holds_cannot_be_excluded_as_unavailable(court: Court, tmp_path: Path) -> None:
    court.commit()
    court.reveal()
    file_receipts(court, [Seat(1), Seat(2)])
    assert court.market.covered_seats(court.id, 0) == [Seat(1), Seat(2)]
    [filed] = [event for event in court.market.events(court.id) if isinstance(event, ReceiptsFiled)]
    places = sorted(court.terms.disputes.attestors.index(court.actor(name).address) for name in ATTESTORS[:2])
    assert (filed.attempt, filed.seats, filed.attestors) == (0, (Seat(1), Seat(2)), tuple(places))
    with pytest.raises(ContractRevert) as refused:
        court.settle_otherwise(without=Seat(2))
    assert (refused.value.name, refused.value.arguments) == ("UpdateIsHeld", {"seat": 2})
    court.settle_otherwise(without=Seat(0), name="alice")
    assert court.market.covered_seats(court.id, 1) == []
    court.check_books()
    assert audited(court, tmp_path / "audit") == []


def test_an_aggregator_waits_for_what_attestors_hold_and_excludes_only_what_they_do_not(
    court: Court, tmp_path: Path
) -> None:
    court.commit()
    court.reveal()
    file_receipts(court, [Seat(1), Seat(2)])
    # All that is known of two updates goes away; one of them is held by attestors.
    blocks = {name: block_of(court, court.opening(name).content) for name in ("trainer 2", "trainer 3")}
    contents = {name: block.read_bytes() for name, block in blocks.items()}
    for block in blocks.values():
        block.unlink()
    court.advance("settle_end_s", -60)
    assert not court.worker("alice").advance(*court.now())
    named = [court.actor(name).address for name in ATTESTORS[:2]]
    [told] = [line for line in court.told["alice"] if "though attestors hold it" in line]
    assert told.startswith("round 0: seats 2: no update to be had")
    assert all(address in told for address in named)
    assert court.attempt(0).settled is None
    blocks["trainer 2"].write_bytes(contents["trainer 2"])
    assert court.worker("alice").advance(*court.now())
    assert {seat: event.reason for seat, event in court.attempt(0).exclusions.items()} == {
        court.seat("trainer 3"): ExclusionReason.UNAVAILABLE
    }
    assert audited(court, tmp_path / "audit") == []


def test_receipts_below_a_quorum_cover_nobody(court: Court) -> None:
    court.commit()
    court.reveal()
    for attestor in ATTESTORS[:2]:
        with pytest.raises(ContractRevert) as refused:
            file_receipts(court, ALL, [attestor])
        assert (refused.value.name, refused.value.arguments) == ("NothingCovered", {"receipts": 1, "quorum": 2})
    assert court.market.covered_seats(court.id, 0) == []
