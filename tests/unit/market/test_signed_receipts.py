"""Receipts as they are shown: the same after a journey, and nobody's but the attestor's that they name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account

from market.chain.attestation import HeldReceipt, seals_digest
from market.protocol.errors import InvalidReceipt, SourceUnavailable
from market.protocol.identifiers import JobId
from market.signed_receipts import MAX_RECEIPT_BYTES, SignedReceipt, fetch_receipt, receipt_path
from market.storage.block_server import BlockServer
from market.storage.embedded_store import EmbeddedStore
from tests.unit.storage.hostile_servers import answering, behaving, dripping, endless

ATTESTOR, OTHER = Account.from_key(b"\x01" * 32), Account.from_key(b"\x02" * 32)
RECEIPT = HeldReceipt(
    chain_id=31_337,
    contract=OTHER.address,
    job=JobId(3),
    round=1,
    attempt=2,
    seats=0b1000000000000000000000000000000000000000000000000000000000000101,
    seals=seals_digest([b"\x07" * 32]),
    held_until_s=1_900_000_000,
)
SIGNED = SignedReceipt.sign(RECEIPT, ATTESTOR)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(SIGNED.to_bytes()), **fields}).encode()


def test_a_receipt_is_the_same_after_a_journey() -> None:
    assert SignedReceipt.parse(SIGNED.to_bytes()) == SIGNED
    assert len(SIGNED.to_bytes()) < MAX_RECEIPT_BYTES // 4


def test_a_receipt_over_every_seat_is_short_enough() -> None:
    every = SignedReceipt.sign(
        HeldReceipt(1 << 255, OTHER.address, JobId(1 << 255), 1, 1, (1 << 64) - 1, bytes(32), 1), ATTESTOR
    )
    assert len(every.to_bytes()) < MAX_RECEIPT_BYTES // 2
    assert SignedReceipt.parse(every.to_bytes()) == every


@pytest.mark.parametrize(
    "fields",
    [
        {"job": 4},
        {"round": 2},
        {"attempt": 3},
        {"seats": [0]},
        {"seals": "0x" + "08" * 32},
        {"held_until_s": 1_900_000_001},
        {"chain_id": 1},
        {"contract": ATTESTOR.address},
        {"attestor": OTHER.address},
        {"signature": f"0x{SignedReceipt.sign(RECEIPT, OTHER).signature.hex()}"},
        {"signature": "0x" + "00" * 65},
    ],
)
def test_what_another_signed_or_signed_otherwise_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidReceipt):
        SignedReceipt.parse(changed(**fields))


def test_a_signature_written_another_way_is_refused_as_the_contract_does() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s, v = SIGNED.signature[:32], int.from_bytes(SIGNED.signature[32:64], "big"), SIGNED.signature[64]
    mirrored = r + (order - s).to_bytes(32, "big") + bytes([55 - v])
    assert RECEIPT.signer(mirrored) == ATTESTOR.address
    for written in (mirrored, SIGNED.signature[:64] + bytes([v - 27])):
        with pytest.raises(InvalidReceipt, match="lower s"):
            SignedReceipt.parse(changed(signature=f"0x{written.hex()}"))


@pytest.mark.parametrize(
    "unverified",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        changed(more=1),
        changed(job="3"),
        changed(job=True),
        changed(job=-1),
        changed(job=3.0),
        changed(held_until_s=1 << 40),
        changed(seats=5),
        changed(seats=[2, 0]),
        changed(seats=[0, 0]),
        changed(seats=[64]),
        changed(seals="0x07"),
        changed(seals=7),
        changed(contract="somebody"),
        changed(contract=None),
        changed(signature="0x" + "0g" * 65),
        b" " * (MAX_RECEIPT_BYTES + 1),
        b"[" * MAX_RECEIPT_BYTES,
    ],
)
def test_what_is_no_receipt_is_named(unverified: bytes) -> None:
    with pytest.raises(InvalidReceipt, match="receipt"):
        SignedReceipt.parse(unverified)


def test_a_receipt_is_fetched_from_where_an_attestor_serves(tmp_path: Any) -> None:
    shown = {"3/2": SIGNED.to_bytes()}
    with BlockServer(EmbeddedStore(tmp_path), routes={"/receipts/": shown.get}) as server:
        assert receipt_path(JobId(3), 2) == "/receipts/3/2"
        assert fetch_receipt(server.url, JobId(3), 2, public_only=False) == SIGNED
        assert fetch_receipt(server.url, JobId(3), 3, public_only=False) is None
        with pytest.raises(SourceUnavailable, match="no public address"):
            fetch_receipt(server.url, JobId(3), 2, public_only=True)


@pytest.mark.parametrize(
    ("conduct", "refusal"),
    [
        (answering("302 Found", b"", "Location: http://169.254.169.254/"), SourceUnavailable),
        (answering("500 Trouble"), SourceUnavailable),
        (answering("200 OK", b"not a receipt"), InvalidReceipt),
        (endless, InvalidReceipt),
        (dripping, SourceUnavailable),
    ],
    ids=["redirects", "fails", "nonsense", "endless", "byte by byte"],
)
def test_whoever_serves_no_receipt_costs_a_bounded_time(conduct: Any, refusal: type[Exception]) -> None:
    with behaving(conduct) as url, pytest.raises(refusal):
        fetch_receipt(url, JobId(3), 2, public_only=False, timeout_s=1)
