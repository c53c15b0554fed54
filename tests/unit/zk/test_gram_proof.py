"""Completeness of the Gram proof, what the prover refuses before any work, and what it needs of memory."""

from __future__ import annotations

import random
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.zk.proof_rounds import (
    POINTS,
    Round,
    committed,
    key,
    make_round,
    random_blinders,
    random_update,
    round_of,
    small_srs,
)
from zk import gram_proof as module
from zk import reference
from zk.commitment import Blinders, Layout, commit, weighted_sum
from zk.errors import InvalidProof, InvalidScalar, InvalidSrs, InvalidVector, SecretReused
from zk.gram_proof import CommittedRow, MaskRow, prove, verify, verifying_key
from zk.srs import Srs, make_insecure
from zk.transcript import PUBLIC_ROWS


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 3), st.integers(1, 60), st.booleans(), st.data())
def test_a_true_statement_is_proven(
    seed: int, updates: int, chunks: int, dimension: int, examined: bool, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=updates, max_size=updates))
    made = make_round(seed, updates, chunks, dimension, weights, examined)
    proof = made.proof()
    verify(key(), made.statement, proof)
    assert len(proof.argument) == 160 + 64 * chunks


def test_a_proof_of_one_chunk_has_224_bytes() -> None:
    for updates in (1, 8):
        assert len(make_round(1, updates).proof().argument) == 224


@pytest.mark.parametrize(("updates", "chunks", "examined"), [(1, 1, False), (4, 2, False), (1, 1, True), (4, 2, True)])
def test_the_reference_accepts_what_is_proven(updates: int, chunks: int, examined: bool) -> None:
    made = make_round(2, updates, chunks, examined=examined)
    reference.verify(key(), made.statement, made.proof())


def test_extreme_vectors_are_proven() -> None:
    layout = Layout(20, 2)
    zero, source = Blinders.zero(layout), random.Random(1)
    ends = [np.full(20, value, np.int16) for value in (-(2**15), 2**15 - 1, 0)]
    models = [np.full(20, value, np.int64) for value in (1 - 2**33, 2**33 - 1, 0, 1 - 2**47, 2**47 - 1)]
    rows = [committed(layout, values, random_blinders(source, layout)) for values in ends]
    rows += [committed(layout, values, zero) for values in models]
    for exam in ([], [1 - 2**31], [2**31 - 1]):
        references = [committed(layout, np.full(20, value, np.int32), zero) for value in exam]
        made = round_of(layout, [*rows, *references], (2**32 - 1, 0, 1))
        verify(key(), made.statement, made.proof())


def test_sums_are_the_commitments_of_the_aggregate() -> None:
    made = make_round(4, chunks=2)
    proof = made.proof()
    aggregate = weighted_sum(made.statement.updates, made.statement.weights)
    assert proof.sums[128:] == aggregate
    weighted = zip(made.statement.weights, made.updates, strict=True)
    values = np.asarray(sum(np.int64(weight) * row.values.astype(np.int64) for weight, row in weighted))
    published = Blinders.parse(made.layout, proof.blinders)
    assert commit(small_srs(), made.layout, values, published) == aggregate


def test_nobody_accepted_gives_infinity_and_no_blinders() -> None:
    made = make_round(5, weights=(0, 0, 0))
    proof = made.proof()
    assert proof.sums[64:] == bytes(64)
    assert proof.blinders == bytes(192)
    verify(key(), made.statement, proof)


def test_two_proofs_of_one_statement_have_no_word_in_common() -> None:
    made = make_round(6)
    first, second = made.proof(), made.proof()
    for part in ("mask", "argument"):
        pairs = zip(*(words(getattr(proof, part)) for proof in (first, second)), strict=True)
        assert all(left != right for left, right in pairs)


def words(data: bytes) -> list[bytes]:
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def test_every_stage_is_reported_once_in_order() -> None:
    made = make_round(7)
    stages: list[str] = []
    prove(small_srs(), made.statement, made.rows, MaskRow.fresh(small_srs(), made.layout), stages.append)
    assert stages == ["multiply", "commit", "open", "commit to the opening", "verify"]


def test_memory_maps_are_proven(tmp_path: Path) -> None:
    made = make_round(8, chunks=2)
    rows = []
    for i, row in enumerate(made.rows):
        np.asarray(row.values).tofile(tmp_path / str(i))
        rows.append(replace(row, values=np.memmap(tmp_path / str(i), row.values.dtype, "r")))
    proof = prove(small_srs(), made.statement, rows, MaskRow.fresh(small_srs(), made.layout))
    verify(key(), made.statement, proof)


# What is refused before any work


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def worked(*_: object) -> None:
        raise RuntimeError("the prover worked before the input was checked")

    for name in ("Autocorrelation", "combine", "msm", "multiply_sum"):
        monkeypatch.setattr(module, name, worked)


def refused(made: Round, error: type[Exception], match: str, rows: tuple[CommittedRow, ...]) -> None:
    mask = MaskRow.fresh(small_srs(), made.layout)
    with pytest.raises(error, match=match):
        prove(small_srs(), made.statement, rows, mask)
    mask.use()  # it was not used up: nothing was made with it


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("place", "name"),
    [(0, "update 0"), (2, "update 2"), (3, "public row 0"), (7, "public row 4"), (8, "public row 5")],
)
def test_a_row_that_does_not_fit_is_named_before_any_work(place: int, name: str) -> None:
    made = make_round(9, examined=True)
    for values in (np.zeros(19, np.int16), np.zeros(20, np.float32), np.full(20, 2**47, np.int64)):
        rows = list(made.rows)
        rows[place] = replace(rows[place], values=values)
        refused(made, InvalidVector, name, tuple(rows))


@pytest.mark.usefixtures("no_work")
def test_a_commitment_that_is_not_the_statement_s_is_named_before_any_work() -> None:
    made = make_round(9)
    for commitment in (made.rows[0].commitment, b"", bytes(64)):
        rows = (*made.rows[:1], replace(made.rows[1], commitment=commitment), *made.rows[2:])
        refused(made, InvalidVector, "update 1", rows)


@pytest.mark.usefixtures("no_work")
def test_another_number_of_rows_is_refused_before_any_work() -> None:
    made = make_round(9)
    refused(made, InvalidVector, "7 rows", made.rows[1:])
    refused(made, InvalidVector, "9 rows", (*made.rows, made.rows[0]))
    examined = make_round(9, examined=True)
    refused(examined, InvalidVector, "8 rows, expected 3 updates and 6 public rows", examined.rows[:-1])
    refused(made, InvalidVector, "9 rows, expected 3 updates and 5 public rows", (*made.rows, examined.rows[-1]))


@pytest.mark.usefixtures("no_work")
def test_blinders_of_another_layout_are_refused_before_any_work() -> None:
    made = make_round(9)
    other = Blinders.zero(Layout(20, 2))
    refused(made, InvalidScalar, "2 chunks", (replace(made.rows[0], blinders=other), *made.rows[1:]))


@pytest.mark.usefixtures("no_work")
def test_a_mask_of_another_layout_is_refused_before_any_work() -> None:
    made = make_round(9)
    with pytest.raises(InvalidScalar):
        prove(small_srs(), made.statement, made.rows, MaskRow.fresh(small_srs(), Layout(20, 2)))


@pytest.mark.usefixtures("no_work")
def test_an_srs_that_is_too_short_is_refused_before_any_work(tmp_path: Path) -> None:
    made = make_round(9)
    short = make_insecure(tmp_path / "insecure.ptau", 31)
    with pytest.raises(InvalidSrs, match="31 points"):
        prove(short, made.statement, made.rows, MaskRow.fresh(small_srs(), made.layout))
    assert len(small_srs().points) == POINTS


def test_a_matrix_that_is_not_the_rows_is_refused_before_a_point_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_round(9)
    other = make_round(10)
    false = replace(made.statement, gram=other.statement.gram)
    mask = MaskRow.fresh(small_srs(), made.layout)
    monkeypatch.setattr(module, "msm", None)
    with pytest.raises(InvalidProof, match="the Gram matrix is not that of the rows"):
        prove(small_srs(), false, made.rows, mask)


@pytest.mark.parametrize("place", [1, 4])
def test_a_row_that_does_not_open_its_commitment_is_named(place: int) -> None:
    made = make_round(11)
    other = make_round(12)
    liar = replace(made.rows[place], blinders=other.rows[place].blinders)
    rows = (*made.rows[:place], liar, *made.rows[place + 1 :])
    name = f"update {place}" if place < 3 else f"public row {place - 3}"
    with pytest.raises(InvalidProof, match=f"{name} does not open"):
        prove(small_srs(), made.statement, rows, MaskRow.fresh(small_srs(), made.layout))


def test_a_mask_that_is_no_mask_is_refused() -> None:
    made = make_round(13)
    layout = made.layout
    blinders = random_blinders(random.Random(5), layout)
    loaded = MaskRow(blinders, commit(small_srs(), layout, random_update(random.Random(6), 20), blinders))
    with pytest.raises(InvalidProof):
        prove(small_srs(), made.statement, made.rows, loaded)


def test_of_many_threads_one_gets_the_mask() -> None:
    mask = MaskRow.fresh(small_srs(), Layout(20, 1))
    outcomes: list[bool] = []
    start = threading.Barrier(8)

    def race() -> None:
        start.wait()
        try:
            mask.use()
        except SecretReused:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


# Memory


@pytest.fixture(scope="module")
def long_srs(tmp_path_factory: pytest.TempPathFactory) -> Srs:
    return make_insecure(tmp_path_factory.mktemp("srs") / "insecure.ptau", 4096 + 12)


def peak_bytes(srs: Srs, folder: Path, updates: int, chunks: int) -> int:
    """What a proof allocates at most, with rows that are mapped from files."""
    layout = Layout(4096 * chunks, chunks)
    source = np.random.default_rng(1)
    rows = []
    for i in range(updates):
        source.integers(-(2**15), 2**15, layout.dimension).astype(np.int16).tofile(folder / str(i))
        values = np.memmap(folder / str(i), np.int16, "r")
        blinders = Blinders.fresh(layout)
        rows.append(CommittedRow(values, blinders, commit(srs, layout, values, blinders)))
    rows += [CommittedRow.absent(layout)] * PUBLIC_ROWS
    made = round_of(layout, rows, [1] * updates)
    mask = MaskRow.fresh(srs, layout)
    tracemalloc.start()
    proof = prove(srs, made.statement, made.rows, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    verify(verifying_key(srs), made.statement, proof)
    return peak


def test_memory_grows_with_the_chunk_and_neither_with_their_number_nor_with_that_of_the_rows(
    long_srs: Srs, tmp_path: Path
) -> None:
    peak_bytes(long_srs, tmp_path, 1, 1)  # whatever is made once
    small = peak_bytes(long_srs, tmp_path, 2, 2)
    assert peak_bytes(long_srs, tmp_path, 2, 12) < 1.25 * small
    assert peak_bytes(long_srs, tmp_path, 12, 2) < 1.25 * small
