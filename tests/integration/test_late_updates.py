"""Jobs that take updates of earlier models: a slow trainer's is committed late, once, and counts less by its age."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregator.audit.chain_record import read_record
from aggregator.decision import decide
from fedmarket.devnet import Devnet
from market.chain.calls import PreparedCall
from market.chain.job_market import JobMarket
from market.job_history import Attempt
from market.model_opening import fetch_verified
from market.protocol.errors import ContractRevert
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from market.protocol.seal import new_salt, seal
from market.protocol.staleness import discounted, tagged
from tests.integration.court import audited
from tests.integration.marketplace import ON_ANVIL, Killed, Marketplace, constant
from tests.integration.test_seating import draw_cohorts
from trainer_client.crafting import Alarm, Craft, RoundTask
from trainer_client.late_update import PendingUpdate

pytestmark = ON_ANVIL

# Every update is in the average with the same weight: what an age takes of it is seen at once.
EVERYBODY = {"accept": [], "score": "equal", "weighting": "equal"}
SLOW = "trainer 0"
OTHERS = ["trainer 1", "trainer 2", "trainer 3"]
WHOLE = (1 << 16) // 4


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


def post(place: Marketplace, maximum_age: int = 2, **changes: Any) -> Marketplace:
    update = {"scale_exponent": 14, "maximum_age": maximum_age}
    place.post(update=update, rules=EVERYBODY, **{"rounds": 5, **changes})
    return place.join(4)


def own(seat: int) -> Craft:
    """An update of its own, another one in every attempt."""

    def craft(task: RoundTask) -> NDArray[np.float32]:
        random = np.random.default_rng([seat, task.attempt])
        return constant(random.integers(-900, 900, task.job_model.manifest.dimension))(task)

    return craft


class Slow:
    """Trains for as long as others need for some rounds."""

    def __init__(self, place: Marketplace, rounds: int, play: Callable[[], Attempt] | None = None) -> None:
        self.rounds, self.play = rounds, play or (lambda: place.play_round(OTHERS))
        self.trained: list[int] = []

    def __call__(self, task: RoundTask) -> NDArray[np.float32]:
        self.trained.append(task.attempt)
        rounds, self.rounds = self.rounds, 0
        for _ in range(rounds):
            self.play()
        return own(0)(task)


def slowly(place: Marketplace, rounds: int) -> Slow:
    """Let the slow trainer begin with the first round's model, and be ready so many rounds later."""
    slow = place.crafts[SLOW] = Slow(place, rounds)
    place.advance("start_s")
    place.act([SLOW])
    return slow


def pending_of(place: Marketplace) -> PendingUpdate:
    return PendingUpdate(place.attempt_folder(SLOW).pending_folder)


def test_a_late_update_is_accepted_and_discounted_and_the_whole_job_verifies(
    place: Marketplace, tmp_path: Path
) -> None:
    post(place)
    slow = slowly(place, rounds=2)
    assert (place.state.round, place.commits_of(SLOW)) == (2, [])
    attempt = place.play_round()
    assert attempt.ages == [2, 0, 0, 0]
    assert place.told[SLOW][:1] == ["round 2: committed, made from the model of round 0"]
    settled = attempt.settled
    assert settled is not None
    assert settled.weights == (discounted(WHOLE, 2), WHOLE, WHOLE, WHOLE)
    undiscounted = _decided_at_age_zero(place, attempt)
    assert settled.scores_q32 == tuple(map(discounted, undiscounted, attempt.ages))
    assert (slow.trained, pending_of(place).record()) == ([0], None)

    assert place.play_round().ages == [0, 0, 0, 0]  # and goes on with the model of its day
    assert slow.trained == [0, 3]
    view = place.view("onlooker")
    fetch_verified(view, place.srs, view.history().versions())
    assert audited(place, tmp_path / "audit") == []
    place.check_books()


def _decided_at_age_zero(place: Marketplace, attempt: Attempt) -> tuple[int, ...]:
    view = place.view("onlooker")
    proven = read_record(view.market, place.id).history.attempt(attempt.number).proven
    assert proven is not None
    step = (attempt.started.shift, attempt.started.step_q16)
    return decide(place.terms.rules, len(attempt.rows), *step, proven.gram).scores


def test_an_update_that_is_older_than_the_job_allows_is_given_up_and_another_made(place: Marketplace) -> None:
    post(place, maximum_age=1)
    slow = slowly(place, rounds=2)
    assert place.play_round().ages == [0, 0, 0, 0]
    told = "round 2: gave up the update made from the model of round 0: at most 1 rounds may have gone by since"
    assert place.told[SLOW][:2] == [told, "round 2: committed"]
    assert slow.trained == [0, 2]


def test_a_training_ends_when_the_last_round_that_takes_its_update_does(place: Marketplace) -> None:
    post(place, maximum_age=1)
    rings: list[bool] = []

    def craft(task: RoundTask) -> NDArray[np.float32]:
        alarm = task.should_stop
        assert isinstance(alarm, Alarm)
        for moment in ("play", "start_s", "late"):
            if moment == "play":
                place.play_round(OTHERS)
            elif moment == "late":
                place.advance("commit_end_s", -30)
            alarm._asked_at = -10.0
            rings.append(alarm())
        return own(0)(task)

    place.crafts[SLOW] = craft
    place.advance("start_s")
    place.act([SLOW])
    assert rings == [False, False, True]
    place.act([SLOW])
    assert place.state.committed == place.mask(SLOW)


# ---------------------------------------------------------------------- killed, and never twice


def test_killed_at_any_point_a_late_update_is_trained_once_and_committed_once(place: Marketplace) -> None:
    post(place)
    slow = slowly(place, rounds=1)
    for act in ({"before": "commit"}, {"after": "commit"}):
        place.advance("start_s")
        if not place.state.committed & place.mask(SLOW):
            place.kill(SLOW, **act)
    place.restart(SLOW)
    attempt = place.play_round()
    assert attempt.ages == [1, 0, 0, 0]
    assert slow.trained == [0]
    assert [commit.attempt for commit in place.commits_of(SLOW)] == [1]


def test_what_was_sealed_for_an_attempt_and_not_committed_goes_into_the_next_at_its_age(place: Marketplace) -> None:
    post(place)
    slow = slowly(place, rounds=1)
    place.kill(SLOW, before="commit")
    missed = place.opening(SLOW, 1)
    place.restart(SLOW)
    place.play_round(OTHERS)
    attempt = place.play_round()
    assert attempt.ages == [2, 0, 0, 0]
    assert slow.trained == [0]
    assert place.opening(SLOW, 2).counts == missed.counts
    assert place.attempt_folder(SLOW, 1).sealed() is None


def test_what_was_committed_is_never_sent_again_though_its_attempt_came_to_nothing(place: Marketplace) -> None:
    post(place)
    slow = slowly(place, rounds=1)
    place.advance("start_s")
    place.kill(SLOW, after="commit")  # the record of the update is still there
    record = pending_of(place).record()
    assert record is not None
    assert record.sealed_in == 1
    place.restart(SLOW)
    place.worker("bob").bond()
    place.commit(OTHERS)
    place.reveal()
    place.expire()
    place.commit()
    place.reveal()
    assert place.settle("bob")
    assert slow.trained == [0, 2]
    first, second = place.opening(SLOW, 1), place.opening(SLOW, 2)
    assert (first.age, second.age) == (1, 0)
    assert first.counts != second.counts


# ---------------------------------------------------------------------- cheats


def refused(place: Marketplace, name: str, call: PreparedCall, error: str) -> None:
    with pytest.raises(ContractRevert, match=error):
        place.send(name, f"tried {call.label} {error}", call)


def test_an_age_is_what_was_sealed_or_the_update_is_never_opened(place: Marketplace) -> None:
    """Neither a younger age, for more pay, nor an older one, for whoever relays it, opens the seal."""
    post(place)
    slowly(place, rounds=2)
    place.commit()
    place.advance("commit_end_s")
    for age in (0, 1):
        refused(place, SLOW, _reveal_at(place, age), "SealMismatch")
    refused(place, SLOW, _reveal_at(place, 3), r"UpdateTooOld\(age=3, limit=2\)")
    assert place.opening(SLOW).age == 2
    place.act()
    assert place.attempt(2).reveals[Seat(0)].age == 2


def _reveal_at(place: Marketplace, age: int) -> PreparedCall:
    opening, attempt = place.opening(SLOW), place.state.attempt
    values = (opening.commitment, opening.content, opening.salt, age)
    return place.market.reveal(place.id, attempt, place.actor(SLOW).address, *values)


def test_an_age_beyond_the_round_or_the_job_cannot_be_opened_however_it_was_sealed(place: Marketplace) -> None:
    post(place, maximum_age=1)
    for cheat in OTHERS:
        place.crafts[cheat] = own(place.seat(cheat))
    place.play_round(OTHERS)
    place.play_round(OTHERS)
    place.advance("start_s")
    context = place.market.seal_context(place.id, 2, 2)
    commitment, content, salt = place.prepared.commitment, place.state.model, new_salt()
    sealed = seal(context, place.actor(SLOW).address, commitment, content, salt, 2)
    place.send(SLOW, "bet", place.market.commit(place.id, 2, sealed))
    place.act(OTHERS)
    place.advance("commit_end_s")
    opening = (place.actor(SLOW).address, commitment, content, salt)
    refused(place, SLOW, place.market.reveal(place.id, 2, *opening, 2), r"UpdateTooOld\(age=2, limit=1\)")
    place.act(OTHERS)
    assert place.settle()
    assert place.market.seat(place.id, place.actor(SLOW).address) == 0
    assert not place.state.staked & 1  # the bet's


def test_no_settlement_takes_an_update_at_another_age(place: Marketplace) -> None:
    """An aggregator that is kind to a late trainer, or hard on a prompt one, has no history to show for it."""
    post(place)
    slowly(place, rounds=1)
    place.commit()
    place.reveal()
    place.advance("exam_end_s")
    worker, state = place.worker("alice"), place.state
    history = worker.job.history()
    material = worker._gather(history, state.attempt)
    assert material is not None
    for number, changed in enumerate([(0, 0), (0, 2), (1, 1)]):
        seat, age = changed
        reveals = dict(material.attempt.reveals)
        reveals[Seat(seat)] = replace(reveals[Seat(seat)], age=age)
        lying = replace(material, attempt=replace(material.attempt, reveals=reveals))
        settlement = worker._settlement(state, history, lying, worker._decide(lying))
        assert tagged(seat, age) in settlement.proof.order
        call = place.market.settle_round(place.id, state.attempt, settlement)
        with pytest.raises(ContractRevert, match="HistoryMismatch"):
            place.send("alice", f"lie {number}", call)
    assert place.worker("alice").advance(*place.now())
    assert place.attempt(1).ages == [1, 0, 0, 0]


def test_an_update_is_committed_once_an_attempt_at_whatever_age(place: Marketplace) -> None:
    post(place)
    slowly(place, rounds=1)
    place.commit()
    opening, context = place.opening(SLOW), place.market.seal_context(place.id, 1, 1)
    for age in (0, 1):
        again = seal(context, place.actor(SLOW).address, opening.commitment, opening.content, new_salt(), age)
        refused(place, SLOW, place.market.commit(place.id, 1, again), "AlreadyCommitted")


# ---------------------------------------------------------------------- cohorts, and rounds that are left out


def test_a_late_update_is_committed_when_its_seat_is_next_called_to_a_cohort(place: Marketplace) -> None:
    entry = {"draw_s": 300, "cohort": 3}
    place.post(update={"maximum_age": 3}, rules=EVERYBODY, rounds=12, seats=4, entry=entry).join(4)
    draw_cohorts(place)
    for name in OTHERS:
        place.crafts[name] = own(place.seat(name))
    while not _is_called(place, SLOW):
        assert len(_play_cohort(place, OTHERS).rows) == 3
    base = place.state.attempt
    slow = place.crafts[SLOW] = Slow(place, 1, play=lambda: _play_cohort(place, OTHERS))
    place.advance("start_s")
    place.act([SLOW])
    assert place.attempt(base).rows == [1, 2, 3]  # what it left was for whoever came in the second half
    while not _is_called(place, SLOW):
        _play_cohort(place, place.trainers)
    age = place.state.attempt - base
    attempt = _play_cohort(place, place.trainers)
    assert len(attempt.rows) == 3
    assert dict(zip(attempt.rows, attempt.ages, strict=True))[Seat(0)] == (age if age <= 3 else 0)
    assert slow.trained == ([base] if age <= 3 else [base, attempt.number])


def _is_called(place: Marketplace, name: str) -> bool:
    return place.market.in_cohort(place.id, place.seat(name), place.state.attempt)


def _play_cohort(place: Marketplace, acting: Iterable[str]) -> Attempt:
    """A round of those whom its cohort calls, and from half of the commit phase on of the others."""
    number, acting = place.state.attempt, list(acting)
    place.commit(acting)
    vests_s = place.market.outcome(place.id, number - 1).vests_at_s if number else 0
    place.devnet.advance_to(place.terms.half_s(place.state.attempt_start_s, vests_s))
    place.act([name for name in acting if not place.state.committed & place.mask(name)])
    place.reveal([name for name in acting if place.state.committed & place.mask(name)])
    assert place.settle()
    return place.attempt(number)


def test_a_trainer_that_skips_rounds_comes_back_with_todays_model(place: Marketplace, tmp_path: Path) -> None:
    post(place)
    for name in place.trainers:
        place.crafts[name] = own(place.seat(name))
    rows = [place.play_round(acting).rows for acting in (place.trainers, OTHERS, OTHERS, place.trainers)]
    assert rows == [[0, 1, 2, 3], [1, 2, 3], [1, 2, 3], [0, 1, 2, 3]]
    assert place.attempt(3).ages == [0] * 4
    assert place.opening(SLOW, 3).model == place.attempt(2).settled.model  # type: ignore[union-attr]
    assert place.phase is not Phase.FINISHED
    assert audited(place, tmp_path / "audit") == []


def test_a_damaged_record_of_a_late_update_has_it_made_again(place: Marketplace) -> None:
    post(place)
    slow = slowly(place, rounds=1)
    path = pending_of(place).folder / "pending.json"
    assert json.loads(path.read_text())["is_trained"] is True
    path.write_text("{")
    assert place.play_round().ages == [0, 0, 0, 0]
    assert slow.trained == [0, 1]


def test_a_trainer_killed_while_it_trains_goes_on_from_the_same_model(place: Marketplace) -> None:
    post(place)
    seen: list[tuple[int, float]] = []

    def craft(task: RoundTask) -> NDArray[np.float32]:
        weights = np.concatenate([p.detach().numpy().ravel() for p in task.job_model.module.parameters()])
        seen.append((task.attempt, float(np.abs(weights).sum())))
        if len(seen) == 1:
            place.play_round(OTHERS)
            raise Killed
        return own(0)(task)

    place.crafts[SLOW] = craft
    place.advance("start_s")
    with pytest.raises(Killed):
        place.act([SLOW])
    place.restart(SLOW)
    assert place.play_round().ages == [1, 0, 0, 0]
    assert seen[0] == seen[1]
