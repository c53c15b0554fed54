"""What a trainer that stays hears of each of its updates: accepted or not, its pay, and that a dispute undid it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trainer_client.outcomes
from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.packed import unpack_pays
from market.chain.records import Fact
from market.job_history import Attempt, JobHistory
from market.protocol.errors import NodeRefused
from market.protocol.identifiers import Seat
from market.protocol.moments import moment
from market.protocol.money import format_amount
from market.protocol.rounds import Phase
from market.published_job import PublishedJob
from tests.integration.court import Court, attend, dispute, watch
from tests.integration.hand_made_exams import HandExamined, opposing
from tests.integration.marketplace import COMPENSATION_WEI, ON_ANVIL, Marketplace
from trainer_client.outcomes import Outcomes
from trainer_client.session import TrainerSession

pytestmark = ON_ANVIL


def stay(place: Marketplace) -> list[TrainerSession]:
    """Every trainer's session, in a process that goes on."""
    return [place.session(name) for name in place.trainers]


def look(place: Marketplace, sessions: list[TrainerSession]) -> None:
    for session in sessions:
        session.advance(*place.now())


def commit_and_reveal(place: Marketplace, sessions: list[TrainerSession]) -> None:
    """Up to the reveal phase's last act, when everybody has looked at the chain once more."""
    place.advance("start_s")
    look(place, sessions)
    place.advance("commit_end_s")
    look(place, sessions)
    look(place, sessions)


def last(place: Marketplace, seat: int) -> str:
    """The last that a trainer heard of a round's end; a new one may have begun since."""
    ends = ("; nothing is earned", " to be claimed ")
    return [line for line in place.told[f"trainer {seat}"] if any(words in line for words in ends)][-1]


def pay(attempt: Attempt, seat: int) -> str:
    assert attempt.settled is not None
    amount_wei = unpack_pays(attempt.settled.pays)[seat]
    assert amount_wei > 0
    return f"{format_amount(amount_wei)} to be claimed from {moment(attempt.vests_at_s)}"


@pytest.fixture
def examined(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> HandExamined:
    place = HandExamined(devnet, deployed, actors, tmp_path).post(rounds=3)
    place.join(4).craft_of(3, opposing)
    return place


def play(place: HandExamined, is_opened: bool = True) -> tuple[Attempt, list[TrainerSession]]:
    """One round, its exam set and, as a rule, opened; and everybody's look at what came of it."""
    sessions = stay(place)
    place.advance("start_s")
    assert place.examine()
    commit_and_reveal(place, sessions)
    assert not is_opened or place.open_exam()
    assert place.settle()
    look(place, sessions)
    return place.attempt(0), sessions


def test_a_trainer_hears_that_its_update_was_accepted_what_it_earned_and_how_the_exam_went(
    examined: HandExamined,
) -> None:
    attempt, sessions = play(examined)
    for seat in range(3):
        assert last(examined, seat).startswith("round 0: the update was accepted, with a score of 0.")
        assert "; its record of exams is +0." in last(examined, seat)
        assert last(examined, seat).endswith(pay(attempt, seat))
    told = last(examined, 3)
    assert told.startswith("round 0: the update was not accepted by the job's rules; its record of exams is -0.")
    assert told.endswith("; nothing is earned")

    # Said once, whatever else is looked at.
    before = {name: list(told) for name, told in examined.told.items()}
    look(examined, sessions)
    assert examined.told == before


def test_a_trainer_that_passed_where_too_few_did_hears_that_nobody_was_accepted(examined: HandExamined) -> None:
    examined.craft_of(2, opposing)
    attempt, _ = play(examined)
    assert attempt.settled is not None
    assert attempt.settled.accepted == ()
    for seat in range(4):
        told = last(examined, seat)
        assert told.startswith("round 0: the update was not accepted, and nobody's was: the model stays")
        assert told.endswith("; nothing is earned")
    assert "record of exams is +0." in last(examined, 0)


def test_a_trainer_hears_that_a_round_whose_exam_was_not_opened_pays_nobody(examined: HandExamined) -> None:
    attempt, _ = play(examined, is_opened=False)
    assert attempt.settled is not None
    assert 0 in attempt.settled.accepted
    assert last(examined, 0) == "round 0: the update was accepted, in a round that pays nobody; nothing is earned"


@pytest.fixture
def plain(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path).post().join(4)


def test_a_trainer_hears_that_its_update_was_left_out(plain: Marketplace) -> None:
    sessions = stay(plain)
    commit_and_reveal(plain, sessions)
    plain.settle_otherwise(without=Seat(1))
    look(plain, sessions)
    assert last(plain, 1) == "round 0: the update was left out as unavailable; nothing is earned"
    assert last(plain, 0).endswith(pay(plain.attempt(0), 0))


def test_a_trainer_hears_of_an_attempt_that_nobody_settled_and_of_its_compensation(plain: Marketplace) -> None:
    sessions = stay(plain)
    commit_and_reveal(plain, sessions)
    plain.expire()
    look(plain, sessions)
    amount = f"{format_amount(COMPENSATION_WEI)} to be claimed from "
    assert last(plain, 2).startswith(f"round 0: the aggregator did not settle it in time; {amount}")


def test_what_came_of_the_last_round_is_told_before_the_session_ends_though_a_node_refuses_once(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Marketplace(devnet, deployed, actors, tmp_path).post(rounds=1).join(4)
    whole, refusals = PublishedJob.history, []

    def refused_once(job: PublishedJob) -> JobHistory:
        if place.phase is Phase.FINISHED and not refusals:
            refusals.append(job)
            raise NodeRefused("the node refused: over its limit")
        return whole(job)

    monkeypatch.setattr(PublishedJob, "history", refused_once)
    session, others = place.session("trainer 0"), place.trainers[1:]

    def goes_on() -> bool:
        if place.phase is Phase.ENROLMENT:
            place.commit(others)
        elif place.phase is Phase.COMMIT and place.state.committed == 0b1111:
            place.reveal(others)
        elif place.phase is Phase.REVEAL and place.state.revealed == 0b1111:
            place.advance("reveal_end_s")
        elif place.phase is Phase.SETTLE:
            assert place.settle()
        return False

    session.run(goes_on)
    assert refusals
    assert last(place, 0).startswith("round 0: the update was accepted, with a score of ")
    assert last(place, 0).endswith(pay(place.attempt(0), 0))


@pytest.mark.parametrize("lags", [False, True], ids=["refuses", "lags"])
def test_a_node_that_has_no_events_to_give_keeps_nothing_waiting_and_is_asked_again(
    plain: Marketplace, monkeypatch: pytest.MonkeyPatch, lags: bool
) -> None:
    """Where it lags, its events are from before the settlement that its state shows."""
    monkeypatch.setattr(trainer_client.outcomes, "RETRY_S", 0.0)
    job = plain.view("trainer 0")
    outcomes = Outcomes(job, plain.listen("trainer 0"))
    commit_and_reveal(plain, stay(plain))
    outcomes.revealed(0, Seat(0))
    before = job.history()
    assert plain.settle()

    def too_early() -> JobHistory:
        if lags:
            return before
        raise NodeRefused("the node refused: over its limit")

    with monkeypatch.context() as limited:
        limited.setattr(job, "history", too_early)
        outcomes.look(*plain.now())
    assert plain.told["trainer 0"][-1].startswith("round 0: revealed ")
    outcomes.look(*plain.now())
    assert last(plain, 0).endswith(pay(plain.attempt(0), 0))


def test_events_are_read_once_a_round_and_never_while_something_is_to_be_handed_in(
    plain: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[Phase] = []
    tell = Outcomes._tell

    def counted(outcomes: Outcomes, present: int) -> bool:
        readings.append(plain.phase)
        return tell(outcomes, present)

    monkeypatch.setattr(Outcomes, "_tell", counted)
    session, *_ = sessions = stay(plain)
    commit_and_reveal(plain, sessions)
    assert plain.settle()
    # Another process of the same trainer commits: this one has not heard of the round before when it has to reveal.
    plain.commit()
    for moment_name in ("start_s", "commit_end_s", "reveal_end_s"):
        plain.advance(moment_name)
        for _ in range(3):
            session.advance(*plain.now())
        plain.act()
    assert plain.state.revealed == 0b1111
    assert readings == []
    assert plain.settle()
    for _ in range(3):
        session.advance(*plain.now())
    assert readings == [plain.phase]
    for number in range(2):
        assert any(line.startswith(f"round {number}: the update was ") for line in plain.told["trainer 0"])


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_trainer_hears_that_what_it_was_told_is_undone(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, rounds: int
) -> None:
    """Of the last round, too, where the chain begins no attempt that would tell."""
    court = Court(devnet, deployed, actors, tmp_path).post(rounds=rounds).join()
    sessions = stay(court)
    commit_and_reveal(court, sessions)
    watch(court)
    court.settle_otherwise(without=Seat(2))
    look(court, sessions)
    assert "accepted, with a score of " in last(court, 0)
    dispute(court, "trainer 2", Fact.EXCLUSION, 0)
    look(court, sessions)
    assert last(court, 0).endswith(" to be claimed once a dispute is over, if it stands")
    attend(court)
    look(court, sessions)
    undone = "round 0: what was settled is undone by a dispute"
    assert last(court, 0).startswith(f"{undone}; {format_amount(COMPENSATION_WEI)} to be claimed from ")
