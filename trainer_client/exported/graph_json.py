"""Values of a program's JSON: each is what it has to be, or `InvalidModel` shows it and says what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from market.protocol.errors import InvalidModel
from trainer_client.exported.operators import MAX_NUMBER

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""By torch.export's number."""

_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def mapping(unverified_value: Any, what: str) -> Mapping[str, Any]:
    """A mapping."""
    if not isinstance(unverified_value, dict):
        raise InvalidModel(f"program: {what} is {type(unverified_value).__name__}, expected a mapping")
    return unverified_value


def list_of(unverified_value: Any, what: str, most: int) -> list[Any]:
    """A list, no longer than this."""
    if not isinstance(unverified_value, list) or len(unverified_value) > most:
        length = f" of {len(unverified_value)}" if isinstance(unverified_value, list) else ""
        raise InvalidModel(
            f"program: {what} is {type(unverified_value).__name__}{length}, expected a list of at most {most}"
        )
    return unverified_value


def tagged(unverified_value: Any, what: str) -> tuple[str, Any]:
    """The tag and the body of a union."""
    body = mapping(unverified_value, what)
    if len(body) != 1:
        raise InvalidModel(f"program: {what} is {unverified_value!r:.100}, expected one tag and its value")
    return next(iter(body.items()))


def tensor_name(unverified_value: Any) -> Any:
    """The name of a value that is a tensor."""
    kind, body = tagged(unverified_value, "a value")
    if kind != "as_tensor":
        raise InvalidModel(f"program: a value is {kind!r:.80}, expected a tensor")
    return mapping(body, "a tensor").get("name")


def whole(unverified_value: Any, what: str, least: int = -MAX_NUMBER) -> int:
    """A whole number, ±2^40 at most."""
    # The end of a slice that has none is written as the largest integer of 64 bits.
    if unverified_value == (1 << 63) - 1 and type(unverified_value) is int and least < 0:
        return int(unverified_value)
    if type(unverified_value) is not int or not least <= unverified_value <= MAX_NUMBER:
        raise InvalidModel(f"program: {what} is {unverified_value!r:.80}, expected a whole number {least}..2^40")
    return unverified_value


def real(unverified_value: Any, what: str) -> float:
    """A number; infinities and NaN are written as words."""
    if isinstance(unverified_value, str) and unverified_value in _NUMBERS:
        return _NUMBERS[unverified_value]
    if type(unverified_value) not in (int, float):
        raise InvalidModel(f"program: {what} is {unverified_value!r:.80}, expected a number")
    return float(unverified_value)


def element_type(unverified_value: Any) -> torch.dtype:
    """A type of elements, by torch.export's number."""
    if type(unverified_value) is not int or unverified_value not in DTYPES:
        raise InvalidModel(f"program: element type {unverified_value!r:.80}, expected one of {sorted(DTYPES)}")
    return DTYPES[unverified_value]
