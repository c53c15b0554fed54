"""Rows against the contract: after every block of jobs in which everything happens, in each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.records import Fact
from market.indexer import Indexer
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from tests.databases import Postgresql
from tests.integration.court import Court, ExaminedCourt, attend, dispute, file_receipts, watch
from tests.integration.examined import ExaminedMarketplace
from tests.integration.indexed import blocks_with_events, check_job, dump, follow
from tests.integration.marketplace import ON_ANVIL, Marketplace
from tests.integration.test_seats import SeatedMarketplace
from trainer_client.claims import claim, claimable

pytestmark = ON_ANVIL


@pytest.fixture
def engines(tmp_path: Path, postgresql_server: Postgresql) -> Iterator[list[Engine]]:
    """An empty database of each kind, and one more to make everything anew in."""
    from market.db.engine import connect
    from market.db.migrate import upgrade

    addresses = [f"sqlite:///{tmp_path / 'a.db'}", postgresql_server.new_database(), f"sqlite:///{tmp_path / 'b.db'}"]
    made = [connect(address) for address in addresses]
    for engine in made:
        upgrade(engine)
    yield made
    for engine in made:
        engine.dispose()


@pytest.fixture
def kept(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, engines: list[Engine]) -> Iterator[Any]:
    """Makes places; in the end their whole story is held against the contract."""
    places: list[Any] = []

    def make(kind: Callable[..., Any]) -> Any:
        places.append(kind(devnet, deployed, actors, tmp_path))
        return places[-1]

    yield make
    sqlite, postgresql, rebuilt = engines
    for place in places:
        place.check_books()
        for block in blocks_with_events(deployed, place.id):
            follow(sqlite, deployed, block)
            check_job(sqlite, deployed, place.id, block)
            if block % 3 == 0:
                follow(postgresql, deployed, block)
                check_job(postgresql, deployed, place.id, block)
    follow(sqlite, deployed)
    follow(postgresql, deployed)
    Indexer(rebuilt, deployed).reindex()
    whole = dump(rebuilt)
    assert dump(sqlite) == whole
    assert dump(postgresql) == whole


def claim_all(place: Marketplace, names: list[str]) -> None:
    for name in names:
        view, sender = place.view(name), place.actor(name)
        for credit in claimable(view, sender.address):
            claim(view, sender, credit)


def let_vest(place: Marketplace) -> None:
    vests_s = place.market.outcome(place.id, place.state.attempt - 1).vests_at_s
    place.devnet.advance_to(max(vests_s, place.devnet.timestamp()))


def close(place: Marketplace) -> None:
    lifetime = place.view("onlooker").history().packed_lifetime()
    place.send("passer-by", "close", place.market.close_job(place.id, lifetime))


def claim_fee(place: Marketplace, name: str, attempt: int) -> None:
    call = place.market.claim_fee(place.id, attempt, place.actor(name).address)
    place.send(name, f"fee {attempt}", call)


def test_a_job_from_its_opening_to_its_refund(kept: Any) -> None:
    place: Marketplace = kept(Marketplace).post(rounds=3).join(4, ("alice", "bob"))
    owner = place.actor("owner").address
    assert place.play_round().settled
    place.commit(["trainer 0"])  # starves
    place.advance("commit_end_s")
    place.send("passer-by", "skip", place.market.skip_round(place.id, place.state.attempt))
    place.commit()
    place.reveal(place.trainers[:3])
    place.settle_otherwise(without=Seat(1))  # and the fourth loses its stake
    let_vest(place)
    claim_all(place, place.trainers[:2])
    claim_fee(place, "alice", 0)
    assert place.phase is Phase.FINISHED
    close(place)
    claim_all(place, place.trainers)
    place.send("trainer 0", "leave", place.market.withdraw_stake(place.id, place.actor("trainer 0").address))
    place.send("bob", "leave", place.market.withdraw_bond(place.id, owner))
    place.send("owner", "refund", place.market.refund(place.id, owner))


def test_an_aggregator_that_does_not_come(kept: Any) -> None:
    place: Marketplace = kept(Marketplace).post(rounds=2).join(4, ("alice", "bob"))
    place.commit()
    place.reveal()
    place.expire()
    place.enrol("trainer 4")
    place.send("trainer 4", "leave", place.market.withdraw_stake(place.id, place.actor("trainer 4").address))
    place.enrol("trainer 5")  # on the seat that was given up
    claim_all(place, place.trainers)
    place.commit()
    place.reveal()
    place.settle("bob")
    place.worker("alice").bond()


def test_seats_that_change_hands(kept: Any) -> None:
    place: SeatedMarketplace = kept(SeatedMarketplace).post(seats=4, entry={"draw_s": 500})
    place.come(*(f"early {seat}" for seat in range(4)))
    place.come("wealthy", tickets=70)
    place.come("waits")
    place.draw()
    place.come("late", tickets=64)
    place.take_seat("wealthy")
    place.send("late", "leave", place.market.withdraw_stake(place.id, place.address("late")))
    place.worker("alice").bond()
    place.starve("wealthy")
    place.advance("start_s")
    idle = next(seat for seat in range(4) if place.market.is_idle(place.id, Seat(seat)))
    place.take_idle("waits", Seat(idle))
    place.advance("start_s")
    for name in place.sitting():
        place.session(name).advance(*place.now())
    place.reveal(place.sitting())
    place.settle()
    let_vest(place)
    for name in place.sitting():
        place.claim(name)


def test_a_settlement_that_is_undone(kept: Any) -> None:
    place: Court = kept(Court).post().join()
    place.play_round()
    dispute(place, "trainer 0", Fact.MODEL, 0)
    attend(place)  # it holds
    place.commit()
    place.reveal()
    watch(place)
    file_receipts(place, [Seat(0), Seat(3)])
    place.settle_otherwise(without=Seat(2))
    place.commit(place.trainers[:1])
    dispute(place, "trainer 2", Fact.EXCLUSION, 1)
    attend(place)
    assert place.market.outcome(place.id, 1).fee_gone is False
    claim_all(place, place.trainers)
    place.commit()
    place.reveal()
    place.settle("bob")
    by = place.actor("trainer 2").address
    place.send("trainer 2", "take back", place.market.withdraw_dispute_bond(place.id, by))
    place.worker("alice").bond()
    dispute(place, "trainer 3", Fact.MODEL, place.state.attempt - 1)
    place.devnet.advance(place.terms.disputes.answer_period_s)
    place.send("passer-by", "thaw", place.market.thaw(place.id))


def test_exams_taken_missed_and_never_published(kept: Any) -> None:
    place: ExaminedMarketplace = kept(ExaminedMarketplace).post(rounds=2).join(4)
    place.play_examined()
    place.commit()
    place.examine()
    place.reveal()
    assert place.settle()
    place.devnet.advance_to(place.terms.deadline_s + place.terms.commit_period_s)
    close(place)


def test_a_missed_exam_whose_settlement_is_undone_was_not_missed(kept: Any) -> None:
    place: ExaminedCourt = kept(ExaminedCourt).post(rounds=2).join(4, ("alice", "bob"))
    place.commit()
    place.reveal()
    watch(place)
    place.settle_otherwise(without=Seat(1))
    assert place.ledger.burned_wei == place.terms.exam.deposit_wei
    dispute(place, "trainer 1", Fact.EXCLUSION, 0)
    attend(place)
    assert place.state.attempt == 1 or place.state.round == 0
    assert place.ledger.exams_wei == 2 * place.terms.exam.deposit_wei
