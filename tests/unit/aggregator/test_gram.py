from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import gram
from aggregator.gram import gram_matrix
from market.protocol.errors import InvalidGram
from market.protocol.gram_matrix import EXAMINED_ROWS, PUBLIC_BITS, PUBLIC_ROWS, GramMatrix
from tests.unit.aggregator.random_rounds import random_round
from zk.transcript import packed_length

ABSENT = [None] * PUBLIC_ROWS


def exact(updates: list[np.ndarray], public: list[np.ndarray | None]) -> GramMatrix:
    """The same with Python integers, one product at a time."""
    left = [row.tolist() for row in updates]
    right = [[0] * len(left[0]) if row is None else row.tolist() for row in public]

    def products(rows: list[list[int]], columns: list[list[int]]) -> list[list[int]]:
        return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in columns] for x in rows]

    return GramMatrix(products(left, left), products(left, right), products(right, right))


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32))
def test_gram_matrix_is_exact(length: int, rows: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    edges = np.array([-32_768, 32_767, -1, 0, 1], dtype=np.int16)
    updates = [source.choice(edges, length) for _ in range(rows)]
    public: list[np.ndarray | None] = []
    for bits in PUBLIC_BITS[: source.choice([PUBLIC_ROWS, EXAMINED_ROWS])]:
        most = (1 << bits) - 1
        near = source.choice([most, -most, most - 1, 1 << 15, -(1 << 15), (1 << 30) + (1 << 15) - 1, -1], length)
        public.append(None if source.random() < 0.3 and len(public) < PUBLIC_ROWS else near)
    assert gram_matrix(updates, public) == exact(updates, public)


def test_gram_matrix_is_exact_over_many_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "SLICE_LENGTH", 7)
    source = np.random.default_rng(1)
    updates = [source.integers(-32_768, 32_767, 100, dtype=np.int16) for _ in range(3)]
    public = [source.integers(-(2**33) + 1, 2**33, 100) for _ in range(PUBLIC_ROWS)]
    assert gram_matrix(updates, public) == exact(updates, public)


def test_gram_matrix_is_exact_where_float64_sums_would_round() -> None:
    length = 3 * gram.SLICE_LENGTH + 1
    updates = [np.full(length, -32_768, dtype=np.int16), np.full(length, 32_767, dtype=np.int16)]
    public = [np.full(length, (1 << bits) - 1) for bits in PUBLIC_BITS]
    matrix = gram_matrix(updates, public)
    assert matrix.updates[0][1] == -32_768 * 32_767 * length
    assert matrix.mixed[1][4] == 32_767 * ((1 << 47) - 1) * length
    assert matrix.public[2][3] == ((1 << 33) - 1) * ((1 << 47) - 1) * length
    matrix.verify(length)


def test_gram_matrix_reads_memory_maps(tmp_path: Path) -> None:
    np.arange(-5, 5, dtype=np.int16).tofile(tmp_path / "update")
    update = np.memmap(tmp_path / "update", dtype=np.int16, mode="r")
    assert gram_matrix([update], ABSENT).updates == [[85]]


@pytest.mark.parametrize(
    ("updates", "public", "named"),
    [
        ([np.zeros(3, np.int16), np.zeros(4, np.int16)], ABSENT, "update 1"),
        ([np.zeros(3, np.int32)], ABSENT, "update 0"),
        ([np.zeros((3, 1), np.int16)], ABSENT, "update 0"),
        ([np.zeros(3, np.int16)], [None, np.zeros(2, np.int64), None, None, None], "public row 1"),
        ([np.zeros(1, np.int16)], [np.array([1 << 33]), None, None, None, None], "public row 0"),
        ([np.zeros(1, np.int16)], [None, None, None, np.array([-(1 << 47)]), None], "public row 3"),
        ([np.zeros(1, np.int16)] * 65, ABSENT, "65 updates"),
        ([np.zeros(1, np.int16)], [None] * 4, "4 public rows"),
        ([np.zeros(1, np.int16)], [None] * 7, "7 public rows"),
        ([np.zeros(1, np.int16)], [None] * 6, "public row 5 is missing"),
        ([np.zeros(1, np.int16)], [*ABSENT, np.array([1 << 31])], "public row 5"),
    ],
)
def test_gram_matrix_refuses_rows_that_do_not_fit(updates: list, public: list, named: str) -> None:
    with pytest.raises(InvalidGram, match=named):
        gram_matrix(updates, public)


@pytest.mark.parametrize("seed", range(20))
def test_unpacking_undoes_packing(seed: int) -> None:
    source = np.random.default_rng(seed)
    updates = [source.integers(-9, 9, 4, dtype=np.int16) for _ in range(seed)]
    matrix = gram_matrix(updates, [source.integers(-9, 9, 4) for _ in range(PUBLIC_ROWS)])
    packed = matrix.pack()
    assert len(packed) == packed_length(seed)
    assert GramMatrix.unpack(packed, seed) == matrix


def test_pack_is_big_endian_triangle_after_triangle() -> None:
    matrix = gram_matrix([np.array([1], np.int16), np.array([-2], np.int16)], [np.array([3]), None, None, None, None])
    packed = matrix.pack()
    assert packed[:24] == b"".join(x.to_bytes(8, "big", signed=True) for x in (1, -2, 4))
    assert packed[24:40] == (3).to_bytes(16, "big")
    assert packed[104:120] == (-6).to_bytes(16, "big", signed=True)
    assert packed[184:200] == (9).to_bytes(16, "big")


def test_pack_refuses_what_does_not_fit() -> None:
    with pytest.raises(InvalidGram, match="packed width"):
        GramMatrix([[2**63]], [[0] * 5], [[0] * 5] * 5).pack()
    with pytest.raises(InvalidGram, match="packed width"):
        GramMatrix([[1]], [[2**127] * 5], [[0] * 5] * 5).pack()


@pytest.mark.parametrize(
    ("length", "rows", "sentence"), [(247, 0, "length is 247"), (240, 65, "65 rows"), (0, -1, "-1 rows")]
)
def test_unpack_refuses_other_lengths(length: int, rows: int, sentence: str) -> None:
    with pytest.raises(InvalidGram, match=sentence):
        GramMatrix.unpack(bytes(length), rows)


def test_true_vectors_always_verify() -> None:
    source = np.random.default_rng(3)
    for length in (1, 2, 5, 50):
        updates = [source.choice(np.array([-32_768, 32_767], np.int16), length) for _ in range(6)]
        public = [source.integers(-(2**b) + 1, 2**b, length) for b in PUBLIC_BITS]
        gram_matrix(updates, public).verify(length)


def test_verify_refuses_a_league_that_forges_its_norms() -> None:
    matrix = GramMatrix([[1, 30], [30, 1]], [[0] * 5] * 2, [[0] * 5] * 5)
    with pytest.raises(InvalidGram, match="rows 0 and 1"):
        matrix.verify(100)


@pytest.mark.parametrize("square", [-1, (1 << 30) + 1])
def test_verify_refuses_squares_out_of_range(square: int) -> None:
    with pytest.raises(InvalidGram, match=f"row 0 is {square}"):
        GramMatrix([[square]], [[0] * 5], [[0] * 5] * 5).verify(1)


def test_random_rounds_are_reproducible() -> None:
    assert random_round(random.Random(1)) == random_round(random.Random(1))
