from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fedmarket.exam_folder
from fedmarket.exam_folder import ExamFolder, SealedReference
from market.protocol.errors import InvalidExam, InvalidInput
from market.protocol.exam import check_slice, exam_path, format_reference
from market.protocol.identifiers import Digest, JobId
from market.protocol.seal import SealContext
from market.storage import EmbeddedStore, content_cid

SAMPLES = [b"public samples", b"first secret", b"second secret", b"x" * 600_000]
CONTEXT = SealContext(31337, "0x" + "Ab" * 20, JobId(3), round=1, attempt=2)
REFERENCE = np.array([5, -7, 1 << 29], dtype=np.int32)
BLOB = b"sealed reference"
SEALED = SealedReference(
    content=Digest(content_cid(BLOB).digest),
    commitment=b"\x02" * 128,
    salt=b"\x03" * 32,
    model=Digest(b"\x04" * 32),
    recipient=b"\x05" * 32,
    ephemeral=b"\x06" * 32,
)


@pytest.fixture
def folder(tmp_path: Path) -> ExamFolder:
    return ExamFolder.create(tmp_path / "exams" / "one", SAMPLES)


# ---------------------------------------------------------------------- slices


def test_an_exam_is_the_same_after_a_restart_and_on_another_machine(folder: ExamFolder, tmp_path: Path) -> None:
    again = ExamFolder.open(folder.path)
    assert (again.slices, again.root) == (folder.slices, folder.root)
    assert [again.slice_data(index) for index in range(4)] == SAMPLES
    folder.attempt(CONTEXT).seal(format_reference(REFERENCE), BLOB, SEALED)
    elsewhere = Path(shutil.copytree(folder.path, tmp_path / "delegate"))
    copied = ExamFolder.open(elsewhere)
    assert copied.root == folder.root
    assert copied.attempt(CONTEXT).sealed() == SEALED


def test_slices_have_the_names_that_storage_will_give_them(folder: ExamFolder, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store")
    assert [str(store.add_bytes(data)) for data in SAMPLES] == [opened.samples for opened in folder.slices]


def test_salts_are_drawn_anew_for_every_slice_and_exam(folder: ExamFolder, tmp_path: Path) -> None:
    other = ExamFolder.create(tmp_path / "exams" / "two", SAMPLES)
    salts = {opened.salt for opened in (*folder.slices, *other.slices)}
    assert len(salts) == 8
    assert folder.root != other.root


def test_nobody_but_its_user_can_read_an_exam(folder: ExamFolder) -> None:
    folder.attempt(CONTEXT).seal(format_reference(REFERENCE), BLOB, SEALED)
    folder.note_posted(b"\x09" * 32)
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert len(files) == 4 + 1 + 3 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_the_document_shows_the_root_and_the_public_slice_alone(folder: ExamFolder) -> None:
    document = folder.document()
    document.check(len(SAMPLES))
    assert document.root_bytes == folder.root
    assert document.public.opened == folder.slices[0]
    shown = document.model_dump_json()
    for secret in folder.slices[1:]:
        assert secret.salt.hex() not in shown
        assert secret.samples not in shown
    for index in range(4):
        check_slice(folder.root, 4, index, folder.slices[index], exam_path(folder.leaves, index))


def test_a_creation_that_was_killed_leaves_no_exam_and_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "exam"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fedmarket.exam_folder, "_write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        ExamFolder.create(path, SAMPLES)
    assert not ExamFolder.exists(path)
    with pytest.raises(InvalidInput, match="holds no exam"):
        ExamFolder.open(path)
    monkeypatch.undo()
    folder = ExamFolder.create(path, SAMPLES[::-1])
    assert ExamFolder.open(path).slice_data(3) == SAMPLES[0]
    assert ExamFolder.open(path).root == folder.root


@pytest.mark.parametrize(
    "index",
    ["{", "[]", '{"format": "fedmarket/exam-folder/1"}', '{"format": "fedmarket/exam-folder/1", "slices": []}'],
)
def test_a_damaged_index_is_refused(folder: ExamFolder, index: str) -> None:
    (folder.path / "exam.json").write_text(index)
    with pytest.raises(InvalidInput, match=r"exam\.json is damaged"):
        ExamFolder.open(folder.path)


def test_an_index_nested_too_deep_for_the_parser_is_refused(folder: ExamFolder) -> None:
    (folder.path / "exam.json").write_text("[" * 100_000)
    with pytest.raises(InvalidInput, match=r"exam\.json is damaged"):
        ExamFolder.open(folder.path)


def test_an_index_with_a_slice_that_is_none_is_refused(folder: ExamFolder) -> None:
    fields = json.loads((folder.path / "exam.json").read_text())
    fields["slices"][1]["samples"] = "somewhere"
    (folder.path / "exam.json").write_text(json.dumps(fields))
    with pytest.raises(InvalidInput, match="'somewhere' is not a CID"):
        ExamFolder.open(folder.path)


def test_a_slice_that_is_lost_or_damaged_is_named(folder: ExamFolder) -> None:
    folder.slice_path(2).write_bytes(b"other samples")
    folder.slice_path(1).unlink()
    with pytest.raises(InvalidExam, match="slice 1 is lost"):
        folder.slice_data(1)
    with pytest.raises(InvalidExam, match="slice 2 is damaged"):
        folder.slice_data(2)


def test_an_exam_remembers_the_job_that_it_serves(folder: ExamFolder) -> None:
    assert folder.posted is None
    folder.note_posted(b"\x09" * 32)
    assert ExamFolder.open(folder.path).posted == b"\x09" * 32


# ---------------------------------------------------------------------- one attempt


def test_what_was_sealed_for_an_attempt_stays(folder: ExamFolder) -> None:
    folder.attempt(CONTEXT).seal(format_reference(REFERENCE), BLOB, SEALED)
    kept = ExamFolder.open(folder.path).attempt(CONTEXT)
    assert kept.sealed() == SEALED
    assert kept.blob(SEALED.content) == BLOB
    assert kept.reference(3).tolist() == REFERENCE.tolist()
    elsewhere = (
        replace(CONTEXT, attempt=3),
        replace(CONTEXT, job=JobId(4)),
        replace(CONTEXT, chain_id=1),
        replace(CONTEXT, contract="0x" + "cd" * 20),
    )
    assert all(folder.attempt(context).sealed() is None for context in elsewhere)


def test_nothing_is_sealed_before_everything_that_opens_it_is_on_the_disk(
    folder: ExamFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fedmarket.exam_folder, "_write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.attempt(CONTEXT).seal(format_reference(REFERENCE), BLOB, SEALED)
    assert folder.attempt(CONTEXT).sealed() is None
    assert folder.attempt(CONTEXT).blob(SEALED.content) == BLOB


@pytest.mark.parametrize("damage", ["", "{}", '{"content": "00"}', "[1]"])
def test_a_damaged_opening_is_refused(folder: ExamFolder, damage: str) -> None:
    kept = folder.attempt(CONTEXT)
    kept.seal(format_reference(REFERENCE), BLOB, SEALED)
    (kept.path / "opening.json").write_text(damage)
    with pytest.raises(InvalidExam, match=r"opening\.json is damaged"):
        kept.sealed()


@pytest.mark.parametrize("field", ["content", "salt", "commitment", "recipient", "ephemeral"])
def test_an_opening_with_a_value_of_another_length_is_refused(folder: ExamFolder, field: str) -> None:
    kept = folder.attempt(CONTEXT)
    kept.seal(format_reference(REFERENCE), BLOB, replace(SEALED, **{field: b"\x01" * 33}))
    with pytest.raises(InvalidExam, match=r"expected words of 32 bytes and points of 64"):
        kept.sealed()


def test_another_blob_than_the_sealed_one_is_never_sent(folder: ExamFolder) -> None:
    kept = folder.attempt(CONTEXT)
    with pytest.raises(InvalidExam, match="the sealed reference is lost"):
        kept.blob(SEALED.content)
    kept.seal(format_reference(REFERENCE), b"another blob", SEALED)
    with pytest.raises(InvalidExam, match="the sealed reference is damaged"):
        kept.blob(SEALED.content)
