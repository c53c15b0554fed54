"""Receipts on a real chain before real attestors: what a quorum holds in time cannot be called unavailable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedmarket.attestor_folder import AttestorFolder
from fedmarket.devnet import Devnet
from fedmarket.sightings import UNSEEN
from market.chain.events import ReceiptsFiled
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason
from market.protocol.errors import ContractRevert, StorageFull
from market.protocol.identifiers import Digest, Seat
from market.published_job import PublishedJob
from market.signed_receipts import SignedReceipt, fetch_receipt
from market.storage.block_server import BlockServer
from tests.integration.court import ATTESTORS, Court, attestor, audited, filing, have_filed, serving, watch
from tests.integration.marketplace import ON_ANVIL
from tests.integration.sealings import commit_content, committed, put, reveal_content, some_counts
from trainer_client import receipts

pytestmark = ON_ANVIL

ALL = [Seat(0), Seat(1), Seat(2), Seat(3)]


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    return Court(devnet, deployed, actors, tmp_path).post().join()


def own_receipt(court: Court, name: str, attempt: int = 0) -> SignedReceipt | None:
    """What an attestor signed."""
    return AttestorFolder(court.work_folder(name), court.market).of_job(court.id).receipts.of(attempt)


def filings(court: Court) -> list[ReceiptsFiled]:
    return [it for it in court.market.events(court.id, kinds=[ReceiptsFiled]) if isinstance(it, ReceiptsFiled)]


def refused_without(court: Court, seat: Seat) -> ContractRevert:
    """How the contract refuses to let a seat be excluded as unavailable."""
    with pytest.raises(ContractRevert) as refused:
        court.settle_otherwise(without=seat)
    return refused.value


def test_what_a_quorum_holds_is_filed_once_for_all_and_cannot_be_called_unavailable(
    court: Court, tmp_path: Path
) -> None:
    court.commit()
    court.reveal()
    watch(court)
    with serving(court):
        assert have_filed(court) == [True, False, False, False]
        assert have_filed(court) == [False] * 4
    assert court.market.covered_seats(court.id, 0) == ALL
    [filed] = filings(court)
    assert len(filed.attestors) == 2, "no more than the quorum is paid for"
    assert court.told["trainer 0"][-1] == "round 0: filed receipts of 2 attestors over seats 0, 1, 2, 3"
    assert refused_without(court, Seat(2)).name == "UpdateIsHeld"
    assert court.settle()
    assert court.attempt(0).exclusions == {}
    court.check_books()
    assert audited(court, tmp_path / "audit") == []


def test_a_running_trainer_has_receipts_filed_by_itself(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    with serving(court):
        session = court.session("trainer 0", receipts=filing(court, "trainer 0"))
        while session.advance(*court.now()):
            pass
    assert court.market.covered_seats(court.id, 0) == ALL


def test_a_trainer_keeps_the_receipts_as_evidence_and_files_with_them_once_an_attestor_is_gone(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    kept = court.attempt_folder("trainer 3").path / "receipts"
    with serving(court):
        have_filed(court, "trainer 3")  # it is not its turn
    assert filings(court) == []
    signed = {path.stem: SignedReceipt.parse(path.read_bytes()) for path in kept.iterdir()}
    assert signed == {court.actor(name).address: own_receipt(court, name) for name in ATTESTORS}
    court.advance("exam_end_s", -10)
    assert have_filed(court, "trainer 3") == [True]
    assert court.market.covered_seats(court.id, 0) == ALL


def test_whoever_has_its_turn_later_files_what_others_have_not(court: Court) -> None:
    """One of them never revealed, so nobody knows that all have before it is late."""
    court.commit()
    court.reveal(court.trainers[:3])
    watch(court)
    with serving(court):
        assert have_filed(court, *court.trainers[:3]) == [False] * 3
        court.advance("commit_end_s", int(receipts.LATE * 300) + 5)
        assert have_filed(court, "trainer 2") == [False], "the first in the row is to file"
        assert have_filed(court, "trainer 0") == [True]
        assert have_filed(court, *court.trainers[:3]) == [False] * 3
    assert court.market.covered_seats(court.id, 0) == ALL[:3]


def test_an_attestor_signs_anew_for_more_and_the_same_after_a_restart(court: Court) -> None:
    court.commit()
    court.reveal(court.trainers[:2])
    watch(court)
    first = own_receipt(court, "attestor 0")
    assert first is not None
    assert first.receipt.held == ALL[:2]
    watch(court)
    assert own_receipt(court, "attestor 0") == first
    assert court.told["attestor 0"] == ["attempt 0: holds what seats 0, 1 revealed"]
    court.act(court.trainers[2:])
    watch(court)
    again = own_receipt(court, "attestor 0")
    assert again is not None
    assert again.receipt.held == ALL
    schedule = court.terms.schedule(court.state.attempt_start_s)
    disputed_s = court.terms.vesting_period_s + court.terms.disputes.answer_period_s
    assert again.receipt.held_until_s > schedule.settle_end_s + disputed_s
    assert court.market.receipt(court.id, 0, 0, ALL, again.receipt.held_until_s) == again.receipt


def test_what_comes_once_the_aggregator_s_time_has_begun_is_not_signed_for(court: Court) -> None:
    court.commit()
    court.advance("commit_end_s")
    court.act(["trainer 0", "trainer 1", "trainer 3"])
    court.send("trainer 2", "reveal by hand", court.reveal_call("trainer 2", 0))
    watch(court)
    court.advance("exam_end_s")
    court.store.add_bytes(court.sealed_blob("trainer 2"))
    watch(court)
    for name in ATTESTORS:
        signed = own_receipt(court, name)
        assert signed is not None
        assert signed.receipt.held == [Seat(0), Seat(1), Seat(3)]


def test_what_has_the_length_of_no_update_is_not_signed_for(court: Court) -> None:
    honest = court.trainers[:3]
    court.commit(honest)
    long = put(court, bytes(5_000_000), committed(court, some_counts(1))[0])
    salt = commit_content(court, "trainer 3", long)
    court.reveal(honest)
    reveal_content(court, "trainer 3", long, salt)
    watch(court)
    signed = own_receipt(court, "attestor 1")
    assert signed is not None
    assert signed.receipt.held == ALL[:3]


def test_too_few_receipts_are_not_filed_and_the_trainer_is_told(court: Court) -> None:
    court.commit()
    court.reveal()
    attestor(court, "attestor 1").advance(*court.now())
    with serving(court, "attestor 1"):
        court.advance("exam_end_s", -10)
        assert have_filed(court, "trainer 0") == [False]
    assert "too few attestors have given a receipt" in court.told["trainer 0"][-1]
    assert filings(court) == []


@pytest.mark.parametrize("lie", ["another's", "forged", "of another round", "ends too soon", "nonsense", "redirected"])
def test_one_attestor_that_shows_what_is_no_receipt_does_not_keep_the_others_from_counting(
    court: Court, lie: str
) -> None:
    court.commit()
    court.reveal()
    watch(court)
    other, own = own_receipt(court, "attestor 1"), own_receipt(court, "attestor 0")
    assert other is not None
    assert own is not None
    account = court.actor("attestor 0").account
    shown = {
        "another's": other.to_bytes(),
        "forged": replace(other, attestor=own.attestor).to_bytes(),
        "of another round": SignedReceipt.sign(replace(own.receipt, round=1), account).to_bytes(),
        "ends too soon": SignedReceipt.sign(replace(own.receipt, held_until_s=1), account).to_bytes(),
        "nonsense": b"{}",
        "redirected": None,
    }[lie]
    with BlockServer(court.store, routes={"/receipts/": lambda rest: shown}) as server, serving(court):
        attestor(court, "attestor 0", server.url).announce()
        assert have_filed(court, "trainer 0") == [True]
    if shown is not None:
        assert f"no receipt of attestor {own.attestor}" in court.told["trainer 0"][-2]
    assert refused_without(court, Seat(1)).name == "UpdateIsHeld"


def test_a_quorum_that_signs_for_what_it_has_not_costs_the_aggregator_its_round(court: Court) -> None:
    """Against attestors that lie together nothing protects: whoever opens a job names those who are believed."""
    honest = court.trainers[:3]
    court.commit(honest)
    missing = put(court, b"somewhere", committed(court, some_counts(1))[0])
    missing = replace(missing, content=type(missing.content)(b"\x07" * 32))
    salt = commit_content(court, "trainer 3", missing)
    court.reveal(honest)
    reveal_content(court, "trainer 3", missing, salt)
    until_s = court.terms.schedule(court.state.attempt_start_s).settle_end_s
    lie = court.market.receipt(court.id, 0, 0, ALL, until_s)
    signed = [(lie, lie.sign(court.actor(name).account)) for name in ATTESTORS[:2]]
    court.send("passer-by", "file", court.market.file_receipts(court.id, 0, signed))
    court.advance("exam_end_s", court.terms.settle_period_s - 20)
    assert not court.settle()
    assert court.attempt(0).settled is None
    court.expire()
    assert court.market.aggregators(court.id) == [court.actor("bob").address]


def test_what_was_signed_for_is_kept_until_then_and_no_longer(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    signed = own_receipt(court, "attestor 0")
    assert signed is not None
    assert court.settle()
    folder = AttestorFolder(court.work_folder("attestor 0"), court.market)
    account, told = court.actor("attestor 0").address, list[str]()
    reason = f"job {court.id} attempt 0 attestor {account}"

    def held() -> int:
        return sum(reason in reasons for reasons in court.store.pins().values())

    court.devnet.advance_to(signed.receipt.held_until_s)
    folder.release(court.store, account, told.append)
    assert (held(), told) == (4, [])
    court.devnet.advance_to(signed.receipt.held_until_s + 10)
    folder.release(court.store, account, told.append)
    assert (held(), len(told)) == (0, 1)
    others = [reason for reasons in court.store.pins().values() for reason in reasons if "attempt 0 attestor" in reason]
    assert len(others) == 8, "the others promised it themselves"
    folder.release(court.store, account, told.append)
    assert len(told) == 1


def test_receipts_are_shown_by_whoever_serves_and_of_what_was_signed_alone(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    with serving(court, "attestor 2") as urls:
        url = urls["attestor 2"]
        assert fetch_receipt(url, court.id, 0, public_only=False) == own_receipt(court, "attestor 2")
        assert fetch_receipt(url, court.id, 1, public_only=False) is None


def test_an_attestor_announces_once_and_again_when_it_serves_elsewhere(court: Court) -> None:
    def announce(endpoint: str) -> None:
        attestor(court, "attestor 0", endpoint).announce()

    for endpoint in ("", "", "http://127.0.0.1:1", "http://127.0.0.1:1", "", "http://127.0.0.1:1"):
        announce(endpoint)
    assert court.told["attestor 0"] == [
        "announced its key",
        "announced its key and that it serves at http://127.0.0.1:1",
        "announced its key",
        "announced its key and that it serves at http://127.0.0.1:1",
    ]
    account = court.actor("attestor 0").address
    assert court.people("trainer 0").endpoints() == {account: "http://127.0.0.1:1"}


def test_an_exclusion_for_another_reason_is_not_about_receipts(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    with serving(court):
        have_filed(court, "trainer 0")
    court.settle_otherwise(without=Seat(2), reason=ExclusionReason.UNREADABLE)
    assert court.attempt(0).exclusions[Seat(2)].reason is ExclusionReason.UNREADABLE


def test_an_attestor_whose_store_is_full_signs_for_what_it_holds_and_calls_nothing_missing(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who fills an attestor's store must not take everybody's receipts with it."""
    court.commit()
    court.reveal()
    too_much, take = court.attempt(0).reveals[Seat(0)].content, PublishedJob.take_update

    def full(job: PublishedJob, digest: Digest, reason: str) -> None:
        if digest == too_much:
            raise StorageFull("the store is full")
        take(job, digest, reason)

    monkeypatch.setattr(PublishedJob, "take_update", full)
    watch(court)
    signed = own_receipt(court, "attestor 0")
    assert signed is not None
    assert signed.receipt.held == ALL[1:]
    assert "attempt 0: an update or exam is not kept: the store is full" in court.told["attestor 0"]
    court.advance("exam_end_s")
    watch(court)
    folder = AttestorFolder(court.work_folder("attestor 0"), court.market).of_job(court.id)
    assert folder.sightings.of(0).get(too_much, UNSEEN) == UNSEEN
