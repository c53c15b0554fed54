from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from market.protocol.errors import InvalidContent
from trainer_client.verifier.opening import NO_OUTPUTS, Opening, SealPlace
from trainer_client.verifier.pace import HASTE, Pace, work_of
from trainer_client.verifier.task_folder import TaskFolder

ACCOUNT, OTHER = (Account.from_key(bytes([number]) * 32) for number in (1, 2))
PLACE = SealPlace(31337, "0x" + "11" * 20, 3, 0, ACCOUNT.address)
DIGESTS, OUTPUTS = (b"\x05" * 32, b"\x06" * 32), b"\x07" * 32
OPENING = Opening.derive(ACCOUNT, PLACE, DIGESTS, OUTPUTS)


@pytest.fixture
def folder(tmp_path: Path) -> TaskFolder:
    return TaskFolder(tmp_path, PLACE, b"a task")


# ---------------------------------------------------------------------- openings


def test_the_same_account_makes_the_same_opening_again_and_no_other_does() -> None:
    assert Opening.derive(ACCOUNT, PLACE, DIGESTS, OUTPUTS) == OPENING
    assert Opening.derive(OTHER, PLACE, DIGESTS, OUTPUTS).salt != OPENING.salt


def test_salts_differ_by_place_and_by_what_is_sealed() -> None:
    elsewhere = [replace(PLACE, task=4), replace(PLACE, panel=1), replace(PLACE, chain_id=1)]
    salts = [Opening.derive(ACCOUNT, place, DIGESTS, OUTPUTS).salt for place in (PLACE, *elsewhere)]
    salts += [
        Opening.derive(ACCOUNT, PLACE, DIGESTS[::-1], OUTPUTS).salt,
        Opening.derive(ACCOUNT, PLACE, DIGESTS, bytes(32)).salt,
        Opening.derive(ACCOUNT, PLACE).salt,
    ]
    assert len(set(salts)) == len(salts)


def test_a_seal_is_of_its_verifier_alone() -> None:
    assert OPENING.seal(PLACE) != OPENING.seal(replace(PLACE, verifier=OTHER.address))


def test_void_has_no_digests_and_no_outputs_and_no_salt_is_shown() -> None:
    void = Opening.derive(ACCOUNT, PLACE)
    assert (void.is_void, void.outputs) == (True, NO_OUTPUTS)
    assert void.salt.hex() not in repr(void)


# ---------------------------------------------------------------------- what is kept


def test_an_opening_comes_back_as_it_was_kept_and_is_its_owners_alone(folder: TaskFolder) -> None:
    assert folder.opening() is None
    folder.seal(OPENING)
    assert folder.opening() == OPENING
    [path] = folder.path.glob("opening.json")
    assert (path.stat().st_mode & 0o777, folder.path.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"digests": [1], "outputs": "", "salt": ""}'])
def test_a_damaged_opening_is_told_from_none(folder: TaskFolder, content: str) -> None:
    folder.seal(OPENING)
    (folder.path / "opening.json").write_text(content)
    with pytest.raises(InvalidContent):
        folder.opening()


def test_another_task_under_the_same_number_has_another_folder(folder: TaskFolder, tmp_path: Path) -> None:
    assert TaskFolder(tmp_path, PLACE, b"another task").path != folder.path


def test_batches_are_kept_through_a_restart_and_let_go_where_they_would_be_made_otherwise(folder: TaskFolder) -> None:
    folder.begin({"dtype": "float32"})
    folder.draft_path(0).write_bytes(b"outputs")
    folder.keep_batch(0)
    folder.draft_path(4).write_bytes(b"half of the out")
    folder.begin({"dtype": "float32"})
    assert folder.batch_path(0).read_bytes() == b"outputs"
    assert not folder.draft_path(4).exists()
    assert folder.batch_path(0).stat().st_mode & 0o777 == 0o600
    folder.begin({"dtype": "bfloat16"})
    assert not folder.batch_path(0).exists()


# ---------------------------------------------------------------------- pace


def test_work_that_was_measured_is_estimated_also_by_a_later_process(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    assert pace.estimate_s("work", 4) is None
    pace.measured("work", 2, 1.0)
    assert Pace(tmp_path / "pace.json").estimate_s("work", 4) == 4 * 0.5 * HASTE


def test_what_took_longer_counts_at_once_and_what_went_faster_by_half(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    for seconds, expected in ((1.0, 1.0), (3.0, 3.0), (1.0, 2.0)):
        pace.measured("work", 1, seconds)
        assert pace.estimate_s("work", 1) == expected * HASTE


@pytest.mark.parametrize("content", ["", "[]", '{"work": "fast"}', '{"work": -1, "other": NaN}'])
def test_measurements_that_are_damaged_are_made_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "pace.json").write_text(content)
    assert Pace(tmp_path / "pace.json").estimate_s("work", 1) is None


def test_work_differs_by_service_decoding_and_execution() -> None:
    works = {
        work_of(b"service", {"steps": 5}, {"dtype": "float32"}),
        work_of(b"other", {"steps": 5}, {"dtype": "float32"}),
        work_of(b"service", {"steps": 6}, {"dtype": "float32"}),
        work_of(b"service", {"steps": 5}, {"dtype": "bfloat16"}),
    }
    assert len(works) == 4
