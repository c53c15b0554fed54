"""Seats on a real chain: drawn by stake where more come than fit, and taken over where nobody comes any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit import AuditReport, audit_job
from fedmarket.devnet import Devnet
from market.chain.events import SeatLost, SeatTaken
from market.chain.job_market import JobMarket
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import Seat
from market.protocol.seat_draw import DELAY_BLOCKS, LATE, REACH_BLOCKS, drawn_number
from tests.integration.hand_made_exams import HandExamined, check_of, verdicts
from tests.integration.marketplace import FEE_WEI, ON_ANVIL, STAKE_WEI, Marketplace, agreeing

pytestmark = ON_ANVIL

SEATS = 4
DRAW_S = 500
NEWCOMER = "trainer 9"


@dataclass
class SeatedMarketplace(Marketplace):
    """A job for which more trainers come than there are seats."""

    def come(self, *names: str, tickets: int = 1) -> None:
        """Let trainers enrol, with so many times the least stake."""
        for name in names:
            self.crafts[name] = agreeing(len(self.crafts))
            enrolment = self.market.enrol(self.id, self.terms, tickets * self.terms.trainer_stake_wei)
            self.send(name, f"enrol {self.state.attempt}", enrolment)

    def address(self, name: str) -> str:
        return self.actor(name).address

    def waiting_wei(self, name: str) -> int:
        return self.market.waiting(self.id, self.address(name)).stake_wei

    def sitting(self) -> list[str]:
        """The names of those who have seats, by seat."""
        names = {self.address(name): name for name in self.crafts}
        return [names[trainer] for trainer in self.market.trainers(self.id)]

    @property
    def block(self) -> int:
        """The latest block's number: two blocks may have one time, and an intent that bears it would be sent once."""
        return self.market.chain.block_number()

    # ------------------------------------------------------------------ the draw

    def draw(self) -> bytes:
        """Fix the block that decides, let it come, and draw; returns the seed."""
        if self.devnet.timestamp() < self.terms.draw_from_s:
            self.devnet.advance_to(self.terms.draw_from_s)
        self.send("passer-by", f"fix {self.block}", self.market.draw_seats(self.id))
        self.devnet.mine(DELAY_BLOCKS + 1)
        self.send("passer-by", f"draw {self.block}", self.market.draw_seats(self.id))
        return self.market.draw(self.id).seed

    def take_seat(self, name: str) -> None:
        self.send(name, f"take seat {self.block}", self.market.take_seat(self.id))

    # ------------------------------------------------------------------ an idle seat

    def starve(self, *names: str) -> None:
        """An attempt in which only these commit, too few."""
        attempt = self.state.attempt
        self.commit(names)
        self.advance("commit_end_s")
        self.send("passer-by", f"skip {attempt}", self.market.skip_round(self.id, attempt))

    def take_idle(self, name: str, seat: Seat) -> None:
        """Take a seat with the lifetime scores that the events give."""
        lifetime = self.view("onlooker").history().packed_lifetime()
        call = self.market.take_idle_seat(self.id, seat, lifetime, b"")
        self.send(name, f"take seat {seat} {self.block}", call)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Close as soon as that is possible."""
        last_s = self.market.outcome(self.id, self.state.attempt - 1).vests_at_s
        self.devnet.advance_to(max(last_s, self.devnet.timestamp()))
        lifetime = self.view("onlooker").history().packed_lifetime()
        self.send("passer-by", "close", self.market.close_job(self.id, lifetime))

    def claim(self, name: str) -> dict[int, int]:
        """Claim all that a trainer ever earned; returns the amounts by attempt."""
        address, taken = self.address(name), {}
        seat = self.market.seat(self.id, address)
        for credit in self.view("onlooker").history().credits(address, seat):
            if self.market.outcome(self.id, credit.attempt).claimed >> credit.seat & 1:
                continue
            claim = self.market.claim(self.id, credit.attempt, credit.pays, credit.undo, address)
            self.send(name, f"claim {credit.attempt}", claim)
            taken[credit.attempt] = credit.amount_wei
        return taken

    def audit(self) -> AuditReport:
        return audit_job(self.market, self.store, self.id, self.srs, self.folder / "audit", openings=self)


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Iterator[SeatedMarketplace]:
    """A job of four seats, and a draw for them; the books are right in the end."""
    opened = SeatedMarketplace(devnet, deployed, actors, tmp_path)
    opened.post(seats=SEATS, entry={"draw_s": DRAW_S})
    yield opened
    opened.check_books()


TICKETS = {f"waits {power}": 1 << power for power in range(7)} | {"wealthy": 70, "early 3": 3}
"""How many times the least stake somebody puts down; all others do so once."""


def test_where_more_enrol_than_fit_the_draw_decides_and_the_audit_agrees(place: SeatedMarketplace) -> None:
    for name in (*(f"early {seat}" for seat in range(SEATS)), *(name for name in TICKETS if name != "early 3")):
        place.come(name, tickets=TICKETS.get(name, 1))
    assert place.waiting_wei("wealthy") == 70 * STAKE_WEI
    seed = place.draw()
    place.come("late", tickets=64)
    assert decide(place, seed) > 0, "197 tickets drew nothing better than the worst of four seats"
    place.worker("alice").bond()
    played = place.play_round(place.sitting())
    assert len(played.rows) == SEATS
    report = place.audit()
    assert report.ok, report.first_mismatch
    for name in set(place.crafts) - set(place.sitting()):
        assert place.waiting_wei(name) >= STAKE_WEI
        place.send(name, "leave", place.market.withdraw_stake(place.id, place.address(name)))
        assert place.waiting_wei(name) == 0
    report = place.audit()
    assert report.ok, report.first_mismatch


def decide(place: SeatedMarketplace, seed: bytes) -> int:
    """Everybody who waits asks for a seat, with more and more tickets; each answer is the one that the numbers give.

    Returns how many seats changed hands.
    """

    def number(name: str) -> int:
        return LATE if name in late else drawn_number(seed, place.address(name), TICKETS.get(name, 1))

    late, sitting, changed = {"late"}, place.sitting(), 0
    for name in [*(name for name in TICKETS if name != "early 3"), "late", "early 0", "early 3", "waits 0", "waits 6"]:
        if name in sitting:
            continue
        worst = max(range(SEATS), key=lambda seat: number(sitting[seat]))
        if number(name) < number(sitting[worst]):
            place.take_seat(name)
            late.add(sitting[worst])  # who lost a seat has no part in the draw any more
            sitting[worst] = name
            changed += 1
        else:
            with pytest.raises(ContractRevert, match="SeatsFull"):
                place.take_seat(name)
        assert place.sitting() == sitting
    assert len(place._events(SeatLost)) == len(place._events(SeatTaken)) == changed
    return changed


def test_a_draw_that_nobody_came_for_in_time_is_fixed_anew_and_drawn_once(place: SeatedMarketplace) -> None:
    with pytest.raises(ContractRevert, match="NoDraw"):
        place.send("passer-by", "too early", place.market.draw_seats(place.id))
    place.devnet.advance_to(place.terms.draw_from_s)
    fixed = place.send("passer-by", "fix", place.market.draw_seats(place.id))
    first = place.market.draw(place.id)
    assert first.block == fixed.block_number + DELAY_BLOCKS
    with pytest.raises(ContractRevert, match="DrawTooEarly"):
        place.send("passer-by", "before the block", place.market.draw_seats(place.id))
    place.devnet.request("anvil_mine", hex(DELAY_BLOCKS + REACH_BLOCKS + 1), "0x0")
    assert not place.market.draw(place.id).is_decided
    seed = place.draw()
    drawn = place.market.draw(place.id)
    assert drawn.block > first.block + REACH_BLOCKS
    assert seed == bytes(place.market.chain.block(drawn.block)["hash"])
    with pytest.raises(ContractRevert, match="AlreadyDrawn"):
        place.send("passer-by", "again", place.market.draw_seats(place.id))
    report = place.audit()
    assert report.ok, report.first_mismatch


def test_a_league_that_passes_its_idle_seats_on_loses_them_to_who_has_waited_longer(place: SeatedMarketplace) -> None:
    """In one commit phase each of its names takes the seat that another of them kept idle: no seat is idle any more."""
    league = [f"league {seat}" for seat in range(SEATS)]
    place.come(*league, "spare")
    honest = ["trainer 1", "trainer 2", "trainer 3"]
    place.come(*honest)
    place.worker("alice").bond()
    place.starve()
    for seat, name in enumerate(["spare", *league[:-1]]):
        place.take_idle(name, Seat(seat))
    assert not any(place.market.is_idle(place.id, Seat(seat)) for seat in range(SEATS))
    assert not place.market.yields_to(place.id, Seat(0), place.address(honest[0]))
    for seat, name in enumerate(honest, start=1):
        assert place.market.yields_to(place.id, Seat(seat), place.address(name))
        place.take_idle(name, Seat(seat))
    assert place.sitting() == ["spare", *honest]
    place.play_round(honest)
    report = place.audit()
    assert report.ok, report.first_mismatch


def test_an_idle_seat_is_taken_over_and_each_trainer_claims_what_it_earned_there(place: SeatedMarketplace) -> None:
    place.come(*(f"trainer {seat}" for seat in range(SEATS)))
    place.come(NEWCOMER)
    place.worker("alice").bond()
    stays, leaver = ["trainer 0", "trainer 1", "trainer 2"], "trainer 3"
    place.trainers = [*stays, leaver]
    first = place.play_round()
    assert place.view("onlooker").history().lifetime_q32()[3] > 0
    with pytest.raises(ContractRevert, match="NotVested"):
        place.take_idle(NEWCOMER, Seat(3))
    place.starve("trainer 0")
    assert [place.market.is_idle(place.id, Seat(seat)) for seat in range(SEATS)] == [False, True, True, True]
    place.take_idle(NEWCOMER, Seat(3))
    assert place.waiting_wei(leaver) == STAKE_WEI
    assert place.view("onlooker").history().lifetime_q32()[3] == 0
    report = place.audit()
    assert report.ok, report.first_mismatch
    last = place.play_round([*stays, NEWCOMER])
    assert first.settled is not None
    assert last.settled is not None
    place.close()
    claims = {name: place.claim(name) for name in (*stays, leaver, NEWCOMER)}
    assert set(claims[leaver]) == {0}, claims
    assert set(claims[NEWCOMER]) <= {2, 3}, claims
    assert 2 in claims[NEWCOMER]
    place.send(leaver, "leave", place.market.withdraw_stake(place.id, place.address(leaver)))
    place.send("alice", "fee", place.market.claim_fee(place.id, 0, place.address("alice")))
    report = place.audit()
    assert report.ok, report.first_mismatch
    assert all(check.verdict == "ok" for check in report.checks), verdicts(report)
    record = place.market.record_of(place.address("owner"), place.address(NEWCOMER))
    assert record.paid_rounds == 1
    assert place.market.record_of(place.address("owner"), place.address("trainer 0")).paid_rounds == 2


def test_nobody_takes_what_somebody_else_earned_on_the_seat(place: SeatedMarketplace) -> None:
    place.come(*(f"trainer {seat}" for seat in range(SEATS)))
    place.come(NEWCOMER)
    place.worker("alice").bond()
    place.trainers = [f"trainer {seat}" for seat in range(SEATS)]
    place.play_round()
    place.starve("trainer 0")
    place.take_idle(NEWCOMER, Seat(3))
    place.play_round(["trainer 0", "trainer 1", "trainer 2", NEWCOMER])
    place.devnet.advance(place.terms.vesting_period_s)
    history = place.view("onlooker").history()
    credits = {credit.attempt: credit for credit in history.credits(place.address(NEWCOMER), Seat(3))}
    former = {credit.attempt: credit for credit in history.credits(place.address("trainer 3"), None)}
    assert (set(credits), set(former)) == ({2}, {0})
    for thief, credit in ((NEWCOMER, former[0]), ("trainer 3", credits[2])):
        claim = place.market.claim(place.id, credit.attempt, credit.pays, credit.undo, place.address(thief))
        with pytest.raises(ContractRevert, match="NotTrainer"):
            place.send(thief, "steal", claim)


# ------------------------------------------------------------------ an exam that is left out


@pytest.fixture
def examined(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> HandExamined:
    """A job with an exam that four trainers and two aggregators joined."""
    return HandExamined(devnet, deployed, actors, tmp_path).post(rounds=2).join(4, ("alice", "bob"))


def examine(place: HandExamined, aggregator: str, *, delivered: bool) -> None:
    """A round up to its settlement; what was sealed of its exam, as it should be, may be nowhere yet."""
    place.commit()
    r = place.made[place.state.attempt] = place.honest_reference()
    blob = place.sealed_to(aggregator, r)
    made = place.commit_by_hand(blob, place.commitment_of(r))
    place.reveal()
    place.open_by_hand(made, blob if delivered else None)


def test_whoever_leaves_an_opened_exam_out_earns_no_fee_and_the_next_one_settles(examined: HandExamined) -> None:
    place = examined
    examine(place, "alice", delivered=False)
    place.settle_patiently()
    first = place.attempt(0)
    assert first.exam_excluded is not None
    alice, bob = place.actor("alice").address, place.actor("bob").address
    assert place.market.aggregators(place.id) == [bob, alice]
    assert place.ledger.carry_wei >= FEE_WEI
    with pytest.raises(ContractRevert, match="BondInUse"):
        place.send("alice", "flee", place.market.withdraw_bond(place.id, alice))
    place.devnet.advance_to(place.market.outcome(place.id, 0).vests_at_s)
    with pytest.raises(ContractRevert, match="NoFeeDue"):
        place.send("alice", "take a fee", place.market.claim_fee(place.id, 0, alice))
    place.send("alice", "leave", place.market.withdraw_bond(place.id, alice))
    examine(place, "bob", delivered=True)
    assert place.settle("bob"), place.told
    second = place.attempt(1)
    assert second.settled is not None
    assert second.settled.aggregator == bob
    place.show_by_hand(place.made)
    place.close()
    place.send("bob", "fee", place.market.claim_fee(place.id, 1, bob))
    report = place.audit()
    assert check_of(report, "exam", 0).verdict == "unproven", "that it could not be read is the aggregator's word"
    assert report.ok, verdicts(report)
    place.check_books()
