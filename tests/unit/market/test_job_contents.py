"""What a job has in storage, told from its events, its document and its exam book alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from market.chain.events import AttemptUndone, Event, ExamOpened, ExamPublished, JobOpened, UpdateExcluded
from market.chain.packed import pack_pays
from market.chain.records import ExclusionReason
from market.job_contents import JobContent, Kind, cid_on_chain, look_for, named_by_book, named_by_chain
from market.job_history import JobHistory
from market.protocol.exam import ExamBook, ExamSlice
from market.protocol.identifiers import Digest, Seat, Wei
from market.storage import EmbeddedStore, content_cid
from market.storage.cid import RAW
from tests.unit.market.test_job_history import (
    SEATS,
    event,
    model,
    opened,
    revealed,
    settled,
    started,
    terms,
    whole_job,
)


def names(*events: Event) -> list[str]:
    return [content.name for content in named_by_chain(JobHistory(events))]


def test_the_chain_names_everything_in_the_order_of_the_job() -> None:
    excluded = event(UpdateExcluded, attempt=0, seat=Seat(1), reason=ExclusionReason.UNAVAILABLE)
    exam = event(ExamOpened, attempt=0, content=model(7), commitment=b"", salt=bytes(32))
    published = event(ExamPublished, content=model(8))
    story = [opened(), started(0, 0), *revealed(0, 2, 1), exam, excluded, *settled(0, 0, 1, (5,), 2), published]
    assert names(*story) == [
        "the document",
        "the initial model",
        "the update of seat 1 in attempt 0 (excluded: unavailable)",
        "the update of seat 2 in attempt 0",
        "the sealed exam of attempt 0",
        "the model of round 0, attempt 0",
        "the exam book",
    ]


def test_a_model_that_was_undone_is_still_named() -> None:
    undone = event(
        AttemptUndone,
        round=0,
        attempt=0,
        aggregator="0x" + "a1" * 20,
        burned_wei=Wei(0),
        pays=pack_pays([0] * SEATS),
        vests_at_s=1,
    )
    assert names(opened(), started(0, 0), *revealed(0, 0), *settled(0, 0, 1, (5,), 0), undone)[-1] == (
        "the model of round 0, attempt 0, which was undone"
    )


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_content_has_a_name_of_its_digest(kind: Kind) -> None:
    cid = cid_on_chain(kind, model(3), terms())
    # With ten parameters all of it fits one block.
    assert (cid.version, cid.codec, cid.digest) == (1, RAW, model(3))


def test_a_book_names_its_slices_and_every_r() -> None:
    cids = [str(content_cid(bytes([number]))) for number in range(4)]
    slices = [ExamSlice(cid, bytes(32)) for cid in cids[:3]]
    book = ExamBook.of_slices(slices, {1: cids[3]}, {1: bytes(32)})
    assert [(content.name, str(content.cid)) for content in named_by_book(book)] == [
        ("slice 0 of the exam", cids[0]),
        ("slice 1 of the exam", cids[1]),
        ("slice 2 of the exam", cids[2]),
        ("the exam's r of attempt 1", cids[3]),
    ]


def test_what_is_named_twice_is_looked_for_once(store: EmbeddedStore) -> None:
    looked: list[JobContent] = []
    contents = look_for(JobHistory(whole_job()), store, looked.append)
    assert contents.held == ()
    assert [content for content, _ in contents.missing] == looked
    assert len({content.cid for content in looked}) == len(looked) < len(names(*whole_job()))


def test_what_is_longer_than_it_may_be_is_not_fetched(store: EmbeddedStore) -> None:
    too_long = store.add_bytes(bytes(8 * terms().rules.dimension + 1))
    history = JobHistory([replace(opened(), initial_model=too_long.digest)])
    missing = {content.name: reason for content, reason in look_for(history, store).missing}
    assert "81 bytes, at most 80 are fetched of it" in missing["the initial model"]


def test_what_is_held_and_cannot_be_read_is_exported_as_it_is(store: EmbeddedStore) -> None:
    document = store.add_bytes(b"no document")
    history = JobHistory([event_with_spec(document.digest)])
    contents = look_for(history, store)
    assert [content.name for content in contents.held] == ["the document"]
    assert [(content.name, "is not in" in reason) for content, reason in contents.missing] == [
        ("the initial model", True)
    ]


def event_with_spec(digest: bytes) -> Event:
    whole = opened()
    assert isinstance(whole, JobOpened)
    return replace(whole, spec=Digest(digest))


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")
