"""What a worker makes of revealed updates on a real chain: each is opened before it counts, once, or is excluded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aggregator.worker.updates
from aggregator.payouts import pot_round
from aggregator.worker.updates import fetch_update
from fedmarket.devnet import Devnet
from market.chain.events import UpdateRevealed
from market.chain.job_market import JobMarket
from market.chain.packed import unpack_pays
from market.chain.records import ExclusionReason
from market.protocol.identifiers import Digest
from market.protocol.update import StoredUpdate
from tests.integration.marketplace import (
    ON_ANVIL,
    REWARD_WEI,
    STAKE_WEI,
    Marketplace,
)
from tests.integration.sealings import (
    D,
    Sealing,
    committed,
    damage,
    digest_of,
    played_with,
    sealed_by,
    some_counts,
    stored,
)
from tests.sealed_updates import holds
from zk.commitment import Blinders, commit
from zk.field import R

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


def test_more_unusable_updates_than_usable_ones_are_excluded_and_gain_nobody_anything(place: Marketplace) -> None:
    place.post().join(7)
    honest = place.trainers[:3]
    _, sound = committed(place, some_counts(0))
    out_of_range = np.full(D, -32768, "<i2").tobytes() + sound[2 * D :]
    sealings = {
        "trainer 3": stored(place, "trainer 3", b"too short"),
        "trainer 4": stored(place, "trainer 4", out_of_range),
        "trainer 5": Sealing(digest_of(b"never uploaded"), committed(place, some_counts(1))[0]),
        "trainer 6": stored(place, "trainer 6", b"\x01\x02" * D + sound[2 * D :]),
    }
    played_with(place, honest, sealings)
    damage(place, sealings["trainer 6"].content)

    assert not place.settle()  # half of the settle phase is for those that are missing
    place.advance("reveal_end_s", place.terms.settle_period_s // 2)
    assert place.settle()
    attempt = place.attempt(0)
    assert [(event.seat, event.reason) for event in attempt.exclusions.values()] == [
        (3, ExclusionReason.UNREADABLE),
        (4, ExclusionReason.UNREADABLE),
        (5, ExclusionReason.UNAVAILABLE),
        (6, ExclusionReason.UNAVAILABLE),
    ]
    assert attempt.settled is not None
    assert attempt.settled.accepted == (0, 1, 2)
    pays = unpack_pays(attempt.settled.pays)
    shares = pot_round(attempt.settled.scores_q32, 3, 4, REWARD_WEI, 0)
    assert pays == [*shares.pays_wei, 0, 0, 0, 0, 0]
    assert sum(pays) <= REWARD_WEI * 3 // 7
    # Their stakes are where they were: being excluded costs nothing by itself, and brings nothing.
    assert place.ledger.stakes_wei == 7 * STAKE_WEI
    assert place.ledger.carry_wei == REWARD_WEI - sum(pays)
    assert place.ledger.refundable_wei == 0
    line = "3 of 3 accepted, new model, seat 3 excluded: unreadable, seat 4 excluded: unreadable"
    assert line in place.told["alice"][-1]
    place.check_books()


def test_what_is_not_what_was_committed_to_is_excluded_before_it_counts(place: Marketplace) -> None:
    place.post().join(8)
    counts = some_counts(5)
    commitment, sound = committed(place, counts)
    one_off = (counts + np.eye(1, D, dtype=np.int16)[0]).astype("<i2").tobytes() + sound[2 * D :]
    other_blinders = sound[:-1] + bytes([sound[-1] ^ 1])
    reduced = int.from_bytes(sound[-32:], "big")
    not_reduced = sound[:-32] + (reduced + R).to_bytes(32, "big")
    sealings = {
        "trainer 3": stored(place, "trainer 3", one_off, commitment),
        "trainer 4": stored(place, "trainer 4", other_blinders, commitment),
        "trainer 5": stored(place, "trainer 5", not_reduced, commitment),
        "trainer 6": stored(place, "trainer 6", sound[:-1], commitment),
        "trainer 7": stored(place, "trainer 7", sound + b"\x00", commitment),
    }
    played_with(place, place.trainers[:3], sealings)
    assert place.settle()
    attempt = place.attempt(0)
    assert [(event.seat, event.reason) for event in attempt.exclusions.values()] == [
        (3, ExclusionReason.MISMATCH),
        (4, ExclusionReason.MISMATCH),
        (5, ExclusionReason.UNREADABLE),
        (6, ExclusionReason.UNREADABLE),
        (7, ExclusionReason.UNREADABLE),
    ]
    assert attempt.rows == [0, 1, 2]
    assert "seat 3 excluded: mismatch" in place.told["alice"][-1]


def test_trainers_who_give_their_blinders_away_harm_themselves_alone(place: Marketplace) -> None:
    """Blinders that another update has as well, or that a settlement published: the round is proven all the same."""
    place.post().join(6)
    place.play_round(place.trainers[:3])
    published = Blinders.parse(place.layout, place.view("onlooker").history().versions()[-1].blinders)
    shared = Blinders.parse(place.layout, Blinders.fresh(place.layout).to_bytes())
    sealings = {}
    for seed, (name, blinders) in enumerate(zip(place.trainers[3:], (shared, shared, published), strict=True)):
        counts = some_counts(seed)
        data = StoredUpdate(counts, blinders.to_bytes()).to_bytes()
        sealings[name] = stored(place, name, data, commit(place.srs, place.layout, counts, blinders))
    played_with(place, place.trainers[:3], sealings)
    assert place.settle()
    assert place.attempt(1).rows == [0, 1, 2, 3, 4, 5]


def test_an_update_that_arrives_while_it_is_waited_for_counts(place: Marketplace) -> None:
    place.post().join(4)
    commitment, late = committed(place, some_counts(0))
    place.advance("start_s")
    blob = sealed_by(place, "trainer 3", late, commitment)
    played_with(place, place.trainers[:3], {"trainer 3": Sealing(digest_of(blob), commitment)})
    assert not place.settle()
    place.store.add_bytes(blob)
    assert place.settle()
    assert place.attempt(0).rows == [0, 1, 2, 3]


def test_each_update_is_opened_once_as_it_arrives(place: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Digest] = []

    def counting(job: Any, srs: Any, layout: Any, key: Any, where: Any, reveal: UpdateRevealed) -> Any:
        opened.append(reveal.content)
        return fetch_update(job, srs, layout, key, where, reveal)

    monkeypatch.setattr(aggregator.worker.updates, "fetch_update", counting)
    place.post().join(3)
    worker = place.worker("alice")
    place.commit()
    place.reveal(place.trainers[:2])
    for _ in range(2):  # looking again opens nothing again
        assert not worker.advance(*place.now())
    assert len(opened) == 2
    place.act()
    assert not worker.advance(*place.now())
    assert len(opened) == 3
    place.advance("reveal_end_s")
    assert worker.advance(*place.now())
    assert sorted(opened) == sorted({reveal.content for reveal in place.attempt(0).reveals.values()})


def test_what_was_opened_for_a_round_has_no_name_that_a_killed_worker_could_leave_on_the_disk(
    place: Marketplace,
) -> None:
    place.post().join(3)
    place.commit()
    plain = [place.stored(name, 0).to_bytes() for name in place.trainers]
    place.reveal()
    worker = place.worker("alice")
    assert not worker.advance(*place.now())
    assert worker._revealed.judged == 3
    for data in plain:
        assert not holds(place.work_folder("alice"), data[:30])
    place.advance("reveal_end_s")
    assert worker.advance(*place.now())
    assert place.attempt(0).rows == [0, 1, 2]
