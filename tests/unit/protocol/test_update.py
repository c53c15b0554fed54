from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from market.protocol import vector_file
from market.protocol.errors import InvalidTerms, InvalidUpdate
from market.protocol.update import (
    UPDATE_LIMIT,
    StoredUpdate,
    UpdateEncoding,
    decode,
    encode,
    parse_update,
    read_update,
    update_bytes,
)

CHUNKS = 2
BLINDERS = bytes(number % 251 for number in range(192 * CHUNKS))

encodings = st.builds(UpdateEncoding, st.integers(0, 30), st.integers(0, 8))


def vectors(largest: float, dtype: type = np.float32) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(
        dtype, st.integers(1, 40), elements=st.floats(-largest, largest, width=32 if dtype is np.float32 else 64)
    )


def test_step_is_two_to_the_shift_minus_the_exponent() -> None:
    assert UpdateEncoding(12).step == 2.0**-12
    assert UpdateEncoding(12, shift=3).step == 2.0**-9
    assert UpdateEncoding(0, shift=8).step == 256.0


@pytest.mark.parametrize(("exponent", "shift"), [(-1, 0), (31, 0), (4, -1), (4, 9)])
def test_exponents_out_of_range_are_refused(exponent: int, shift: int) -> None:
    with pytest.raises(InvalidTerms, match="expected 0"):
        UpdateEncoding(exponent, shift)


def test_halves_round_to_even() -> None:
    delta = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], dtype=np.float32)
    encoded = encode(delta, None, UpdateEncoding(0))
    assert encoded.counts.tolist() == [0, 2, 2, 0, -2, -2]
    assert encoded.residual.tolist() == [0.5, -0.5, 0.5, -0.5, 0.5, -0.5]


def test_entries_that_do_not_fit_are_clipped_symmetrically_and_counted() -> None:
    delta = np.array([32767.4, 32768.0, -32768.0, -1e6, 3.0])
    encoded = encode(delta, None, UpdateEncoding(0))
    assert encoded.counts.tolist() == [32767, 32767, -32767, -32767, 3]
    assert encoded.clipped == 3
    assert encoded.residual[3] == -1e6 + 32767


def test_what_clipping_withheld_is_sent_later() -> None:
    encoding = UpdateEncoding(0)
    encoded = encode(np.array([50000.0]), None, encoding)
    assert encode(np.array([0.0]), encoded.residual, encoding).counts.tolist() == [50000 - 32767]


@given(vectors(3e4), encodings)
def test_decoding_plus_residual_gives_back_the_delta(delta: np.ndarray, encoding: UpdateEncoding) -> None:
    encoded = encode(delta, None, encoding)
    restored = decode(encoded.counts, encoding).astype(np.float64) + encoded.residual
    np.testing.assert_allclose(restored, delta, rtol=2**-23, atol=0)
    assert np.abs(encoded.counts).max() <= UPDATE_LIMIT
    inside = np.abs(encoded.counts) < UPDATE_LIMIT
    assert (np.abs(encoded.residual[inside]) <= encoding.step / 2).all()


@given(st.lists(vectors(100.0), min_size=1, max_size=8), st.lists(encodings, min_size=8, max_size=8))
def test_error_feedback_loses_nothing_over_rounds_of_changing_scale(
    deltas: list[np.ndarray], rounds: list[UpdateEncoding]
) -> None:
    dimension = min(len(delta) for delta in deltas)
    sent = np.zeros(dimension)
    residual = None
    for delta, encoding in zip(deltas, rounds, strict=False):
        encoded = encode(delta[:dimension], residual, encoding)
        sent += encoded.counts * encoding.step
        residual = encoded.residual
    expected = np.sum([delta[:dimension].astype(np.float64) for delta in deltas], axis=0)
    assert residual is not None
    np.testing.assert_allclose(sent + residual, expected, atol=1e-3)


@given(vectors(3e4, np.float64), encodings)
def test_residual_of_what_was_sent_is_not_quantised_again(delta: np.ndarray, encoding: UpdateEncoding) -> None:
    encoded = encode(delta, None, encoding)
    again = encode(decode(encoded.counts, encoding), None, encoding)
    assert again.counts.tolist() == encoded.counts.tolist()
    assert not again.residual.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_entries_that_are_not_finite_are_named_and_counted(bad: float) -> None:
    delta = np.zeros(10)
    delta[[4, 7]] = bad
    with pytest.raises(InvalidUpdate, match=r"entry 4 is .*and 2 of the 10 entries"):
        encode(delta, None, UpdateEncoding(4))


def test_a_residual_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidUpdate, match="entry 1 is nan"):
        encode(np.zeros(2, np.float32), np.array([0, np.nan], np.float32), UpdateEncoding(4))


@pytest.mark.parametrize("delta", [np.zeros((2, 2)), np.zeros(3, np.int64)])
def test_what_is_no_vector_of_floats_is_refused(delta: np.ndarray) -> None:
    with pytest.raises(InvalidUpdate, match="expected floats of shape"):
        encode(delta, None, UpdateEncoding(4))


def test_a_residual_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidUpdate, match="residual"):
        encode(np.zeros(3), np.zeros(2, np.float32), UpdateEncoding(4))


def test_slicing_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    delta = np.linspace(-3, 3, 101)
    whole = encode(delta, None, UpdateEncoding(5))
    monkeypatch.setattr(vector_file, "SLICE", 7)
    sliced = encode(delta, None, UpdateEncoding(5))
    assert (sliced.counts == whole.counts).all()
    assert (sliced.residual == whole.residual).all()
    delta[93] = np.nan
    with pytest.raises(InvalidUpdate, match="entry 93 is nan"):
        encode(delta, None, UpdateEncoding(5))


def test_bytes_are_little_endian_counts_then_blinders_and_read_back(tmp_path: Path) -> None:
    counts = encode(np.array([1.0, -2.0, 258.0, -32767.0]), None, UpdateEncoding(0)).counts
    stored = StoredUpdate(counts, BLINDERS)
    assert stored.to_bytes() == bytes([1, 0, 0xFE, 0xFF, 2, 1, 1, 0x80]) + BLINDERS
    assert len(stored.to_bytes()) == update_bytes(4, CHUNKS)
    stored.write(tmp_path / "update")
    assert (tmp_path / "update").read_bytes() == stored.to_bytes()
    for again in (read_update(tmp_path / "update", 4, CHUNKS), parse_update(stored.to_bytes(), 4, CHUNKS)):
        assert again.counts.tolist() == [1, -2, 258, -32767]
        assert again.counts.dtype == np.int16
        assert not again.counts.flags.writeable
        assert again.blinders == BLINDERS
    assert [path.name for path in tmp_path.iterdir()] == ["update"]


@given(st.binary(max_size=64))
def test_parsing_any_bytes_gives_counts_in_range_or_refuses(data: bytes) -> None:
    try:
        stored = parse_update(data + BLINDERS, 16, CHUNKS)
    except InvalidUpdate:
        assert len(data) != 32 or (np.frombuffer(data, "<i2") == -32768).any()
    else:
        assert stored.counts.tobytes() == data
        assert stored.counts.min() >= -UPDATE_LIMIT
        assert stored.blinders == BLINDERS


@pytest.mark.parametrize("length", [0, 8, 199, 201, 392, 391])
def test_an_update_of_another_length_is_refused(length: int, tmp_path: Path) -> None:
    expected = r"bytes, expected 200 \(4 entries and 192 bytes of blinders\)"
    with pytest.raises(InvalidUpdate, match=f"{length} {expected}"):
        parse_update(bytes(length), 4, 1)
    (tmp_path / "update").write_bytes(bytes(length))
    with pytest.raises(InvalidUpdate, match=f"{length} {expected}"):
        read_update(tmp_path / "update", 4, 1)


def test_minus_32768_is_refused(tmp_path: Path) -> None:
    data = np.array([0, 5, -32768], "<i2").tobytes() + BLINDERS
    with pytest.raises(InvalidUpdate, match="entry 2 is -32768"):
        parse_update(data, 3, CHUNKS)
    (tmp_path / "update").write_bytes(data)
    with pytest.raises(InvalidUpdate, match="entry 2 is -32768"):
        read_update(tmp_path / "update", 3, CHUNKS)


def test_a_missing_update_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidUpdate, match="cannot be read"):
        read_update(tmp_path / "none", 3, CHUNKS)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    StoredUpdate(np.ones(4, np.int16), BLINDERS).write(tmp_path / "update")
    (tmp_path / "update.part").mkdir()
    with pytest.raises(OSError, match=r"update\.part"):
        StoredUpdate(np.zeros(4, np.int16), BLINDERS).write(tmp_path / "update")
    assert read_update(tmp_path / "update", 4, CHUNKS).counts.tolist() == [1, 1, 1, 1]
