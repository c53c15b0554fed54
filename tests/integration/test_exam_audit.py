"""The audit of jobs with an exam that were played on a real chain: what an owner did with its exams is found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmarket.commands.exam_overview import exam_lines
from fedmarket.devnet import Devnet
from fedmarket.owner import cut_exam
from market.chain.job_market import JobMarket
from market.protocol.exam import Reference
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from tests.integration import examined
from tests.integration.examined import EXAM_DEPOSIT_WEI
from tests.integration.hand_made_exams import HandExamined, check_of, opposing, verdicts
from tests.integration.marketplace import ON_ANVIL
from trainer_client.data import Dataset
from trainer_client.exam import reference
from trainer_client.job_model import JobModel

pytestmark = ON_ANVIL


@pytest.fixture
def place(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> HandExamined:
    """A job of one examined round that four trainers have joined."""
    return HandExamined(devnet, deployed, actors, tmp_path).post(rounds=1).join(4)


def test_an_honest_job_is_proven_to_the_last_check_once_its_exam_is_shown(place: HandExamined) -> None:
    place.craft_of(3, opposing)
    place.play_examined()
    before = place.audit()
    assert before.ok, verdicts(before)
    assert set(verdicts(before)) == {
        "exam book: job",
        "exam reference: round 0, attempt 0",
        "exam labels: job",
    }
    assert place.show_exams()
    place.close()
    after = place.audit()
    assert verdicts(after) == {}
    assert check_of(after, "exam reference", 0).detail.endswith("the training result of slice 1")
    assert place.ledger.exams_wei == 0
    place.check_books()


def test_how_everybody_did_in_the_exam_can_be_read_from_the_chain(place: HandExamined) -> None:
    place.craft_of(3, opposing)
    place.play_examined()
    history, block = place.view("onlooker").history(), place.market.chain.block_number()
    network: Any = place
    [line] = exam_lines(network, place.id, place.terms, history, block).values()
    assert line.state == "opened"
    assert line.line is not None
    assert set(line.marks) == set(line.records) == {0, 1, 2, 3}
    assert set(line.failed) == {3}
    assert "and must exceed" in line.failed[Seat(3)]
    assert line.marks[Seat(3)] < 0 < 2 * line.line < line.records[Seat(0)]


def another_slices(place: HandExamined) -> Reference:
    return of_samples(place, place.slice(2))


def with_shuffled_labels(place: HandExamined) -> Reference:
    own = place.slice(1)
    shuffled = np.random.default_rng(0).permutation(own.labels)
    return of_samples(place, Dataset(own.inputs, shuffled))


def of_samples(place: HandExamined, data: Dataset) -> Reference:
    model = place.view("owner").model(place.state.model)
    return reference(JobModel.of_document(place.prepared.document), model, data)


@pytest.mark.parametrize("make", [another_slices, with_shuffled_labels])
def test_an_r_that_is_not_the_training_result_of_its_slice_is_named(place: HandExamined, make: Any) -> None:
    place.advance("start_s")
    r = make(place)
    place.play_with(lambda honest: r)
    place.show_by_hand(place.made)
    report = place.audit()
    assert report.first_mismatch is not None
    assert report.first_mismatch == check_of(report, "exam reference", 0)
    assert "r is not the training result of slice 1" in report.first_mismatch.detail


def test_an_honest_r_that_is_not_the_one_that_decided_is_named(place: HandExamined) -> None:
    place.advance("start_s")
    honest = place.honest_reference()
    place.play_with(lambda r: -r)
    place.show_by_hand({0: honest})
    report = place.audit()
    assert report.first_mismatch is not None
    assert "not what was committed to" in report.first_mismatch.detail


def test_slices_whose_labels_were_shuffled_before_the_job_opened_are_shown_with_their_figures(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = HandExamined(devnet, deployed, actors, tmp_path)
    drawn = np.random.default_rng(0)

    def shuffled(slices: list[Dataset]) -> list[Dataset]:
        return [slices[0], *(Dataset(part.inputs, drawn.integers(0, 3, len(part))) for part in slices[1:])]

    monkeypatch.setattr(examined, "cut_exam", lambda parsed, data: shuffled(cut_exam(parsed, data)))
    place.post(rounds=1, exam={"samples": 64, "public_samples": 64, "spares": 0}).join(4)
    # Whatever nonsense the exam asks for, nobody is stuck, and nothing of such a round returns to the owner.
    settled = place.play_examined().settled
    assert settled is not None
    assert settled.returned_wei == 0
    place.show_exams()
    report = place.audit()
    assert report.ok
    labels = check_of(report, "exam labels")
    assert labels.verdict == "unproven"
    assert "labels may be shuffled: slice 1 has a mean loss of" in labels.detail


def test_an_owner_who_never_shows_its_exam_loses_the_deposits_at_the_close(place: HandExamined) -> None:
    place.play_examined()
    assert place.phase is Phase.FINISHED
    before = place.ledger
    place.close()
    assert place.ledger.refundable_wei == before.refundable_wei
    assert before.exams_wei >= EXAM_DEPOSIT_WEI
    # What carried over is divided by score, and its last few wei burn, too.
    assert (place.ledger.exams_wei, place.ledger.burned_wei - before.exams_wei < 4) == (0, True)
    report = place.audit()
    assert report.ok, verdicts(report)
    assert check_of(report, "exam book").detail == "the owner never showed it"
    place.check_books()
