"""SimHash of vectors and of updates: the law of the angle, and exact sums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests import DIGESTS, hamming, hyperplanes
from trainer_client.digests.simhash import rows_of, simhash_digests
from trainer_client.digests.updates import update_digests


def read_literally(vector: list[int], seed: int) -> int:
    """The digest of whole numbers as hyperplanes.py describes it, in Python's own numbers."""
    sums = [0] * 256
    for place, entry in enumerate(vector):
        block, row = divmod(place, 4096)
        drawn = hashlib.shake_256(f"fedmarket/hyperplanes/1:{seed}:{block}".encode()).digest(4096 * 32)
        signs = int.from_bytes(drawn[32 * row : 32 * row + 32], "big")
        for plane in range(256):
            sums[plane] += entry if signs >> (255 - plane) & 1 else -entry
    return sum(1 << (255 - plane) for plane in range(256) if sums[plane] > 0) or 1


def pair_at(angle: float, dimension: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Two vectors of normal entries with this angle between them: (2, dimension)."""
    first, other = np.linalg.qr(random.standard_normal((dimension, 2)))[0].T
    return np.stack([first, np.cos(angle) * first + np.sin(angle) * other])


@pytest.mark.parametrize("degrees", [2, 10, 30, 60, 90, 120, 170])
@pytest.mark.parametrize("dimension", [64, 3000])
def test_vectors_differ_in_256_bits_times_their_angle_over_pi(degrees: int, dimension: int) -> None:
    random, angle, pairs = np.random.default_rng(degrees), np.radians(degrees), 60
    distances = []
    for seed in range(pairs):
        a, b = simhash_digests(pair_at(angle, dimension, random), seed=seed)
        distances.append(int(hamming(a, b)))
    share = angle / np.pi
    deviation = np.sqrt(256 * share * (1 - share))
    assert np.mean(distances) == pytest.approx(256 * share, abs=4 * deviation / np.sqrt(pairs))
    assert 0.6 * deviation < np.std(distances) < 1.5 * deviation


@pytest.mark.parametrize("dimension", [1, 63, 4097])
def test_updates_have_the_digest_that_the_description_read_literally_gives(dimension: int) -> None:
    update = np.random.default_rng(dimension).integers(-32768, 32768, dimension).astype(np.int16)
    expected = read_literally(update.tolist(), 3).to_bytes(32, "big")
    assert update_digests(update[None], seed=3)[0].tobytes() == expected


def test_vectors_of_counts_have_the_digest_of_their_updates() -> None:
    updates = np.random.default_rng(0).integers(-32768, 32768, (5, 6000)).astype(np.int16)
    assert np.array_equal(simhash_digests(updates.astype(np.float32)), update_digests(updates))


@given(st.integers(-900, 900), st.integers(1, 40), st.integers(0, 1 << 32))
def test_a_power_of_two_times_a_vector_has_the_same_digest(power: int, dimension: int, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal((1, dimension))
    assert np.array_equal(simhash_digests(vector), simhash_digests(np.ldexp(vector, power)))


@given(st.floats(1e-30, 1e30), st.integers(0, 1 << 32))
def test_a_multiple_of_a_vector_has_the_same_digest_and_the_negative_the_opposite(factor: float, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal((1, 50))
    assert np.array_equal(simhash_digests(vector), simhash_digests(factor * vector))
    assert np.array_equal(simhash_digests(vector), ~simhash_digests(-factor * vector))


@given(st.integers(1, 50), st.integers(1, 9000))
def test_zeros_after_a_vector_change_nothing(dimension: int, zeros: int) -> None:
    vector = np.random.default_rng(dimension).standard_normal((1, dimension))
    assert np.array_equal(simhash_digests(vector), simhash_digests(np.pad(vector, ((0, 0), (0, zeros)))))


@pytest.mark.parametrize("name", ["simhash", "update_simhash"])
def test_the_number_of_cores_and_the_pieces_of_work_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = np.random.default_rng(0).integers(-32768, 32768, (3, 40_000)).astype(np.int16)
    outputs = updates if name == "update_simhash" else updates / 3
    together = DIGESTS[name].digest(outputs)
    for pieces in ([(0, 10)], [(7, 10), (0, 7)], [(block, block + 1) for block in range(10)]):
        monkeypatch.setattr(hyperplanes, "ranges", lambda size, grain, pieces=pieces: pieces)
        assert np.array_equal(DIGESTS[name].digest(outputs), together)


def test_the_type_of_floats_and_a_file_in_their_place_change_nothing(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((2, 10_000)).astype(np.float16)
    file = tmp_path / "vectors.npy"
    np.save(file, vectors.astype(np.float32))
    expected = simhash_digests(vectors)
    assert np.array_equal(simhash_digests(vectors.astype(np.float64)), expected)
    assert np.array_equal(simhash_digests(np.load(file, mmap_mode="r")), expected)
    assert np.array_equal(simhash_digests(vectors.reshape(2, 10, 10, 100)), expected)
    assert np.array_equal(simhash_digests(np.asfortranarray(vectors)), expected)


def test_rounding_to_bfloat16_changes_few_bits() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 2000)).astype(np.float32)
    rounded = (vectors.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert hamming(simhash_digests(vectors), simhash_digests(rounded)).max() <= 4


def test_replicas_agree_by_direction_and_not_by_length() -> None:
    update = np.random.default_rng(0).integers(-3000, 3000, (1, 20_000)).astype(np.int16)
    lazy = np.random.default_rng(1).integers(-3000, 3000, (1, 20_000)).astype(np.int16)
    honest = update + np.random.default_rng(2).integers(-3, 4, update.shape).astype(np.int16)
    digest = update_digests(update)
    assert hamming(digest, update_digests(honest))[0] <= 3
    assert hamming(digest, update_digests(10 * update))[0] == 0
    assert hamming(digest, update_digests(lazy))[0] > 90
    assert hamming(digest, update_digests(np.zeros_like(update)))[0] > 90


def with_value(value: float) -> NDArray[np.float64]:
    vectors = np.ones((3, 5000))
    vectors[1, 4321] = value
    return vectors


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (with_value(np.nan), "vector 1 has nan at 4321"),
        (with_value(-np.inf), "vector 1 has -inf at 4321"),
        (np.ones(5), r"the shape \(5,\), expected \(n, d\)"),
        (np.ones((2, 0)), r"the shape \(2, 0\), expected \(n, d\)"),
        ([[1.0, 2.0], [1.0]], "vectors of different lengths"),
        (np.ones((2, 3), complex), "entries of type complex128"),
        (np.ones((2, 3), bool), "entries of type bool"),
        ([["a", "b"]], "entries of type <U1"),
    ],
)
def test_what_is_no_vector_is_named(wrong: Any, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        simhash_digests(wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint16, np.int8])
def test_updates_are_counts_of_int16(dtype: Any) -> None:
    with pytest.raises(InvalidData, match=f"type {np.dtype(dtype)}, expected counts of int16"):
        update_digests(np.ones((1, 4), dtype))


def test_too_many_entries_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"1,073,741,825 entries"):
        rows_of(np.broadcast_to(np.int16(1), (1, (1 << 30) + 1)))
