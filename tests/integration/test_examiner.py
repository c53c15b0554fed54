"""An examiner's session on a real chain: killed at every point, late, delegated, refused; and what it publishes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedmarket.exam_folder
import fedmarket.examiner
from fedmarket.devnet import Devnet
from fedmarket.exam_folder import AttemptExam, ExamFolder, exam_of_job, exams_in
from fedmarket.owner import cut_exam
from market.chain.events import ExamMissed, ExamPublished
from market.chain.job_market import JobMarket
from market.chain.transactions import Finality
from market.protocol.errors import InvalidInput
from market.protocol.exam import MAX_BOOK_BYTES, ExamBook, Reference, agrees, parse_reference, reference_bytes
from market.protocol.rounds import Phase
from market.sealing import EXAM, OVERHEAD_BYTES, SealingKey, seal_to
from market.storage import Cid, content_cid
from tests.integration.examined import EXAM_DEPOSIT_WEI, ExaminedMarketplace
from tests.integration.marketplace import ON_ANVIL, Killed, samples
from trainer_client.data import Dataset
from trainer_client.exam import recompute, slice_bytes
from trainer_client.job_model import JobModel

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> ExaminedMarketplace:
    return ExaminedMarketplace(devnet, deployed, actors, tmp_path)


def kept(place: ExaminedMarketplace) -> AttemptExam:
    """What the owner keeps of the running attempt."""
    state = place.state
    return place.exam.attempt(place.market.seal_context(place.id, state.round, state.attempt))


def revealed(place: ExaminedMarketplace) -> ExaminedMarketplace:
    """A job of four trainers in the exam phase of its first attempt, whose exam was set."""
    place.post().join(4)
    place.commit()
    assert place.examine()
    place.reveal()
    place.advance("reveal_end_s")
    return place


def book_of(place: ExaminedMarketplace) -> ExamBook:
    """The book that was published, found by its digest alone."""
    [published] = place._events(ExamPublished)
    return ExamBook.from_bytes(place.store.read(Cid.from_digest(published.content, 0), MAX_BOOK_BYTES))


def resealed(place: ExaminedMarketplace, number: int, r: Reference, ephemeral: bytes) -> bytes:
    """What everybody finds who seals a published r once more: the digest of the sealed bytes."""
    context = place.market.seal_context(place.id, place.attempt(number).started.round, number)
    public = place.worker("alice").key.public
    return content_cid(seal_to(public, context, EXAM, r.tobytes(), ephemeral)).digest


# ---------------------------------------------------------------------- a whole job


def test_a_job_is_examined_from_its_opening_to_its_close(place: ExaminedMarketplace) -> None:
    place.post(rounds=2, exam={"spares": 1}).join(5)
    assert place.ledger.exams_wei == 2 * EXAM_DEPOSIT_WEI
    assert place.stored_slices() == [0]
    attempts = [place.play_examined() for _ in range(2)]
    assert all(attempt.examined and attempt.settled for attempt in attempts)
    assert place.stored_slices() == [0]

    place.devnet.mine()
    place.examiner().run()
    book = book_of(place)
    book.check(place.terms.exam.root, place.terms.exam.slices)
    assert place.stored_slices() == [0, 1, 2, 3]
    assert sorted(book.references) == sorted(book.sealings) == [0, 1]
    versions = place.view("auditor").history()
    for number, cid in book.references.items():
        limit = reference_bytes(place.terms.rules.dimension)
        r = parse_reference(place.store.read(Cid.parse(cid), limit), place.terms.rules.dimension)
        model = place.view("auditor").model(versions.versions(before=number)[-1].digest)
        assert agrees(r, recompute(place.prepared.document, model, place.exam.slice_path(number + 1)))
        other = recompute(place.prepared.document, model, place.exam.slice_path(3))
        assert not agrees(r, other)
        assert resealed(place, number, r, book.sealings[number]) == attempts[number].exam_opened.content

    place.devnet.advance_to(place.devnet.timestamp() + place.terms.vesting_period_s + 1)
    lifetime = place.view("onlooker").history().packed_lifetime()
    place.send("passer-by", "close", place.market.close_job(place.id, lifetime))
    assert place.ledger.exams_wei == 0
    assert place.ledger.refundable_wei >= 2 * EXAM_DEPOSIT_WEI
    place.check_books()


def test_the_session_runs_by_itself_and_ends_when_all_is_published(place: ExaminedMarketplace) -> None:
    """Nobody else acts: every round starves, and is skipped by a passer-by whenever the examiner looks at the chain."""
    place.post(rounds=2).join(4)

    def pass_by() -> bool:
        if place.phase is Phase.STARVED:
            attempt = place.state.attempt
            place.send("passer-by", f"skip {attempt}", place.market.skip_round(place.id, attempt))
        elif place.phase is Phase.ENROLMENT:
            place.advance("start_s")
        elif place.market.exam(place.id, place.state.attempt).seal != bytes(32):
            place.advance("commit_end_s")
        place.devnet.mine()
        return False

    place.examiner().run(pass_by)
    assert [event.attempt for event in place.seals()] == [0, 1]
    assert (book_of(place).references, book_of(place).sealings) == ({}, {})
    assert place.state.exam_published


def test_what_r_was_sealed_with_is_published_alone_of_exams_that_were_opened_and_its_loss_is_told(
    place: ExaminedMarketplace,
) -> None:
    place.post(rounds=3).join(4)
    place.play_examined()
    place.commit()
    assert place.examine()
    place.reveal()
    place.settle()  # not opened
    lost = place.market.seal_context(place.id, place.state.round, place.state.attempt)
    place.play_examined()
    (place.exam.attempt(lost).path / "opening.json").unlink()
    place.devnet.mine()
    place.examiner().run()
    assert sorted(book_of(place).sealings) == [0]
    assert any(f"attempt {lost.attempt}: what its r was sealed with is lost" in line for line in place.told["owner"])


# ---------------------------------------------------------------------- killed and started again


def test_an_examiner_killed_before_or_after_its_commit_never_seals_twice(place: ExaminedMarketplace) -> None:
    place.post().join(4)
    place.advance("start_s")
    place.kill_examiner(before="exam-commit")
    first = kept(place).sealed()
    assert first is not None
    assert not place.seals()
    place.kill_examiner(after="exam-commit")
    assert kept(place).sealed() == first
    assert not place.examine()
    assert len(place.seals()) == 1
    assert resealed(place, 0, kept(place).reference(place.terms.rules.dimension), first.ephemeral) == first.content
    place.reveal_all()
    assert place.examine()


@pytest.mark.parametrize("file", ["reference.i32", "sealed.bin", "opening.json"])
def test_an_examiner_killed_while_it_writes_starts_over(
    place: ExaminedMarketplace, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    place.post().join(4)
    place.advance("start_s")
    write = fedmarket.exam_folder.write_file

    def killed(path: Path, *rest: Any) -> None:
        if path.name == file:
            raise Killed(file)
        write(path, *rest)

    monkeypatch.setattr(fedmarket.exam_folder, "write_file", killed)
    with pytest.raises(Killed):
        place.examine()
    assert kept(place).sealed() is None
    monkeypatch.undo()
    place.restart("owner")
    assert place.examine()
    place.reveal_all()
    assert place.examine()
    assert place.attempt(0).exam_opened is not None


def test_a_lack_of_memory_is_told_once_and_tried_again(
    place: ExaminedMarketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.post().join(4)
    place.advance("start_s")
    examiner = place.examiner()

    def too_large(*rest: Any) -> Reference:
        raise MemoryError("a batch of 1 sample does not fit")

    with monkeypatch.context() as small:
        small.setattr(fedmarket.examiner, "reference", too_large)
        assert [examiner.advance(*place.now()) for _ in range(2)] == [False, False]
    [line] = [line for line in place.told["owner"] if "does not fit" in line]
    assert line.endswith("a batch of 1 sample does not fit; it is tried again as long as there is time")
    assert not place.seals()
    assert examiner.advance(*place.now())
    assert len(place.seals()) == 1


@pytest.mark.parametrize("moment", [{"before": "exam-open"}, {"after": "exam-open"}])
def test_an_examiner_killed_at_the_opening_opens_once(place: ExaminedMarketplace, moment: dict[str, str]) -> None:
    revealed(place)
    place.kill_examiner(**moment)
    assert place.examine() == ("before" in moment)
    assert place.attempt(0).exam_opened is not None
    assert place.settle()
    assert place.attempt(0).examined


@pytest.mark.parametrize("moment", [{"before": "exam-publish"}, {"after": "exam-publish"}])
def test_an_examiner_killed_at_the_publication_publishes_once(
    place: ExaminedMarketplace, moment: dict[str, str]
) -> None:
    place.post(rounds=1).join(4)
    place.play_examined()
    place.devnet.mine()
    place.kill_examiner(**moment)
    place.examiner().run()
    assert sorted(book_of(place).references) == [0]


def test_an_opening_that_was_signed_stands_for_whatever_the_model_becomes(place: ExaminedMarketplace) -> None:
    """Before it is signed, another model or another aggregator makes another exam; after that nothing does."""
    place.post().join(4)
    place.advance("start_s")
    place.kill_examiner(before="exam-commit")
    before = kept(place).sealed()
    place.devnet.mine()
    session = place.examiner()
    context = place.market.seal_context(place.id, 0, 0)
    session._recipient = lambda: (
        SealingKey.of_account(  # type: ignore[method-assign]
            place.actors.account("successor"), context.chain_id, context.contract, place.id
        ).public
    )
    assert session.advance(*place.now())
    after = kept(place).sealed()
    assert before is not None
    assert after is not None
    assert after.recipient != before.recipient
    place.devnet.mine()
    [committed] = place.seals()
    assert session._seal_of(context, after) == committed.seal


# ---------------------------------------------------------------------- what leaves, and when


def test_before_the_exam_phase_nothing_of_the_exam_is_in_storage_and_then_only_sealed(
    place: ExaminedMarketplace,
) -> None:
    place.post().join(4)
    place.commit()
    before = set(place.store.pins())
    assert place.examine()
    place.reveal()
    sealed, reference = kept(place).sealed(), kept(place).reference(place.terms.rules.dimension)
    assert sealed is not None
    size = reference_bytes(place.terms.rules.dimension) + OVERHEAD_BYTES
    blob = Cid.from_digest(sealed.content, size)
    assert not place.store.has(blob)
    place.advance("reveal_end_s")
    assert place.examine()
    stored = place.store.read(blob, size)
    assert reference.tobytes() not in stored
    assert place.stored_slices() == [0]
    key = SealingKey.of_account(place.actors.account("alice"), place.devnet.chain_id, place.market.address, place.id)
    context = place.market.seal_context(place.id, 0, 0)
    assert key.unseal(context, EXAM, stored) == reference.tobytes()
    assert before < set(place.store.pins())


def test_the_exam_of_every_attempt_is_another_slices(place: ExaminedMarketplace) -> None:
    place.post().join(4, ("alice", "bob"))
    for number in range(2):
        place.commit()
        assert place.examine()
        reference = kept(place).reference(place.terms.rules.dimension)
        model = place.view("auditor").model(place.state.model)
        for index in range(4):
            recomputed = recompute(place.prepared.document, model, place.exam.slice_path(index))
            assert agrees(reference, recomputed) == (index == number + 1)
        place.reveal()
        place.expire()


def test_no_slice_is_shown_while_a_round_can_still_start(place: ExaminedMarketplace) -> None:
    place.post(rounds=1).join(4)
    place.play_examined()
    session = place.examiner()
    # The settlement is two blocks old: where more are asked for, a reorganisation may still take it back.
    session._finality = Finality(blocks=5)
    assert not session.advance(*place.now())
    assert place.stored_slices() == [0]
    place.devnet.mine()
    place.devnet.mine()
    place.devnet.mine()
    assert place.examine()
    assert place.stored_slices() == [0, 1, 2, 3]


# ---------------------------------------------------------------------- late, damaged, exhausted


def test_a_late_owner_loses_one_deposit_and_the_round_goes_on(place: ExaminedMarketplace) -> None:
    revealed(place)
    place.advance("exam_end_s")
    assert not place.examine()
    assert place.settle()
    [missed] = place._events(ExamMissed)
    assert (missed.attempt, missed.deposit_wei) == (0, EXAM_DEPOSIT_WEI)
    assert place.ledger.exams_wei == 2 * EXAM_DEPOSIT_WEI
    assert place.play_examined().examined
    place.check_books()


def test_an_owner_who_was_away_in_the_commit_phase_says_what_it_costs(place: ExaminedMarketplace) -> None:
    place.post().join(4)
    place.commit()
    place.reveal()
    place.advance("reveal_end_s")
    session = place.examiner()
    assert not session.advance(*place.now())
    assert not session.advance(*place.now())
    [line] = [line for line in place.told["owner"] if "not examined" in line]
    assert "costs a deposit: none was set in time" in line


def test_an_attempt_that_nobody_ends_is_ended_by_the_owner_who_then_publishes_in_time(
    place: ExaminedMarketplace,
) -> None:
    """A lone aggregator that dies must not keep the exam secret until the close, which takes all deposits."""
    place.post(rounds=2).join(4)
    place.commit(place.trainers[:2])
    assert place.examine()
    place.advance("commit_end_s")
    assert place.phase is Phase.STARVED
    assert place.examine()
    assert place.state.round == 1
    place.commit()
    assert place.examine()
    place.reveal()
    assert place.open_exam()
    place.advance("settle_end_s")
    assert place.phase is Phase.OVERDUE
    assert place.examine()
    assert place.attempt(1).expired is not None
    place.devnet.advance_to(place.terms.deadline_s)
    assert place.phase is Phase.FINISHED
    place.devnet.mine()
    place.devnet.mine()
    assert place.examine()
    assert place.state.exam_published


def test_another_jobs_damaged_exam_does_not_hide_this_ones(place: ExaminedMarketplace, tmp_path: Path) -> None:
    place.post()
    exams = exams_in(tmp_path / "account")
    here = shutil.copytree(place.exam_path, exams / "this")
    (exams / "another").mkdir()
    (exams / "another" / "exam.json").write_text("{")
    job = place.view("owner")
    assert exam_of_job(tmp_path / "account", job).root == place.exam.root
    shutil.rmtree(here)
    with pytest.raises(InvalidInput, match=r"is not in .*another/exam\.json is damaged"):
        exam_of_job(tmp_path / "account", job)


def test_a_damaged_slice_is_named_and_costs_its_round_alone(place: ExaminedMarketplace) -> None:
    place.post().join(4)
    place.exam.slice_path(1).write_bytes(slice_bytes(samples(7, count=16)))
    place.commit()
    assert not place.examine()
    assert any("slice 1 is damaged" in line for line in place.told["owner"])
    place.reveal()
    assert place.settle()
    assert place.attempt(0).exam_missed is not None
    place.commit()
    assert place.examine()


def test_a_slice_without_a_gradient_sets_no_exam(place: ExaminedMarketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is so sure, and so right, that its loss is flat."""
    labels = np.arange(200) % 3
    place.reference_set = Dataset(np.eye(3, 4, dtype=np.float32)[labels], labels)
    place.post().join(4)
    place.advance("start_s")

    def sure(job_model: JobModel, _: Any) -> torch.nn.Module:
        with torch.no_grad():
            for parameter in job_model.module.parameters():
                parameter.copy_(1e6 * torch.eye(*parameter.shape) if parameter.ndim == 2 else 0 * parameter)
        return job_model.module

    monkeypatch.setattr(JobModel, "load", sure)
    assert not place.examine()
    assert any("gradient of zero" in line for line in place.told["owner"])
    assert not place.seals()


def test_an_attempt_beyond_the_slices_is_not_examined(place: ExaminedMarketplace) -> None:
    place.post(rounds=1, exam={"spares": 0}).join(4, ("alice", "bob"))
    place.commit()
    assert place.examine()
    place.reveal()
    place.expire()
    place.commit()
    assert not place.examine()
    assert any("no slice is left" in line for line in place.told["owner"])
    place.reveal()
    place.advance("reveal_end_s")
    assert not place.examine()
    assert place.settle("bob")
    assert not place._events(ExamMissed)


def test_a_lost_reference_is_recomputed_to_be_published(place: ExaminedMarketplace) -> None:
    place.post(rounds=1).join(4)
    context = place.market.seal_context(place.id, 0, 0)
    place.play_examined()
    shutil.rmtree(place.exam.attempt(context).path)
    place.devnet.mine()
    assert place.examine()
    assert sorted(book_of(place).references) == [0]


def test_a_sealed_reference_that_was_lost_still_saves_the_deposit(place: ExaminedMarketplace) -> None:
    revealed(place)
    (kept(place).path / "sealed.bin").write_bytes(b"")
    assert place.examine()
    assert any("do without the exam" in line for line in place.told["owner"])
    place.advance("exam_end_s", 200)
    assert place.settle()
    assert place.attempt(0).exam_excluded is not None
    assert not place._events(ExamMissed)


# ---------------------------------------------------------------------- who may


def test_a_delegate_examines_with_a_copy_of_the_folder(place: ExaminedMarketplace, tmp_path: Path) -> None:
    delegate = place.actor("delegate").address
    place.post(rounds=1, exam={"examiner": delegate}).join(4)
    copy = Path(shutil.copytree(place.exam_path, tmp_path / "delegate's"))

    def act() -> bool:
        return place.examiner("delegate", copy).advance(*place.now())

    place.commit()
    assert act()
    # The owner's machine holds no opening of this seal, and makes no other.
    assert not place.examine()
    place.reveal()
    place.advance("reveal_end_s")
    assert not place.examine()
    assert any("what opens its seal is not in" in line for line in place.told["owner"])
    assert act()
    assert place.settle()
    assert place.attempt(0).examined
    place.devnet.mine()
    # Whatever the delegate computed, the owner can publish: the slices give it again.
    assert place.examine()
    assert sorted(book_of(place).references) == [0]
    assert not act()


def test_strangers_and_other_exams_are_refused(place: ExaminedMarketplace, tmp_path: Path) -> None:
    place.post().join(4)
    with pytest.raises(InvalidInput, match="may not set the exam of job 0: expected its owner 0x"):
        place.examiner("trainer 0")
    other = [slice_bytes(part) for part in cut_exam(place.prepared.spec, samples(5, count=200))]
    ExamFolder.create(tmp_path / "other", other)
    with pytest.raises(InvalidInput, match="has the root 0x"):
        place.examiner(folder=tmp_path / "other")


def test_the_exam_accepts_the_honest_and_refuses_the_flipped(place: ExaminedMarketplace) -> None:
    place.features = 12
    place.post(rounds=1).join(6)
    flipped = place.trainers[5]
    honest = place.crafts[flipped]
    place.crafts[flipped] = lambda task: -honest(task)
    settled = place.play_examined().settled
    assert settled is not None
    assert place.seat(flipped) not in settled.accepted
    assert len(settled.accepted) >= 4
    assert f"seat {place.seat(flipped)} failed the exam: its mark is -0." in place.told["alice"][-1]
    assert "and must exceed 0.1601" in place.told["alice"][-1]
