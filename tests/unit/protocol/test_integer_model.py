from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from market.protocol import vector_file
from market.protocol.errors import InvalidModel, InvalidTerms
from market.protocol.integer_model import (
    MODEL_LIMIT,
    WEIGHT_ONE,
    WEIGHT_SUM_LIMIT,
    aggregate,
    fold,
    parse,
    quantise,
    read,
    to_bytes,
    to_float32,
    write,
)
from market.protocol.update import UpdateEncoding, decode

DIMENSION = 5

models = hnp.arrays(np.int64, DIMENSION, elements=st.integers(-MODEL_LIMIT, MODEL_LIMIT))
updates = hnp.arrays(np.int16, DIMENSION, elements=st.integers(-32767, 32767))
weighted = st.lists(st.tuples(updates, st.integers(0, WEIGHT_ONE * 64)), max_size=8)
shifts = st.integers(0, 8)


def fold_of_fractions(model: np.ndarray, chosen: list[tuple[np.ndarray, int]], shift: int) -> list[int]:
    return [int(m) + 2**shift * sum(w * int(q[i]) for q, w in chosen) for i, m in enumerate(model)]


@given(models, weighted, shifts)
def test_fold_equals_python_integers_or_refuses(
    model: np.ndarray, chosen: list[tuple[np.ndarray, int]], shift: int
) -> None:
    expected = fold_of_fractions(model, chosen, shift)
    arguments = (model, [q for q, _ in chosen], [w for _, w in chosen], shift)
    if max(abs(value) for value in expected) > MODEL_LIMIT:
        with pytest.raises(InvalidModel, match=f"expected a magnitude of at most {MODEL_LIMIT}"):
            fold(*arguments)
    else:
        assert fold(*arguments).tolist() == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_wrap_around(sign: int) -> None:
    update = np.array([sign * 32767], np.int16)
    model = np.array([sign * MODEL_LIMIT])
    with pytest.raises(InvalidModel, match=f"entry 0 is {sign * (MODEL_LIMIT + 2**8 * 2**31 * 32767)}"):
        fold(model, [update] * 2, [WEIGHT_SUM_LIMIT // 2] * 2, 8)


def test_the_limit_itself_is_reached_exactly() -> None:
    model = np.array([MODEL_LIMIT - 3 * 7, 7 * 3 - MODEL_LIMIT])
    assert fold(model, [np.array([7, -7], np.int16)], [3], 0).tolist() == [MODEL_LIMIT, -MODEL_LIMIT]
    with pytest.raises(InvalidModel, match="entry 1"):
        fold(model, [np.array([7, -8], np.int16)], [3], 0)


def test_fold_leaves_the_model_as_it_was() -> None:
    model = np.arange(4)
    fold(model, [np.ones(4, np.int16)], [WEIGHT_ONE], 2)
    assert model.tolist() == [0, 1, 2, 3]


def test_folding_nothing_copies_the_model() -> None:
    model = np.arange(4)
    folded = fold(model, [], [], 0)
    assert folded.tolist() == model.tolist()
    assert not np.shares_memory(folded, model)


def test_fold_does_not_depend_on_slices_or_where_updates_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = np.arange(50) * 12345
    update = (np.arange(50) * 1000 - 25000).astype(np.int16)
    update.tofile(tmp_path / "update")
    whole = fold(model, [update], [7], 3)
    monkeypatch.setattr(vector_file, "SLICE", 8)
    mapped = np.memmap(tmp_path / "update", np.int16, "r")
    assert fold(model, [mapped], [7], 3).tolist() == whole.tolist()


def test_weight_one_moves_the_model_by_one_step_a_count() -> None:
    encoding = UpdateEncoding(10, shift=2)
    counts = np.array([-5, 0, 300], np.int16)
    moved = fold(np.zeros(3, np.int64), [counts], [WEIGHT_ONE], encoding.shift)
    assert to_float32(moved, encoding.scale_exponent).tolist() == decode(counts, encoding).tolist()


@pytest.mark.parametrize(
    ("chosen", "weights", "message"),
    [
        ([np.zeros(3, np.int16)], [], "one weight an update"),
        ([np.zeros(2, np.int16)], [1], r"update 0 is int16 of shape \(2,\)"),
        ([np.zeros(3, np.int16), np.zeros(3, np.int32)], [1, 1], "update 1 is int32"),
        ([np.zeros(3, np.int16)], [-1], "none negative"),
        ([np.zeros(3, np.int16)] * 2, [WEIGHT_SUM_LIMIT, 1], "sum of at most"),
    ],
)
def test_operands_that_do_not_fit_are_refused(chosen: list[np.ndarray], weights: list[int], message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        fold(np.zeros(3, np.int64), chosen, weights, 0)


def test_a_shift_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidTerms, match="shift is 9"):
        fold(np.zeros(1, np.int64), [], [], 9)
    with pytest.raises(InvalidTerms, match="shift is -1"):
        aggregate(np.zeros(1, np.int64), np.zeros(1, np.int64), -1)


@given(hnp.arrays(np.int64, DIMENSION, elements=st.integers(-(2**40), 2**40)), weighted, shifts)
def test_aggregate_is_the_weighted_sum_that_was_folded(
    model: np.ndarray, chosen: list[tuple[np.ndarray, int]], shift: int
) -> None:
    folded = fold(model, [q for q, _ in chosen], [w for _, w in chosen], shift)
    expected = fold_of_fractions(np.zeros(DIMENSION, np.int64), chosen, 0)
    assert aggregate(folded, model, shift).tolist() == expected


def test_a_model_that_no_fold_gives_is_refused() -> None:
    old, new = np.zeros(3, np.int64), np.array([8, -16, 4])
    assert aggregate(new, old, 2).tolist() == [2, -4, 1]
    with pytest.raises(InvalidModel, match="entry 2 moved by 4, expected a multiple of 8"):
        aggregate(new, old, 3)
    with pytest.raises(InvalidModel, match="shape"):
        aggregate(new[:2], old, 0)


@given(models, st.integers(0, 30))
def test_to_float32_is_the_nearest_float(model: np.ndarray, exponent: int) -> None:
    for value, parameter in zip(model, to_float32(model, exponent), strict=True):
        exact = Fraction(int(value), 1 << (exponent + 16))
        error = abs(Fraction(float(parameter)) - exact)
        for neighbour in (np.nextafter(parameter, np.float32(np.inf)), np.nextafter(parameter, np.float32(-np.inf))):
            assert error <= abs(Fraction(float(neighbour)) - exact)


def test_to_float32_breaks_ties_to_even() -> None:
    # 2^24 + 1 and 2^24 + 3 lie half-way between two float32.
    assert to_float32(np.array([2**24 + 1, 2**24 + 3]) << 16, 0).tolist() == [2.0**24, 2.0**24 + 4]


@given(hnp.arrays(np.float32, DIMENSION, elements=st.floats(-1, 1, width=32)), st.integers(0, 30))
def test_quantise_is_within_half_a_unit(parameters: np.ndarray, exponent: int) -> None:
    for value, parameter in zip(quantise(parameters, exponent), parameters, strict=True):
        assert abs(int(value) - Fraction(float(parameter)) * 2 ** (exponent + 16)) <= Fraction(1, 2)


@given(hnp.arrays(np.int64, DIMENSION, elements=st.integers(-(2**24), 2**24)), st.integers(0, 30))
def test_quantise_undoes_to_float32_where_that_was_exact(model: np.ndarray, exponent: int) -> None:
    assert quantise(to_float32(model, exponent), exponent).tolist() == model.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31)])
def test_parameters_out_of_range_are_named(bad: float) -> None:
    with pytest.raises(InvalidModel, match=r"entry 1 is .*expected a magnitude of at most"):
        quantise(np.array([0.0, bad]), 0)


def test_quantise_refuses_what_is_no_vector_of_floats() -> None:
    with pytest.raises(InvalidModel, match="expected floats"):
        quantise(np.zeros((2, 2)), 4)
    with pytest.raises(InvalidTerms, match="scale exponent is 31"):
        quantise(np.zeros(2), 31)


@given(models)
def test_bytes_read_back(model: np.ndarray) -> None:
    assert parse(to_bytes(model), DIMENSION).tolist() == model.tolist()


def test_bytes_are_little_endian_on_disk_and_off(tmp_path: Path) -> None:
    model = np.array([1, -2, MODEL_LIMIT])
    expected = bytes([1, *[0] * 7, 0xFE, *[0xFF] * 7, *[0xFF] * 5, 0x7F, 0, 0])
    assert to_bytes(model) == expected
    write(model, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == expected
    mapped = read(tmp_path / "model", 3)
    assert mapped.tolist() == model.tolist()
    assert not mapped.flags.writeable


@pytest.mark.parametrize("value", [MODEL_LIMIT + 1, -MODEL_LIMIT - 1, 2**63 - 1, -(2**63)])
def test_entries_out_of_range_are_refused_both_ways(value: int, tmp_path: Path) -> None:
    model = np.array([0, value])
    model.tofile(tmp_path / "model")
    for attempt in (
        lambda: to_bytes(model),
        lambda: write(model, tmp_path / "other"),
        lambda: parse(model.tobytes(), 2),
        lambda: read(tmp_path / "model", 2),
    ):
        with pytest.raises(InvalidModel, match=f"entry 1 is {value}"):
            attempt()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("length", [0, 8, 15, 17, 24])
def test_a_model_of_another_length_is_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=f"{length} bytes, expected 16"):
        parse(bytes(length), 2)
    (tmp_path / "model").write_bytes(bytes(length))
    with pytest.raises(InvalidModel, match=f"{length} bytes, expected 16"):
        read(tmp_path / "model", 2)
