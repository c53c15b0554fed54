"""The global model as integers: M in units of s / 2^16, to which weighted updates are added exactly.

s = 2^-k is the job's base scale. Floats appear only at the edges: once when a job opens, and whenever a trainer
turns M into the parameters that it trains from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidModel
from market.protocol.update import Counts, Floats, check_scale_exponent, check_shift
from market.protocol.vector_file import map_vector_file, slices, view_vector_bytes, write_vector_file

MODEL_LIMIT = (1 << 47) - 1
"""Largest magnitude of an entry of M."""

WEIGHT_BITS = 16
WEIGHT_ONE = 1 << WEIGHT_BITS
"""The weight with which one count moves the model by one step: weights are in units of 2^-16."""

WEIGHT_SUM_LIMIT = 1 << 31
"""Largest sum of weights (a server learning rate of 2^15): with it 64-bit sums cannot overflow."""

_DTYPE = np.dtype("<i8")

Integers = NDArray[np.int64]


def quantise(parameters: Floats, scale_exponent: int) -> Integers:
    """Turn parameters into integers: round(parameter * 2^(k + 16)), halves to even.

    Args:
        parameters: float32 or float64 (d,).
        scale_exponent: the job's k in 0..30.

    Returns:
        int64 (d,).

    Raises:
        InvalidModel: an entry is NaN or infinite, or beyond 2^47 - 1 after scaling.
        InvalidTerms: k is out of range.
    """
    check_scale_exponent(scale_exponent)
    if parameters.ndim != 1 or parameters.dtype.kind != "f":
        raise InvalidModel(
            f"the parameters are {parameters.dtype} of shape {parameters.shape}, expected floats of shape (d,)"
        )
    model = np.empty(parameters.shape, dtype=np.int64)
    for span in slices(len(parameters)):
        scaled = np.rint(np.ldexp(parameters[span].astype(np.float64), scale_exponent + WEIGHT_BITS))
        # Written so that NaN fails it too.
        fits = np.abs(scaled) <= MODEL_LIMIT
        if not fits.all():
            index = span.start + int(np.argmin(fits))
            largest = MODEL_LIMIT / 2 ** (scale_exponent + WEIGHT_BITS)
            raise InvalidModel(
                f"the model's entry {index} is {parameters[index]}: with scale exponent {scale_exponent} "
                f"expected a magnitude of at most {largest:g}"
            )
        model[span] = scaled
    return model


def to_float32(model: Integers, scale_exponent: int) -> NDArray[np.float32]:
    """The parameters that M stands for, float32(M * s / 2^16): the same bits on every machine.

    An integer below 2^53 is exact in float64 and multiplying it by a power of two changes only the exponent, so
    the conversion to float32, which IEEE 754 rounds to nearest even, is the only rounding there is.

    Returns:
        float32 (d,).

    Raises:
        InvalidTerms: k is out of range.
    """
    check_scale_exponent(scale_exponent)
    parameters = np.empty(model.shape, dtype=np.float32)
    for span in slices(len(model)):
        parameters[span] = np.ldexp(model[span].astype(np.float64), -(scale_exponent + WEIGHT_BITS))
    return parameters


def fold(model: Integers, updates: Sequence[Counts], weights: Sequence[int], shift: int) -> Integers:
    """M' = M + 2^e * sum of w_i * q_i, exactly; updates are read a slice at a time, so they may be memory-mapped.

    Federated averaging (McMahan et al. 2017, arXiv:1602.05629) in integers.

    Args:
        model: int64 (d,).
        updates: int16 (d,) each.
        weights: w_i >= 0, one an update, with a sum of at most 2^31.
        shift: the round's e in 0..8.

    Returns:
        A new int64 (d,); ``model`` is not changed.

    Raises:
        InvalidModel: shapes or weights do not fit, or an entry would leave [-(2^47 - 1), 2^47 - 1].
        InvalidTerms: the shift is out of range.
    """
    check_shift(shift)
    _check_operands(model, updates, weights)
    folded = np.empty(model.shape, dtype=np.int64)
    for span in slices(len(model)):
        total = np.zeros(span.stop - span.start, dtype=np.int64)
        for update, weight in zip(updates, weights, strict=True):
            total += update[span].astype(np.int64) * weight
        # |total| <= 2^31 * 2^15, shifted by 8 at most and added to 47 bits: always inside 64 bits.
        total <<= shift
        total += model[span]
        _check_range(total, span.start)
        folded[span] = total
    return folded


def aggregate(new: Integers, old: Integers, shift: int) -> Integers:
    """The aggregate p = (M' - M) / 2^e of a round, int64 (d,).

    Raises:
        InvalidModel: the shapes differ, or a difference is not a multiple of 2^e: no fold gives such a model.
        InvalidTerms: the shift is out of range.
    """
    check_shift(shift)
    if new.shape != old.shape or new.ndim != 1:
        raise InvalidModel(f"the new model has shape {new.shape}, expected the old model's {old.shape}")
    difference = np.subtract(new, old, dtype=np.int64)
    for span in slices(len(difference)):
        off = np.flatnonzero(difference[span] & ((1 << shift) - 1))
        if len(off):
            index = span.start + int(off[0])
            raise InvalidModel(
                f"the model's entry {index} moved by {difference[index]}, expected a multiple of {1 << shift}"
            )
    difference >>= shift
    return difference


def to_bytes(model: Integers) -> bytes:
    """M as 8*d bytes, little-endian.

    Raises:
        InvalidModel: an entry is out of range.
    """
    return checked(model).astype(_DTYPE, copy=False).tobytes()


def parts(model: Integers) -> Iterator[bytes]:
    """M as 8*d bytes, little-endian, a slice at a time.

    Raises:
        InvalidModel: an entry is out of range.
    """
    checked(model)
    for span in slices(len(model)):
        yield np.ascontiguousarray(model[span], dtype=_DTYPE).tobytes()


def write(model: Integers, path: Path) -> None:
    """Write M as 8*d bytes, little-endian; the file is replaced whole or not at all.

    Raises:
        InvalidModel: an entry is out of range.
    """
    write_vector_file(path, checked(model).astype(_DTYPE, copy=False))


def read(path: Path, dimension: int) -> Integers:
    """Map a model's file: int64 (d,), read-only.

    Raises:
        InvalidModel: the file cannot be read, is not exactly 8*d bytes long, or an entry is out of range.
    """
    return checked(map_vector_file(path, _DTYPE, dimension, InvalidModel))


def parse(unverified_data: bytes, dimension: int) -> Integers:
    """View a model's bytes: int64 (d,), read-only.

    Raises:
        InvalidModel: there are not exactly 8*d bytes, or an entry is out of range.
    """
    return checked(view_vector_bytes(unverified_data, _DTYPE, dimension, InvalidModel))


def checked(model: Integers) -> Integers:
    """The same model, once every entry is seen to be in range.

    Raises:
        InvalidModel: naming the first that is not.
    """
    for span in slices(len(model)):
        _check_range(model[span], span.start)
    return model


def _check_operands(model: Integers, updates: Sequence[Counts], weights: Sequence[int]) -> None:
    if model.ndim != 1:
        raise InvalidModel(f"the model has shape {model.shape}, expected (d,)")
    if len(updates) != len(weights):
        raise InvalidModel(f"{len(updates)} updates and {len(weights)} weights, expected one weight an update")
    for number, update in enumerate(updates):
        if update.shape != model.shape or update.dtype != np.int16:
            raise InvalidModel(
                f"update {number} is {update.dtype} of shape {update.shape}, expected int16 of shape {model.shape}"
            )
    if any(weight < 0 for weight in weights) or sum(weights) > WEIGHT_SUM_LIMIT:
        raise InvalidModel(f"weights {list(weights)}: expected none negative and a sum of at most {WEIGHT_SUM_LIMIT}")


def _check_range(values: Integers, first_index: int) -> None:
    # Two comparisons rather than abs(): the absolute value of -2^63 is itself.
    bad = np.flatnonzero((values > MODEL_LIMIT) | (values < -MODEL_LIMIT))
    if len(bad):
        raise InvalidModel(
            f"the model's entry {first_index + int(bad[0])} is {values[bad[0]]}, "
            f"expected a magnitude of at most {MODEL_LIMIT}"
        )
