"""A trainer's session on a real chain: killed at every point, with a damaged disk, and with updates that are none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trainer_client.session
from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason
from market.chain.transactions import SendPolicy
from market.protocol.errors import ChainError, ChainTimeout, ChainUnreachable, InvalidInput, InvalidUpdate, NodeRefused
from market.protocol.rounds import Phase
from market.storage import Cid
from tests.integration.marketplace import (
    ON_ANVIL,
    STAKE_WEI,
    Killed,
    Marketplace,
    agreeing,
    constant,
    names,
    samples,
)
from trainer_client.crafting import RoundTask, train_locally

pytestmark = ON_ANVIL

D = 15
UPDATE_BYTES = 2 * D + 192


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Marketplace:
    return Marketplace(devnet, deployed, actors, tmp_path)


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def block_file(root: Path, cid: Cid) -> Path:
    [found] = [path for path in root.rglob("*.data") if Cid.of_block(path.read_bytes(), 0x55).digest == cid.digest]
    return found


# ---------------------------------------------------------------------- killed and started again


def test_a_trainer_killed_at_any_point_commits_once_and_finishes_the_round(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.post().join(6)
    [kept, sealed, broadcast, committed, uploaded, revealed] = place.trainers
    place.advance("start_s")
    _killed_when_the_update_is_kept(place, kept, monkeypatch)
    place.kill(sealed, before="commit")
    with _killed_with_the_commit_unmined(place, broadcast):
        place.restart(broadcast)
        _times_out(place, broadcast)
    place.kill(committed, after="commit")
    openings = {name: place.opening(name) for name in (sealed, broadcast, committed)}
    for name in place.trainers:
        place.restart(name)
    place.act()
    assert place.state.committed == place.mask(*place.trainers)
    assert {name: place.opening(name) for name in openings} == openings

    place.advance("commit_end_s")
    place.kill(uploaded, before="reveal")
    assert place.store.has(place.update_cid(uploaded))
    place.kill(revealed, after="reveal")
    for name in place.trainers:
        place.restart(name)
    place.act()
    place.settle()
    attempt = place.attempt(0)
    assert sorted(attempt.reveals) == [place.seat(name) for name in place.trainers]
    assert attempt.settled is not None
    assert not attempt.exclusions
    assert [len(place.commits_of(name)) for name in place.trainers] == [1] * 6


def _killed_when_the_update_is_kept(place: Marketplace, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed() -> bytes:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer_client.session, "new_salt", killed)
        with pytest.raises(Killed):
            place.session(name).advance(*place.now())
    assert place.attempt_folder(name).update_path.exists()
    assert place.attempt_folder(name).sealed() is None


@contextmanager
def _killed_with_the_commit_unmined(place: Marketplace, name: str) -> Iterator[None]:
    """Kill the trainer with its commit at the node; no block comes before the end of this context."""
    place.restart(name)
    place.devnet.set_mining(False)
    _times_out(place, name)
    yield
    assert not place.state.committed & place.mask(name)
    assert place.actor(name).unresolved() == [f"commit/{place.id}/0"]
    place.devnet.set_mining(True)
    place.devnet.mine()


def _times_out(place: Marketplace, name: str) -> None:
    sender = place.actor(name)
    sender.devnet = None
    sender.policy = SendPolicy(timeout_s=0.05, poll_s=0.01)
    with pytest.raises(ChainTimeout):
        place.session(name).advance(*place.now())


def test_a_commit_that_is_not_confirmed_before_the_reveals_is_revealed_all_the_same(place: Marketplace) -> None:
    place.post(periods={"confirmations": 200}).join(3, aggregators=())
    place.send("alice", "bond", place.market.bond(place.id, place.terms, place.worker("alice").key.public))
    for moment, acted in (("start_s", "committed"), ("commit_end_s", "revealed")):
        place.advance(moment)
        for name in place.trainers:
            sender = place.restart(name)
            sender.devnet, sender.policy = None, SendPolicy(timeout_s=0.05, poll_s=0.01)
            place.session(name).run(partial(_has_acted, place, name, acted))
    assert place.state.revealed == place.mask(*place.trainers)


def test_nobody_else_on_the_machine_reads_an_update_before_its_reveal(place: Marketplace) -> None:
    place.post().join(3)
    place.commit()
    for folder in (place.attempt_folder("trainer 0").path, place.work_folder("trainer 0") / "sealed"):
        assert folder.stat().st_mode & 0o777 == 0o700


def _has_acted(place: Marketplace, name: str, acted: str) -> bool:
    return bool(getattr(place.state, acted) & place.mask(name))


@pytest.mark.parametrize("trouble", [ChainUnreachable, NodeRefused])
def test_a_trainer_outlasts_a_node_that_is_away_or_refuses(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch, trouble: type[ChainError]
) -> None:
    place.post().join(3)
    place.advance("start_s")
    session, now, outages = place.session("trainer 0"), place.view("trainer 0").now, iter(range(3))

    def sometimes() -> Any:
        if next(outages, None) is not None:
            raise trouble("there is no answer to be had")
        return now()

    monkeypatch.setattr(session.job, "now", sometimes)
    session.run(lambda: bool(place.state.committed))
    assert place.told["trainer 0"].count("there is no answer to be had") == 1


def test_a_session_that_is_asked_again_does_nothing_twice(place: Marketplace) -> None:
    place.post().join(3)
    place.advance("start_s")
    session = place.session("trainer 0")
    assert session.advance(*place.now())
    assert not session.advance(*place.now())
    place.act(place.trainers[1:])
    place.advance("commit_end_s")
    assert session.advance(*place.now())
    assert not session.advance(*place.now())
    assert len(place.commits_of("trainer 0")) == 1
    assert session.is_done(place.state, place.state.revealed)


def test_a_commit_seen_too_late_is_not_given_up(place: Marketplace) -> None:
    """The journal is lost while the commit is on its way: the contract refuses a second one, and the first counts."""
    place.post().join(3)
    place.commit()
    before_commit = place.state
    before_commit = type(before_commit)(**{**vars(before_commit), "committed": 0})
    place.actor("trainer 0").close()
    shutil.rmtree(place.actors.folder / "trainer 0")
    place.restart("trainer 0")
    session = place.session("trainer 0")
    # What the node answered a block ago.
    assert not session.advance(before_commit, Phase.COMMIT)
    place.advance("commit_end_s")
    assert session.advance(*place.now())
    assert place.state.revealed == place.mask("trainer 0")
    assert len(place.commits_of("trainer 0")) == 1


def test_the_loop_takes_part_and_ends_with_the_job(place: Marketplace) -> None:
    place.post(rounds=1).join(3)
    place.advance("start_s")
    session = place.session("trainer 0")
    session.run(lambda: bool(place.state.committed & 1))
    place.act(place.trainers[1:])
    place.advance("commit_end_s")
    session.run(lambda: bool(place.state.revealed & 1))
    place.act(place.trainers[1:])
    place.settle()
    assert place.phase is Phase.FINISHED
    session.run()
    place.worker("alice").run()
    assert place.told["trainer 0"][0] == "round 0: committed"


def test_an_account_without_a_seat_is_refused(place: Marketplace) -> None:
    place.post().join(3)
    place.crafts["stranger"] = agreeing(9)
    with pytest.raises(InvalidInput, match=r"0x\w+ has no seat in job 0: enrol first"):
        place.session("stranger", dataset=samples(0))


# ---------------------------------------------------------------------- what happens to the disk


def test_a_work_folder_lost_after_the_commit_is_told_in_one_line(place: Marketplace) -> None:
    place.post().join(4)
    place.commit()
    shutil.rmtree(place.work_folder("trainer 0"))
    place.reveal()
    place.settle()
    [_, line] = place.told["trainer 0"]
    assert line.startswith("round 0: not taking part any more: the opening of this attempt's seal is not in ")
    assert sorted(place.attempt(0).reveals) == [1, 2, 3]
    assert place.ledger.burned_wei == STAKE_WEI
    place.act(["trainer 0"])
    assert place.told["trainer 0"][-1].endswith("the stake is not in place; enrol again to put it back")
    place.enrol("trainer 0")
    assert 0 in place.play_round().rows
    place.check_books()


def test_a_work_folder_lost_with_the_commit_on_its_way_makes_no_second_one(place: Marketplace) -> None:
    place.post().join(3)
    place.advance("start_s")
    with _killed_with_the_commit_unmined(place, "trainer 0"):
        shutil.rmtree(place.work_folder("trainer 0"))
        place.restart("trainer 0").devnet = None
        assert not place.session("trainer 0").advance(*place.now())
    assert len(place.commits_of("trainer 0")) == 1
    assert "the opening of this attempt's seal is not in" in place.told["trainer 0"][-1]


def test_damage_on_the_disk_costs_no_more_than_what_is_damaged(place: Marketplace) -> None:
    place.post().join(6)
    place.commit()
    [update, copy, both, opening, *_] = place.trainers
    for name in (update, both):
        overwrite(place.attempt_folder(name).update_path, b"\x01" * UPDATE_BYTES)
    for name in (copy, both):
        overwrite(block_file(place.work_folder(name) / "sealed", place.update_cid(name)), b"\x02" * UPDATE_BYTES)
    overwrite(place.attempt_folder(opening).path / "opening.json", b'{"content": "00"}')
    garbage = [Cid.of_block(bytes([byte]) * UPDATE_BYTES, 0x55) for byte in (1, 2)]
    place.reveal()
    place.advance("reveal_end_s", place.terms.settle_period_s // 2)
    place.settle()
    attempt = place.attempt(0)
    assert sorted(attempt.reveals) == [0, 1, 2, 4, 5]
    assert {seat: gone.reason for seat, gone in attempt.exclusions.items()} == {
        place.seat(both): ExclusionReason.UNAVAILABLE
    }
    assert "the update is lost and will be excluded" in place.told[both][1]
    assert "opening.json is damaged" in place.told[opening][1]
    assert not any(place.store.has(cid) for cid in garbage)


def test_a_damaged_residual_costs_the_residual_only(place: Marketplace) -> None:
    place.post().join(3)
    place.play_round()
    folder = place.attempt_folder("trainer 0", attempt=0).path
    overwrite(folder / "residual.f32", b"short")
    overwrite(place.attempt_folder("trainer 1", attempt=0).path / "residual.f32", b"\xff" * 4 * D)
    place.commit()
    assert place.state.committed == place.mask(*place.trainers)
    for name in ("trainer 0", "trainer 1"):
        assert "what earlier updates withheld is lost" in place.told[name][-2]
        assert place.told[name][-1] == "round 1: committed"


# ---------------------------------------------------------------------- updates that are none


def test_an_update_that_is_none_is_told_in_one_line_and_commits_nothing(place: Marketplace) -> None:
    place.post().join(8)
    honest, odd = place.trainers[:3], place.trainers[3:]
    nan, infinite, short, failing, late = odd
    values = np.arange(D, dtype=np.float64)
    problems = {
        nan: (constant(np.where(values == 4, np.nan, values)), "the update's entry 4 is nan"),
        infinite: (constant(np.where(values == 5, np.inf, values)), "the update's entry 5 is inf"),
        short: (constant(values[:-1]), r"the update has shape (14,), expected (15,)"),
        failing: (_refusing, "training diverged"),
        late: (train_locally, "the commit phase leaves no time to train"),
    }
    place.advance("start_s")
    place.act(honest)
    for name, (craft, _) in problems.items():
        place.crafts[name] = craft
    place.act(odd[:-1])
    place.advance("commit_end_s", -place.terms.commit_period_s // 6)
    place.act([late])
    for name, (_, problem) in problems.items():
        [line] = place.told[name]
        assert line.startswith("round 0: not taking part any more: ")
        assert problem in line
        assert "\n" not in line
        place.crafts[name] = agreeing(place.seat(name))
    assert place.state.committed == place.mask(*honest)
    place.reveal()
    place.settle()
    assert place.play_round().rows == list(range(8))


def _refusing(task: RoundTask) -> NDArray[np.float32]:
    raise InvalidUpdate("training diverged in epoch 1: the loss is nan, expected a finite value")


def test_a_session_that_gave_an_attempt_up_goes_on_in_the_next(place: Marketplace) -> None:
    place.post().join(4)
    session = place.session("trainer 0", craft=_refusing)
    place.advance("start_s")
    for _ in range(3):
        assert not session.advance(*place.now())
    assert len(place.told["trainer 0"]) == 1
    assert session.is_done(place.state, 0)
    place.act(place.trainers[1:])
    place.reveal(place.trainers[1:])
    place.settle()
    session._training.craft = agreeing(0)
    place.advance("start_s")
    assert session.advance(*place.now())


def test_a_craft_that_crashes_leaves_nothing_behind_that_is_in_the_way(place: Marketplace) -> None:
    place.post().join(3)

    def crashing(task: RoundTask) -> NDArray[np.float32]:
        raise ZeroDivisionError

    place.advance("start_s")
    with pytest.raises(ZeroDivisionError):
        place.session("trainer 0", craft=crashing).advance(*place.now())
    assert place.state.committed == 0
    place.act()
    assert place.state.committed == place.mask(*names(3))


def test_a_round_for_which_there_is_no_memory_costs_no_other(place: Marketplace) -> None:
    place.post().join(3)

    def starved(task: RoundTask) -> NDArray[np.float32]:
        raise MemoryError

    place.crafts["trainer 0"] = starved
    place.advance("start_s")
    place.act()
    assert place.state.committed == place.mask("trainer 1", "trainer 2")
    assert "the memory of this machine does not hold this" in place.told["trainer 0"][-1]


def test_what_was_committed_is_opened_whatever_memory_there_was(
    place: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.post().join(3)
    place.advance("start_s")
    place.act()
    place.advance("commit_end_s")
    session = place.session("trainer 0")

    def starved(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(session, "_deliver", starved)
    with pytest.raises(MemoryError):
        session.advance(*place.now())
    place.session("trainer 0").advance(*place.now())
    assert place.state.revealed == place.mask("trainer 0")


def test_entries_beyond_the_range_are_clipped_and_told(place: Marketplace) -> None:
    place.post().join(3)
    place.crafts["trainer 0"] = constant(np.full(D, 40_000.0))
    place.commit(["trainer 0"])
    assert place.told["trainer 0"][0] == "round 0: 15 entries were clipped; the rest is sent next time"
    assert set(place.counts("trainer 0", 0)) == {32767}
