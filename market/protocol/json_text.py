"""JSON that somebody else wrote, read without letting it end the process."""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 32
"""Of a published document's lists and mappings; a job's spec needs six."""

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: UTF-8 has none for it."""


def parse_json(unverified_data: bytes) -> Any:
    """Parse a document in UTF-8; how long it may be is for the caller to have checked.

    Raises:
        ValueError: it is not JSON, is nested more than 32 levels deep, or could not be written down again: a number is
            none or too large for a float, or a text has half a character.
    """
    unverified_text = unverified_data.decode("utf-8")
    _check_depth(unverified_text)
    unverified_value = json.loads(unverified_text, parse_constant=_no_number, parse_float=_finite)
    _check_texts(unverified_value)
    return unverified_value


def _no_number(name: str) -> float:
    raise ValueError(f"has the number {name}, which JSON has not")


def _finite(unverified_digits: str) -> float:
    number = float(unverified_digits)
    if not math.isfinite(number):
        raise ValueError(f"has the number {unverified_digits:.40}, which is too large")
    return number


def _check_texts(unverified_value: Any) -> None:
    """Refuse half a character: as an escape it is read without complaint, and then nothing can write it."""
    match unverified_value:
        case str():
            if SURROGATE.search(unverified_value):
                raise ValueError(f"has half a character, in {unverified_value!r:.100}")
        case list():
            for entry in unverified_value:
                _check_texts(entry)
        case dict():
            for name, entry in unverified_value.items():
                _check_texts(name)
                _check_texts(entry)


def _check_depth(unverified_text: str) -> None:
    """Refuse JSON nested so deeply that the parser, which recurses, would leave the stack: that ends the process."""
    depth = 0
    for bracket in re.findall(r"[][{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", unverified_text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
